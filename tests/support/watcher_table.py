"""A watcher among its peers: a worker and an archiver that the test plays, on real sockets."""

import time

import numpy as np
import zmq

from pychip_stream.config import Config
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.messages import (
    Archived,
    ArchivedKey,
    ArchiverBeat,
    FrameFailed,
    FrameMoved,
    KeysWanted,
    Ready,
    Status,
)
from services.watcher import Watcher
from tests.support.ports import free_wire
from tests.support.waiting import wait_for

PAGE = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)


class Table:
    """A watcher, stepped by hand, and its peers."""

    def __init__(self, folder):
        self.root = folder / "acquisition"
        self.root.mkdir()
        self.config = Config(
            watch={"root": self.root, "quiet_s": 0.2, "scan_s": 0.05, "reconcile_s": 0.3,
                   "incomplete_s": 0.4},
            wire=free_wire(),
        )  # fmt: skip
        self.context = zmq.Context()
        self.hub = Channel(self.context, zmq.ROUTER, 1000)
        self.hub.bind(self.config.wire.endpoint("requests"))
        self.keys, self.run = [], "run-1"
        self.failures, self.wanted, self.statuses, self.moved = [], [], [], []
        self.archiver = self.connect("")
        self.worker = self.connect("worker-1")
        self.jobs = []
        self.watcher = Watcher(self.config)

    def connect(self, identity):
        channel = Channel(self.context, zmq.DEALER, 1000)
        options = {"identity": identity} if identity else {}
        channel.connect(self.config.wire.endpoint("tasks"), **options)
        return channel

    def step(self):
        self.watcher.step()
        for received in self.archiver.drain(100):
            message = received.packet.message
            if isinstance(message, KeysWanted):
                self.wanted.append(message.start)
                self.acknowledge(message.start)
            elif isinstance(message, FrameFailed):
                self.failures.append(message)
            elif isinstance(message, FrameMoved):
                self.moved.append(message)
        for received in self.worker.drain(100):
            self.jobs.append(received.packet.message)
        for received in self.hub.drain(100):
            if isinstance(received.packet.message, Status):
                self.statuses.append(received.packet.message)

    def beat(self):
        self.archiver.send(ArchiverBeat(run=self.run, count=len(self.keys)))

    def acknowledge(self, start=0):
        self.archiver.send(Archived(run=self.run, start=start, keys=tuple(self.keys[start:])))

    def archive(self, frame, failed=False, **more):
        self.keys.append(
            ArchivedKey(frame.path, frame.index, frame.size, frame.mtime_ns, failed, **more)
        )
        self.acknowledge(len(self.keys) - 1)

    def ready(self, credit, held=(), life="worker-1:1"):
        self.worker.send(Ready(worker=life, credit=credit, held=tuple(held)))

    def wait(self, condition, what="", timeout_s=60.0):
        wait_for(
            condition,
            lambda: f"{what} {self.statuses[-1:]} {self.jobs}",
            step=self.step,
            timeout_s=timeout_s,
            pause_s=0.0,
        )

    def wait_synced(self):
        self.wait(lambda: self.watcher._synced or self.beat())

    def take(self, count=1, life="worker-1:1"):
        """Ask for jobs, as often as workers do, until there are so many."""
        before, asked = len(self.jobs), 0.0

        def there():
            nonlocal asked
            left = before + count - len(self.jobs)
            if left > 0 and time.monotonic() - asked > 0.5:
                asked = time.monotonic()
                self.ready(left, [job.lease for job in self.jobs[before:]], life=life)
            return left <= 0

        self.wait(there, "jobs")
        return self.jobs[before:]

    @property
    def ledger(self):
        return self.watcher._ledger

    def close(self):
        self.watcher.close()
        for channel in (self.archiver, self.worker, self.hub):
            channel.close()
        self.context.term()
