"""Ledger: which frames wait, which are handed out, which are archived. No clock, no socket.

Nothing here is durable and nothing needs to be: what is to do follows from the folder and the
archive, and is told again after a restart.
"""

import heapq
import logging
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from pychip_stream.acquisition.settling import Sighting
from pychip_stream.domain.frames import FrameRef

logger = logging.getLogger(__name__)

_FIRST_REST_S = 0.5
_SUSPECT_REST_S = 2.0
_LONGEST_REST_S = 30.0
_TRAVEL_S = 5.0
_RETELL_S = 2.0


@dataclass(slots=True, eq=False)
class Task:
    """A frame that is not archived.

    Attributes
    ----------
    problem
        Why it cannot be analysed; it waits to be archived as failed and nobody gets it.
    waiting
        Nobody has it and it may be handed out.
    current
        Its file has not changed and it is not archived.
    attempts
        Workers that ended over it.
    releases
        How often it was given back.
    resting
        It was given back and is not to be handed out for a while.
    out
        Number of the lease that is out, 0 if none is.
    """

    frame: FrameRef
    problem: str = ""
    waiting: bool = False
    current: bool = True
    attempts: int = 0
    releases: int = 0
    resting: bool = False
    out: int = 0

    @property
    def rank(self) -> tuple[float, int]:
        """Order of acquisition."""
        return self.frame.time, self.frame.index


@dataclass(slots=True, eq=False)
class Lease:
    """A frame that was handed to a worker.

    Attributes
    ----------
    attempt
        Which try this is, from 1.
    newest
        Handed out ahead of the backlog, for the display.
    worker
        Who has it.
    issued, until
        When it was handed out and when it runs out.
    named, done
        The worker said that it has it; that it had it and has it no more.
    """

    number: int
    task: Task
    attempt: int
    newest: bool
    worker: str
    issued: float
    until: float
    named: bool = False
    done: bool = False

    @property
    def frame(self) -> FrameRef:
        """What was handed out."""
        return self.task.frame


