"""Tasks: frames that are not archived, and the two lanes in which they wait."""

import heapq
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class Sighted(Protocol):
    """What the ledger needs to know of a file (see `outbox.Sighting`)."""

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
class Task:
    """A frame that is not archived.

    Attributes
    ----------
    waiting
        Nobody has it and it may be handed out.
    current
        Its file has not changed.
    attempts
        Workers that ended over it.
    releases
        How often it was given back.
    resting
        It was given back and is not to be handed out for a while.
    out
        Number of the lease that is out, 0 if none is.
    """

    key: Revision
    time: float
    seen: float
    leasable: bool = True
    waiting: bool = False
    current: bool = True
    attempts: int = 0
    releases: int = 0
    resting: bool = False
    out: int = 0

    @property
    def rank(self) -> tuple[float, int]:
        """Order of acquisition."""
        return self.time, self.key.number

    def lease(self, number: int, worker: str, attempt: int, *, newest: bool) -> Lease:
        """Describe the task as handed to a worker."""
        key = self.key
        return Lease(
            path=key.path,
            index=key.number,
            size=key.size,
            mtime_ns=key.mtime_ns,
            lease=number,
            attempt=attempt,
            newest=newest,
            worker=worker,
            time=self.time,
            seen=self.seen,
        )


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
        if task.waiting or not task.leasable:
            return
        task.waiting = True
        self._count += 1
        self._order += 1
        key = task.key
        heapq.heappush(self._newest, (-task.time, -key.number, self._order, task))
        heapq.heappush(self._oldest, (task.time, key.path, key.number, self._order, task))

    def take(self) -> tuple[Task, bool] | None:
        """Take a task: by turns the newest, if it is newer than all before, and the oldest.

        Returns
        -------
        The task and whether it is ahead of all that was taken, or None if nothing waits.
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
