"""Failures: frames that cannot be analysed, to be told until the archive has recorded them."""

from collections import deque
from typing import NamedTuple

from pychip_stream.domain.frames import FrameRef

_RESEND_S = 2.0


class Failure(NamedTuple):
    """A frame and why it cannot be analysed."""

    frame: FrameRef
    reason: str


class Failures:
    """What is to be told, each once at first and all again while they are not recorded."""

    def __init__(self) -> None:
        self._open: dict[str, dict[FrameRef, Failure]] = {}
        self._unsent: deque[Failure] = deque()
        self._resend_at = 0.0

    def __len__(self) -> int:
        return sum(len(of_path) for of_path in self._open.values())

    def add(self, frame: FrameRef, reason: str) -> None:
        """Take up a frame and why it failed."""
        failure = Failure(frame, reason)
        self._open.setdefault(frame.path, {})[frame] = failure
        self._unsent.append(failure)

    def supersede(self, frame: FrameRef) -> None:
        """Let failures of other revisions of a file go: told late, they would pass for news."""
        of_path = self._open.get(frame.path, {})
        now = (frame.size, frame.mtime_ns)
        self._keep(frame.path, {f: w for f, w in of_path.items() if (f.size, f.mtime_ns) == now})

    def recorded(self, frame: FrameRef) -> None:
        """Note that a revision is in the archive."""
        of_path = self._open.get(frame.path)
        if of_path is not None and of_path.pop(frame, None) is not None:
            self._keep(frame.path, of_path)

    def next(self, now: float) -> Failure | None:
        """Return what to tell now, if anything; it stays the next one until it was `sent`."""
        if not self._unsent and now >= self._resend_at:
            self._unsent.extend(f for of_path in self._open.values() for f in of_path.values())
        while self._unsent:
            failure = self._unsent[0]
            if self._open.get(failure.frame.path, {}).get(failure.frame) is failure:
                return failure
            self._unsent.popleft()
        return None

    def sent(self, now: float) -> None:
        """Note that the next one was sent."""
        self._unsent.popleft()
        self._resend_at = now + _RESEND_S

    def _keep(self, path: str, of_path: dict[FrameRef, Failure]) -> None:
        if of_path:
            self._open[path] = of_path
        else:
            self._open.pop(path, None)
