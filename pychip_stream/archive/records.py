"""Frame records: what one classified frame leaves behind."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.results import FrameResult
from pychip_stream.errors import ArchiveError

Status = Literal["ok", "failed"]

MAX_REASON = 500


@dataclass(frozen=True, slots=True)
class FrameId:
    """Key and revision of an archived frame.

    Attributes
    ----------
    path, index
        Relative to the acquisition root, with forward slashes; position within the file.
    size, mtime_ns
        Of the file: the revision that was archived.
    status
        "ok" or "failed".
    """

    path: str
    index: int
    size: int
    mtime_ns: int
    status: str

    @property
    def revision(self) -> tuple[str, int, int, int]:
        """What may be archived once."""
        return (self.path, self.index, self.size, self.mtime_ns)


@dataclass(frozen=True, eq=False, kw_only=True)
class FrameRecord:
    """One frame that was classified, or the reason why it was not.

    Attributes
    ----------
    path, index
        Relative to the acquisition root, with forward slashes; position within the file.
    size, mtime_ns
        Of the file when it was read; another value is another revision of the frame.
    content_hash
        Of the bytes that were read.
    exposed, seen, read, classified
        Times in seconds since 1970; NaN or 0 where unknown.
    pixel_size, unit
        Edge of a pixel in `unit`, where known.
    shape
        (H, W) of the frame in pixels.
    chip_size
        (width, height) of a chip in pixels.
    status, reason
        "failed" with the reason in one line, else "ok".
    embeddings
        (rows, columns, D) float16, or None.
    result
        Of the classification; None only for failed frames.
    encoder_hash
        Of the weights that made the embeddings.
    device
        Where the encoder ran and in which precision, for example "cpu/bfloat16".
    intensity
        Mean, 1st and 99th percentile of the frame in counts.

    Raises
    ------
    ArchiveError
        If the parts contradict each other.
    """

    path: str
    index: int = 0
    size: int = 0
    mtime_ns: int = 0
    content_hash: str = ""
    exposed: float = float("nan")
    seen: float = float("nan")
    read: float = float("nan")
    classified: float = float("nan")
    pixel_size: float | None = None
    unit: str | None = None
    shape: tuple[int, int] = (0, 0)
    chip_size: tuple[int, int] = (0, 0)
    status: Status = "ok"
    reason: str = ""
    embeddings: npt.NDArray[np.float16] | None = field(default=None, repr=False)
    result: FrameResult | None = field(default=None, repr=False)
    encoder_hash: str = ""
    device: str = ""
    intensity: tuple[float, float, float] = (float("nan"),) * 3

    def __post_init__(self) -> None:
        if (self.status == "ok") != (self.result is not None):
            raise ArchiveError(f"{self.path}: a frame has a result or failed, not both")
        if self.result is None:
            return
        grid = self.result.label_map.shape
        if len(grid) != 2 or 0 in grid:
            raise ArchiveError(f"{self.path}: a label map of shape {grid} has no chips")
        if self.embeddings is not None and (
            self.embeddings.ndim != 3 or self.embeddings.shape[:2] != grid
        ):
            raise ArchiveError(
                f"{self.path}: embeddings of shape {self.embeddings.shape} do not fit "
                f"the {grid[0]} x {grid[1]} chips"
            )

    @property
    def id(self) -> FrameId:
        """Key and revision."""
        return FrameId(self.path, self.index, self.size, self.mtime_ns, self.status)

    @property
    def time(self) -> float:
        """When the frame was taken, as well as is known, in seconds since 1970."""
        candidates = (self.exposed, self.mtime_ns * 1e-9, self.seen, self.classified)
        return next((t for t in candidates if np.isfinite(t) and t > 0), 0.0)
