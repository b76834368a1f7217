"""Messages with odd values, of every type: each is let in whole or refused, and nothing breaks.

What is let in goes to everybody who may get it: hub, watcher, archiver, the health of a run with
all that is shown of it. `--fuzz N` sends N messages.
"""

import copy
import math
import random
import threading
import time
from collections import Counter
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from pychip_stream import config as configuration
from pychip_stream.archive.run import open_run
from pychip_stream.domain.records import FrameRecord
from pychip_stream.errors import WireError
from pychip_stream.operation.alerts import Alerting
from pychip_stream.operation.health import Monitor
from pychip_stream.operation.metrics import HealthCollector
from pychip_stream.wire import checks, codec, messages
from pychip_stream.wire.channel import Received
from pychip_stream.wire.result import to_record
from services.archiver import Archiver
from services.hub import Hub
from services.watcher import Watcher
from tests.support.ports import free_wire
from tests.support.wire_samples import samples

ODD = (
    None, True, -1, 0, 1, 5, 2**31, 2**40, 2**53, 2**62, 2**63 - 1, 2**64 - 1, -(2**62), 0.5,
    -1e300, 1e300, 3e11, math.nan, math.inf, -math.inf, "", "x", "\0", "a\0b", "unknown",
    "\x1b[31m", "a\nb", "../../x", "/etc/x", "C:\\x", "ä" * 300, "y" * 5000, "z" * 300_000,
    "#12345", "ok", "failed", [], {}, [1], [1, 2], [2**40, 2**40], [-1, 3], [0, 0], ["a", "a"],
    ["unknown"], ["a\0", "b"], [str(n) for n in range(300)], {"a": 1.0}, [[]] * 40,
    {"seen": math.nan, "archived": math.inf}, {"latency.read.p50": math.inf}, {"drift": 1e308},
    {str(n): 1.0 for n in range(500)}, [0, 2**62, 2**62],
)  # fmt: skip
GRIDS = ((), (0,), (0, 0), (0, 5), (5, 0), (1,), (1, 1), (1, 3), (3, 4), (5, 3), (3, 3), (3, 4, 2))
DTYPES = ("u1", "f2", "f4", "f8", "i8", "?", "i1")


def places(tree, path=()):
    """Where something can be changed in a header."""
    yield path
    children = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in children:
        if isinstance(value, dict | list | tuple):
            yield from places(value, (*path, key))
        else:
            yield (*path, key)


def change(rng, header):
    """Put an odd value somewhere in a header."""
    path = rng.choice([p for p in places(header) if p and p != ("type",)] or [("x",)])
    where = header
    for key in path[:-1]:
        where = where[key]
    if isinstance(where, dict) and rng.random() < 0.1:
        where.pop(path[-1], None)
    else:
        where[path[-1]] = copy.deepcopy(rng.choice(ODD))


def bend(rng, arrays):
    """Change the shape or the content of an array, or leave one out."""
    name = rng.choice(sorted(arrays))
    kind = rng.random()
    if kind < 0.15:
        del arrays[name]
    elif kind < 0.6:
        shape = rng.choice((*GRIDS, arrays[name].shape))
        if rng.random() < 0.3:
            shape = (*shape, 2)
        values = rng.choice((0, 1, 200, math.nan, math.inf))
        dtype = rng.choice(DTYPES)
        with np.errstate(all="ignore"):
            arrays[name] = np.full(shape, values).astype(dtype)
    else:
        array = np.array(arrays[name])
        if array.size:
            flat = array.reshape(-1).view(np.uint8)
            for _ in range(rng.randrange(1, 4)):
                flat[rng.randrange(flat.size)] = rng.randrange(256)
        arrays[name] = array


def mutated(rng, message, arrays):
    """Bytes of a message in which a few things are odd."""
    parts = [bytes(part) for part in codec.encode(message, arrays)]
    if arrays and rng.random() < 0.5:
        arrays = dict(arrays)
        for _ in range(rng.choice((1, 1, 2))):
            if arrays:
                bend(rng, arrays)
        parts = [bytes(part) for part in codec.encode(message, arrays)]
    if rng.random() < 0.75:
        header = msgspec.msgpack.decode(parts[1])
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            change(rng, header)
        parts[1] = msgspec.msgpack.encode(header)
    if rng.random() < 0.1:
        which = rng.randrange(len(parts))
        torn = bytearray(parts[which])
        if torn:
            torn[rng.randrange(len(torn))] ^= 1 << rng.randrange(8)
        parts[which] = bytes(torn[: rng.randrange(len(torn) + 1)] if rng.random() < 0.3 else torn)
    return parts


class Everybody:
    """All who take messages in, without the sockets between them."""

    def __init__(self, folder):
        tree = {
            "watch": {"root": "frames", "mode": "poll"},
            "wire": free_wire(),
            "alerts": {"rules": [{"name": "r", "quantity": "backlog", "above": 1}]},
        }
        (folder / "frames").mkdir()
        self.config = configuration.parse(tree, "test", folder)
        self.hub, self.watcher = Hub(self.config), Watcher(self.config)
        self.archiver = Archiver(self.config, threading.Event())
        self.health = Monitor(self.config)
        self.alerting = Alerting(self.config)

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
        elif isinstance(message, messages.Result):
            self.archiver._append(to_record(packet))
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
    assert min(outcomes.values()) > count / 10, outcomes
    everybody.close()
    everybody.hub = None
    with open_run(everybody.config.run_path) as run:
        assert len(run) > count / 200
        assert len(run.fractions) + len(run.failed) == len(run)
    assert threading.active_count() < 50
