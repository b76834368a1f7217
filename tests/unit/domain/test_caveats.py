"""Caveats: said where they hold, once, with what to do."""

import pytest

from pychip_stream.domain.caveats import DOUBTS, STRANGE, WIDE, caveats, middle
from pychip_stream.model.scoring import Monitor

CALM = {"strange": 0.1, "interval_width": 0.1, **{f"interval_{n}": 0.05 for n in DOUBTS}}


def test_nothing_is_said_of_usual_frames_nor_of_what_was_not_measured():
    assert caveats(CALM) == []
    assert caveats({}) == []
    assert caveats({"interval_width": 0.9}) == []
    assert caveats({name: float("nan") for name in CALM}) == []


@pytest.mark.parametrize("reason", list(DOUBTS))
def test_a_wide_interval_tells_its_largest_part(reason):
    (line,) = caveats(CALM | {"interval_width": WIDE + 0.01, f"interval_{reason}": 0.25})
    assert DOUBTS[reason] in line
    assert line.endswith(f"({reason})")


def test_of_another_material_nothing_else_is_said():
    (line,) = caveats(CALM | {"strange": STRANGE + 0.01, "interval_width": 1.0})
    assert "unlike the support set" in line


def test_one_odd_frame_of_several_is_passed_over():
    strange = CALM | {"strange": 1.0}
    assert caveats(middle([CALM, strange, CALM])) == []
    assert caveats(middle([strange, {}, strange, CALM])) != []


def test_the_monitor_says_it_with_the_first_frame_and_takes_it_back():
    monitor = Monitor()
    first = monitor.observe("0.tif", CALM | {"strange": 1.0})
    assert len(first) == 1
    assert "unlike the support set" in first[0]
    assert monitor.observe("1.tif", CALM | {"strange": 0.95}) == ()
    for number in range(9):
        monitor.observe(f"{number}.tif", CALM)
    assert monitor.notices == ()
