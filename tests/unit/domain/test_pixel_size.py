"""Pixel sizes that people give, and those that cannot be."""

import pytest

from pychip_stream.domain.pixel_size import by_hand, is_plausible


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.5nm", (0.5, "nm")), (" 0,5 nm ", (0.5, "nm")), ("2e-3 µm", (2.0, "nm")),
     ("1.5 Å", (0.15, "nm")), (".5 um", (500.0, "nm")), ("0.1 1/nm", (0.1, "1/nm")),
     ("0.01 1/Å", (0.1, "1/nm")), ("0.1 nm^-1", (0.1, "1/nm")), ("1 mm", (1e6, "nm"))],
)  # fmt: skip
def test_what_people_write(text, expected):
    assert by_hand(text) == (pytest.approx(expected[0]), expected[1])


@pytest.mark.parametrize(
    "text", ["0.5", "nm", "0.5 pixel", "0.5 s", "0.5 V", "-1 nm", "0 nm", "1e400 nm", "0.5 nm x",
             "", "2 mm", "5e-5 nm", "1e5 1/nm", "1e-7 1/nm", "1.2.3 nm"],
)  # fmt: skip
def test_what_is_no_pixel_size(text):
    with pytest.raises(ValueError, match="pixel size '"):
        by_hand(text)


def test_units_that_are_no_lengths_are_not_judged():
    assert is_plausible(1e17, "mrad")
    assert not is_plausible(1e17, "nm")
    assert not is_plausible(1e-5, "nm")
    assert not is_plausible(1e5, "1/nm")
