"""Plain files: what goes by the name of one may be a pipe, a device, a folder, or endless."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_SMALL = 64 << 20
_PIECE = 1 << 20
_PLAIN = getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


class NoFileError(OSError):
    """What goes by a file's name is a folder, a pipe or a device, or much too large for it."""

    def __str__(self) -> str:
        return self.strerror or ""


def open_file(path: Path) -> BinaryIO:
    """Open a file to read; NoFileError where it is a pipe or a device, which might never end."""
    try:
        number = os.open(path, os.O_RDONLY | _PLAIN)
    except IsADirectoryError as error:
        raise NoFileError(errno.EISDIR, "is a folder", str(path)) from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise NoFileError(errno.EINVAL, "is no file", str(path))
    return os.fdopen(number, "rb")


def read_small(path: Path, most: int = _SMALL) -> bytes:
    """Read a small file whole.

    Raises
    ------
    NoFileError
        If it is none, or has more bytes than `most`.
    OSError
        If it cannot be read.
    """
    with open_file(path) as file:
        parts, left = [], most if os.fstat(file.fileno()).st_size <= most else -1
        while left >= 0 and (part := file.read(_PIECE)):
            parts.append(part)
            left -= len(part)
    if left >= 0:
        return b"".join(parts)
    raise NoFileError(errno.EFBIG, "is too large", str(path))