class Resting:
    """Tasks that were given back and are not to be handed out for a while."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Task]] = []
        self._order = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, task: Task, until: float) -> None:
        """Let a task rest until a time."""
        self._mark(task, True)
        self._order += 1
        heapq.heappush(self._heap, (until, self._order, task))

    def drop(self, task: Task) -> None:
        """Take a task out, if it rests."""
        self._mark(task, False)

    def rested(self, now: float) -> Iterator[Task]:
        """Take out the tasks that have rested enough."""
        while self._heap and self._heap[0][0] <= now:
            _, _, task = heapq.heappop(self._heap)
            self._mark(task, False)
            yield task

    def _mark(self, task: Task, resting: bool) -> None:
        self._count += resting - task.resting
        task.resting = resting


class Lanes:
    """Waiting tasks: one lane gives the newest for the display, one the oldest to catch up.

    A task is in both lanes and leaves the other one lazily; each costs a few hundred bytes.
    """

    def __init__(self) -> None:
        self._newest: list[tuple[float, int, int, Task]] = []
        self._oldest: list[tuple[float, str, int, int, Task]] = []
        self._count = 0
        self._order = 0
        self._shown = (float("-inf"), 0)
        self._newest_next = True

    def __len__(self) -> int:
        return self._count

    def put(self, task: Task) -> None:
        """Let a task wait, if it may be handed out."""
        if task.waiting or task.problem or not task.current:
            return
        task.waiting = True
        self._count += 1
        self._order += 1
        frame = task.frame
        heapq.heappush(self._newest, (-frame.time, -frame.index, self._order, task))
        heapq.heappush(self._oldest, (frame.time, frame.path, frame.index, self._order, task))

    def take(self) -> tuple[Task, bool] | None:
        """Take the newest, if it is newer than all before, or by turns the oldest.

        Gives the task and whether it is ahead of all that was taken; None if nothing waits.
        """
        newest, task = self._top(self._newest), self._top(self._oldest)
        turn, self._newest_next = self._newest_next, not self._newest_next
        if newest is not None and turn and newest.rank > self._shown:
            task = newest
        if task is None:
            return None
        ahead = task.rank > self._shown
        if ahead:
            self._shown = task.rank
        self.remove(task)
        return task, ahead

    def remove(self, task: Task) -> None:
        """Take a task out, if it waits."""
        self._count -= task.waiting
        task.waiting = False

    def _top(self, heap: list[Any]) -> Task | None:
        """First task of a heap that still waits; the others are dropped."""
        if len(heap) > 64 + 2 * self._count:  # mostly frames that went out by the other lane
            heap[:] = [entry for entry in heap if entry[-1].waiting]
            heapq.heapify(heap)
        while heap and not heap[0][-1].waiting:
            heapq.heappop(heap)
        return heap[0][-1] if heap else None


class Ledger:
    """Bookkeeping of frames between the folder and the archive, on the caller's clock.

    Parameters
    ----------
    max_attempts
        A frame over which so many workers ended has failed.
    lease_s
        A lease lasts this long unless it is renewed; a worker that is silent for so long is
        taken for dead.
    grace_s
        How long a result may take to the archive; when the archiver has changed, the frames of
        results that take longer are handed out again.
    first_lease
        Number of the first lease. Another one after a restart keeps what workers say of old
        leases from being taken for new ones.

    Attributes
    ----------
    newest_result
        Acquisition time of the newest archived frame whose file is known; None if there is none.
    """

    def __init__(
        self,
        max_attempts: int = 3,
        lease_s: float = 60.0,
        *,
        grace_s: float = 10.0,
        first_lease: int = 1,
    ) -> None:
        self._max_attempts = max_attempts
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._now = float("-inf")
        self._tasks: dict[FrameRef, Task] = {}
        self._current: dict[str, Sighting] = {}
        self._archived: set[FrameRef] = set()
        self._failed: set[FrameRef] = set()
        self._failing: dict[FrameRef, Task] = {}
        self._untold: deque[Task] = deque()
        self._tell_at = float("-inf")
        self._lanes = Lanes()
        self._resting = Resting()
        self._out: dict[int, Lease] = {}
        self._held: dict[str, set[int]] = {}
        self._heard: dict[str, float] = {}
        self._number = first_lease - 1
        self.newest_result: float | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Frames seen, archived, of these failed, behind (not archived), leased, resting."""
        archived, behind = len(self._archived), len(self._tasks)
        return {
            "seen": archived + behind, "archived": archived, "failed": len(self._failed),
            "behind": behind, "leased": len(self._out), "resting": len(self._resting),
        }  # fmt: skip

    def add(self, sighting: Sighting) -> int:
        """Take up a file's frames, less those that are archived; tells how many are new.

        Another revision of a known path takes the place of the earlier one, which can no longer
        be read. A file with a problem counts as one frame, which waits to be archived as failed.
        """
        first, before = sighting.frame, self._current.get(sighting.frame.path)
        if before is not None and (before.frame, before.frames) == (first, sighting.frames):
            return 0
        self.forget(first.path)
        self._current[first.path] = sighting
        added = 0
        for frame in _frames_of(sighting):
            if frame in self._archived:
                self.newest_result = max(frame.time, self.newest_result or frame.time)
                continue
            task = self._tasks[frame] = Task(frame)
            if sighting.problem is None:
                self._lanes.put(task)
            else:
                self._fail(task, sighting.problem)
            added += 1
        return added

    def forget(self, path: str) -> None:
        """Drop what is to do of a file that is gone; what is archived stays known."""
        sighting = self._current.pop(path, None)
        for frame in _frames_of(sighting) if sighting is not None else ():
            task = self._tasks.pop(frame, None)
            if task is not None:
                self._retire(task)

    def archived(self, frame: FrameRef, *, failed: bool = False) -> None:
        """Note that a revision is durably in the archive, whoever put it there and when."""
        self._archived.add(frame)
        if failed:
            self._failed.add(frame)
        else:
            self._failed.discard(frame)
        task = self._tasks.pop(frame, None)
        if task is not None:
            self._retire(task)
            self._take_back(task.out)
            time = task.frame.time
            self.newest_result = max(time, self.newest_result or time)

    def lease(self, worker: str, now: float) -> Lease | None:
        """Hand out a frame as `Lanes.take` gives it; None if nothing waits.

        Parameters
        ----------
        worker
            Name that is unique to one life of one process: a frame that ends its worker is
            recognised by the silence or the replacement of that name.
        """
        self._pass(now)
        self._heard.setdefault(worker, now)
        taken = self._lanes.take()
        if taken is None:
            return None
        task, ahead = taken
        self._number += 1
        task.out = self._number
        lease = Lease(
            self._number, task, task.attempts + 1, ahead, worker, now, now + self._lease_s
        )
        self._out[self._number] = lease
        self._held.setdefault(worker, set()).add(self._number)
        return lease

    def release(self, lease_id: int, reason: str = "") -> Lease | None:
        """Take back a frame that could not be read now; None if its lease ran out meanwhile."""
        lease = self._take_back(lease_id)
        if lease is not None and lease.task.current:
            logger.debug("%s given back: %s", lease.frame, reason)
            self._let_rest(lease.task, _FIRST_REST_S * 2 ** min(lease.task.releases, 16))
            lease.task.releases += 1
        return lease

    def fail(self, lease_id: int, reason: str) -> None:
        """Take back a frame that can never be read."""
        lease = self._take_back(lease_id)
        if lease is not None and lease.task.current:
            self._fail(lease.task, reason)

    def failures(self, now: float) -> Iterator[Task]:
        """Frames that the archive is to record as failed: each at once, all again now and then.

        One counts as told when the next is asked for.
        """
        if not self._untold and now >= self._tell_at:
            self._untold.extend(self._failing.values())
        while self._untold:
            if self._untold[0].current:
                yield self._untold[0]
                self._tell_at = now + _RETELL_S
            self._untold.popleft()

    def renew(self, worker: str, now: float, held: Collection[int] | None = None) -> None:
        """Prolong a worker's leases.

        Parameters
        ----------
        held
            Numbers of the leases it says it has. One that it does not name any more (its result
            may have been lost on the way) is not prolonged, and goes back without blame when it
            runs out; one that it never named was lost on the way to it, and waits again after a
            few seconds. None: all of them.
        """
        self._pass(now)
        self._heard[worker] = now
        for number in list(self._held.get(worker, ())):
            out = self._out[number]
            if held is None or number in held:
                out.until, out.named = now + self._lease_s, True
            elif out.named:
                out.done = True
            elif now - out.issued > _TRAVEL_S:
                self._back(number, blame=False)

    def travelling_count(self, worker: str) -> int:
        """Leases that a worker was sent and has not named yet."""
        outs = (self._out[number] for number in self._held.get(worker, ()))
        return sum(not out.named for out in outs)

    def archiver_changed(self, now: float) -> None:
        """Note that results on their way may have been lost with an archiver."""
        for out in self._out.values():
            if out.done:
                out.until = min(out.until, now + self._grace_s)

    def lost(self, worker: str, now: float) -> list[Lease]:
        """Take back and return the leases of a worker that is dead.

        The one in its hand, the oldest that it has not finished, has had an attempt; after the
        last one the frame has failed. The others only wait again.
        """
        self._pass(now)
        self._heard.pop(worker, None)
        numbers = sorted(self._held.get(worker, ()))
        suspect = next((n for n in numbers if not self._out[n].done), None)
        return [self._back(number, blame=number == suspect) for number in numbers]

    def expire(self, now: float) -> list[Lease]:
        """Take back and return leases that have run out, and all those of silent workers."""
        self._pass(now)
        silent = [w for w in self._held if self._heard.get(w, now) + self._lease_s <= now]
        leases = [lease for worker in silent for lease in self.lost(worker, now)]
        late = [number for number, out in self._out.items() if out.until <= now]
        leases += [self._back(number, blame=False) for number in late]
        if leases:
            self._heard = {w: t for w, t in self._heard.items() if t + self._lease_s > now}
        return leases

    def _back(self, number: int, *, blame: bool) -> Lease:
        """Let the frame of a lease that is out wait again, unless it has had its attempts."""
        lease = self._out[number]
        self._take_back(number)
        task = lease.task
        if task.current:
            task.attempts += blame
            if not blame:
                self._lanes.put(task)
            elif task.attempts < self._max_attempts:
                # Others first: workers killed for another reason must not have it in hand again.
                self._let_rest(task, _SUSPECT_REST_S * 2 ** (task.attempts - 1))
            else:
                count = task.attempts
                self._fail(task, f"given up after {count} workers died or went silent over it")
        return lease

    def _fail(self, task: Task, reason: str) -> None:
        path = task.frame.path
        logger.warning("%s: %s", path, reason, extra={"frame": path})
        task.problem = reason
        self._failing[task.frame] = task
        self._untold.append(task)

    def _retire(self, task: Task) -> None:
        """Make sure that a task is never handed out again, and that nobody is blamed for it."""
        self._lanes.remove(task)
        self._resting.drop(task)
        self._failing.pop(task.frame, None)
        task.current = False

    def _let_rest(self, task: Task, seconds: float) -> None:
        self._resting.put(task, self._now + min(_LONGEST_REST_S, seconds))

    def _take_back(self, number: int) -> Lease | None:
        lease = self._out.pop(number, None)
        if lease is not None:
            held = self._held[lease.worker]
            held.discard(number)
            if not held:
                del self._held[lease.worker]
            lease.task.out = 0
        return lease

    def _pass(self, now: float) -> None:
        """Let time go on; frames that have rested enough wait again."""
        self._now = max(self._now, now)
        for task in self._resting.rested(self._now):
            self._lanes.put(task)


def _frames_of(sighting: Sighting) -> Iterator[FrameRef]:
    count = sighting.frames if sighting.problem is None else 1
    return (replace(sighting.frame, index=index) for index in range(max(1, count)))
