"""Change points: found where curves step or bend."""

import numpy as np
import pytest

from pychip_stream.analysis.change_points import all_change_points, change_points

TIMES = np.arange(1000.0)


def noisy(values, seed=0, noise=0.01):
    return values + np.random.default_rng(seed).normal(0, noise, len(values))


def test_the_onset_and_the_end_of_a_transformation_are_found():
    values = noisy(np.interp(TIMES, [300, 500], [0.1, 0.9]))
    onset, end = change_points("beta", TIMES, values)
    assert (onset.time, end.time) == (pytest.approx(300, abs=15), pytest.approx(500, abs=15))
    assert onset.before == pytest.approx(0, abs=2e-4)
    assert onset.after == pytest.approx(0.004, rel=0.1)
    assert abs(onset.step) < 0.05


def test_a_step_is_told_with_its_height():
    values = noisy(np.where(TIMES < 400, 0.2, 0.6))
    values[::7] = np.nan
    (step,) = change_points("beta", TIMES, values)
    assert step.time == pytest.approx(400, abs=6)
    assert step.step == pytest.approx(0.4, abs=0.02)


def test_noise_ramps_and_constants_have_none():
    found = [change_points("beta", TIMES, noisy(0.3 + 0 * TIMES, seed)) for seed in range(8)]
    assert sum(map(len, found)) == 0
    assert not change_points("T", TIMES, noisy(0.5 * TIMES, noise=0.1))
    assert not change_points("T", TIMES, 0 * TIMES + 3)
    assert not change_points("T", TIMES[:6], TIMES[:6])
    assert not change_points("T", TIMES, TIMES * np.nan)


@pytest.mark.parametrize("shared", [0.5, 0.8])
def test_noise_that_neighbours_share_has_hardly_any(shared):
    found = 0
    for seed in range(6):
        noise = np.random.default_rng(seed).normal(0, 0.02, 150)
        for n in range(1, 150):
            noise[n] = shared * noise[n - 1] + np.sqrt(1 - shared**2) * noise[n]
        found += bool(change_points("beta", TIMES[:150], 0.3 + noise))
    assert found <= 1


def test_those_of_several_curves_come_in_order_of_time():
    curves = {
        "beta": noisy(np.where(TIMES < 700, 0.2, 0.6)),
        "T": noisy(np.where(TIMES < 300, 20.0, 400.0), noise=1),
    }
    assert [point.name for point in all_change_points(TIMES, curves)] == ["T", "beta"]
