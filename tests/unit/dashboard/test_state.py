"""What the sessions pull; and that none of it needs Panel."""

import subprocess
import sys

import pytest
from msgspec.structs import replace

from dashboard.work.frame_pictures import FramePicture, checked_rect
from dashboard.work.state import Alarm, RunState
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Alert, Status
from tests.support.live_frames import HALF, LABELS, live, seen_live, shot


def test_the_time_until_a_browser_had_painted_is_published():
    state = RunState()
    assert state.latency_counters() == {}
    sent = shot(replace(live(), received=100.0))
    for moment in (100.5, 100.5, 99.0):  # a clock may be behind
        state.painted(sent, moment)
    counters = state.latency_counters()
    assert (counters["latency.shown.p50"], counters["latency.shown.p99"] > 0.4) == (0.5, True)


def test_each_shot_has_its_number():
    state = RunState()
    for _ in range(2):
        state.show(shot(live()))
    assert state.shot.number == 2


def test_alerts_on_trial_or_without_a_banner_are_not_shown():
    state = RunState()
    for rule, options in (("a", {}), ("b", {"dry_run": True}), ("c", {"banner": False})):
        alert = Alert(id="1", rule=rule, level="info", state="on", reason="r", time=1.0, **options)
        state.health.take(Received(Packet(alert, {}), b"", b""))
    assert [alert.rule for alert in state.alerts] == ["a"]


def test_a_picture_says_all_that_the_canvas_wants():
    picture = FramePicture.of_live(live(), LABELS, HALF)
    message = picture.message(3, "of 12:00:00: ", {"alpha": 0.25})
    assert (message["seq"], message["grid"], message["chip"]) == (3, [2, 2], [8, 8])
    assert [bar["name"] for bar in message["bars"]] == ["alpha", "unknown"]
    assert (message["bars"][0]["truth"], message["bars"][1]["truth"]) == (0.25, None)
    assert message["caption"] == "of 12:00:00: a.tif · its file is out of reach: labels alone"
    bare = FramePicture(key=("a.tif", 2), shape=(16, 20), chip_size=(8, 4), jpeg=b"j").message(1)
    assert (bare["grid"], bare["labels"], bare["bars"]) == ([4, 2], None, [])
    assert bare["caption"] == "a.tif #2"


def test_parts_that_a_browser_asks_for_are_checked():
    assert checked_rect([-5, 2.7, 900, 8], (10, 20)) == (0, 2, 20, 8)
    for bad in ("x", [1, 2, 3], [5, 5, 5, 9], [1, 2, "a", 4], [0, 0, float("inf"), 1], None):
        assert checked_rect(bad, (10, 20)) is None


@pytest.mark.parametrize("heavy", ["panel", "torch"])
def test_what_serves_all_sessions_never_imports(heavy):
    code = (
        "import sys; from dashboard.work import background, course, drafts, feed, frame_pictures,"
        " history, machine, opened_run, previews, runs, saved_sets, state, words, workbench;"
        f"sys.exit({heavy!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_newest_frame_is_none_of_the_future():
    state = RunState()
    late, now = seen_live("2099.tif", 4.07e9, 1.7e9), seen_live("now.tif", 1.7e9 + 1, 1.7e9 + 1.2)
    for message in (late, now):
        arrays = {"label_map": LABELS, "intervals": HALF}
        state.health.take(Received(Packet(message, arrays), b"", b""))
    assert state.health.newest.frame.path == "now.tif"


def alert(rule, level="warning", id="1", state="on"):  # noqa: A002
    return Alert(id=id, rule=rule, level=level, state=state, reason="because", time=1.0)


def test_the_worst_alarm_comes_first_until_somebody_knows_of_it():
    state = RunState()

    def hear(message):
        state.health.take(Received(Packet(message, {}), b"", b""))

    hear(alert("late"))
    hear(alert("disk", "critical"))
    assert [a.name for a in state.alarms()] == ["disk", "late"]
    state.acknowledge("disk", "ann")
    state.acknowledge("nothing of the kind", "ann")
    assert [(a.name, a.acknowledged) for a in state.alarms()] == [("late", ""), ("disk", "ann")]
    hear(alert("disk", "critical", "2", "off"))
    assert [a.name for a in state.alarms()] == ["late"]
    hear(alert("disk", "critical", "3"))
    assert state.alarms()[0][::3] == ("disk", "")


def test_services_that_are_not_well_are_alarms_too():
    state = RunState({"worker-1"})
    message = Status(
        service="watcher", instance="watcher", state="paused", time=0.0, detail="the folder is away"
    )
    state.health.take(Received(Packet(message, {}), b"", b""))
    assert state.alarms() == [Alarm("watcher", "warning", "paused: the folder is away", "")]
    state.acknowledge("watcher", "ann")
    assert state.alarms()[0].acknowledged == "ann"
