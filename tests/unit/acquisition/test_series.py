"""Places, times and gaps of in-situ frames, from their names."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pychip_stream.acquisition.series import Moment, SeriesBook, earliest, parse
from pychip_stream.domain.frames import agree
from pychip_stream.formats.reading import own_time
from pychip_stream.sim.frame_files import Exposure, encode, insitu_path
from tests.support.material import put


@pytest.mark.parametrize(
    ("path", "moment"),
    [
        (
            "run/Hour_00/Minute_01/Second_02/run_Hour_00_Minute_01_Second_02_Frame_0003.dm4",
            Moment("run/run", 62, 3),
        ),
        ("x/RUN_hour_01_minute_00_second_00_frame_0000.DM4", Moment("x/RUN", 3600, 0)),
        ("run_Hour_00_Minute_00_Second_10_Frame_12.tif", Moment("run", 10, 12)),
        ("a/b/Hour_02/Minute_00/Second_01/Frame_0007.tif", Moment("a/b", 7201, 7)),
        ("Hour_00/Minute_00/Second_00/x_Frame_0007.tif", Moment("", 0, 7)),
        ("Hour_00/Minute_00/Second_00/overview.dm4", None),
        ("run/Frame_0007.tif", None),
        ("Hour_00_Minute_00_Second_00.dm4", None),
    ],
)
def test_names(path, moment):
    assert parse(path) == moment


@given(st.integers(0, 360_000), st.integers(0, 9999))
def test_the_microscope_writes_what_is_read(second, frame):
    assert parse(insitu_path("run", second, frame, "dm4")) == Moment("run/run", second, frame)


def test_frames_sort_in_the_order_of_acquisition():
    moments = [Moment("a", 0, 9), Moment("a", 0, 10), Moment("a", 1, 0), Moment("b", 0, 0)]
    assert sorted([moments[i] for i in (2, 0, 3, 1)]) == moments


def test_the_beginning_is_the_time_of_the_first_frame_on_disk(tmp_path):
    paths = [put(tmp_path / insitu_path("run", s, f, "dm4")) for s in (2, 3, 65) for f in (0, 1)]
    for number, path in enumerate(paths):
        os.utime(path, (1_700_000_002 + number, 1_700_000_002 + number))
    assert earliest(paths[-1])[1] == earliest(paths[0])[1] == paths[0]
    name, mtime_ns = paths[2].relative_to(tmp_path).as_posix(), paths[2].stat().st_mtime_ns
    assert SeriesBook().note(name, str(paths[2]), mtime_ns) == 1_700_000_003
    assert earliest(tmp_path / "nothing/Hour_00/Minute_00/Second_00/x_Frame_0000.dm4") is None


def test_folders_count_by_their_numbers(tmp_path):
    for hour in ("Hour_9", "Hour_10"):
        put(tmp_path / f"{hour}/Minute_0/Second_0/Frame_0.dm4")
    first, path = earliest(tmp_path / "Hour_10/Minute_0/Second_0/Frame_0.dm4")
    assert (first.second, path.parts[-4]) == (32_400, "Hour_9")


def book(frames, series="run"):
    one = SeriesBook()
    one.begin(series, 1000.0)
    for second, frame in frames:
        one.add(Moment(series, second, frame), 0.0)
    return one


def missing(one):
    return [(gap.second, frame) for gap in one.gaps() for frame in gap.frames]


def test_times_follow_the_frames_share_of_its_second():
    one = book([(0, f) for f in range(4)])
    assert one.add(Moment("run", 2, 1), 0.0) == 1002.25


def test_a_series_nobody_has_begun_begins_by_the_files_time():
    assert SeriesBook().add(Moment("x", 5, 0), 2005.0) == 2005.0


def series(folder, rate, count, kind="tiff", began=1_700_000_000.4, late=0.05):
    """Files of a series as a microscope writes them: the frame's time in it, closed later."""
    for number in range(count):
        taken, second = began + number / rate, number // rate
        data = encode(kind, np.zeros((8, 8), np.uint16), Exposure(0.1, taken, 0.1, 0.1), "x")
        path = put(folder / insitu_path("run", second, number % rate, kind), data)
        os.utime(path, (taken + late, taken + late))
        yield path


