"""Frame pictures: one frame with what is known of it, ready for any number of canvases."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.domain.colors import UNKNOWN_COLOR, shown_color
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import PychipError
from pychip_stream.export.pictures import Rect
from pychip_stream.wire.messages import Live

Key = tuple[str, int]
"""Path and index of a frame of the run."""
Counts = npt.NDArray[np.int64]


class Grey(NamedTuple):
    """What the grey levels of a picture mean.

    Attributes
    ----------
    low, high
        Counts that are black and white; NaN where they differ within the frame.
    least, most
        Range of the frame's counts.
    histogram
        Share of the pixels in equal steps from `least` to `most`, relative to the largest.
    """

    low: float
    high: float
    least: float
    most: float
    histogram: tuple[float, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class FramePicture:
    """A frame; without labels where nothing has classified it yet.

    Attributes
    ----------
    shape, chip_size
        (height, width) of the frame and (width, height) of a chip, in pixels.
    jpeg
        The picture; empty where the frame's file is out of reach.
    time
        Seconds since 1970.
    names, colors
        Classes, then unknown.
    label_map
        (rows, columns) uint8 index into `names`.
    intervals
        (K + 1, 3) fraction, low, high; NaN for a class that the frame's support set lacks.
    version
        Of the support set that it was classified with.
    number
        In its run, from 0 in order of time; -1 where that is not known.
    confidence
        Number of chips by confidence.
    title
        What people read instead of its path.
    by_hand
        Whether a person gave the pixel size.
    layers
        (rows, columns) uint8 by name, as `FrameResult.levels`.
    grey
        What the grey levels of the picture mean in counts; None without a picture.
    warning
        What is to be said on it.
    """

    key: Key
    shape: tuple[int, int]
    chip_size: tuple[int, int] = (1, 1)
    jpeg: bytes = field(default=b"", repr=False)
    pixel_size: float | None = None
    unit: str | None = None
    time: float = 0.0
    names: tuple[str, ...] = ()
    colors: tuple[str, ...] = ()
    label_map: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    intervals: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    version: str = ""
    number: int = -1
    confidence: Counts | None = field(default=None, repr=False)
    title: str = ""
    by_hand: bool = False
    layers: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict, repr=False)
    grey: Grey | None = None
    warning: str = ""

    @classmethod
    def of_live(
        cls,
        live: Live,
        label_map: npt.NDArray[np.generic],
        intervals: npt.NDArray[np.generic],
        layers: Mapping[str, npt.NDArray[np.generic]] | None = None,
    ) -> "FramePicture":
        """Take what the archiver said of a frame; its pixels are not with it.

        Raises
        ------
        ValueError
            If it contradicts itself.
        """
        labels, names = np.asarray(label_map, np.uint8), (*live.names, UNKNOWN)
        triples = np.asarray(intervals, np.float64)
        if labels.ndim != 2 or triples.shape != (len(names), 3) or len(set(names)) < len(names):
            raise ValueError("labels, intervals and names of a frame do not belong together")
        if not math.isfinite(live.frame.time):
            raise ValueError("a frame of no time")
        told = [*map(shown_color, live.colors), *[UNKNOWN_COLOR] * len(live.names)]
        colors = told[: len(live.names)]
        return cls(
            key=(live.frame.path, live.frame.index),
            shape=live.shape,
            chip_size=live.chip_size,
            pixel_size=live.pixel_size,
            unit=live.unit,
            time=live.frame.time,
            names=names,
            colors=(*colors, UNKNOWN_COLOR),
            label_map=labels,
            intervals=triples,
            version=live.support_version,
            by_hand=live.texts.get("pixel_size_from") == "hand",
            layers={name: np.asarray(v, np.uint8) for name, v in (layers or {}).items()},
        )

    @property
    def fractions(self) -> dict[str, npt.NDArray[np.float64]]:
        """(fraction, low, high) of every class that the frame's support set has, and unknown."""
        if self.intervals is None:
            return {}
        pairs = zip(self.names, self.intervals, strict=True)
        return {name: row for name, row in pairs if np.isfinite(row[0])}

    @property
    def grid(self) -> list[int]:
        """Rows and columns of chips on the frame; none where the size of a chip is not known."""
        try:
            return grid_shape(self.shape, ChipSize(*self.chip_size))
        except PychipError:
            return [0, 0]

    def message(
        self,
        seq: int,
        note: str = "",
        truth: Mapping[str, float] | None = None,
        warning: str = "",
        colors: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Say what the canvas wants.

        Parameters
        ----------
        seq
            By which the browser names this picture.
        note
            Before its path.
        truth
            True fractions, where they are known.
        warning, colors
            In place of its own.
        """
        own = zip(self.names, self.colors, strict=True)
        colors = {name: (colors or {}).get(name, color) for name, color in own}
        bars = [
            {"name": name, "color": colors[name], "value": float(value), "low": float(low),
             "high": float(high), "truth": (truth or {}).get(name)}
            for name, (value, low, high) in self.fractions.items()
        ]  # fmt: skip
        where = self.title or self.key[0] + (f" #{self.key[1]}" if self.key[1] else "")
        labels = self.label_map
        words = ", ".join(f"{b['name']} {b['value']:.0%}" for b in bars)
        message: dict[str, Any] = {
            "type": "frame",
            "seq": seq,
            "jpeg": self.jpeg,
            "shape": list(self.shape),
            "chip": list(self.chip_size),
            "grid": self.grid if labels is None else list(labels.shape),
            "labels": None if labels is None else labels.tobytes(),
            "palette": [{"name": n, "color": c} for n, c in colors.items()],
            "pixel_size": self.pixel_size,
            "unit": f"{self.unit} (by hand)" if self.by_hand else self.unit,
            "layers": {name: levels.tobytes() for name, levels in self.layers.items()},
            "grey": None if self.grey is None else self.grey._asdict(),
            "warning": warning or self.warning,
            "bars": bars,
            "caption": note + where,
            "alt": f"frame {where}" + f": {words}" * bool(words),
        }
        if not self.jpeg:
            message["note"] = " "  # the labels are shown in its place
            message["caption"] += " · its file is out of reach: labels alone"
        return message


def grid_shape(shape: tuple[int, int], size: ChipSize) -> list[int]:
    """Rows and columns of chips on a frame; none where not even one fits."""
    try:
        grid = Grid.of(shape, size)
    except PychipError:
        return [0, 0]
    return [grid.rows, grid.columns]


def checked_rect(rect: object, shape: tuple[int, int]) -> Rect | None:
    """Whole pixels of a part of a frame that a browser asks for; None where that is nonsense."""
    if not isinstance(rect, list) or len(rect) != 4:
        return None
    try:
        left, top, right, bottom = (int(v) for v in rect)
    except (TypeError, ValueError, OverflowError):
        return None
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, shape[1]), min(bottom, shape[0])
    return (left, top, right, bottom) if right > left and bottom > top else None
