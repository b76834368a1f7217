"""Source: access to the bytes of a file; and what a format has to say of one."""

import os
from typing import BinaryIO

import xxhash

from pychip_stream.errors import (
    FrameIncompleteError,
)

_WINDOW = 1 << 16
_HASH_BLOCK = 1 << 22


class Source:
    """Random access to an open file, through its content in memory or a window on the disk.

    Parameters
    ----------
    file
        Opened for reading in binary mode.
    name
        What messages call it.

    Attributes
    ----------
    size
        Bytes the file had when it was opened.
    detector
        Which image is wanted of a file that holds several; empty: the format's own choice.
    """

    def __init__(self, file: BinaryIO, name: str, detector: str = "") -> None:
        self.name = name
        self.detector = detector
        self.file = file
        self.size = os.fstat(file.fileno()).st_size
        self._data: bytes | None = None
        self._window = b""
        self._start = 0

    def load(self, known: bytes | None = None) -> bytes:
        """Read the whole file into memory, once; later accesses use that.

        Parameters
        ----------
        known
            Its content, from an earlier time.

        Raises
        ------
        FrameIncompleteError
            If it has become shorter since it was opened.
        """
        if self._data is None:
            self._data = self._read(0, self.size) if known is None else known
            self._window, self._start = self._data, 0
        return self._data

    @property
    def loaded(self) -> bool:
        """Whether the content is in memory."""
        return self._data is not None

    def bytes_at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes from `offset`.

        Raises
        ------
        FrameIncompleteError
            If they are not all in the file.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise FrameIncompleteError(
                f"{self.name}: ends at byte {self.size}, but its structure goes on to "
                f"{offset + count}; it is still being written or was cut off"
            )
        if self._data is not None:
            return self._data[offset : offset + count]
        start = offset - self._start
        if start < 0 or start + count > len(self._window):
            if count > _WINDOW:
                return self._read(offset, count)
            self._window = self._read(offset, min(_WINDOW, self.size - offset))
            self._start = offset
            start = 0
        return self._window[start : start + count]

    def view_at(self, offset: int, count: int) -> memoryview:
        """Return `count` bytes from `offset` without copying what is in memory already."""
        if self._data is not None and offset >= 0 and offset + count <= self.size:
            return memoryview(self._data)[offset : offset + count]
        return memoryview(self.bytes_at(offset, count))

    def digest(self) -> str:
        """Hash of the whole content: xxh3_128 in hexadecimal."""
        if self._data is not None:
            return xxhash.xxh3_128_hexdigest(self._data)
        digest = xxhash.xxh3_128()
        for start in range(0, self.size, _HASH_BLOCK):
            digest.update(self._read(start, min(_HASH_BLOCK, self.size - start)))
        return digest.hexdigest()

    def _read(self, offset: int, count: int) -> bytes:
        try:
            self.file.seek(offset)
            data = self.file.read(count)
        except OSError as error:
            raise _away(self.name, error) from error
        if len(data) != count:
            raise FrameIncompleteError(
                f"{self.name}: became shorter while it was read; try again when it is finished"
            )
        return data
