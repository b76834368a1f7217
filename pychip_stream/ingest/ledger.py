"""Ledger: which frames wait, which are handed out, which are archived. No clock, no socket.

Nothing here is durable and nothing needs to be: what is to do follows from the folder and the
archive, and is told again after a restart.
"""

import heapq
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

logger = logging.getLogger(__name__)

_FIRST_REST_S = 0.5
_LONGEST_REST_S = 30.0
_TRAVEL_S = 5.0


class Sighted(Protocol):
    """What the ledger needs to know of a file (see `watch.Sighting`)."""

    @property
    def path(self) -> str: ...  # noqa: D102

    @property
    def size(self) -> int: ...  # noqa: D102

    @property
    def mtime_ns(self) -> int: ...  # noqa: D102

    @property
    def frames(self) -> int: ...  # noqa: D102

    @property
    def time(self) -> float: ...  # noqa: D102

    @property
    def seen(self) -> float: ...  # noqa: D102

    @property
    def problem(self) -> str | None: ...  # noqa: D102


class Revision(NamedTuple):
    """One frame of one state of a file."""

    path: str
    number: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Lease:
    """A frame that was handed to a worker, or (quarantined) that nobody gets any more.

    Attributes
    ----------
    path, index, size, mtime_ns
        The revision of the frame.
    lease
        Number of the lease.
    attempt
        Which try this is, from 1.
    newest
        Handed out ahead of the backlog, for the display.
    worker
        Who has it.
    time, seen
        Of the sighting.
    """

    path: str
    index: int
    size: int
    mtime_ns: int
    lease: int
    attempt: int
    newest: bool
    worker: str
    time: float
    seen: float


@dataclass(slots=True, eq=False)
class _Task:
    """A frame that is not archived.

    `waiting`: nobody has it and it may be handed out. `current`: its file has not changed.
    """

    key: Revision
    time: float
    seen: float
    leasable: bool = True
    waiting: bool = False
    current: bool = True
    attempts: int = 0
    releases: int = 0
    lease: int = 0

    @property
    def rank(self) -> tuple[float, int]:
        """Order of acquisition."""
        return self.time, self.key.number


@dataclass(slots=True)
class _Out:
    """A lease that is out.

    `named`: its worker has said that it has it. `done`: it has it no more, so that the result
    is on its way to the archive or lost.
    """

    lease: Lease
    task: _Task
    issued: float
    until: float
    named: bool = False
    done: bool = False


