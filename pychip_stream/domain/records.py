"""Frame records: what one classified frame leaves behind."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.caveats import shows_nothing
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError


class Fraction(NamedTuple):
    """Share of a frame's chips in a class, with its 95 % interval; all within 0…1."""

    value: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """Write it for people; all have the same digits, as `share` in `part.js`.

        Otherwise rounding could put the value outside.
        """
        if not np.isfinite(self.value):
            return "–"
        value, low, high = (f"{100 * number:.1f}" for number in self)
        return f"{value} % ({low}–{high})"


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame under one support set.

    Attributes
    ----------
    names
        The K class names of the support set, without "unknown".
    label_map
        (rows, columns) uint8 index into `names`; K means unknown.
    probabilities
        (rows, columns, K) float32, calibrated, summing to 1 over the classes.
    distances
        (rows, columns, K) float32 distance to each class in units of its spread.
    novelty
        (rows, columns) float32, how unlike the examples; above 1 the chip is rejected.
    intervals
        (K + 1, 3) float64 rows of fraction, low, high; the last row is unknown. A fraction is
        an estimated prevalence, not the share of the labels; see `counted`.
    support_version
        Version of the support set.
    chip_size
        Of its chips, in pixels of the frame.
    pixel_size_ratio
        Pixel size of the frame over that of the examples, where its chips were therefore cut
        smaller or larger than these; else NaN.
    drift
        How far the class that moved most has gone from where the support frame showed it: at
        1 its typical chip stands on the border to another class; NaN where it was not measured.
    blank
        1 where the frame shows nothing (no beam), 0 where it does, NaN where that was not judged.
    """

    names: tuple[str, ...]
    label_map: npt.NDArray[np.uint8] = field(repr=False)
    probabilities: npt.NDArray[np.float32] = field(repr=False)
    distances: npt.NDArray[np.float32] = field(repr=False)
    novelty: npt.NDArray[np.float32] = field(repr=False)
    intervals: npt.NDArray[np.float64] = field(repr=False)
    support_version: str = ""
    drift: float = float("nan")
    strange: float = float("nan")
    doubts: Mapping[str, float] = field(default_factory=dict)
    chip_size: ChipSize | None = None
    pixel_size_ratio: float = float("nan")
    blank: float = float("nan")

    @property
    def labels(self) -> npt.NDArray[np.str_]:
        """(rows, columns) class names, or "unknown"."""
        return np.asarray((*self.names, UNKNOWN))[self.label_map]

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(rows, columns) probability of the most probable class."""
        return np.asarray(np.fmax.reduce(self.probabilities, axis=-1), dtype=np.float32)

    @property
    def levels(self) -> dict[str, npt.NDArray[np.uint8]]:
        """For the eye, (rows, columns) uint8: "confidence" 0…1 and "novelty" 0…2, each as 0…255."""
        return {"confidence": _level(self.confidence), "novelty": _level(self.novelty, 2)}

    @property
    def counted(self) -> npt.NDArray[np.float64]:
        """(K + 1,) share of the chips with each label; the last is unknown."""
        counts = np.bincount(self.label_map.ravel(), minlength=len(self.names) + 1)
        return np.asarray(counts / self.label_map.size)

    @property
    def fractions(self) -> dict[str, Fraction]:
        """Fraction and interval of every class and of "unknown"."""
        return {
            name: Fraction(*(float(v) for v in row))
            for name, row in zip((*self.names, UNKNOWN), self.intervals, strict=True)
        }


def _level(values: npt.NDArray[np.floating], most: float = 1.0) -> npt.NDArray[np.uint8]:
    """0…most as 0…255; what is unknown is 0."""
    shares = np.clip(np.where(np.isnan(values), 0, values) / most, 0, 1)
    return np.asarray(np.rint(shares * 255), np.uint8)


_HALF = np.finfo(np.float16)


