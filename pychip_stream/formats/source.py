"""Source: access to the bytes of a file; and what a format has to say of one."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.errors import (
    FrameError,
    FrameIncompleteError,
    FrameMissingError,
    FrameUnreachableError,
    FrameUsageError,
)
from pychip_stream.formats import shared_files

Extent = tuple[int, int]
"""Where bytes are: offset and count."""

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
    final
        Nothing will be added to the file any more: what is missing in it costs single frames.
    """

    def __init__(
        self, file: BinaryIO, name: str, detector: str = "", *, final: bool = True
    ) -> None:
        self.name = name
        self.detector = detector
        self.final = final
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

    def digest(self, extents: Iterable[Extent] | None = None) -> str:
        """Hash of the whole content, or of parts of it: xxh3_128 in hexadecimal."""
        digest = xxhash.xxh3_128()
        for offset, count in [(0, self.size)] if extents is None else extents:
            for start in range(offset, offset + count, _HASH_BLOCK):
                digest.update(self.view_at(start, min(_HASH_BLOCK, offset + count - start)))
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


@contextmanager
def opened(path: Path, detector: str = "", *, final: bool = True) -> Iterator[Source]:
    """Open a file as a source.

    Raises
    ------
    FrameUnreachableError
        If it cannot be opened now: trouble with the file system is no fault of the frame, so it
        is worth another try.
    FrameError
        If it is not a file.
    """
    if path.is_dir():
        raise FrameUsageError(f"{path}: is a folder, not a frame")
    try:
        file = shared_files.open_shared(path) if sys.platform == "win32" else path.open("rb")
    except OSError as error:
        raise _away(str(path), error) from error
    except ValueError as error:  # a null character in the name
        raise FrameError(f"{str(path)!r}: {error}") from error
    with file:
        yield Source(file, str(path), detector, final=final)


def _away(name: str, error: OSError) -> FrameUnreachableError:
    if isinstance(error, FileNotFoundError):
        return FrameMissingError(f"{name}: no such file")
    reason = error.strerror or str(error)
    return FrameUnreachableError(f"{name}: cannot be read now ({reason}); check folder and rights")


MOST_MISSING = 10_000
"""Frames of a file that are named one by one when they are missing."""


@dataclass(frozen=True, slots=True)
class Structure:
    """A whole, readable file.

    Attributes
    ----------
    frames
        Frames in it; 0 for a picture that this program made itself.
    detail
        Whatever the format's reader wants to find again.
    missing
        What is wrong with the frames of a stack that cannot be read, by their index.
    """

    frames: int
    detail: Any = None
    missing: Mapping[int, FrameError] = field(default_factory=dict)

    def check(self, name: str, index: int) -> None:
        """Refuse an index that the file does not have, and a frame that is missing in it.

        Raises
        ------
        FrameUsageError
            If `index` is not 0…frames − 1.
        FrameError
            If the frame is missing.
        """
        if index in self.missing:
            raise self.missing[index].with_traceback(None)
        if self.frames == 0:
            raise FrameUsageError(
                f"{name}: is a picture that pychip-stream made, not a frame; choose a frame"
            )
        if not 0 <= index < self.frames:
            raise FrameUsageError(f"{name}: has {self.frames} frame(s), counted from 0; no {index}")


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: a module of this folder has one (`raster` two).

    Attributes
    ----------
    name
        For people; unique.
    suffixes
        Endings of file names, in lower case, that may hold it.
    matches
        Tells it by the file and its first bytes (up to 16), whatever the name is.
    examine
        Looks at the structure without decoding pixels: how many frames there are. Raises
        FrameIncompleteError while the file is not whole, FrameError when it never will be.
    read
        Reads a frame, given what `examine` found, its index and the bytes of memory it may need.
    own_time
        Tells when the file says that its first frame was taken, without decoding pixels.
    extents
        Tells where the bytes of a frame are, for formats to which frames are added one by one.
    place
        When a file is tried for it: 0 where its beginning is unmistakable, later where not.
    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[Source, bytes], bool]
    examine: Callable[[Source], Structure]
    read: Callable[[Source, Structure, int, int], Frame]
    own_time: Callable[[Source, Structure], Stamp | None] = lambda _source, _structure: None
    extents: Callable[[Structure, int], Sequence[Extent]] | None = None
    place: int = 0


MAX_FRAMES = 1_000_000
"""Frames that one file may announce: some hundred bytes each are kept of them."""


def check_frames(name: str, frames: int) -> None:
    """Refuse to take a file at its word that announces more frames than anybody would put there.

    Raises
    ------
    FrameError
        If they are more than MAX_FRAMES.
    """
    if frames > MAX_FRAMES:
        raise FrameError(
            f"{name}: announces {frames:,} frames, the limit is {MAX_FRAMES:,}; it is damaged, or "
            "several files would be better"
        )


@contextmanager
def one_frame(source: Source, missing: dict[int, FrameError], index: int) -> Iterator[None]:
    """Let what is wrong with a frame of a stack cost this frame; wait while it may still come."""
    try:
        yield
    except FrameError as error:
        if isinstance(error, FrameIncompleteError) and not source.final:
            raise
        if len(missing) >= MOST_MISSING:
            raise
        missing[index] = error.with_traceback(None)  # which would keep the file in memory


def cut_off(source: Source, there: int, announced: int, reason: str) -> dict[int, FrameError]:
    """Frames that a file announces beyond those that are there; wait while they may still come.

    Raises
    ------
    FrameIncompleteError
        If they may still come, or there is no frame at all.
    """
    error = FrameIncompleteError(f"{source.name}: {reason}")
    if not source.final or not there:
        raise error
    return dict.fromkeys(range(there, min(announced, there + MOST_MISSING)), error)


def wanted(source: Source, names: Sequence[str]) -> int:
    """Position of the image that is wanted among those of a file; 0 where none is asked for.

    Raises
    ------
    FrameError
        If none of them has that name: another one in its place would be a wrong number.
    """
    known = [name.casefold() for name in names]
    if not source.detector or not any(known):
        return 0
    if source.detector.casefold() not in known:
        found = ", ".join(name or "one without a name" for name in names)
        raise FrameError(
            f"{source.name}: holds no image of {source.detector!r} (watch.detector), but {found}"
        )
    return known.index(source.detector.casefold())


def left_out(kind: str, names: Sequence[str], chosen: int) -> tuple[str, ...]:
    """Say which images or channels of a file are not analysed; nothing where there is only one."""
    called = [name or "unnamed" for name in names]
    name = called.pop(chosen)
    if not called:
        return ()
    return (f"{len(names)} {kind}: {name} is analysed, {', '.join(called)} left out",)


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
