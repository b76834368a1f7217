import math
from datetime import datetime

import numpy as np
import pytest
from msgspec.structs import replace

from pychip_stream.domain.frames import FrameRef
from pychip_stream.operation import health as module
from pychip_stream.operation.health import SILENT_S, RunHealth
from pychip_stream.operation.latency import LatencySplit, stretches
from pychip_stream.operation.metrics import HealthCollector
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
    return health.take(Received(Packet(message, arrays), b"", b""))


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
    assert health.troubles() == [("watcher", "stalled: not heard of any more")]
    hear(health, status())
    assert health.state("watcher") == "running"


def test_who_was_stopped_in_order_alarms_when_nobody_starts_it_again(health, clock):
    hear(health, status("archiver"))
    hear(health, status("worker-1", "stopped"))
    clock.now += 50.0
    hear(health, status("archiver"))
    assert (health.state("worker-1"), health.troubles()) == ("stopped", [])
    assert health.values()["troubled", ""] == 0.0
    clock.now += 20.0
    hear(health, status("archiver"))
    assert health.troubles() == [("worker-1", "stalled: not heard of any more")]


def test_the_end_of_a_run_is_no_alarm_however_long_it_takes(health, clock):
    """S7: a worker that was stopped, or killed over a long frame, was "not heard of any more"."""
    hear(health, status("worker-1"))
    hear(health, status("worker-2", "stopped"))
    hear(health, status("watcher", "stopped"))
    for _ in range(100):
        clock.now += 1.0
        hear(health, replace(status("archiver", "stopping"), detail="merging 3 frames"))
    assert [health.state(f"worker-{n}") for n in (1, 2)] == ["stopped", "stopped"]
    assert health.troubles() == []
    light = health.liveness()
    assert (light.light, light.text, light.detail) == (
        "waiting", "the run is ending", "merging 3 frames",
    )  # fmt: skip
    hear(health, replace(status("archiver", "paused"), detail="no space left"))
    assert health.troubles() == [("archiver", "paused: no space left")]
    hear(health, status("watcher"))  # the run goes on after all
    assert ("worker-1", "stalled: not heard of any more") in health.troubles()


def test_who_must_be_there_and_is_not_heard_is_missing(clock):
    health = RunHealth({"hub", "archiver", "worker-1"}, start_s=60.0)
    hear(health, status("hub"))
    hear(health, status("archiver"))
    assert (health.state("worker-1"), health.troubles()) == ("starting", [])
    clock.now += 61.0
    hear(health, status("hub"))
    hear(health, status("archiver"))
    assert health.instances == ["archiver", "hub", "worker-1"]
    assert health.values()["troubled", ""] == 1.0
    assert health.troubles()[0][1].startswith("missing: not heard of")
    told = health.document()["services"]["worker-1"]
    assert (told["service"], told["state"], told["heard_s"]) == ("worker", "missing", None)
    up = next(m for m in HealthCollector(health).collect() if m.name == "pychip_up")
    assert {s.labels["instance"]: s.value for s in up.samples}["worker-1"] == 0.0
    hear(health, status("worker-1"))
    assert (health.complete, health.troubles()) == (True, [])


def test_made_up_services_keep_nobody_out_who_must_be_there():
    health = RunHealth({"archiver"})
    for number in range(1000):
        hear(health, status(f"made-up-{number}"))
    assert len(health.statuses) == 300
    hear(health, status("archiver"))
    assert health.state("archiver") == "running"


def test_nothing_that_is_heard_raises(health, caplog):
    """One live message with intervals of one axis ended the supervisor, and with it the run."""
    assert not hear(health, live(1.0), intervals=np.zeros(3))
    assert "could not be taken in" in caplog.text
    hear(health, status(seen=math.nan, archived=math.inf))
    assert health.document()["frames"] == {"seen": 0, "archived": 0, "behind": 0, "failed": 0}


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
    frame = FrameRef(path="a", mtime_ns=10 * 10**9, seen=11.0)
    for number in range(100):
        split.add(stretches(frame, 11.0 + number / 100, 13.0, archived=14.0))
    counters = split.counters()
    assert counters["latency.seen.p50"] == 1.0
    assert counters["latency.read.p95"] == pytest.approx(0.94, abs=0.02)
    assert counters["latency.total.p99"] == 4.0
    waited = stretches(frame, 16.5, 17.0, started=16.0)
    assert waited == {"seen": 1.0, "started": 5.0, "read": 0.5, "classified": 0.5, "total": 7.0}
    # Unknown times and clocks that disagree say nothing.
    assert stretches(FrameRef(path="a", seen=5.0), math.nan, 4.0) == {}
    assert stretches(frame, 0.0, 10.5, shown=13.0) == {
        "seen": 1.0,
        "shown": 2.5,
        "total": 3.0,
    }


