"""Reading ahead: the file of the next frame is read while the last one is classified."""

import contextlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain, pairwise
from pathlib import Path
from typing import TypeAlias

from pychip_stream.domain.frames import Frame, FrameRef, inside
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.errors import FrameError
from pychip_stream.formats.reading import ReadChecked

Wanted: TypeAlias = tuple[Path, int, int, int]
"""What `read_checked` is called with: path, index, size and time of the file."""
_LOOK_S = 0.5


class ReadAhead:
    """Reads one frame more than it is asked for, in a thread of its own.

    Parameters
    ----------
    read
        Reads a frame.
    progress
        Told every half second that a file is still being read; what it raises ends the wait.
    """

    def __init__(self, read: ReadChecked, progress: Progress = no_progress) -> None:
        self._read, self._progress = read, progress
        self._thread = ThreadPoolExecutor(1, "read-ahead")
        self._begun: tuple[Wanted, Future[tuple[Frame, str]]] | None = None

    def then(self, root: Path, following: FrameRef | None) -> ReadChecked:
        """Return what reads a frame, and then begins with the one that follows below a root."""

        def read(path: Path, index: int, size: int, mtime_ns: int) -> tuple[Frame, str]:
            wanted = path, index, size, mtime_ns
            if self._begun is None or self._begun[0] != wanted:
                self._begin(wanted)
            assert self._begun is not None
            (_, reading), self._begun = self._begun, None
            while wait([reading], _LOOK_S).not_done:
                self._progress(0, 1)
            found = reading.result()
            if following is not None:
                with contextlib.suppress(FrameError):  # said when it is asked for
                    path = inside(root, following.path)
                    self._begin((path, following.index, following.size, following.mtime_ns))
            return found

        return read

    def _begin(self, wanted: Wanted) -> None:
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
