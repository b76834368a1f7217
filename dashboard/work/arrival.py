"""Arrival: one file on its way from a viewer's machine, in pieces."""

from pathlib import Path, PurePath
from typing import BinaryIO

from pychip_stream.errors import PychipError


def plain_name(name: str) -> str:
    """Name of a file without the folders that a browser may have named."""
    return PurePath(name.replace("\\", "/")).name


def safe_name(name: str) -> str:
    """Name under which a viewer's file may lie here; perhaps empty."""
    kept = "".join(c if c.isalnum() or c in " ._-()" else "_" for c in plain_name(name))
    return kept.strip(" .")[-120:]


class Arrival:
    """Writes what comes into a file; at most as much as was announced.

    Parameters
    ----------
    nothing
        What errors begin with.
    most_bytes
        Of a file.
    """

    def __init__(self, nothing: str, most_bytes: int) -> None:
        self._nothing = nothing
        self._most_bytes = most_bytes
        self._file: BinaryIO | None = None
        self._expected = 0

    def begin(self, path: Path, size: int) -> None:
        """Expect a file of so many bytes, and forget one that was on its way."""
        self.drop()
        if not 0 < size <= self._most_bytes:
            what = "is empty" if size <= 0 else f"is larger than {self._most_bytes >> 20} MiB"
            raise PychipError(f"{self._nothing}: {path.name} {what}")
        path.parent.mkdir(exist_ok=True)
        self._file, self._expected = path.open("wb"), size

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        if self._file is None:
            raise PychipError(self._nothing)
        if self._file.tell() + len(data) > self._expected:
            self.drop()
            raise PychipError(f"{self._nothing}: more came than was announced")
        self._file.write(data)

    def finish(self) -> None:
        """Close the file.

        Raises
        ------
        PychipError
            If it is not whole, or none was on its way.
        """
        if self._file is None:
            raise PychipError(self._nothing)
        whole = self._file.tell() == self._expected
        self.drop()
        if not whole:
            raise PychipError(f"{self._nothing}: it did not arrive whole")

    def drop(self) -> None:
        """Expect nothing more."""
        if self._file is not None:
            self._file.close()
            self._file = None
