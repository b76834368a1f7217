"""HDF5 files that were cut off: opened as if zeros stood where their bytes are missing.

HDF5 opens no file that ends before it says so. What is described before the cut can be read all the
same; of the frames of a stack those count whose bytes are all there.
"""

import contextlib
import io
import math
import mmap
import re
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pychip_stream import foreign
from pychip_stream.formats.source import Source

_TAIL = 1 << 20
"""Bytes before the cut in which a heap of texts may begin that goes on behind it."""


def announced_end(error: OSError) -> int | None:
    """Bytes that a file has by its own account, if HDF5 does not open it since it has fewer."""
    told = re.search(r"truncated file: .*stored_eof = (\d+)", str(error))
    return int(told[1]) if told else None


def open_cut(source: Source, end: int) -> h5py.File:
    """Open a file that was cut off; what is missing of its `end` bytes reads as zeros.

    Raises
    ------
    UnusableFileError
        If texts of it would hold HDF5 for ever.
    """
    with mmap.mmap(source.file.fileno(), 0, access=mmap.ACCESS_READ) as view:
        foreign.check_heaps(view)
        foreign.check_heaps(view[max(len(view) - _TAIL, 0) :] + bytes(64))
    return h5py.File(_Padded(source, end), "r")


def is_cut(file: h5py.File) -> bool:
    """Whether a file was opened by `open_cut`."""
    return bool(file.driver == "fileobj")


def missing_frames(data: h5py.Dataset, axis: int, there: int) -> list[int]:
    """Frames of a stack whose bytes are not all among the first ones of its file.

    Parameters
    ----------
    axis
        Along which the frames are counted.
    there
        Bytes of the file that there are.
    """
    whole: npt.NDArray[np.bool_] = np.zeros(data.shape[axis], bool)
    if data.chunks is not None:
        step = data.chunks[axis]
        edges = zip(data.shape, data.chunks, strict=True)
        wanted = math.prod(-(-edge // chunk) for edge, chunk in edges) // -(-len(whole) // step)
        found = np.zeros(len(whole), np.int64)

        def count(chunk: Any) -> None:
            if chunk.byte_offset + chunk.size <= there:
                first = chunk.chunk_offset[axis]
                found[first : first + step] += 1

        with contextlib.suppress(RuntimeError):  # the rest of the index is missing, too
            data.id.chunk_iter(count)
        whole = found == wanted
    elif (start := data.id.get_offset()) is not None:
        each = data.size * data.dtype.itemsize // max(len(whole), 1)
        # Frames that are not along the first axis lie among each other.
        last = start + each * (np.arange(len(whole)) + 1 if axis == 0 else len(whole))
        whole = np.broadcast_to(last <= there, whole.shape)
    return np.flatnonzero(~whole).tolist()


class _Padded(io.RawIOBase):
    """The bytes of a file, then zeros."""

    def __init__(self, source: Source, end: int) -> None:
        self._source = source
        self._end = end
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = max(min(len(buffer), self._end - self._at), 0)
        there = max(min(count, self._source.size - self._at), 0)
        buffer[:there] = self._source.bytes_at(self._at, there) if there else b""
        buffer[there:count] = bytes(count - there)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._end)[whence]
        return self._at

    def tell(self) -> int:
        return self._at