def test_the_hubs_repeats_count_once(health, clock):
    seen, shown = Seen(frame=FrameRef(path="a", seen=1e9 + 100.0)), live(1.0, 10.0, drift=0.5)
    rows = np.zeros((3, 3))
    assert hear(health, seen)
    assert hear(health, shown, intervals=rows)
    clock.now += 6.0
    assert not hear(health, seen)
    assert not hear(health, shown, intervals=rows)
    assert health.seen_at == clock.now - 6.0
    assert health.classified_at == clock.now - 6.0
    hear(health, status())
    assert health.liveness().light == "idle"


def test_alerts_replace_their_like_and_the_latest_comes_last(health):
    for number, rule in enumerate(("disk", "drift", "disk")):
        level, state = "warning", "off" if number == 2 else "on"
        hear(health, Alert(id="1", rule=rule, level=level, state=state, reason="r", time=number))
    assert [(a.rule, a.state) for a in health.alerts.values()] == [("drift", "on"), ("disk", "off")]
    for number in range(300):
        hear(health, Alert(id="1", rule=f"{number}", level="info", state="on", reason="r", time=1))
    assert len(health.alerts) == 200
    assert list(health.alerts)[-1] == "299"


def fresh(clock, *, shown=99.9, behind=0, pending=0, gap_s=0.5, heard=100.0, begun=0.0):
    """Health at 100 s after it has heard these things."""
    clock.now = begun
    health = RunHealth()
    for number in range(3):
        clock.now = gap_s * number
        hear(health, Seen(frame=FrameRef(path=f"{number}")))
    if shown is not None:
        clock.now = shown
        hear(health, live(1.0, received=1.7e9), intervals=np.zeros((3, 3)))
    if pending:
        hear(health, status("archiver", pending=float(pending)))
    if behind:
        hear(health, status(behind=float(behind)))
    health.heard_at = heard
    clock.now = 100.0
    return health.liveness()


@pytest.mark.parametrize(
    ("changes", "light"),
    [
        ({}, "live"),
        ({"behind": 2}, "live"),
        ({"behind": 3}, "behind"),
        ({"behind": 30, "pending": 28}, "live"),
        ({"behind": 30, "pending": 20}, "behind"),
        ({"behind": 3, "shown": 90.0, "pending": 3}, "idle"),
        ({"behind": 3, "shown": 90.0}, "stalled"),
        ({"behind": 1, "shown": None}, "stalled"),
        ({"shown": 90.0}, "idle"),
        ({"shown": 90.0, "gap_s": 30.0}, "live"),
        ({"shown": None}, "waiting"),
        ({"heard": 90.0}, "lost"),
        ({"heard": None}, "lost"),
        ({"heard": None, "begun": 98.0, "shown": None}, "waiting"),
    ],
)
def test_how_fresh_it_is(clock, changes, light):
    assert fresh(clock, **changes).light == light


def test_words_say_how_many_and_since_when(clock):
    assert fresh(clock, behind=12).text == "12 frames behind"
    stalled = fresh(clock, behind=1, shown=50.0)
    assert stalled.text == f"stalled since {datetime.fromtimestamp(1.7e9):%H:%M:%S}"
    assert stalled.detail == "1 frame waiting"


def follow(health, clock, seconds, camera, worker, segment_s=5.0):
    """Say once a second what watcher and archiver of such a run would, half a second apart."""
    lights = []
    for second in range(seconds):
        seen, done = camera * second, min(worker, camera) * second
        archived = min(worker, camera) * (second - second % segment_s)
        hear(health, live(float(second), received=float(second)), intervals=np.zeros((3, 3)))
        hear(health, Seen(frame=FrameRef(path=f"{second}")))
        hear(health, status(seen=seen, archived=archived, behind=seen - archived))
        clock.now += 0.5
        hear(health, status("archiver", pending=done + 0.5 * min(worker, camera) - archived))
        clock.now += 0.5
        hear(health, status("hub"))
        lights.append(health.liveness())
    return lights


@pytest.mark.parametrize("rate", [1.0, 2.0, 23.0])
def test_a_worker_that_keeps_up_is_never_behind(health, clock, rate):
    """S2: what waits for its segment on disk counted as if the worker were slow."""
    lights = follow(health, clock, 60, camera=rate, worker=rate)
    assert {one.light for one in lights[1:]} == {"live"}