def noted(book, path):
    return book.note(path.as_posix(), str(path), path.stat().st_mtime_ns)


@pytest.mark.parametrize("late", [0.05, 0.9, 1.5])
def test_a_series_is_evenly_timed_from_the_first_frame_on(tmp_path, late):
    """Also while it grows, when nobody knows yet how many frames a second has."""
    book, times = SeriesBook(), []
    for path in series(tmp_path, 5, 15, late=late):
        times.append(noted(book, path))
        assert agree(own_time(path), times[-1])
    assert np.diff(times) == pytest.approx(0.2, abs=1e-4)


@pytest.mark.parametrize("kind", ["tiff", "dm4"])
def test_a_copied_series_is_timed_by_its_first_frame(tmp_path, kind):
    paths = list(series(tmp_path, 5, 15, kind))
    for path in paths:
        os.utime(path, (1_800_000_000, 1_800_000_000))
    book, times = SeriesBook(), []
    for path in paths:
        book.enter(path.as_posix())
    times = [noted(book, path) for path in paths]
    assert times[0] == pytest.approx(1_700_000_000 + (0.4 if kind == "dm4" else 0), abs=1e-4)
    assert np.diff(times) == pytest.approx(0.2, abs=1e-6)


def test_a_first_frame_that_cannot_be_read_has_the_time_of_its_file(tmp_path):
    first, second = series(tmp_path, 2, 2)
    first.write_bytes(first.read_bytes()[:100])
    os.utime(first, (1_700_000_000, 1_700_000_000))
    assert noted(SeriesBook(), second) == 1_700_000_000.5


def test_gaps_within_and_between_seconds():
    frames = {(s, f) for s in range(5) for f in range(4)}
    lost = {(0, 0), (1, 2), *((3, f) for f in range(4))}
    assert set(missing(book(frames - lost))) == lost
    assert missing(book(frames)) == []


def test_a_camera_that_is_a_little_slower_loses_no_frames():
    assert missing(book([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)])) == []


def test_a_pause_is_no_gap():
    frames = [(s, f) for s in (0, 1, 60, 61) for f in range(3)]
    assert missing(book(frames)) == []


@pytest.mark.parametrize("pace", [1, 5])
def test_slow_series_have_gaps_where_their_pace_is_even(pace):
    seconds = [s * pace for s in range(30) if s not in (7, 20, 21)]
    assert missing(book([(s, 0) for s in seconds])) == [(s * pace, 0) for s in (7, 20, 21)]
    uneven = [(int(n * 1.43), 0) for n in range(30)]
    assert missing(book(uneven)) == []
    assert missing(book([(0, 0), (1, 0), (3, 0)])) == []  # too few to tell a pace


def test_a_frame_that_comes_late_or_goes_is_counted():
    one = book([(0, 0), (0, 2)])
    version = one.version
    assert missing(one) == [(0, 1)]
    one.add(Moment("run", 0, 1), 0.0)
    assert missing(one) == []
    one.remove(Moment("run", 0, 1))
    one.remove(Moment("run", 0, 2))
    assert missing(one) == []
    assert one.version == version + 3
    one.remove(Moment("run", 9, 9))
    one.remove(Moment("other", 0, 0))
    assert one.version == version + 3


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 5))))
def test_nothing_that_exists_is_missing_and_nothing_below_it_is_overlooked(frames):
    gone = set(missing(book(frames)))
    assert not gone & frames
    for second, frame in frames:
        assert {(second, f) for f in range(frame)} <= gone | frames


def test_numbers_beyond_all_reason_cost_no_memory():
    one = book([(0, 0)])
    one.add(Moment("run", 0, 999_999), 0.0)
    assert missing(one) == []
