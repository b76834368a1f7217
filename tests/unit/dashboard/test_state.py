"""What the sessions pull; and that none of it needs Panel."""

import subprocess
import sys

import numpy as np
import pytest
from msgspec.structs import replace

from dashboard.work.frame_pictures import FramePicture, checked_rect
from dashboard.work.state import Alarm, RunState
from pychip_stream.archive.exclusions import BLANK
from pychip_stream.domain.frames import FrameRef
from pychip_stream.sim.truth import TruthFile
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Alert, Status
from tests.support.live_frames import HALF, LABELS, live, record, shot


def test_curves_are_made_once_and_again_after_a_change():
    state = RunState()
    record(state, live())
    first = state.curves(None)
    assert state.curves(None)[0] is first[0]
    record(state, live("b.tif", 2.0))
    assert len(state.curves(None)[0]) == 2
    assert set(first[0].columns) == {"alpha", "unknown"}


def test_marks_stand_where_the_support_set_changed():
    state = RunState()
    for moment, version in ((1, "v1"), (2, "v1"), (3, "v2"), (2.5, "v1")):
        record(state, live(f"{moment}", moment, version))
    assert [(m.time, m.version) for m in state.marks] == [(1, "v1"), (3, "v2")]


def test_the_time_until_a_browser_had_painted_is_published():
    state = RunState()
    assert state.latency_counters() == {}
    sent = shot(replace(live(), received=100.0))
    for moment in (100.5, 100.5, 99.0):  # a clock may be behind
        state.painted(sent, moment)
    counters = state.latency_counters()
    assert (counters["latency.shown.p50"], counters["latency.shown.p99"] > 0.4) == (0.5, True)


def test_quantities_are_kept_beside_the_fractions_and_only_those_that_are_drawn():
    state = RunState()
    record(state, live(drift=0.25, intensity_p1=7.0, made_up=1.0))
    record(state, live("b.tif", 3.0))
    keys, times = [("a.tif", 0), ("c.tif", 0)], np.array([1.0, 2.0])
    old = {"drift": np.array([0.9, 0.5]), "exposure_s": np.array([0.1, np.nan])}
    stamps = np.repeat(times[:, None], 3, axis=1)
    state.recall(keys, times, {"alpha": np.full((2, 3), 0.5)}, old, ["v1", "v1"], stamps)
    curves = state.curves(None)
    assert curves.measured.times.tolist() == [1.0, 2.0, 3.0]
    assert curves.quantities.times.tolist() == [1.0, 2.0]
    # The archive wins: values of readings depend on what came after, and on offsets of clocks.
    assert curves.quantities.columns["drift"][:, 0].tolist() == [0.9, 0.5]
    assert set(curves.quantities.columns) == {"drift", "exposure_s"}


def test_truth_may_come_before_or_after_its_frame(tmp_path):
    state = RunState()
    file = TruthFile(tmp_path)
    assert file.read_new() == []
    path = tmp_path / "truth.csv"
    path.write_bytes(b"frame,index,path,time_s,alpha\n0,0,a.tif,0.0,0.25\n1,0,b.tif,1.0,0.5")
    record(state, live())
    state.reveal(file.read_new())
    assert state.curves(None)[1].columns["alpha"][:, 0].tolist() == [0.25]
    with path.open("ab") as more:
        more.write(b"\n2,0,c.tif,x,not a number\n")
    state.reveal(file.read_new())
    record(state, live("b.tif", 2.0))
    assert state.curves(None)[1].columns["alpha"][:, 0].tolist() == [0.25, 0.5]


def test_rows_of_the_truth_are_read_once(tmp_path):
    file, path = TruthFile(tmp_path), tmp_path / "truth.csv"
    path.write_bytes(b"frame,index,path,time_s,alpha\n0,0,a.tif,0.0,0.25\n1,0,b.t")
    assert file.read_new() == [(("a.tif", 0), {"alpha": 0.25})]
    with path.open("ab") as more:
        more.write(b"if,1.0,0.5\n")
    assert file.read_new() == [(("b.tif", 0), {"alpha": 0.5})]
    assert file.read_new() == []


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
        "import sys; from dashboard.work import background, drafts, feed, frame_pictures, history,"
        " machine, opened_run, previews, runs, state, words, workbench;"
        f"sys.exit({heavy!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def seen_live(path, time, seen):
    message = live(path, time)
    return replace(
        message, frame=FrameRef(path=path, time=time, seen=seen, mtime_ns=int(1e9 * time))
    )


def test_a_file_of_last_week_is_drawn_where_it_was_seen_as_in_the_archive():
    state, start, week = RunState(), 1.7e9, 7 * 86400.0
    for number in range(8):
        record(state, seen_live(f"{number}.tif", start + number, start + number + 0.5))
        if number == 5:
            record(state, seen_live("old.tif", start - week, start + 5.7))
            state.curves(None)
    curves = state.curves(None).measured
    assert np.ptp(curves.times) == 7.0
    assert start + 5.7 in curves.times
    assert dict(state.displaced) == {("old.tif", 0): (start - week, start + 5.7)}
    assert len(state.curves(1).measured) == 9
    # Once it turns out that there was a session last week, nothing stands elsewhere.
    for number in range(4):
        record(state, seen_live(f"old_{number}.tif", start - week + number, start + 9))
    times = state.curves(None).measured.times
    assert np.ptp(times) == week + 7
    assert (times < start).sum() == 5
    assert dict(state.displaced) == {}


def test_the_newest_frame_is_none_of_the_future():
    state = RunState()
    late, now = seen_live("2099.tif", 4.07e9, 1.7e9), seen_live("now.tif", 1.7e9 + 1, 1.7e9 + 1.2)
    for message in (late, now):
        arrays = {"label_map": LABELS, "intervals": HALF}
        state.health.take(Received(Packet(message, arrays), b"", b""))
    assert state.health.newest.frame.path == "now.tif"
    state.record(late, shot(late).picture)
    changed = replace(now, support_version="v2")
    state.record(changed, shot(changed).picture)
    assert [mark.version for mark in state.marks] == ["v1", "v2"]


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


def test_a_blank_frame_is_no_point_of_the_curves_unless_it_was_taken_back():
    """M25: it was a spike to 100 % unknown until the archive had it."""
    state = RunState()
    for number, blank in enumerate((0.0, 1.0, 0.0)):
        record(state, live(f"{number}.tif", number + 1.0, blank=blank))
    assert state.curves(None).measured.times.tolist() == [1.0, 3.0]
    assert [(key, one.who) for key, one in state.left_out.items()] == [(("1.tif", 0), BLANK)]
    state.leave_out({})
    assert state.curves(None).measured.times.tolist() == [1.0, 2.0, 3.0]
