"""Tasks: frames that are not archived, their order, how often they were tried."""

import heapq
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pychip_stream.archive.disk import Disk
from pychip_stream.domain.frames import FrameRef
from pychip_stream.plain_files import read_small

logger = logging.getLogger(__name__)

_MOST_REMEMBERED = 10_000


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


class Attempts:
    """How many processes ended over which frame, kept in a file so that a restart forgets none.

    Parameters
    ----------
    path
        The file; it is there only while there is something to remember. None: memory alone.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._counts: dict[FrameRef, int] = {}
        if path is not None and path.exists():
            try:
                for name, index, size, mtime_ns, count in json.loads(read_small(path)):
                    frame = FrameRef(path=name, index=index, size=size, mtime_ns=mtime_ns)
                    self._counts[frame] = int(count)
            except (OSError, ValueError, TypeError, ArithmeticError) as error:
                logger.warning("%s: cannot be read (%s); attempts are counted anew", path, error)

    def of(self, frame: FrameRef) -> int:
        """How many there were."""
        return self._counts.get(frame, 0)

    def note(self, frame: FrameRef, count: int) -> None:
        """Remember how many there were."""
        if frame in self._counts or len(self._counts) < _MOST_REMEMBERED:
            self._counts[frame] = count
            self._save()

    def forget(self, frame: FrameRef) -> None:
        """Let go what is archived."""
        if self._counts.pop(frame, None) is not None:
            self._save()

    def _save(self) -> None:
        if self._path is None:
            return
        rows = [[f.path, f.index, f.size, f.mtime_ns, count] for f, count in self._counts.items()]
        try:
            if rows:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with Disk().atomic(self._path) as temporary:
                    temporary.write_text(json.dumps(rows), "utf-8")
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s: attempts cannot be kept (%s)", self._path, error.strerror or error)