class Ledger:
    """Bookkeeping of frames between the folder and the archive.

    Times are whatever the caller uses, as long as they do not run backwards.

    Parameters
    ----------
    max_attempts
        A frame whose worker went silent this often is quarantined.
    lease_s
        A lease lasts this long unless it is renewed.
    grace_s
        How long a result may take to the archive; after that the frames of a worker or an
        archiver that died meanwhile are handed out again.
    """

    def __init__(self, max_attempts: int = 3, lease_s: float = 60.0, grace_s: float = 10.0) -> None:
        self._max_attempts = max_attempts
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._now = float("-inf")
        self._tasks: dict[Revision, _Task] = {}
        self._current: dict[str, tuple[int, int, int]] = {}
        self._archived: set[Revision] = set()
        self._failed: set[Revision] = set()
        self._newest: list[tuple[float, int, int, _Task]] = []
        self._oldest: list[tuple[float, str, int, int, _Task]] = []
        self._resting: list[tuple[float, int, _Task]] = []
        self._out: dict[int, _Out] = {}
        self._held: dict[str, set[int]] = {}
        self._heard: dict[str, float] = {}
        self._quarantined: list[Lease] = []
        self._number = 0
        self._order = 0
        self._waiting = 0
        self._shown = (float("-inf"), 0)
        self._newest_next = True

    @property
    def seen_count(self) -> int:
        """Frames known: archived ones and those behind."""
        return len(self._archived) + len(self._tasks)

    @property
    def archived_count(self) -> int:
        """Frames in the archive, failed ones included."""
        return len(self._archived)

    @property
    def failed_count(self) -> int:
        """Frames that the archive holds as failed."""
        return len(self._failed)

    @property
    def behind_count(self) -> int:
        """Frames seen and not archived."""
        return len(self._tasks)

    @property
    def leased_count(self) -> int:
        """Frames that workers have."""
        return len(self._out)

    def add(self, sighting: Sighted) -> int:
        """Take up a file's frames, less those that are archived.

        Another revision of a known path takes the place of the earlier one: frames of that one
        which are not archived can no longer be read.

        Returns
        -------
        How many frames there are to do that were not known before; a file with a problem counts
        as one, which is never handed out and waits to be archived as failed.
        """
        revision = (sighting.size, sighting.mtime_ns, max(1, sighting.frames))
        if self._current.get(sighting.path) == revision:
            return 0
        self.forget(sighting.path)
        self._current[sighting.path] = revision
        added = 0
        for index in range(revision[2] if sighting.problem is None else 1):
            key = Revision(sighting.path, index, sighting.size, sighting.mtime_ns)
            if key in self._archived:
                continue
            task = _Task(key, sighting.time, sighting.seen, leasable=sighting.problem is None)
            self._tasks[key] = task
            added += 1
            if task.leasable:
                self._wait(task)
        return added

    def forget(self, path: str) -> None:
        """Drop what is to do of a file that is gone; what is archived stays known."""
        revision = self._current.pop(path, None)
        if revision is None:
            return
        size, mtime_ns, frames = revision
        for index in range(frames):
            task = self._tasks.pop(Revision(path, index, size, mtime_ns), None)
            if task is not None:
                self._retire(task)

    def archived(
        self, path: str, index: int, size: int, mtime_ns: int, *, failed: bool = False
    ) -> None:
        """Note that a revision is durably in the archive, whoever put it there and when."""
        key = Revision(path, index, size, mtime_ns)
        self._archived.add(key)
        if failed:
            self._failed.add(key)
        else:
            self._failed.discard(key)
        task = self._tasks.pop(key, None)
        if task is not None:
            self._retire(task)
            self._take_back(task.lease)

    def lease(self, worker: str, now: float) -> Lease | None:
        """Hand out a frame: by turns the newest, for the display, and the oldest, to catch up.

        Parameters
        ----------
        worker
            Name that is unique to one life of one process: a frame that ends its worker is
            recognised by the silence of that name.
        now
            Seconds on the caller's clock.

        Returns
        -------
        None if nothing waits.
        """
        self._pass(now)
        self._heard[worker] = max(self._heard.get(worker, now), now)
        task = self._choose()
        if task is None:
            return None
        newest = task.rank > self._shown
        if newest:
            self._shown = task.rank
        self._number += 1
        task.waiting, task.lease = False, self._number
        self._waiting -= 1
        lease = self._lease_of(task, worker, self._number, task.attempts + 1, newest)
        self._out[self._number] = _Out(lease, task, now, now + self._lease_s)
        self._held.setdefault(worker, set()).add(self._number)
        return lease

    def release(self, lease_id: int, reason: str = "") -> None:
        """Take a frame back that could not be read now; it rests a while, with no blame.

        Unknown numbers (of leases that ran out meanwhile) are ignored.
        """
        out = self._take_back(lease_id)
        if out is None or not out.task.current:
            return
        logger.debug("%s given back: %s", out.lease.path, reason)
        task = out.task
        rest = min(_LONGEST_REST_S, _FIRST_REST_S * 2 ** min(task.releases, 16))
        task.releases += 1
        self._order += 1
        heapq.heappush(self._resting, (self._now + rest, self._order, task))

    def renew(self, worker: str, now: float, held: Collection[int] | None = None) -> None:
        """Prolong a worker's leases.

        Parameters
        ----------
        held
            Numbers of the leases it says it has. One that it does not name any more (its result
            may have been lost on the way) is not prolonged, and goes back without blame when it
            runs out; one that it never named was lost on the way to it and waits again after a
            few seconds. None: all of them.
        """
        self._pass(now)
        self._heard[worker] = max(self._heard.get(worker, now), now)
        for number in list(self._held.get(worker, ())):
            out = self._out[number]
            if held is None or number in held:
                out.until = now + self._lease_s
                out.named = held is not None
            elif out.named:
                out.done = True
            elif now - out.issued > _TRAVEL_S:
                self._take_back(number)
                if out.task.current:
                    self._wait(out.task)

    def travelling_count(self, worker: str) -> int:
        """Leases that a worker was sent and has not named yet."""
        outs = (self._out[number] for number in self._held.get(worker, ()))
        return sum(not out.named for out in outs)

    def ended(self, worker: str, now: float) -> list[Lease]:
        """Take back the frames of a worker that is known to have died.

        The first that it was not done with counts as an attempt: workers take their frames in
        order. The others wait again; what it was done with waits for its result a little longer.

        Returns
        -------
        The leases taken back.
        """
        self._pass(now)
        self._heard.pop(worker, None)
        taken, blamed = [], False
        for number in sorted(self._held.get(worker, ())):
            out = self._out[number]
            if out.done:
                out.until = min(out.until, now + self._grace_s)
                continue
            self._take_back(number)
            taken.append(out.lease)
            if out.task.current:
                self._blame(out, died=not blamed)
            blamed = True
        return taken

    def archiver_changed(self, now: float) -> None:
        """Note that results on their way may have been lost with an archiver."""
        for out in self._out.values():
            if out.done:
                out.until = min(out.until, now + self._grace_s)

    def expire(self, now: float) -> list[Lease]:
        """Take back the leases that have run out.

        Those of a worker that has gone silent count as an attempt; after the last one the frame
        is quarantined.

        Returns
        -------
        The leases taken back.
        """
        self._pass(now)
        expired = [number for number, out in self._out.items() if out.until <= now]
        leases = []
        for number in expired:
            out = self._take_back(number)
            if out is None:
                continue
            leases.append(out.lease)
            if out.task.current:
                silent = self._heard.get(out.lease.worker, float("-inf")) + self._lease_s <= now
                self._blame(out, died=silent and not out.done)
        if expired:
            self._heard = {w: t for w, t in self._heard.items() if w in self._held or t > now - 60}
        return leases

    def quarantined(self) -> list[Lease]:
        """Frames whose attempts are used up, each once; they wait to be archived as failed."""
        taken, self._quarantined = self._quarantined, []
        return taken

    def _blame(self, out: _Out, *, died: bool) -> None:
        task, worker = out.task, out.lease.worker
        task.attempts += died
        if task.attempts < self._max_attempts:
            self._wait(task)
            return
        task.leasable = False
        self._quarantined.append(
            self._lease_of(task, worker, out.lease.lease, task.attempts, False)
        )

    def _choose(self) -> _Task | None:
        """Take turns, but the newest only while it is newer than all that was shown."""
        newest, oldest = self._top(self._newest), self._top(self._oldest)
        turn, self._newest_next = self._newest_next, not self._newest_next
        if newest is not None and turn and newest.rank > self._shown:
            return newest
        return oldest

    def _top(self, heap: list[Any]) -> _Task | None:
        """First task of a heap that still waits; the others are dropped."""
        if len(heap) > 64 + 2 * self._waiting:  # mostly frames that went out by the other heap
            heap[:] = [entry for entry in heap if entry[-1].waiting]
            heapq.heapify(heap)
        while heap and not heap[0][-1].waiting:
            heapq.heappop(heap)
        return heap[0][-1] if heap else None

    def _wait(self, task: _Task) -> None:
        if task.waiting or not task.leasable:
            return
        task.waiting, task.lease = True, 0
        self._waiting += 1
        self._order += 1
        key = task.key
        heapq.heappush(self._newest, (-task.time, -key.number, self._order, task))
        heapq.heappush(self._oldest, (task.time, key.path, key.number, self._order, task))

    def _retire(self, task: _Task) -> None:
        """Make sure that a task is never handed out again."""
        self._waiting -= task.waiting
        task.waiting = task.current = task.leasable = False

    def _take_back(self, number: int) -> _Out | None:
        out = self._out.pop(number, None)
        if out is not None:
            held = self._held[out.lease.worker]
            held.discard(number)
            if not held:
                del self._held[out.lease.worker]
            out.task.lease = 0
        return out

    def _pass(self, now: float) -> None:
        """Let time go on; frames that have rested enough wait again."""
        self._now = max(self._now, now)
        while self._resting and self._resting[0][0] <= self._now:
            _, _, task = heapq.heappop(self._resting)
            if task.current:
                self._wait(task)

    @staticmethod
    def _lease_of(task: _Task, worker: str, number: int, attempt: int, newest: bool) -> Lease:
        key = task.key
        return Lease(
            path=key.path,
            index=key.number,
            size=key.size,
            mtime_ns=key.mtime_ns,
            lease=number,
            attempt=attempt,
            newest=newest,
            worker=worker,
            time=task.time,
            seen=task.seen,
        )