def test_a_backlog_is_told_with_its_forecast(health, clock):
    behind = follow(health, clock, 30, camera=23.0, worker=8.0)[-1]
    assert behind.light == "behind"
    assert behind.detail.startswith("camera 23.0/s, worker 8.0/s: it does not catch up")


def test_what_is_archived_moves_though_no_frame_is_heard_of(health, clock):
    """S2: red while 150 frames were caught up."""
    for second in range(30):
        hear(health, status(seen=200.0, archived=10.0 * second, behind=200.0 - 10.0 * second))
        clock.now += 1.0
        hear(health, status("hub"))
        health.classified_at = 100.0
    assert health.liveness().light != "stalled"


def test_a_pause_does_not_make_an_old_picture_fresh(health, clock):
    """B2: after one pause of 350 s an old picture was "live" for half an hour."""
    for moment in (0.0, 350.0):
        clock.now = 100.0 + moment
        hear(health, Seen(frame=FrameRef(path=f"{moment}")))
        hear(health, live(moment, received=moment), intervals=np.zeros((3, 3)))
    clock.now += 6.0
    hear(health, status())
    assert health.liveness().light == "idle"


def test_the_first_frame_after_a_pause_is_on_its_way_and_not_stalled(health, clock):
    """Red for a moment whenever a frame came after the run had paused."""
    hear(health, live(1.0, received=1.0), intervals=np.zeros((3, 3)))
    for _ in range(30):
        clock.now += 1.0
        hear(health, status(seen=5.0, archived=5.0, behind=0.0))
    for second, light in ((0, "idle"), (1, "idle"), (6, "stalled")):
        clock.now = 130.0 + second
        hear(health, status(seen=6.0, archived=5.0, behind=1.0))
        assert health.liveness().light == light, second


def test_after_a_restart_the_next_frame_is_waited_for(health):
    assert health.liveness().text == "waiting for the first frame"
    hear(health, status(archived=10.0))
    assert health.liveness().text == "waiting for the next frame"


def test_frames_without_examples_are_no_fault(health, clock):
    """B3: red, "stalled, 8 frames waiting", for who has not chosen examples yet."""
    worker = Status(
        service="inference", instance="worker-1", state="waiting", time=0.0,
        counters={"support": 0.0}, detail="waiting for a support set",
    )  # fmt: skip
    hear(health, worker)
    hear(health, status(seen=8.0, behind=8.0))
    clock.now += 30.0
    hear(health, worker)
    found = health.liveness()
    assert (found.light, found.text) == ("waiting", "frames arrive, no examples yet")


def test_a_worker_that_loads_its_network_is_no_fault(clock):
    health = RunHealth({"worker-1"})
    hear(health, status(seen=8.0, behind=8.0))
    clock.now += 20.0
    hear(health, status(seen=8.0, behind=8.0))
    assert health.liveness().text == "the worker is starting"
    clock.now += 60.0
    hear(health, status(seen=8.0, behind=8.0))
    assert health.liveness().light == "stalled"


def test_one_limit_of_silence_holds_for_services_and_the_hub(health, clock):
    hear(health, status("worker-1", "waiting"))
    for quiet_s, silent in ((SILENT_S - 0.1, False), (SILENT_S + 0.1, True)):
        clock.now = 100.0 + quiet_s
        assert health.silent("worker-1") == silent
        assert (health.state("worker-1") == "stalled") == silent
        assert (health.liveness().light == "lost") == silent
    assert SILENT_S == 3.5  # as docs/operate.md says


def test_a_blank_frame_fires_no_rule_about_the_specimen(health):
    shares = np.array([[0.75, 0, 1], [0.25, 0, 1], [0.0, 0, 1]])
    hear(health, replace(live(1.0), measured={"strange": 0.1, "blank": 0.0}), intervals=shares)
    before = health.values()
    assert (before["fraction", "alpha"], before["blank", ""]) == (0.75, 0.0)
    hear(
        health, replace(live(2.0), measured={"strange": 1.0, "blank": 1.0}), intervals=shares[::-1]
    )
    assert health.newest.frame.path == "2.0.tif"
    after = health.values()
    assert after["blank", ""] == 1.0
    told = [("fraction", "alpha"), ("fraction", "beta"), ("unknown", ""), ("strange", "")]
    assert [after[name] for name in told] == [before[name] for name in told]
