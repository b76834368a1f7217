"""How finely a time is known, as it is written."""

import pytest

from pychip_stream.formats.units import from_date_and_clock, from_filetime, from_text, from_unix


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
