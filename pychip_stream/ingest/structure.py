"""What a look at a file's structure tells, before any pixel is decoded."""

from dataclasses import dataclass
from typing import Any

from pychip_stream.errors import FrameError, FrameUsageError


@dataclass(frozen=True, slots=True)
class Structure:
    """A whole, readable file.

    Attributes
    ----------
    frames
        Frames in it, at least 1.
    detail
        Whatever the format's reader wants to find again.
    """

    frames: int
    detail: Any = None

    def check(self, name: str, index: int) -> None:
        """Refuse an index that the file does not have.

        Raises
        ------
        FrameUsageError
            If `index` is not 0…frames − 1.
        """
        if not 0 <= index < self.frames:
            raise FrameUsageError(f"{name}: has {self.frames} frame(s), counted from 0; no {index}")


def check_memory(name: str, needed: int, max_bytes: int) -> None:
    """Refuse to allocate more than allowed.

    Raises
    ------
    FrameError
        If `needed` bytes are more than `max_bytes`.
    """
    if needed > max_bytes:
        raise FrameError(
            f"{name}: would need {needed / 2**20:,.0f} MiB of memory, the limit is "
            f"{max_bytes / 2**20:,.0f} MiB; raise watch.max_frame_mb if the file is right"
        )
