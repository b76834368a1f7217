"""The run's frames so far: curves, marks, what is left out, and whose clock is off."""

import numpy as np

from dashboard.work.course import Course
from pychip_stream.archive.exclusions import BLANK
from pychip_stream.sim.truth import TruthFile
from tests.support.live_frames import live, record, replaced, seen_live


def test_curves_are_made_once_and_again_after_a_change():
    course = Course()
    record(course, live())
    first = course.curves(None)
    assert course.curves(None)[0] is first[0]
    record(course, live("b.tif", 2.0))
    assert len(course.curves(None)[0]) == 2
    assert set(first[0].columns) == {"alpha", "unknown"}


def test_marks_stand_where_the_support_set_changed():
    course = Course()
    for moment, version in ((1, "v1"), (2, "v1"), (3, "v2"), (2.5, "v1")):
        record(course, live(f"{moment}", moment, version))
    assert [(m.time, m.version) for m in course.marks] == [(1, "v1"), (3, "v2")]


def test_quantities_are_kept_beside_the_fractions_and_only_those_that_are_drawn():
    course = Course()
    record(course, live(drift=0.25, intensity_p1=7.0, made_up=1.0))
    record(course, live("b.tif", 3.0))
    keys, times = [("a.tif", 0), ("c.tif", 0)], np.array([1.0, 2.0])
    old = {"drift": np.array([0.9, 0.5]), "exposure_s": np.array([0.1, np.nan])}
    stamps = np.repeat(times[:, None], 3, axis=1)
    course.recall(keys, times, {"alpha": np.full((2, 3), 0.5)}, old, ["v1", "v1"], stamps)
    curves = course.curves(None)
    assert curves.measured.times.tolist() == [1.0, 2.0, 3.0]
    assert curves.quantities.times.tolist() == [1.0, 2.0]
    # The archive wins: values of readings depend on what came after, and on offsets of clocks.
    assert curves.quantities.columns["drift"][:, 0].tolist() == [0.9, 0.5]
    assert set(curves.quantities.columns) == {"drift", "exposure_s"}


def test_truth_may_come_before_or_after_its_frame(tmp_path):
    course = Course()
    file = TruthFile(tmp_path)
    assert file.read_new() == []
    path = tmp_path / "truth.csv"
    path.write_bytes(b"frame,index,path,time_s,alpha\n0,0,a.tif,0.0,0.25\n1,0,b.tif,1.0,0.5")
    record(course, live())
    course.reveal(file.read_new())
    assert course.curves(None)[1].columns["alpha"][:, 0].tolist() == [0.25]
    with path.open("ab") as more:
        more.write(b"\n2,0,c.tif,x,not a number\n")
    course.reveal(file.read_new())
    record(course, live("b.tif", 2.0))
    assert course.curves(None)[1].columns["alpha"][:, 0].tolist() == [0.25, 0.5]


def test_rows_of_the_truth_are_read_once(tmp_path):
    file, path = TruthFile(tmp_path), tmp_path / "truth.csv"
    path.write_bytes(b"frame,index,path,time_s,alpha\n0,0,a.tif,0.0,0.25\n1,0,b.t")
    assert file.read_new() == [(("a.tif", 0), {"alpha": 0.25})]
    with path.open("ab") as more:
        more.write(b"if,1.0,0.5\n")
    assert file.read_new() == [(("b.tif", 0), {"alpha": 0.5})]
    assert file.read_new() == []


def test_a_file_of_last_week_is_drawn_where_it_was_seen_as_in_the_archive():
    course, start, week = Course(), 1.7e9, 7 * 86400.0
    for number in range(8):
        record(course, seen_live(f"{number}.tif", start + number, start + number + 0.5))
        if number == 5:
            record(course, seen_live("old.tif", start - week, start + 5.7))
            course.curves(None)
    curves = course.curves(None).measured
    assert np.ptp(curves.times) == 7.0
    assert start + 5.7 in curves.times
    assert dict(course.displaced) == {("old.tif", 0): (start - week, start + 5.7)}
    assert len(course.curves(1).measured) == 9
    # Once it turns out that there was a session last week, nothing stands elsewhere.
    for number in range(4):
        record(course, seen_live(f"old_{number}.tif", start - week + number, start + 9))
    times = course.curves(None).measured.times
    assert np.ptp(times) == week + 7
    assert (times < start).sum() == 5
    assert dict(course.displaced) == {}


def test_a_blank_frame_is_no_point_of_the_curves_unless_it_was_taken_back():
    """M25: it was a spike to 100 % unknown until the archive had it."""
    course = Course()
    for number, blank in enumerate((0.0, 1.0, 0.0)):
        record(course, live(f"{number}.tif", number + 1.0, blank=blank))
    assert course.curves(None).measured.times.tolist() == [1.0, 3.0]
    assert [(key, one.who) for key, one in course.left_out.items()] == [(("1.tif", 0), BLANK)]
    course.leave_out({})
    assert course.curves(None).measured.times.tolist() == [1.0, 2.0, 3.0]


def test_a_frame_of_the_future_hides_no_mark():
    course = Course()
    now = seen_live("now.tif", 1.7e9 + 1, 1.7e9 + 1.2)
    record(course, seen_live("2099.tif", 4.07e9, 1.7e9))
    record(course, replaced(now, support_version="v2"))
    assert [mark.version for mark in course.marks] == ["v1", "v2"]
