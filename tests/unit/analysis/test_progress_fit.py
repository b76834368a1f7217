"""Curves as random walks in the progress of a reaction."""

import numpy as np
import pytest

from pychip_stream.analysis.progress_fit import ProgressFit
from pychip_stream.domain.signals import series_of

OFFSETS = np.arange(-6, 6.5, 0.5)


def fit_of(seed, *, follows="progress", copies=0):
    """Fit of curves that see a heater switched on and off; 0 is the right offset."""
    random = np.random.default_rng(seed)
    times = np.arange(120.0)
    heat = np.where((times > 30) & (times < 50) | (times > 70) & (times < 95), 200.0, 50.0)
    rate = (heat - 50) / 150
    walk = np.cumsum(rate * random.normal(1, 1, 120)) if follows == "progress" else 0.3 * rate
    curves = np.stack([walk, -walk], axis=1) + random.normal(0, 0.3, (120, 2))
    curves = np.column_stack([curves, *[curves] * copies])
    read = series_of("holder", "temperature", "degC", "number", 10.0, times, heat)
    return ProgressFit(read, times, curves, 4.0)


@pytest.mark.parametrize("follows", ["progress", "reading"])
def test_the_right_offset_is_found_and_the_promise_holds(follows):
    found = np.array([fit_of(seed, follows=follows).logs(OFFSETS) for seed in range(12)])
    missed = found.max(axis=1) - found[:, len(OFFSETS) // 2]
    assert np.mean(np.abs(OFFSETS[found.argmax(axis=1)])) < 0.9
    assert missed.max() < 5.0
    assert missed.mean() < 1.5  # half of a chi square of one degree of freedom, but for the grid


def test_curves_that_repeat_others_tell_nothing_more():
    once, often = fit_of(3).logs(OFFSETS), fit_of(3, copies=3).logs(OFFSETS)
    assert often - often.max() == pytest.approx(once - once.max(), abs=1e-6)


def test_too_few_frames_tell_nothing():
    assert fit_of(0).logs([0.0, 115.0]) is None


def off_of(make):
    """(runs,) of how many spreads of its likelihood the best offset is off, 0 being right."""
    found = []
    for seed in range(10):
        logs = make(np.random.default_rng(seed)).logs(OFFSETS)
        chance = np.exp(logs - logs.max()) / np.exp(logs - logs.max()).sum()
        mean = chance @ OFFSETS
        found.append(mean / np.sqrt(chance @ (OFFSETS - mean) ** 2 + 0.5**2 / 12))
    return np.array(found)


def test_when_between_two_readings_a_heater_was_switched_is_not_known():
    times, readings = np.arange(90.0), np.arange(0, 90, 6.0)

    def make(random):
        begun, ended = random.uniform(20, 40), random.uniform(50, 70)
        heat = np.where((readings >= begun) & (readings < ended), 200.0, 50.0)
        read = series_of("holder", "temperature", "degC", "number", 10.0, readings, heat)
        grown = np.clip(times, begun, ended)
        return ProgressFit(read, times, grown[:, None] + random.normal(0, 0.2, (90, 1)), 20.0)

    assert np.sqrt(np.mean(off_of(make) ** 2)) < 1.5
