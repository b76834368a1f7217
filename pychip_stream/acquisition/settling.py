"""Settling: from a file that was found to one that is complete.

A file is handed on at once when its structure is whole and the system says that nobody writes
it; where the system cannot tell, when it has not changed for a quiet time.
"""

import heapq
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pychip_stream.acquisition.tree import Stat, Tree
from pychip_stream.acquisition.writers import being_written
from pychip_stream.domain.frames import FrameRef, mtime_of
from pychip_stream.errors import (
    FrameError,
    FrameIncompleteError,
    FrameLostError,
    FrameUnreachableError,
)
from pychip_stream.formats.reading import Contents

logger = logging.getLogger(__name__)

_LONGEST_PAUSE_S = 2.0
_BLOCK = 512


@dataclass(slots=True)
class Candidate:
    """A file that is not handed on yet.

    Attributes
    ----------
    path
        Relative to the root, with forward slashes.
    found
        Size and time when last asked.
    seen
        When it was first seen, seconds since 1970.
    changed
        When `found` last changed, on the monotonic clock.
    reason
        Why it is not handed on; empty before the first look.
    losses
        How often looking at it went wrong as never happens with a good file.
    """

    path: str
    found: Stat
    seen: float
    changed: float
    reason: str = ""
    losses: int = 0


@dataclass(frozen=True, slots=True)
class Sighting:
    """A revision of a file that is complete, or that never will be.

    Attributes
    ----------
    frame
        Its first frame.
    frames
        Frames in it; 1 for a refused file.
    problem
        Why no frame can be had from it, or None.
    missing
        Why single frames of it cannot be had, by their index.
    """

    frame: FrameRef
    frames: int = 1
    problem: str | None = None
    missing: Mapping[int, str] = field(default_factory=dict)


