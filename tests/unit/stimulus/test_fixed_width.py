"""Times of lines that are written alike: the short way tells what the long one does."""

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pychip_stream.stimulus import log_reading
from pychip_stream.stimulus.dialect import Column, Layout, TimeColumn
from pychip_stream.stimulus.fixed_width import written_times
from pychip_stream.stimulus.log_reading import LogFile
from pychip_stream.stimulus_settings import StimulusConfig

ZONE = "Europe/Berlin"
FORMS = {
    "iso": (TimeColumn((0,), "text"), "{0:%Y-%m-%dT%H:%M:%S},{1}"),
    "iso, comma": (TimeColumn((1,), "text"), "{1};{0:%Y-%m-%d %H:%M:%S},{0:%f}"),
    "iso, zone": (TimeColumn((1,), "text", zoned=True), "{1},{0:%Y-%m-%dT%H:%M:%S.%f}000+05:30"),
    "iso, UTC": (TimeColumn((0,), "text", zoned=True), "{0:%Y-%m-%dT%H:%M:%S}Z,{1}"),
    "two columns": (TimeColumn((0, 2), "text"), "{0:%Y-%m-%d},{1},{0:%H:%M:%S.%f}"),
    "local": (
        TimeColumn((0,), "text", pattern="%d.%m.%Y %H:%M:%S.%f"),
        "{0:%d.%m.%Y %H:%M:%S.%f};{1}",
    ),
    "no seconds": (TimeColumn((0,), "text", pattern="%m/%d/%Y %H:%M"), "{0:%m/%d/%Y %H:%M};{1}"),
    "clock": (TimeColumn((0,), "clock", start=1.79e9), "{0:%H:%M:%S.%f},{1}"),
}


def layout_of(form):
    time, line = FORMS[form]
    width = 3 if form == "two columns" else 2
    at = next(n for n in range(width) if n not in time.indices)
    return Layout(";" if ";" in line else ",", ".", 1, width, time, (Column(at, "T", "K"),))


def lines_of(form, moments):
    return [FORMS[form][1].format(moment, n / 4) for n, moment in enumerate(moments)]


def read(path, form, *, short):
    """Times, values and damaged lines, by the short way where that is open, or by the long one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_reading, "_layout", lambda *_: layout_of(form))
        if not short:
            patch.setattr(log_reading, "written_times", lambda *_: None)
        blocks = list(LogFile(path, StimulusConfig(log=path, zone=ZONE)).blocks(final=True))
    return [(b.readings.time, b.readings.signals[0].values, b.damaged, b.end) for b in blocks]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_each_form_goes_the_short_way(form, end):
    begun = datetime(2026, 10, 25, 1, 59, 58, 250000)
    moments = [begun + timedelta(minutes=n) for n in range(100)]
    found = written_times(end.join(lines_of(form, moments)).encode(), layout_of(form))
    np.testing.assert_allclose(np.diff(found), 60.0)


@st.composite
def logs(draw):
    """A log that is written alike for the most part: its form, and its lines."""
    form = draw(st.sampled_from(sorted(FORMS)))
    first = draw(st.datetimes(datetime(1899, 12, 30), datetime(2101, 1, 1)))
    steps = draw(st.lists(st.integers(-(10**10), 10**10), min_size=1, max_size=12))
    moments = [first + timedelta(microseconds=step) for step in steps]
    lines = lines_of(form, moments)
    for _ in range(draw(st.integers(0, 2))):
        line = draw(st.integers(0, len(lines) - 1))
        at = draw(st.integers(0, len(lines[line])))
        more = draw(st.sampled_from(["", "9", "x", " ", "-", ",", ";", '"', "\r", "\0", "é", "\n"]))
        lines[line] = lines[line][:at] + more + lines[line][at + draw(st.integers(0, 1)) :]
    return form, draw(st.sampled_from(["\n", "\r\n"])).join(lines)


# What pandas says of a first line with too many cells, which is read the long way anyhow.
@pytest.mark.filterwarnings("ignore::pandas.errors.ParserWarning")
@given(logs())
@example(("iso", "2026-02-30T10:00:00,1\n2026-03-01T10:00:00,2\n"))
@example(("iso", "2026-03-01T10:00:00,1\n2126-03-01T10:00:60,2\n9026-03-01T24:00:00,2\n"))
@example(("local", "01.02.2026 10:00:00.5;1\n"))
def test_both_ways_agree(tmp_path_factory, log):
    form, text = log
    path = tmp_path_factory.getbasetemp() / "alike.csv"
    path.write_bytes(b"header\n" + text.encode())
    np.testing.assert_equal(read(path, form, short=True), read(path, form, short=False))


def test_a_damaged_line_that_seems_to_tell_a_zone_costs_itself(tmp_path):
    path = tmp_path / "alike.csv"
    good = "2000-01-01T00:00:00,0.25\n"
    path.write_text(f"header\n{good}2000-01-01T00:0-0:00,0.5\n{good}2000-01-01T00:00:00Z,1\n")
    ((times, values, damaged, _end),) = read(path, "iso", short=False)
    assert (len(times), values.tolist(), damaged) == (2, [0.25, 0.25], 2)
