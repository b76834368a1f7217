"""An archiver as a service, with everybody around it played by a test."""

import functools
import threading

import zmq

from pychip_stream import config as configuration
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import StorageError
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.messages import (
    Archived,
    ArchiverBeat,
    Live,
    Status,
    Stimulus,
)
from pychip_stream.wire.result import to_message
from services import archiver
from tests.support.archive_samples import record, result, support
from tests.support.failing_disks import FailingDisk
from tests.support.ports import free_wire
from tests.support.waiting import wait_for


class Bench:
    """An archiver with the watcher, the hub and a worker played by the test."""

    def __init__(self, folder, monkeypatch):
        self.disk = FailingDisk()
        monkeypatch.setattr(archiver, "RunWriter", functools.partial(RunWriter, disk=self.disk))
        monkeypatch.setattr(archiver, "_RETRY_S", 0.02)
        tree = {
            "watch": {"root": "."},
            "archive": {"folder": "runs", "segment_frames": 2, "segment_s": 600},
            "wire": free_wire(),
        }
        self.config = configuration.parse(tree, "test", folder)
        self.context = zmq.Context()
        self.watcher = Channel(self.context, zmq.ROUTER, 100)
        self.watcher.bind(self.config.wire.endpoint("tasks"))
        self.hub = Channel(self.context, zmq.ROUTER, 1000)
        self.hub.bind(self.config.wire.endpoint("requests"))
        self.hurry = threading.Event()
        self.start()
        self.worker = Channel(self.context, zmq.DEALER, 4)
        self.worker.connect(self.config.wire.endpoint("results"))
        self.state, self.detail, self.keys, self.peer = "", "", [], None
        self.acknowledged, self.live, self.stimulus = [], [], []

    def start(self):
        self.service = archiver.Archiver(self.config, self.hurry)

    def kill(self):
        """Let everything of the service go that the system takes from a dead process."""
        self.service._writer.release()
        self.service._stimulus.close()
        self.service._beacon.close()
        self.service._endpoints.close()

    def send(self, number, **changes):
        made = record(number, result=result(number, version=support().version), **changes)
        assert self.worker.send_waiting(*to_message(made, "worker"), 10)

    def until(self, condition, what):
        wait_for(condition, what, step=self.step, pause_s=0.0)

    def step(self):
        self.service.step()
        self.hear()

    def hear(self):
        for received in self.hub.drain(50):
            if isinstance(received.packet.message, Status):
                self.state = received.packet.message.state
                self.detail = received.packet.message.detail
            elif isinstance(received.packet.message, Live):
                self.live.append(received.packet.message)
            elif isinstance(received.packet.message, Stimulus):
                self.stimulus.append(received.packet.message)
        for received in self.watcher.drain(50):
            self.peer = received.sender
            if isinstance(received.packet.message, Archived):
                message = received.packet.message
                del self.keys[message.start :]
                self.keys += [key.path for key in message.keys]
                self.acknowledged = [*self.acknowledged[: message.start], *message.keys]
            elif isinstance(received.packet.message, ArchiverBeat):
                self.count = received.packet.message.count

    def close(self):
        for channel in (self.watcher, self.hub, self.worker):
            channel.close()
        self.context.term()


class Closing:
    """The service of a bench, closing in a thread of its own."""

    def __init__(self, bench):
        self.bench, self.error = bench, None
        self._thread = threading.Thread(target=self._close, args=(bench.service,))
        bench.service = None
        self._thread.start()

    def _close(self, service):
        try:
            service.close()
        except StorageError as error:
            self.error = error

    def wait_refused(self, says):
        failures = self.bench.disk.failures
        wait_for(lambda: self.bench.disk.failures > failures + 2, "it tries again")
        wait_for(lambda: says in self.bench.detail, "it says why", step=self.bench.hear)
        assert self.bench.state == "paused"

    def ended(self):
        wait_for(lambda: not self._thread.is_alive(), "it ends", step=self.bench.hear)
        return self.error
