"""One clock: no file alone stretches the axis of a run, and honest series stay as they are."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pychip_stream.domain.clock import HOUR_S, Stamps, comes_after, newness, on_one_clock
from pychip_stream.domain.frames import FrameRef

NOW = 1.75e9
DAY = 86400.0
UNKNOWN = np.nan


@dataclass
class Series:
    """Frames in order of time, a file each; `seen` as by `classify` unless it was watched."""

    own: np.ndarray
    written: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, own, *, files="kept", watched=True):
        own = np.asarray(own, float)
        kept = {"kept": own + 0.4, "copied": NOW + 9 * DAY + 0.01 * np.arange(len(own)),
                "none": np.full(len(own), UNKNOWN)}[files]  # fmt: skip
        return cls(own, kept, own + 1.0 if watched else kept)

    def stamps(self, *strays):
        """With strays: (own, written, seen, path)."""
        columns = [list(c) for c in (self.own, self.written, self.seen)]
        paths = [f"f_{n}.tif" for n in range(len(self.own))]
        for *times, path in strays:
            for column, value in zip(columns, times, strict=True):
                column.append(value)
            paths.append(path)
        return Stamps(*map(np.array, columns), np.array([p.encode() for p in paths]))


def steady(count=30, step=1.0):
    return NOW + step * np.arange(count)


@st.composite
def honest(draw, fewest=4):
    """Sessions of several frames, with pauses of any length between them, however copied."""
    own, moment = [], NOW
    for _ in range(draw(st.integers(1, 4))):
        count, step = draw(st.integers(fewest, 12)), draw(st.floats(0.04, 900))
        own += [moment + step * n for n in range(count)]
        moment = own[-1] + draw(st.floats(0, 30 * DAY))
    files = draw(st.sampled_from(["kept", "copied", "none"]))
    return Series.of(own, files=files, watched=draw(st.booleans()))


@given(honest())
@settings(max_examples=300, deadline=None)
def test_an_honest_series_stays_as_it_is(series):
    assert np.array_equal(on_one_clock(series.stamps()), series.own)


@given(
    honest(),
    st.floats(-1e9, 1e10),
    st.sampled_from(["kept", "own", "then", "none"]),
    st.sampled_from(["a.tif", "f_1_ref.tif", "zz/ref.dm4"]),
)
@settings(max_examples=500, deadline=None)
def test_no_single_file_stretches_the_axis(series, own, file, path):
    middle = float(np.median(series.own))
    written = {"kept": NOW - 7 * DAY, "own": own, "then": middle, "none": UNKNOWN}[file]
    stamps = series.stamps((own, written, written, path))
    placed = on_one_clock(stamps)
    assert np.array_equal(placed[:-1], series.own)
    span = np.ptp(series.own)
    assert np.ptp(placed) <= span + max(HOUR_S, span)
    assert placed[-1] == own or series.own.min() <= placed[-1] <= series.own.max()


@given(honest(), st.permutations(range(8)), st.floats(-1e9, 1e10))
@settings(max_examples=100, deadline=None)
def test_the_order_of_archiving_does_not_matter_nor_that_it_was_done_before(series, order, own):
    stamps = series.stamps((own, UNKNOWN, UNKNOWN, "ref.tif"))
    placed = on_one_clock(stamps)
    count = len(placed)
    mixed = np.array([n for n in [*order, *range(8, count)] if n < count])
    mixed = np.concatenate([mixed, np.setdiff1d(np.arange(count), mixed)])
    again = on_one_clock(Stamps(*(column[mixed] for column in stamps)))
    assert np.array_equal(again, placed[mixed])
    settled = stamps._replace(own=placed)
    assert np.array_equal(on_one_clock(settled), placed)


def test_a_reference_that_is_copied_in_is_placed_where_it_was_seen():
    series = Series.of(steady())
    week = NOW - 7 * DAY
    placed = on_one_clock(series.stamps((week, week + 0.4, NOW + 12.5, "ref.dm4")))
    assert placed[-1] == NOW + 12.5
    assert np.array_equal(placed[:-1], series.own)


def test_without_a_witness_it_follows_the_file_before_it_by_name():
    series = Series.of(steady(12), watched=False)
    for name, expected in (("f_9_ref.tif", 9), ("f_10.tiff", 10), ("a.tif", 0), ("x.tif", 11)):
        week = NOW - 7 * DAY
        placed = on_one_clock(series.stamps((week, week, week, name)))
        assert placed[-1] == series.own[expected], name


def test_a_clock_that_was_wrong_for_one_file_gives_way_to_the_time_of_the_file():
    series = Series.of(steady(), watched=False)
    placed = on_one_clock(series.stamps((4e8, NOW + 7.4, NOW + 7.4, "x.tif")))
    assert placed[-1] == pytest.approx(NOW + 7.0)  # as far ahead of its file as the others


def test_files_of_1960_1970_and_2099_are_set_on_the_clock_of_the_run():
    series = Series.of(steady(15), watched=False)
    strays = [(t, t, t, f"f_7_{n}.tif") for n, t in enumerate((-3.2e8, 3600.0, 4.07e9))]
    placed = on_one_clock(series.stamps(*strays))
    assert placed[-3:].tolist() == [NOW + 7] * 3
    assert np.ptp(placed) == 14.0


@pytest.mark.parametrize("jump", [-3600.0, 3600.0, 7200.0])
def test_whole_hours_against_the_files_are_taken_out(jump):
    """Row 24: TIFF DateTime in the night the clocks go back ran back for an hour."""
    series = Series.of(steady(30, 600.0), watched=False)
    off = series.own.copy()
    off[11:15] = np.floor(off[11:15]) + jump
    stamps = series.stamps()._replace(own=off)
    placed = on_one_clock(stamps)
    assert (np.diff(placed) > 0).all()
    assert np.abs(placed - series.own).max() < 1.0
    assert np.array_equal(placed[:11], series.own[:11])


@pytest.mark.parametrize("step", [0.2, 60.0])
def test_whole_hours_stay_where_the_files_were_copied(step):
    """Two bursts an hour apart are no clock that was put back."""
    own = np.concatenate([NOW + step * np.arange(10), NOW + 3600 + step * np.arange(10)])
    for files in ("copied", "none"):
        series = Series.of(own, files=files, watched=False)
        assert np.array_equal(on_one_clock(series.stamps()), own)


@pytest.mark.parametrize(
    "own",
    [
        NOW + 7200.0 * np.arange(12),  # a frame every other hour
        np.concatenate([steady(300), NOW + 300 + 14 * HOUR_S + np.arange(200)]),  # a night
        np.concatenate([steady(100), NOW + DAY * np.arange(1, 6)]),  # fast, then slow
        [NOW, NOW + DAY, NOW + 2 * DAY],
    ],
    ids=["slow", "a night between", "fast, then slow", "three"],
)
@pytest.mark.parametrize("files", ["kept", "copied", "none"])
def test_series_that_pause_or_are_slow_stay_as_they_are(own, files):
    series = Series.of(own, files=files, watched=False)
    assert np.array_equal(on_one_clock(series.stamps()), series.own)


def test_older_frames_of_a_folder_that_is_watched_from_now_on_stay():
    older, newer = NOW - 5 * HOUR_S + np.arange(20.0), steady(100)
    series = Series.of(np.concatenate([older, newer]))
    series.seen[:20] = NOW + 0.5 + 0.01 * np.arange(20)
    assert np.array_equal(on_one_clock(series.stamps()), series.own)


def test_the_first_frame_after_a_long_pause_is_where_it_is():
    series = Series.of(steady(100))
    morning = NOW + 14 * HOUR_S
    placed = on_one_clock(series.stamps((morning, morning + 0.4, morning + 1.2, "f_100.tif")))
    assert placed[-1] == morning


def test_a_stack_that_is_copied_in_is_moved_as_a_whole():
    series, week = Series.of(steady(100)), NOW - 7 * DAY
    stack = [(week + n, week + 4, NOW + 50.0, "old.dm4") for n in range(5)]
    placed = on_one_clock(series.stamps(*stack))
    assert placed[-5:].tolist() == [NOW + 46 + n for n in range(5)]
    long = [(week + n, week + 40, NOW + 50.0, "old.dm4") for n in range(40)]
    placed = on_one_clock(series.stamps(*long))
    assert placed[-40:].tolist() == [week + n for n in range(40)]  # a session of its own


def copied_in(series, seen, own=NOW - 5 * 365 * DAY):
    """Two files of one old moment that are dropped into the folder, seen at these times."""
    strays = [(own + n, own + n, moment, f"{n}.dm4") for n, moment in enumerate(seen)]
    return on_one_clock(series.stamps(*strays))[-len(seen) :] - own


def test_files_of_one_old_moment_are_each_placed_where_they_were_seen():
    """B1: two old references among nine frames made the axis years long."""
    placed = copied_in(Series.of(steady(7)), seen=(NOW + 3.5, NOW + 5.5))
    assert (placed + NOW - 5 * 365 * DAY).tolist() == [NOW + 3.5, NOW + 5.5]


@pytest.mark.parametrize(
    ("count", "seen"),
    [
        (7, [NOW + 1.0] * 2),  # together with the first: they may have been there before it
        (7, [NOW - 5 * 365 * DAY + 1] * 2),  # on time: a session of another day
        (5, [NOW + 3.5] * 2),  # more than a quarter of all
        (100, [NOW + 50.0 + n for n in range(4)]),  # a series
    ],
    ids=["together", "on time", "many", "a series"],
)
def test_files_that_may_be_a_session_of_another_day_stay(count, seen):
    assert copied_in(Series.of(steady(count)), seen).tolist() == list(range(len(seen)))


def test_no_frame_that_was_seen_is_of_the_future():
    ref = FrameRef(path="a", time=4.07e9, seen=NOW)
    assert newness(ref) == NOW
    assert newness(FrameRef(path="a", time=NOW + 60, seen=NOW)) == NOW + 60
    assert newness(FrameRef(path="a", time=5.0)) == 5.0


def test_a_file_of_another_year_that_is_copied_in_is_the_newest():
    """B2: it was archived and never shown."""
    shown = FrameRef(path="a", time=NOW, seen=NOW + 1)
    old = FrameRef(path="b", time=NOW - 5 * 365 * DAY, seen=NOW + 60)
    assert comes_after(old, shown)
    assert comes_after(FrameRef(path="c", time=NOW + 61, seen=NOW + 61), old)
    assert not comes_after(replace(old, seen=NOW + 2), shown)  # seen together
    caught_up = FrameRef(path="d", time=NOW - 600, seen=NOW + 60)
    assert not comes_after(caught_up, shown)
    assert comes_after(old, None)


def test_a_long_run_costs_little():
    series = Series.of(NOW + np.arange(100_000.0), watched=False)
    stamps = series.stamps((1.0, 1.0, 1.0, "f_500_.tif"))
    assert on_one_clock(stamps)[-1] == NOW + 500
