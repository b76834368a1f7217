"""Sequential tests: false alarms come no more often than stated; changes are told soon, once."""

import numpy as np
import pytest

from pychip_stream.domain.sequential import FALSE_ALARM_FRAMES, WARMING, SequentialTests

LEVEL, NOISE = 0.3, 0.02


def noise(count, frames, correlation, seed):
    """(frames, count) normal noise of deviation 1, correlated from one frame to the next."""
    random = np.random.default_rng(seed)
    fresh = random.normal(0, 1, (frames, count)) * np.sqrt(1 - correlation**2)
    for n in range(1, frames):
        fresh[n] += correlation * fresh[n - 1]
    return fresh


def told(values):
    """Frame, curve and age of all that is told."""
    tests = SequentialTests(values.shape[1])
    ages = np.array([tests.put(row) for row in values])
    frames, curves = np.nonzero(ages)
    return frames, curves, ages[frames, curves]


def test_false_alarms_are_no_more_frequent_than_stated():
    frames, each = 700, 500
    ramp = 1e-3 * np.arange(frames)[:, None]
    values = [NOISE * noise(each, frames, c, seed=9041 + n) for n, c in enumerate((0.0, 0.5, 0.8))]
    values[1] += ramp
    curves = told(LEVEL + np.concatenate(values, axis=1))[1]
    expected = each * frames / FALSE_ALARM_FRAMES
    for alarms in np.bincount(curves // each, minlength=3):
        assert 0.2 * expected < alarms < expected + 2 * np.sqrt(expected)


@pytest.mark.parametrize("size", [-3.0, 3.0])
def test_a_step_is_told_soon_once_and_with_when_it_began(size):
    values = LEVEL + NOISE * (
        noise(100, 300, 0.0, seed=77) + size * (np.arange(300) >= 200)[:, None]
    )
    frames, curves, ages = told(values)
    late = frames >= 200
    assert len(set(curves[late])) >= 99  # each curve
    assert late.sum() <= 105  # once
    assert np.percentile(frames[late], 90) < 210
    assert np.median(np.abs(frames - np.abs(ages) + 1 - 200)[late]) <= 2
    assert (np.sign(ages[late]) == np.sign(size)).mean() > 0.98


def test_a_bend_is_told():
    values = LEVEL + NOISE * noise(50, 400, 0.0, seed=5)
    values += 0.004 * np.maximum(np.arange(400) - 200, 0)[:, None]
    frames, curves, _ = told(values)
    assert len({c for f, c in zip(frames, curves, strict=True) if 200 <= f < 260}) >= 45


def test_single_odd_frames_and_gaps_are_no_change():
    values = LEVEL + NOISE * noise(100, 300, 0.0, seed=6)
    values[150] = 0.0
    values[200:220] = np.nan
    assert len(told(values)[0]) <= 5
    assert not len(told(np.full((300, 3), np.nan))[0])


def test_a_curve_that_never_moved_and_then_does_is_told_but_not_before():
    values = np.full((200, 1), 0.25)
    values[150:] = 0.5
    frames, _, _ = told(values)
    assert 150 <= frames[0] < 155 and len(frames) == 1


def test_memory_does_not_grow():
    tests = SequentialTests(2)
    sizes = set()
    for row in NOISE * noise(2, 3 * WARMING, 0.0, seed=1):
        tests.put(row)
        sizes.add(sum(v.nbytes for v in vars(tests).values() if isinstance(v, np.ndarray)))
    assert len(sizes) == 1
