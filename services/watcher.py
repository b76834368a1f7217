"""Watcher: turns files in the acquisition folder into frame tasks for the workers.

What is to do is derived: complete frames in the folder less the keys in the archive. The
archiver's keys are replicated here by number, so a restart of either side loses nothing and
repeats nothing.
"""

import logging
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import zmq

from pychip_stream import process
from pychip_stream.acquisition.identity import Answers, answer
from pychip_stream.acquisition.ledger import Ledger
from pychip_stream.acquisition.settling import Sighting
from pychip_stream.acquisition.tasks import Attempts
from pychip_stream.acquisition.watch import FolderWatch, WatchHealth
from pychip_stream.analysis.delivery import with_pixels
from pychip_stream.config import MOST_CREDIT, Config
from pychip_stream.domain.clock import comes_after
from pychip_stream.domain.frames import FrameRef
from pychip_stream.errors import FrameError, FrameIncompleteError, FrameLostError
from pychip_stream.formats.ahead import ReadAhead
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.wire.channel import Arrays, Received
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.heartbeat import Beacon
from pychip_stream.wire.messages import (
    Archived,
    ArchiverBeat,
    FrameFailed,
    FrameMoved,
    Job,
    KeysWanted,
    Ready,
    Release,
    Seen,
    TroubledFile,
)

logger = logging.getLogger(__name__)

_FORGET_WORKER_S = 30.0
_MESSAGES_PER_STEP = 500
_LEASE_S = 120.0
_PATIENCE_S = 60.0
"""Files by the thousand may take this long before the watcher counts as stalled."""
_GRACE_S = 2.0
_STUCK_S = 180.0
"""Who holds frames and does not get on with them for so long loses them."""
_LONGEST_REST_S = 64.0
_FAILURES_PER_STEP = 100


class _Peer:
    """A worker as the watcher sees it; `name` is unique to one life of its process.

    Parameters
    ----------
    patience_s
        It loses its frames if it has finished none for so long and more, however busy.
    grace_s
        A result may take so long to the archive.
    """

    def __init__(self, patience_s: float, grace_s: float) -> None:
        self.name = ""
        self.credit = 0
        self.heard = 0.0
        self._patience_s, self._grace_s = patience_s, grace_s
        self._held: frozenset[int] = frozenset()
        self._withdrawn: frozenset[int] = frozenset()
        self._steps = 0
        self._progress = self._finished = 0.0
        self._misses = 0
        self._rest_until = 0.0

    def hear(self, ready: Ready, now: float, missed: int) -> None:
        """Take in what it has in hand; `missed` frames that it was sent it never had."""
        held = frozenset(ready.held)
        finished = self._held - held
        if finished or not held or ready.worker != self.name:
            self._progress = self._finished = now
        elif ready.steps > self._steps:
            self._progress = now
        if finished:
            self._misses = 0
            if finished & self._withdrawn:  # it did them all the same; they are on their way
                self._rest_until = now + self._grace_s
        elif missed:  # each time longer, or it would keep the frames from everybody
            self._misses += 1
            self._rest_until = now + min(2.0**self._misses, _LONGEST_REST_S)
        self.name, self.heard, self._held, self._steps = ready.worker, now, held, ready.steps

    def stuck(self, now: float) -> bool:
        """Whether it has had frames in hand for long and does not get on with them."""
        busy_s = now - self._finished
        return now - self._progress > _STUCK_S or busy_s > self._patience_s + _STUCK_S

    def withdraw(self) -> None:
        """Note that what it has in hand goes to others; it does not know of that."""
        self._withdrawn = self._held

    def resting(self, now: float) -> bool:
        """Whether it is to have no frames for a while."""
        return now < self._rest_until or self.stuck(now) or bool(self._withdrawn & self._held)


