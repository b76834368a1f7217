"""Curves: order, revisions, and that no peak is lost where frames become buckets."""

import numpy as np
import pytest

from dashboard.work.history import History, plotted, triples

ONES = np.ones((2, 3))


def filled(count, width=0.02):
    history = History()
    times = np.arange(count, dtype=float)
    values = 0.5 + 0.3 * np.sin(times / 50)
    columns = {"alpha": np.stack([values, values - width, values + width], axis=1)}
    history.extend([(f"f{i}", 0) for i in range(count)], times, columns)
    return history


def test_frames_come_back_in_order_of_time():
    history = History()
    for moment in (3.0, 1.0, 2.0):
        history.put((f"{moment}", 0), moment, {"a": (moment / 10, 0, 1)})
    curves = history.curves(10)
    assert curves.times.tolist() == [1.0, 2.0, 3.0]
    assert curves.columns["a"][:, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])


def test_a_later_revision_replaces_the_frame():
    history = History()
    history.put(("f", 0), 1.0, {"a": (0.1, 0, 1)})
    history.put(("f", 0), 1.0, {"a": (0.7, 0, 1)})
    assert len(history) == 1
    assert history.curves(10).columns["a"][:, 0].tolist() == [0.7]


def test_what_is_heard_live_wins_over_the_archive():
    history = filled(3)
    history.put(("f1", 0), 1.0, {"alpha": (0.9, 0.8, 1.0)})
    history.extend([("f1", 0), ("f9", 0)], np.array([1.0, 9.0]), {"alpha": np.zeros((2, 3))})
    assert len(history) == 4
    assert history.curves(10).columns["alpha"][1, 0] == 0.9


def test_a_class_that_appears_late_is_unknown_before():
    history = filled(2)
    history.put(("g", 0), 5.0, {"beta": (0.2, 0.1, 0.3)})
    beta = history.curves(10).columns["beta"][:, 0]
    assert np.isnan(beta[:2]).all()
    assert beta[2] == 0.2


def test_buckets_keep_every_peak_and_are_few():
    history = filled(5000)
    history.put(("f2500", 0), 2500.0, {"alpha": (0.99, 0.98, 1.0)})
    curves = history.curves(800)
    assert len(curves) <= 800
    assert curves.columns["alpha"][:, 2].max() == 1.0
    assert (np.diff(curves.times) > 0).all()
    inside = (curves.columns["alpha"][:, 1] <= curves.columns["alpha"][:, 0]) & (
        curves.columns["alpha"][:, 0] <= curves.columns["alpha"][:, 2]
    )
    assert inside.all()


def test_a_window_and_the_nearest_frame():
    history = filled(100)
    assert history.curves(1000, since=90.0).times.tolist() == list(range(90, 100))
    assert history.nearest(41.7) == ("f42", 0)
    assert history.nearest(-5) == ("f0", 0)
    assert History().nearest(0) is None
    assert history.key_at(-1) == ("f99", 0)
    assert history.key_at(100) is None


def test_quantities_are_thinned_like_fractions_and_keep_their_peaks():
    history = History()
    values = np.sin(np.arange(5000.0))
    values[::2] = np.nan  # not every frame has one
    values[2501] = 9.0
    keys = [(f"f{i}", 0) for i in range(5000)]
    history.extend(keys, np.arange(5000.0), {"drift": triples(values)})
    curves = history.curves(800)
    assert len(curves) <= 800
    assert curves.columns["drift"][:, 2].max() == 9.0
    assert np.isfinite(curves.columns["drift"][:, 0]).all()
    assert curves.columns["drift"][:, 0].mean() == pytest.approx(np.nanmean(values), abs=0.01)


def test_what_may_be_plotted_is_declared_with_the_quantity():
    assert {"intensity_mean", "drift", "exposure_s"} <= set(plotted())
    assert "intensity_p1" not in plotted()


@pytest.mark.parametrize("gone", [0, 1, 2])
def test_a_frame_can_be_taken_out(gone):
    history = History()
    for number in range(3):
        history.put((f"f{number}", 0), float(number), {"a": (number / 10, 0, 1)})
    history.drop((f"f{gone}", 0))
    history.drop(("never there", 0))
    left = [number for number in range(3) if number != gone]
    assert history.curves(10).columns["a"][:, 0].tolist() == pytest.approx([n / 10 for n in left])
    assert [history.key_at(at) for at in range(2)] == [(f"f{number}", 0) for number in left]
    history.put(("new", 0), 9.0, {"b": (1, 1, 1)})
    assert np.isnan(history.curves(10).columns["a"][-1]).all()  # of the frame whose row it got


def test_values_that_replace_others_leave_nothing_of_them():
    history = History()
    history.put(("a", 0), 1.0, {"alpha": (0.1, 0.0, 0.2)})
    history.put(("b", 0), 2.0, {"alpha": (0.3, 0.2, 0.4)})
    history.extend([("a", 0), ("c", 0)], np.array([1.0, 3.0]), {"gold": ONES}, replace=True)
    curves = history.curves(10)
    np.testing.assert_array_equal(curves.columns["alpha"][:, 0], [np.nan, 0.3, np.nan])
    np.testing.assert_array_equal(curves.columns["gold"][:, 0], [1.0, np.nan, 1.0])
