"""Watcher: turns files in the acquisition folder into frame tasks for the workers.

What is to do is derived: complete frames in the folder less the keys in the archive. The
archiver's keys are replicated here by number, so a restart of either side loses nothing and
repeats nothing.
"""

import logging
import sys
import time

import zmq

from pychip_stream import lifecycle
from pychip_stream.config import Config
from pychip_stream.ingest.ledger import Ledger
from pychip_stream.ingest.watch import FolderWatch, Sighting
from pychip_stream.wire.beacon import Beacon
from pychip_stream.wire.messages import (
    Archived,
    ArchiverBeat,
    FrameFailed,
    FrameRef,
    Job,
    KeysWanted,
    Ready,
    Release,
    Seen,
)
from pychip_stream.wire.sockets import Channel, Received

logger = logging.getLogger(__name__)

_RESEND_S = 2.0
_FORGET_WORKER_S = 30.0


class _Peer:
    """A worker as the watcher sees it."""

    def __init__(self) -> None:
        self.credit = 0
        self.heard = 0.0


class Watcher:
    """Watches, keeps the ledger, hands out leases.

    Queues: jobs are only sent against a worker's credit, so its queue cannot fill; sightings
    wait in the ledger, a few hundred bytes each.
    """

    def __init__(self, config: Config) -> None:
        self._watch = FolderWatch(config.watch)
        self._ledger = Ledger()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._tasks = Channel(self._context, zmq.ROUTER, 1000)
        self._tasks.bind(config.wire.endpoint("tasks"))
        self._beacon = Beacon(self._context, config, "watcher", "watcher")
        self._workers: dict[bytes, _Peer] = {}
        self._archiver = b""
        self._run = ""
        self._known = 0
        self._synced = False
        self._failures: dict[tuple[str, int], FrameFailed] = {}
        self._resent = 0.0
        self._newest: FrameRef | None = None
        self._watch.start()

    def step(self) -> None:
        """Take messages and sightings, hand out what can be handed out."""
        now = time.monotonic()
        received = self._tasks.receive(0.02)
        while received is not None:
            self._take(received, now)
            received = self._tasks.receive(0.0)
        for sighting in self._watch.poll(0.0):
            self._sight(sighting)
        for path in self._watch.vanished():
            self._ledger.forget(path)
        for lease in self._ledger.expire(now):
            logger.warning("%s: its worker went silent; handing it out again", lease.path)
        self._quarantine()
        if self._synced:
            self._hand_out(now)
            self._send_failures(now)
        self._say()

    def close(self) -> None:
        """Stop watching."""
        self._watch.stop()
        self._tasks.close()
        self._beacon.close()
        self._context.term()

    def _take(self, received: Received, now: float) -> None:
        message, sender = received.packet.message, received.sender
        if isinstance(message, Ready):
            peer = self._workers.setdefault(sender, _Peer())
            peer.credit, peer.heard = message.credit, now
            self._ledger.renew(message.worker, now, message.held)
        elif isinstance(message, Release):
            self._ledger.release(message.lease, message.reason)
        elif isinstance(message, ArchiverBeat):
            self._follow_archiver(message, sender)
        elif isinstance(message, Archived):
            self._learn(message)
        else:
            self._tasks.drop(f"{type(message).__name__} is not for the watcher")

    def _follow_archiver(self, beat: ArchiverBeat, sender: bytes) -> None:
        """Notice a new archiver or run; ask for what is missing from our copy of its keys."""
        if sender != self._archiver or beat.run != self._run or beat.count < self._known:
            if beat.run != self._run or beat.count < self._known:
                self._known = 0
            self._archiver, self._run = sender, beat.run
        if self._known < beat.count:
            self._tasks.send(KeysWanted(start=self._known), to=sender)
        else:
            self._synced = True

    def _learn(self, archived: Archived) -> None:
        if archived.run != self._run or archived.start > self._known:
            return  # a gap: the next beat asks again
        for key in archived.keys[self._known - archived.start :]:
            self._ledger.archived(key.path, key.index, key.size, key.mtime_ns, failed=key.failed)
            self._failures.pop((key.path, key.index), None)
            self._known += 1

    def _sight(self, sighting: Sighting) -> None:
        ref = FrameRef(
            path=sighting.path,
            size=sighting.size,
            mtime_ns=sighting.mtime_ns,
            time=sighting.time,
            seen=sighting.seen,
        )
        self._ledger.add(sighting)
        if sighting.problem is not None:
            self._fail(ref, sighting.problem)
            return
        if self._newest is None or sighting.time >= self._newest.time:
            self._newest = ref
            self._beacon.show(Seen(frame=ref))

    def _fail(self, ref: FrameRef, reason: str) -> None:
        logger.warning("%s: %s", ref.path, reason)
        self._failures[(ref.path, ref.index)] = FrameFailed(frame=ref, reason=reason)
        self._resent = 0.0

    def _quarantine(self) -> None:
        for lost in self._ledger.quarantined():
            ref = FrameRef(
                path=lost.path,
                index=lost.index,
                size=lost.size,
                mtime_ns=lost.mtime_ns,
                time=lost.time,
                seen=lost.seen,
            )
            self._fail(ref, f"given up after {lost.attempt} workers died or went silent over it")

    def _hand_out(self, now: float) -> None:
        for identity, peer in list(self._workers.items()):
            if now - peer.heard > _FORGET_WORKER_S:
                del self._workers[identity]
                continue
            while peer.credit > 0:
                lease = self._ledger.lease(identity.decode(errors="replace"), now)
                if lease is None:
                    return
                ref = FrameRef(
                    path=lease.path,
                    index=lease.index,
                    size=lease.size,
                    mtime_ns=lease.mtime_ns,
                    time=lease.time,
                    seen=lease.seen,
                )
                job = Job(lease=lease.lease, frame=ref, newest=lease.newest, attempt=lease.attempt)
                if not self._tasks.send(job, to=identity):
                    self._ledger.release(lease.lease, "the worker is gone")
                    del self._workers[identity]
                    break
                peer.credit -= 1

    def _send_failures(self, now: float) -> None:
        """Tell the archiver of failed frames until their keys come back archived."""
        if not self._failures or now - self._resent < _RESEND_S:
            return
        self._resent = now
        for failure in list(self._failures.values())[:200]:
            self._tasks.send(failure, to=self._archiver)

    def _say(self) -> None:
        ledger, health = self._ledger, self._watch.health()
        counters = {
            "seen": float(ledger.seen_count),
            "archived": float(ledger.archived_count),
            "failed": float(ledger.failed_count),
            "behind": float(ledger.behind_count),
            "leased": float(ledger.leased_count),
            "incomplete": float(len(health.incomplete)),
            "missing": float(health.missing_count),
            "workers": float(len(self._workers)),
            "dropped": float(self._tasks.dropped),
        }
        if not health.root_reachable:
            self._beacon.status("paused", counters, health.detail)
        elif not self._synced:
            self._beacon.status("waiting", counters, "waiting for the archiver")
        else:
            self._beacon.status("running", counters, health.detail)


def main(argv: list[str] | None = None) -> int:
    """Run the watcher of a configuration."""
    return lifecycle.main("watcher", Watcher, argv)


if __name__ == "__main__":
    sys.exit(main())
