import math

import numpy as np
import pytest

from pychip_stream.domain.frames import FrameRef
from pychip_stream.operation import health as module
from pychip_stream.operation.health import LatencySplit, RunHealth
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Alert, Live, Seen, Status


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def monotonic(self):
            return self.now

        def time(self):
            return 1e9 + self.now

    one = Clock()
    monkeypatch.setattr(module, "time", one)
    return one


@pytest.fixture
def health(clock):
    return RunHealth()


def hear(health, message, **arrays):
    health.take(Received(Packet(message, arrays), b"", b""))


def status(instance="watcher", state="running", **counters):
    return Status(service=instance, instance=instance, state=state, time=0.0, counters=counters)


def live(time, received=0.0, drift=math.nan):
    return Live(
        frame=FrameRef(path=f"{time}.tif", time=time, seen=received - 0.5),
        names=("alpha", "beta"), colors=(), support_version="v", chip_size=(8, 8),
        shape=(16, 16), status="ok", received=received, measured={"drift": drift},
    )  # fmt: skip


def test_who_goes_silent_is_stalled_and_not_idle(health, clock):
    assert health.state("watcher") == "starting"
    hear(health, status())
    clock.now += 3.0
    assert health.state("watcher") == "running"
    assert health.troubles() == []
    clock.now += 1.0
    assert health.state("watcher") == "stalled"
    assert health.values()["troubled", ""] == 1.0
    assert health.troubles() == ["watcher stalled: not heard of any more"]
    hear(health, status())
    assert health.state("watcher") == "running"


def test_the_newest_frame_counts_whatever_comes_late(health):
    first = np.array([[0.25, 0, 1], [0.5, 0, 1], [0.25, 0, 1]])
    hear(health, live(2.0, 10.0), intervals=first)
    hear(health, live(1.0, 11.0), intervals=np.zeros((3, 3)))
    assert health.newest.frame.path == "2.0.tif"
    values = health.values()
    assert values["fraction", "beta"] == 0.5
    assert values["unknown", ""] == 0.25
    assert values["latency", ""] == 0.5


def test_silence_is_counted_from_the_newest_frame(health, clock):
    assert math.isnan(health.silence_s)
    hear(health, Seen(frame=FrameRef(path="a", seen=1e9 + 90.0)))  # a late joiner hears it late
    assert health.silence_s == pytest.approx(10.0)
    hear(health, Seen(frame=FrameRef(path="b", seen=1e9 - 5000.0)))  # another machine's clock
    assert health.silence_s == 0.0
    clock.now += 31.0
    assert health.values()["silence", ""] == pytest.approx(31.0)


def test_drift_is_the_median_of_the_newest_frames(health):
    rows = np.zeros((3, 3))
    hear(health, live(0.0), intervals=rows)
    assert ("drift", "") not in health.values()
    for number, drift in enumerate([0.1] * 9 + [0.8] * 5):
        hear(health, live(1.0 + number, drift=drift), intervals=rows)
    assert health.values()["drift", ""] == pytest.approx(0.8)


def test_the_document_is_plain_json(health):
    hear(health, status(seen=5.0, **{"latency.read.p50": 0.25, "latency.read.p95": 0.5}))
    hear(
        health,
        Alert(id="1", rule="r", level="info", state="on", reason="because", time=1.0),
    )
    document = health.document()
    assert document["frames"]["seen"] == 5
    assert document["latency"] == {"read": {"p50": 0.25, "p95": 0.5}}
    assert document["alerts"]["r"]["reason"] == "because"


def test_the_way_of_a_frame_is_split():
    split = LatencySplit()
    for number in range(100):
        split.add_stages(
            (("written", 10.0), ("seen", 11.0), ("read", 11.0 + number / 100),
             ("classified", 13.0), ("archived", 14.0))
        )  # fmt: skip
    counters = split.counters()
    assert counters["latency.seen.p50"] == 1.0
    assert counters["latency.read.p95"] == pytest.approx(0.94, abs=0.02)
    assert counters["latency.total.p99"] == 4.0
    split = LatencySplit()
    split.add_stages((("written", math.nan), ("seen", 5.0), ("read", 0.0), ("classified", 4.0)))
    assert split.counters() == {}  # unknown times and clocks that disagree say nothing
