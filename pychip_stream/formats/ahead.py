"""Reading ahead: the file of the next frame is read while the last one is classified."""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, pairwise
from pathlib import Path
from typing import TypeAlias

from pychip_stream.domain.frames import Frame, FrameRef, inside
from pychip_stream.errors import FrameError
from pychip_stream.formats.reading import ReadChecked

Wanted: TypeAlias = tuple[Path, int, int, int]
"""What `read_checked` is called with: path, index, size and time of the file."""


class ReadAhead:
    """Reads one frame more than it is asked for, in a thread of its own.

    Parameters
    ----------
    read
        Reads a frame; may be called by two threads at once.
    """

    def __init__(self, read: ReadChecked) -> None:
        self._read = read
        self._thread = ThreadPoolExecutor(1, "read-ahead")
        self._begun: tuple[Wanted, Future[tuple[Frame, str]]] | None = None

    def then(self, root: Path, following: FrameRef | None) -> ReadChecked:
        """Return what reads a frame, and then begins with the one that follows below a root."""

        def read(path: Path, index: int, size: int, mtime_ns: int) -> tuple[Frame, str]:
            wanted, begun = (path, index, size, mtime_ns), self._begun
            self._begun = None
            known = begun is not None and begun[0] == wanted
            found = begun[1].result() if begun is not None and known else self._read(*wanted)
            if following is not None:
                self._begin(root, following)
            return found

        return read

    def _begin(self, root: Path, ref: FrameRef) -> None:
        try:
            wanted = inside(root, ref.path), ref.index, ref.size, ref.mtime_ns
        except FrameError:
            return  # said when it is asked for
        self._begun = wanted, self._thread.submit(self._read, *wanted)

    def forget(self) -> None:
        """Read again what was begun: frames are to be read in another way."""
        self._begun = None

    def close(self) -> None:
        """Wait for what is being read, and end."""
        self._thread.shutdown(cancel_futures=True)


def with_following(refs: Iterable[FrameRef]) -> Iterator[tuple[FrameRef, FrameRef | None]]:
    """Give each frame together with the one after it."""
    ends: list[FrameRef | None] = [None]
    for ref, following in pairwise(chain[FrameRef | None](refs, ends)):
        assert ref is not None
        yield ref, following