class Settler:
    """Looks after the files that are not handed on yet.

    Parameters
    ----------
    tree
        Tells where the files are, and is told their newer sizes and times.
    look
        Finds the frames of a file of so many bytes, as `formats.reading.contents` does.
    attempts
        A file at which so many looks were lost has failed.
    quiet_s, incomplete_s
        Unchanged for this long counts as finished; incomplete for this long as failed.
    pause_s
        Shortest pause between two looks at a file.
    local
        Whether the system's word on writers may be believed (not for network folders).
    """

    def __init__(
        self,
        tree: Tree,
        look: Callable[[str, int, bool], Contents],
        *,
        quiet_s: float,
        incomplete_s: float,
        pause_s: float,
        local: bool,
        attempts: int = 3,
    ) -> None:
        self._tree = tree
        self._look_into = look
        self._attempts = attempts
        self._quiet_s = quiet_s
        self._incomplete_s = incomplete_s
        self._pause_s = pause_s
        self._local = local
        self._candidates: dict[str, Candidate] = {}
        self._fresh: list[tuple[int, str]] = []
        self._waiting: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}

    def add(self, path: str, found: Stat) -> None:
        """Take up a file that is new or has changed."""
        now = time.monotonic()
        known = self._candidates.get(path)
        if known is None:
            self._candidates[path] = Candidate(path, found, time.time(), now)
            heapq.heappush(self._fresh, (-found[1], path))
        elif known.found != found:
            known.found, known.changed = found, now
            if path in self._due:
                self._wait(known, now)

    def nudge(self, path: str) -> None:
        """Look at a file again soon: something has happened to it, its closing perhaps."""
        candidate = self._candidates.get(path)
        if candidate is not None and path in self._due:
            self._wait(candidate, time.monotonic())

    def drop(self, path: str) -> None:
        """Forget a file that is gone."""
        self._candidates.pop(path, None)
        self._due.pop(path, None)

    def step(self, budget_s: float) -> list[Sighting]:
        """Look at candidates, newest first, for at most about `budget_s` seconds."""
        end = time.monotonic() + budget_s
        settled: list[Sighting] = []
        for candidate in self._next():
            result = self._look_safely(candidate)
            if result is not None:
                self.drop(candidate.path)
                settled.append(result)
            if time.monotonic() >= end:
                break
        return settled

    def pause(self) -> float:
        """Seconds until a candidate wants to be looked at; infinity without any."""
        if self._fresh:
            return 0.0
        if not self._waiting:
            return float("inf")
        return max(0.0, self._waiting[0][0] - time.monotonic())

    def unfinished(self) -> Iterator[Candidate]:
        """Candidates that were looked at and are not complete."""
        return (self._candidates[path] for path in self._due)

    @property
    def unfinished_count(self) -> int:
        """Candidates that were looked at and are not complete."""
        return len(self._due)

    def __len__(self) -> int:
        return len(self._candidates)

    def _next(self) -> Iterator[Candidate]:
        """Candidates to look at: by turns one that is new and one whose time has come."""
        now, fresh_first = time.monotonic(), True
        while True:
            # One at a time: whoever stops asking must not lose the next.
            if fresh_first:
                candidate = self._next_fresh() or self._next_due(now)
            else:
                candidate = self._next_due(now) or self._next_fresh()
            if candidate is None:
                return
            fresh_first = not fresh_first
            yield candidate

    def _next_fresh(self) -> Candidate | None:
        while self._fresh:
            _, path = heapq.heappop(self._fresh)
            candidate = self._candidates.get(path)
            if candidate is not None and path not in self._due:
                return candidate
        return None

    def _next_due(self, now: float) -> Candidate | None:
        while self._waiting and self._waiting[0][0] <= now:
            due, path = heapq.heappop(self._waiting)
            if self._due.get(path) == due:
                del self._due[path]
                return self._candidates[path]
        return None

    def _wait(self, candidate: Candidate, due: float) -> None:
        self._due[candidate.path] = due
        heapq.heappush(self._waiting, (due, candidate.path))

    def _look_safely(self, candidate: Candidate) -> Sighting | None:
        """Look at a candidate; an error of our own must not lose it or stop the others."""
        try:
            return self._look(candidate)
        except Exception as error:
            logger.exception("%s could not be judged", candidate.path)
            self._later(candidate, time.monotonic(), f"could not be judged ({error})")
            return None

    def _look(self, candidate: Candidate) -> Sighting | None:
        """Decide on one candidate, or say when to look again."""
        now = time.monotonic()
        try:
            found = os.stat(self._tree.absolute(candidate.path))  # noqa: PTH116
        except OSError as error:
            # Gone, or the folder is: the tree will say; until then it is kept.
            self._later(candidate, now, f"cannot be read now ({error.strerror or error})")
            return None
        current = (found.st_size, mtime_of(found))
        if current != candidate.found:
            candidate.found, candidate.changed = current, now
            self._tree.note(candidate.path, current)
        writing = being_written(self._tree.absolute(candidate.path)) if self._local else None
        if writing:
            self._later(candidate, now, "is open in the program that writes it")
            return None
        quiet = now - candidate.changed >= self._quiet_s
        # A file with holes was preallocated, or copied sparsely; nobody can tell which.
        holes = getattr(found, "st_blocks", found.st_size) * _BLOCK < found.st_size
        if not quiet and (writing is None or holes):
            self._wait(candidate, candidate.changed + self._quiet_s)
            candidate.reason = candidate.reason or "was changed just now"
            return None
        return self._judge(candidate, now, quiet)

    def _judge(self, candidate: Candidate, now: float, quiet: bool) -> Sighting | None:
        """Look into a file: a closed one may still be half a file."""
        size, mtime_ns = candidate.found
        final = now - candidate.changed >= self._incomplete_s
        frame = FrameRef(
            path=candidate.path, size=size, mtime_ns=mtime_ns, time=mtime_ns / 1e9,
            seen=candidate.seen,
        )  # fmt: skip
        try:
            found = self._look_into(self._tree.absolute(candidate.path), size, final)
            return Sighting(frame, found.frames, missing=found.missing)
        except FrameLostError as error:
            candidate.losses += 1
            if candidate.losses >= self._attempts:
                return Sighting(frame, problem=str(error))
            self._later(candidate, now, str(error))
        except FrameIncompleteError as error:
            if final and not isinstance(error, FrameUnreachableError):
                return Sighting(frame, problem=str(error))
            self._later(candidate, now, str(error))
        except FrameError as error:
            if quiet:
                return Sighting(frame, problem=str(error))
            candidate.reason = str(error)
            self._wait(candidate, candidate.changed + self._quiet_s)
        return None

    def _later(self, candidate: Candidate, now: float, reason: str) -> None:
        """Look again soon, and less and less often while nothing changes."""
        candidate.reason = reason
        pause = min(_LONGEST_PAUSE_S, max(self._pause_s, (now - candidate.changed) / 4))
        self._wait(candidate, now + pause)
