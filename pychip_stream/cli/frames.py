"""Frames that commands are given: a file, or a folder that stands for its first frame."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pychip_stream.domain.frames import Frame


def open_frame(path: Path, index: int) -> "Frame":
    """Read a frame of a file, or of the first file in a folder or anywhere below it.

    Raises
    ------
    UsageError
        If a folder holds none.
    FrameError
        If it cannot be read.
    """
    from pychip_stream.formats.reading import read_frame

    if path.is_dir():
        from pychip_stream.analysis.classification import Batch  # loads torch

        path = Batch.of([path]).paths[0]
    return read_frame(path, index)
