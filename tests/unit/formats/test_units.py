"""How finely a time is known, as it is written."""

import pytest

from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.formats.units import (
    from_date_and_clock,
    from_filetime,
    from_text,
    from_unix,
    interval,
)


@pytest.mark.parametrize(
    ("text", "resolution"),
    [("2026:03:01 12:00:05", 1), ("2026-03-01T12:00:05", 1), ("2026-03-01 12:00:05+01:00", 1),
     ("2026-03-01T12:00:05.250", 1e-3), ("2026-03-01T12:00:05.1234567", 1e-6),
     ("2026-03-01T12:00:00.000000", 1e-6), ("2026-03-01T12:00", 60), ("20260301T120005", 1),
     ("2026-03-01", 86400)],
)  # fmt: skip
def test_texts(text, resolution):
    assert from_text(text).resolution == pytest.approx(resolution)


@pytest.mark.parametrize(
    ("clock", "resolution"),
    [("1:02:03 PM", 1), ("13:02:03", 1), ("13:02:03.25", 0.01), ("13:02", 60)],
)
def test_clocks(clock, resolution):
    assert from_date_and_clock("3/1/2026", clock).resolution == pytest.approx(resolution)


def test_numbers():
    assert from_unix(1_700_000_000).resolution == 1
    assert from_unix("1700000000.25").resolution < 1e-3
    assert from_filetime((1_700_000_000 + 11_644_473_600) * 10**7).resolution < 1e-3
    assert from_text("2106-02-30") is None
    assert from_unix("nan") is None


@pytest.mark.parametrize(
    ("size", "unit", "expected", "name"),
    [(0.5, "\\u00C5", 0.05, "nm"), (0.5, "\u212b", 0.05, "nm"), (0.5, "\ufffdm", 500, "nm"),
     (0.5, "nanometers", 0.5, "nm"), (0.1, "(1/nm)", 0.1, "1/nm"),
     (0.1, "1 / nm", 0.1, "1/nm"), (0.1, "[nm^-1]", 0.1, "1/nm"), (0.1, "1/Å", 1, "1/nm"),
     (2, "microns", 2000, "nm"), (2, "inches", 2, "inches"), (0.5, "\\u00B5m", 500, "nm"),
     (5, "pixels", None, None), (5, "(pixel)", None, None), (5, "", None, None)],
)  # fmt: skip
def test_units_in_every_spelling(size, unit, expected, name):
    found, told = pixel_size(size, unit)
    assert told == name
    assert found == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    ("step", "unit", "expected"),
    [(0.5, "s", 0.5), (500, "ms", 0.5), (2, "seconds", 2), (1, "min", 60), (3, "µs", 3e-6),
     (1, "nm", None), (0, "s", None), ("nan", "s", None), (1, None, None)],
)  # fmt: skip
def test_intervals(step, unit, expected):
    assert interval(step, unit) == (None if expected is None else pytest.approx(expected))
