"""Messages with odd values, of every type: each is let in whole or refused, and nothing breaks.

What is let in goes to everybody who may get it: hub, watcher, worker, archiver, sentinel, the
health of a run with all that is shown of it (the page: `unit/dashboard/test_feed.py`). What they
say then is let in by everybody else. `--fuzz N` sends N messages.
"""

import random
import threading
import time
from collections import Counter, deque
from dataclasses import replace

import msgspec
import pytest

from pychip_stream import config as configuration
from pychip_stream.archive.run import open_run
from pychip_stream.domain.records import FrameRecord
from pychip_stream.errors import WireError
from pychip_stream.operation.alerts import Alerting
from pychip_stream.operation.metrics import HealthCollector
from pychip_stream.operation.monitor import Monitor
from pychip_stream.wire import checks, codec, messages
from pychip_stream.wire.channel import Received
from pychip_stream.wire.result import to_record
from services.archiver import Archiver
from services.hub import Hub
from services.inference import Worker
from services.sentinel import Sentinel
from services.watcher import Watcher
from tests.support.odd_messages import mutated
from tests.support.ports import free_wire
from tests.support.wire_samples import samples


class Inbox:
    """A socket whose messages are put into it; what is sent must be let in where it arrives."""

    def __init__(self):
        self._waiting, self.dropped = deque(), 0
        self.raw = self

    def put(self, received):
        self._waiting.append(received)

    def drain(self, _most, wait_s=0.0):
        while self._waiting:
            yield self._waiting.popleft()

    def receive(self, _timeout_s):
        return self._waiting.popleft() if self._waiting else None

    def send(self, message, arrays=None, **_options):
        let_in(message, arrays or {})
        return True

    def send_waiting(self, message, arrays, _timeout_s):
        return self.send(message, arrays)

    def drop(self, _why):
        self.dropped += 1

    def poll(self, *_wait):
        return 0


def let_in(message, arrays):
    """Refuse, by a WireError, what nobody would take."""
    packet = codec.decode([bytes(part) for part in codec.encode(message, arrays)])
    checks.check(packet)


class Everybody:
    """All who take messages in, without the sockets between them."""

    def __init__(self, folder):
        tree = {
            "watch": {"root": "frames", "mode": "poll"},
            "wire": free_wire(),
            "encoder": {"device": "cpu/float32"},
            "alerts": {"rules": [{"name": "r", "quantity": "backlog", "above": 1}]},
        }
        (folder / "frames").mkdir()
        self.config = configuration.parse(tree, "test", folder)
        self.hub, self.watcher = Hub(self.config), Watcher(self.config)
        self.archiver = Archiver(self.config, threading.Event())
        self.health = Monitor(self.config)
        self.alerting = Alerting(self.config)
        self.worker, self.sentinel = Worker(self.config, "1"), Sentinel(self.config)
        self.inboxes = [Inbox() for _ in range(4)]
        self.worker._tasks, self.worker._events = self.inboxes[:2]
        self.sentinel._events, self.sentinel._archive = self.inboxes[2:]
        self.worker._results = Inbox()
        for one in (self.archiver, self.worker, self.sentinel):
            one._beacon.show = lambda message, arrays=None: let_in(message, arrays or {})

    def take(self, packet):
        message, received = packet.message, Received(packet, b"peer", b"")
        self.hub._serve(packet, b"nobody")
        self.watcher._take(received, time.monotonic())
        if isinstance(message, messages.KeysWanted):
            self.archiver._acknowledge(message.start)
        elif isinstance(message, messages.FrameFailed):
            failed = FrameRecord.failed(message.frame, message.reason, read=time.time())
            self.archiver._append(failed)
        elif isinstance(message, messages.Alert):
            self.archiver._keep_alert(message, b"nobody")
        elif isinstance(message, messages.FrameMoved):
            self.archiver._append(FrameRecord.moved(message.frame, message.to))
        elif isinstance(message, messages.Result):
            self.archiver._append(to_record(packet))
        elif isinstance(message, messages.Event):
            self.archiver._keep_event(message, b"nobody")
        elif isinstance(message, messages.Measurement):
            self.archiver._stimulus.add(message, b"nobody")
            self.archiver._keep_readings()
        for inbox in self.inboxes:
            inbox.put(received)
        self.worker.step()
        self.sentinel.step()
        self.health._take(received, time.monotonic())  # `take` would catch what goes wrong

    def show(self):
        """All that is made of what was heard."""
        health = self.health
        msgspec.json.encode(health.document())
        health.line()
        health.liveness()
        self.alerting.look(health.values(), "")
        list(HealthCollector(health).collect())

    def close(self):
        self.worker.close()
        self.sentinel.close()
        self.watcher.close()
        self.health.close()
        self.archiver.close()
        self.hub.close()


@pytest.fixture
def everybody(tmp_path):
    made = Everybody(tmp_path)
    yield made
    if made.hub is not None:
        made.close()


def test_odd_messages_are_let_in_whole_or_refused(request, everybody):
    count = request.config.getoption("--fuzz") // 2
    seed = request.config.getoption("--fuzz-seed")
    rng, good, outcomes = random.Random(seed), samples(), Counter()
    for number in range(count):
        message, arrays = good[number % len(good)]
        if isinstance(message, messages.Result):
            frame = replace(message.frame, index=number)
            message = msgspec.structs.replace(message, frame=frame)
        parts = mutated(rng, message, arrays)
        try:
            packet = codec.decode(parts)
            checks.check(packet)
        except WireError as error:
            assert len(str(error)) < 20_000
            outcomes["refused"] += 1
            continue
        outcomes["let in"] += 1
        everybody.take(packet)
        if number % 50 == 0:
            everybody.show()
            everybody.archiver._publish(time.monotonic())
            assert not everybody.archiver._trouble
    everybody.show()
    assert everybody.worker._done > 0
    assert min(outcomes.values()) > count / 10, outcomes
    everybody.close()
    everybody.hub = None
    with open_run(everybody.config.run_path) as run:
        assert len(run) > count / 200
        assert len(run.fractions) + len(run.failed) == len(run)
    assert threading.active_count() < 50
