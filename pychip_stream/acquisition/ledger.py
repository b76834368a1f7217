"""Ledger: which frames wait, which are handed out, which are archived. No clock, no socket.

Nothing here is durable but the attempts, and nothing else needs to be: what is to do follows
from the folder and the archive, and is told again after a restart.
"""

import logging
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import islice

from pychip_stream.acquisition.identity import Answers, Identity, revision_of
from pychip_stream.acquisition.settling import Sighting
from pychip_stream.acquisition.tasks import Attempts, Lanes, Lease, Resting, Task
from pychip_stream.domain.frames import FrameRef

logger = logging.getLogger(__name__)

_FIRST_REST_S = 0.5
_SUSPECT_REST_S = 2.0
_LONGEST_REST_S = 30.0
_TRAVEL_S = 5.0
_RETELL_S = 2.0
# Frames of a stack that wait at once; the others are entered when these have gone out.
_ENTERED = 10_000


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
    attempts
        What is known of earlier ones.
    first_lease
        Number of the first lease. Another one after a restart keeps what workers say of old
        leases from being taken for new ones.

    Attributes
    ----------
    newest_result
        Acquisition time of the newest archived frame whose file is known; None if there is none.
    identity
        Content of what is archived.
    """

    def __init__(
        self,
        max_attempts: int = 3,
        lease_s: float = 60.0,
        *,
        grace_s: float = 10.0,
        attempts: Attempts | None = None,
        first_lease: int = 1,
    ) -> None:
        self._attempts = attempts or Attempts()
        self._max_attempts = max_attempts
        self._lease_s = lease_s
        self._grace_s = grace_s
        self._now = float("-inf")
        self._tasks: dict[FrameRef, Task] = {}
        self._later: dict[str, range] = {}
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
        self._aside: dict[str, list[Task]] = {}
        self.identity = Identity()
        self.newest_result: float | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Frames seen, archived, of these failed, behind (not archived), leased, resting.

        Frames of a large stack that are not entered yet count as not archived.
        """
        archived = len(self._archived)
        behind = len(self._tasks) + sum(map(len, self._later.values()))
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
        self._later[first.path] = range(sighting.frames if sighting.problem is None else 1)
        return self._enter(first.path) + len(self._later.get(first.path, ()))

    def forget(self, path: str) -> None:
        """Drop what is to do of a file that is gone; what is archived stays known."""
        sighting, later = self._current.pop(path, None), self._later.pop(path, range(0))
        self._aside.pop(path, None)
        if sighting is None:
            return
        for index in range(later.start or sighting.frames):
            task = self._tasks.pop(replace(sighting.frame, index=index), None)
            if task is not None:
                self._retire(task)

    def archived(
        self, frame: FrameRef, *, failed: bool = False, digest: str = "", moved: bool = False
    ) -> None:
        """Note that a revision is durably in the archive, whoever put it there and when.

        Parameters
        ----------
        digest
            Hash of its content; of one that failed there is none.
        moved
            It counts no more: its file has another name, under which it is archived, too.
        """
        if moved:
            self._forget_archived(frame)
            return
        self.identity.archived(frame, digest)
        self._archived.add(frame)
        self._attempts.forget(frame)
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
        if self._later and len(self._lanes) < _ENTERED:
            self._enter(next(iter(self._later)))
        taken = self._take()
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

    def release(self, lease_id: int, reason: str = "", *, lost: bool = False) -> Lease | None:
        """Take back a frame that could not be read now; None if its lease ran out meanwhile.

        Parameters
        ----------
        lost
            It cost the process that read it, which counts as an attempt.
        """
        if lost and lease_id in self._out:
            return self._back(lease_id, blame=True, reason=reason)
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

    def renew(self, worker: str, now: float, held: Collection[int] | None = None) -> int:
        """Prolong a worker's leases; tells how many were lost on the way to it.

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
        missed = 0
        for number in list(self._held.get(worker, ())):
            out = self._out[number]
            if held is None or number in held:
                out.until, out.named = now + self._lease_s, True
            elif out.named:
                out.done = True
            elif now - out.issued > _TRAVEL_S:
                self._back(number, blame=False)
                missed += 1
        return missed

    def withdraw(self, worker: str) -> list[Lease]:
        """Take back and return the leases of a worker that gets nowhere; nobody is blamed."""
        return [self._back(n, blame=False) for n in sorted(self._held.get(worker, ()))]

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
        leases += [self._back(number, blame=not self._out[number].done) for number in late]
        if leases:
            self._heard = {w: t for w, t in self._heard.items() if t + self._lease_s > now}
        return leases

    def learn(self, answers: Answers, now: float) -> None:
        """Take in what was found out about the identity of frames."""
        self.identity.learn(answers, now)
        for path, *_ in answers.hashes:
            for task in self._aside.pop(path, ()):
                if task.current:
                    self._lanes.put(task)

    def _take(self) -> tuple[Task, bool] | None:
        """Take the next frame that is to be done.

        Those of a stack that are archived under an earlier revision are compared first: a stack
        that has grown costs no more than what is new in it.
        """
        while (taken := self._lanes.take()) is not None:
            task, path = taken[0], taken[0].frame.path
            kept = self._current[path].frames > 1 and self.identity.kept(task.frame)
            if kept is False:
                return taken
            if kept is None:
                self._aside.setdefault(path, []).append(task)
            else:
                del self._tasks[task.frame]
                self._retire(task)
        return None

    def _forget_archived(self, frame: FrameRef) -> None:
        """Forget a frame whose file has another name; should the old one come back, it is new."""
        self.identity.moved(frame)
        self._archived.discard(frame)
        self._failed.discard(frame)
        sighting = self._current.get(frame.path)
        if sighting is not None and revision_of(sighting.frame) == revision_of(frame):
            self.forget(frame.path)
            self.add(sighting)

    def _back(self, number: int, *, blame: bool, reason: str = "") -> Lease:
        """Let the frame of a lease that is out wait again, unless it has had its attempts."""
        lease = self._out[number]
        self._take_back(number)
        task = lease.task
        if task.current:
            if not blame:
                self._lanes.put(task)
                return lease
            task.attempts += 1
            self._attempts.note(task.frame, task.attempts)
            if task.attempts < self._max_attempts:
                # Others first: workers killed for another reason must not have it in hand again.
                self._let_rest(task, _SUSPECT_REST_S * 2 ** (task.attempts - 1))
            elif reason:
                self._fail(task, f"given up after {task.attempts} attempts: {reason}")
            else:
                self._give_up(task)
        return lease

    def _enter(self, path: str) -> int:
        """Enter the next frames of a file; tells how many are not archived."""
        sighting, later, entered = self._current[path], self._later.pop(path), 0
        for index in islice(later, _ENTERED):
            frame = replace(sighting.frame, index=index)
            if frame in self._archived:
                self.newest_result = max(frame.time, self.newest_result or frame.time)
                continue
            entered += 1
            task = self._tasks[frame] = Task(frame, attempts=self._attempts.of(frame))
            problem = sighting.problem or sighting.missing.get(index)
            if problem is not None:
                self._fail(task, problem)
            elif task.attempts >= self._max_attempts:
                self._give_up(task)
            else:
                self._lanes.put(task)
        if len(later) > _ENTERED:
            self._later[path] = later[_ENTERED:]
        return entered

    def _give_up(self, task: Task) -> None:
        self._fail(task, f"given up after {task.attempts} workers died or went silent over it")

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