class Watcher:
    """Watches, keeps the ledger, hands out leases.

    Queues: jobs are only sent against a worker's credit, so its queue cannot fill; sightings
    wait in the ledger, a few hundred bytes each.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._watch = FolderWatch(config.watch)
        self._ledger = _new_ledger(self._config)
        self._endpoints = Endpoints(config.wire)
        self._tasks = self._endpoints.listen("tasks", zmq.ROUTER, 1000)
        self._reader = GuardedReader.of(config.watch)
        self._ahead = ReadAhead(self._reader.read_checked, lambda *_: self._say())
        self._lookups = ThreadPoolExecutor(1, "lookups")
        self._answers: Future[Answers] | None = None
        self._beacon = Beacon(self._endpoints, "watcher", "watcher", patience_s=_PATIENCE_S)
        self._workers: dict[bytes, _Peer] = {}
        self._archiver = b""
        self._run = ""
        self._known = 0
        self._synced = False
        self._given_back = ""
        self._newest: FrameRef | None = None
        self._watch.start()

    def step(self) -> None:
        """Take messages and sightings, hand out what can be handed out."""
        now = time.monotonic()
        for received in self._tasks.drain(_MESSAGES_PER_STEP, wait_s=0.02):
            self._take(received, now)
        for sighting in self._watch.poll(0.0):
            self._sight(sighting)
        for path in self._watch.vanished():
            self._ledger.forget(path)
            self._ledger.identity.vanished(path)
        for lease in self._ledger.expire(now):
            logger.warning("%s: its worker went silent; handing it out again", lease.frame.path)
        if self._synced:
            if self._watch.health().root_reachable:  # nobody could read anything now
                self._hand_out(now)
                self._look_up(now)
            self._send_failures(now)
        self._say()

    def close(self) -> None:
        """Stop watching."""
        self._watch.stop()
        self._reader.close()
        self._ahead.close()
        self._lookups.shutdown(wait=False, cancel_futures=True)
        self._beacon.close()
        self._endpoints.close()

    def _take(self, received: Received, now: float) -> None:
        message, sender = received.packet.message, received.sender
        if isinstance(message, Ready):
            self._take_ready(message, sender, now)
        elif isinstance(message, Release):
            self._take_release(message)
        elif isinstance(message, ArchiverBeat):
            self._follow_archiver(message, sender)
        elif isinstance(message, Archived):
            self._learn(message)
        else:
            self._tasks.drop(f"{type(message).__name__} is not for the watcher")

    def _take_ready(self, ready: Ready, sender: bytes, now: float) -> None:
        peer = self._workers.get(sender)
        if peer is None:
            patience_s = self._config.inference.patience_s
            peer = self._workers[sender] = _Peer(patience_s, _grace_s(self._config))
        if peer.name and peer.name != ready.worker:
            for lease in self._ledger.lost(peer.name, now):
                where = {"frame": lease.frame.path}
                logger.warning(
                    "%s: its worker died; handing it out again", lease.frame, extra=where
                )
                self._given_back = "their worker died"
        peer.hear(ready, now, self._ledger.renew(ready.worker, now, ready.held))
        if peer.stuck(now):
            peer.withdraw()
            for lease in self._ledger.withdraw(peer.name):
                logger.warning(
                    "%s: %s does not get on with it; handing it out again", lease.frame, peer.name
                )
        # What is on its way to the worker is not in its account yet.
        travelling = self._ledger.travelling_count(ready.worker)
        room = min(ready.credit, MOST_CREDIT - len(ready.held)) - travelling
        peer.credit = 0 if peer.resting(now) else room

    def _take_release(self, release: Release) -> None:
        """Take a frame back; whether its file has changed or is gone is for the watch to see."""
        lease = self._ledger.release(release.lease, release.reason, lost=release.lost)
        if lease is not None:
            logger.info(
                "%s is given back: %s",
                lease.frame.path,
                release.reason,
                extra={"frame": lease.frame.path},
            )
            self._given_back = release.reason
            self._watch.look_at(lease.frame.path)

    def _follow_archiver(self, beat: ArchiverBeat, sender: bytes) -> None:
        """Notice a new archiver or run; ask for what is missing from our copy of its keys."""
        if beat.run != self._run or beat.count < self._known:
            if self._known:
                self._start_over()
            self._known = 0
        if sender != self._archiver:
            self._ledger.archiver_changed(time.monotonic())
        self._archiver, self._run = sender, beat.run
        if self._known < beat.count:
            self._tasks.send(KeysWanted(start=self._known), to=sender)
        else:
            self._synced = True

    def _start_over(self) -> None:
        """Forget everything: the archive is another one, and what it lacks is to be done again."""
        logger.warning("the archive is another one than before; looking at all frames anew")
        self._watch.stop()
        self._watch = FolderWatch(self._config.watch)
        self._watch.start()
        self._ledger = _new_ledger(self._config)
        self._answers = None
        self._synced = False

    def _learn(self, archived: Archived) -> None:
        if archived.run != self._run or archived.start > self._known:
            return  # a gap: the next beat asks again
        for key in archived.keys[self._known - archived.start :]:
            self._ledger.archived(key.frame, failed=key.failed, digest=key.digest, moved=key.moved)
            self._known += 1

    def _sight(self, sighting: Sighting) -> None:
        frame = sighting.frame
        self._ledger.add(sighting)
        if sighting.problem is None and comes_after(frame, self._newest):
            self._newest = frame
            self._beacon.show(Seen(frame=frame))

    def _hand_out(self, now: float) -> None:
        for identity, peer in list(self._workers.items()):
            if now - peer.heard > _FORGET_WORKER_S:
                peer.credit = 0  # its leases run out by themselves
                continue
            while peer.credit > 0:
                lease = self._ledger.lease(peer.name, now)
                if lease is None:
                    return
                job = Job(
                    lease=lease.number,
                    frame=lease.frame,
                    newest=lease.newest,
                    attempt=lease.attempt,
                )
                if not self._send_job(job, identity):
                    peer.credit = 0
                    break
                peer.credit -= 1

    def _send_job(self, job: Job, identity: bytes) -> bool:
        """Send a job, with its pixels where workers do not see the folder.

        False: the worker is gone, or reading took so long that others want their turn.
        """
        arrays: Arrays = {}
        if self._config.inference.frames == "pixels":
            try:
                root = self._config.watch.root
                job, arrays = with_pixels(job, root, self._ahead.then(root, None))
            except FrameLostError as error:
                self._ledger.release(job.lease, str(error), lost=True)
                return False
            except FrameIncompleteError as error:
                self._ledger.release(job.lease, str(error))
                return True
            except (FrameError, MemoryError) as error:
                self._ledger.fail(job.lease, str(error) or "too little memory to read it")
                return True
        if self._tasks.send(job, arrays, to=identity):
            return True
        self._ledger.release(job.lease, "the worker is gone")
        return False

    def _send_failures(self, now: float) -> None:
        for task in islice(self._ledger.failures(now), _FAILURES_PER_STEP):
            message = FrameFailed(frame=task.frame, reason=task.problem)
            if not self._tasks.send(message, to=self._archiver):
                return

    def _look_up(self, now: float) -> None:
        """Have looked up which archived frames files hold that have grown or were renamed."""
        if self._answers is None:
            questions = self._ledger.identity.questions(now)
            if questions is not None:
                root, read = self._config.watch.root, self._reader.frame_hashes
                self._answers = self._lookups.submit(answer, questions, root, read)
        elif self._answers.done():
            answers, self._answers = self._answers.result(), None
            self._ledger.learn(answers, now)
            for path, to in answers.renamed.items():
                for frame in self._ledger.identity.common(path, to):
                    if not self._tasks.send(FrameMoved(frame=frame, to=to), to=self._archiver):
                        return

    def _live_workers(self) -> int:
        now = time.monotonic()
        return sum(now - peer.heard <= _FORGET_WORKER_S for peer in self._workers.values())

    def _say(self) -> None:
        ledger, health = self._ledger, self._watch.health()
        counters = {
            **{name: float(count) for name, count in ledger.counts.items()},
            "settling": float(health.pending_count),
            "incomplete": float(health.incomplete_count),
            "missing": float(health.missing_count),
            "workers": float(self._live_workers()),
            "events": float(health.observer_alive),
            "dropped": float(self._tasks.dropped),
        }
        if ledger.newest_result is not None:
            counters["newest_age_s"] = max(0.0, time.time() - ledger.newest_result)
        state, detail = "running", health.detail or self._resting()
        if not health.root_reachable:
            state, detail = "paused", health.detail
        elif not self._synced:
            state, detail = "waiting", "waiting for the archiver"
        self._beacon.status(state, counters, detail, _troubled(health))

    def _resting(self) -> str:
        """Say why frames are not handed out, if workers gave them back."""
        count = self._ledger.counts["resting"]
        return f"{count} frame(s) given back by workers: {self._given_back}" if count else ""


def _troubled(health: WatchHealth) -> tuple[TroubledFile, ...]:
    """Name the first few files that are not handed out, in letters that can be printed."""
    groups = {
        "incomplete": health.incomplete,
        "missing": [(where, "frames of this series are missing") for where in health.missing],
        "unreadable": health.unreadable,
    }
    return tuple(
        TroubledFile(_printable(path), state, _printable(reason))
        for state, files in groups.items()
        for path, reason in files
    )


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _grace_s(config: Config) -> float:
    """How long a result may take to the archive."""
    return config.archive.segment_s + _GRACE_S


def _new_ledger(config: Config) -> Ledger:
    """Make a ledger whose lease numbers no worker can have from an earlier one."""
    return Ledger(
        config.inference.attempts,
        _LEASE_S,
        grace_s=_grace_s(config),
        attempts=Attempts(config.run_path.with_suffix(".attempts.json")),
        first_lease=time.time_ns() // 1000,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the watcher of a configuration."""
    return process.main("watcher", Watcher, argv)


if __name__ == "__main__":
    sys.exit(main())
