"""Curves: where a run paused, no line leads."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pychip_stream.archive.nexus import Curve
from pychip_stream.export.curves import Shown, curves, pauses_of


def test_a_pause_is_far_longer_than_the_usual_distance():
    times = np.array([0.0, 1.0, 2.0, 3.0, 600.0, 601.0])
    assert pauses_of(times).tolist() == [4]
    assert pauses_of(times[:4]).tolist() == []
    assert pauses_of(np.array([0.0, 600.0])).tolist() == []
    assert pauses_of(np.array([])).tolist() == []


@given(st.lists(st.floats(0.05, 0.4), max_size=50))
def test_what_comes_in_bursts_has_no_pause(distances):
    assert len(pauses_of(np.cumsum([0.0, *distances]))) == 0


def test_the_figure_has_no_line_over_a_pause():
    times = np.array([0.0, 1.0, 2.0, 3.0, 600.0, 601.0])
    values = np.full((6, 2, 3), 0.5)
    curve = Curve(times, values, ("alpha", "unknown"), {"alpha": "#0072b2", "unknown": "#7f7f7f"})
    line = curves(curve, (), Shown(5, 601.0, values[5])).axes[0].lines[0]
    assert np.isnan(line.get_ydata()).sum() == 1
    assert len(line.get_xdata()) == 7
