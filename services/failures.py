"""Failures: frames that cannot be analysed, told to the archiver until it has recorded them."""

from collections import deque

from pychip_stream.wire.messages import ArchivedKey, FrameFailed, FrameRef

_RESEND_S = 2.0


class Failures:
    """What is to be told, each once at first and all again while they are not recorded."""

    def __init__(self) -> None:
        self._open: dict[str, dict[tuple[int, int, int], FrameFailed]] = {}
        self._unsent: deque[FrameFailed] = deque()
        self._resend_at = 0.0

    def __len__(self) -> int:
        return sum(len(of_path) for of_path in self._open.values())

    def add(self, frame: FrameRef, reason: str) -> None:
        """Take up a frame and why it failed."""
        failure = FrameFailed(frame=frame, reason=reason)
        self._open.setdefault(frame.path, {})[_revision(frame)] = failure
        self._unsent.append(failure)

    def supersede(self, frame: FrameRef) -> None:
        """Let failures of other revisions of a file go: told late, they would pass for news."""
        of_path = self._open.get(frame.path, {})
        size_and_time = (frame.size, frame.mtime_ns)
        kept = {key: failure for key, failure in of_path.items() if key[1:] == size_and_time}
        self._keep(frame.path, kept)

    def recorded(self, key: ArchivedKey) -> None:
        """Note that a revision is in the archive."""
        of_path = self._open.get(key.path)
        if of_path is not None and of_path.pop(_revision(key), None) is not None:
            self._keep(key.path, of_path)

    def next(self, now: float) -> FrameFailed | None:
        """Return what to tell now, if anything; it stays the next one until it was `sent`."""
        if not self._unsent and now >= self._resend_at:
            self._unsent.extend(f for of_path in self._open.values() for f in of_path.values())
        while self._unsent:
            failure = self._unsent[0]
            if self._open.get(failure.frame.path, {}).get(_revision(failure.frame)) is failure:
                return failure
            self._unsent.popleft()
        return None

    def sent(self, now: float) -> None:
        """Note that the next one was sent."""
        self._unsent.popleft()
        self._resend_at = now + _RESEND_S

    def _keep(self, path: str, of_path: dict[tuple[int, int, int], FrameFailed]) -> None:
        if of_path:
            self._open[path] = of_path
        else:
            self._open.pop(path, None)


def _revision(frame: FrameRef | ArchivedKey) -> tuple[int, int, int]:
    return frame.index, frame.size, frame.mtime_ns