def half(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float16]:
    """Numbers per chip as they travel and are kept: float16, without overflow to infinity."""
    if values.dtype == np.float16:
        return np.asarray(values, np.float16)
    limit = float(_HALF.max)
    found = np.clip(values, -limit, limit)
    # Where the processor has to say that digits were lost below the normal numbers, NumPy needs
    # fifty times as long; nearly all probabilities are there.
    tiny = np.abs(found) < _HALF.smallest_normal
    step = values.dtype.type(_HALF.smallest_subnormal)
    found[tiny] = np.rint(found[tiny] / step) * step
    return np.asarray(found, np.float16)


Status = Literal["ok", "failed", "moved"]

MAX_REASON = 500


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameRecord:
    """One frame that was classified, or the reason why it was not.

    Attributes
    ----------
    frame
        Which frame, and which bytes were read; its time is as fine as is known.
    content_hash, frame_hash
        Of the file that was read; of the frame's own bytes in it, where its format can grow.
    started, read, classified
        When its worker began with it and had done that, in seconds since 1970; NaN where unknown.
        The archive does not keep when it was begun.
    pixel_size, unit
        Edge of a pixel in `unit`, where known.
    pixel_ratio
        Height of a pixel over its width.
    shape
        (H, W) of the frame in pixels.
    chip_size
        (width, height) of a chip in pixels.
    status, reason
        "failed" with the reason in one line, "moved" where the file of a frame that was archived
        before has another name now, else "ok".
    measured
        Quantities of the frame by name (`domain.quantities`); what is not known is left out.
    texts
        What the file says in words, by `domain.frames.TEXTS`.
    embeddings
        (rows, columns, D) float16, or None.
    result
        Of the classification; None only for failed frames.
    encoder_hash
        Of the weights that made the embeddings.
    device
        Where the encoder ran and in which precision, for example "cpu/bfloat16".
    """

    frame: FrameRef
    content_hash: str = ""
    frame_hash: str = ""
    started: float = float("nan")
    read: float = float("nan")
    classified: float = float("nan")
    pixel_size: float | None = None
    unit: str | None = None
    pixel_ratio: float = 1.0
    shape: tuple[int, int] = (0, 0)
    chip_size: tuple[int, int] = (0, 0)
    status: Status = "ok"
    reason: str = ""
    measured: Mapping[str, float] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    embeddings: npt.NDArray[np.float16] | None = field(default=None, repr=False)
    result: FrameResult | None = field(default=None, repr=False)
    encoder_hash: str = ""
    device: str = ""

    def __post_init__(self) -> None:
        if (self.status == "ok") != (self.result is not None):
            raise ArchiveError(f"{self.frame}: a frame has a result or failed, not both")
        if self.result is None:
            return
        grid = self.result.label_map.shape
        if len(grid) != 2 or 0 in grid:
            raise ArchiveError(f"{self.frame}: a label map of shape {grid} has no chips")
        if self.embeddings is not None and (
            self.embeddings.ndim != 3 or self.embeddings.shape[:2] != grid
        ):
            raise ArchiveError(
                f"{self.frame}: embeddings of shape {self.embeddings.shape} do not fit "
                f"the {grid[0]} x {grid[1]} chips"
            )

    @classmethod
    def failed(cls, frame: FrameRef, reason: str, *, read: float) -> "FrameRecord":
        """Record of a frame that could not be analysed; `read` is when that was begun."""
        line = " ".join(reason.split())
        return cls(frame=frame, read=read, classified=time.time(), status="failed", reason=line)

    @classmethod
    def moved(cls, frame: FrameRef, to: str) -> "FrameRecord":
        """Record that an archived frame counts no more: its content is archived as `to`."""
        return cls(frame=frame, status="moved", reason=f"is {' '.join(to.split())} now")

    @property
    def blank(self) -> bool:
        """Whether the frame shows nothing."""
        return shows_nothing(self.measured)

    @property
    def time(self) -> float:
        """When the frame was taken, as well as is known, in seconds since 1970."""
        frame = self.frame
        candidates = (frame.time, frame.mtime_ns * 1e-9, frame.seen, self.classified)
        return next((t for t in candidates if np.isfinite(t) and t > 0), 0.0)
