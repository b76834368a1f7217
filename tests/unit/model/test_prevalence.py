"""Prevalence: rare phases are not over-counted, and what overlaps is left as it was counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pychip_stream.model.classifier import Classifier
from pychip_stream.model.prevalence import correction, counted, likeliest

from .test_classifier import DIM, World


def odds(scores):
    """(2, n) probabilities under equal priors of classes whose log-odds are these."""
    second = 1 / (1 + np.exp(-scores))
    return np.stack([1 - second, second])


def scores(share, gap, rng, count=4000):
    """Log-odds of chips of two Gaussian classes, `share` of them of the second."""
    truth = rng.random(count) < share
    return gap * (rng.normal(size=count) + gap * (truth - 0.5)), truth.mean()


def rules(found, shift, rng):
    """The rule and eleven of resampled examples, which put the border elsewhere."""
    return np.stack([odds(found + s) for s in (0.0, *(shift * rng.normal(size=11)))])


@pytest.mark.parametrize("share", [0.02, 0.06, 0.12])
def test_a_rare_class_is_not_over_counted(share):
    rng = np.random.default_rng(0)
    found, truth = scores(share, 2.5, rng)
    over = counted(odds(found))[1] - truth
    assert over > 0.06
    left = over + correction(odds(found), rules(found, 0.3, rng))[1]
    assert abs(left) < 0.3 * over


def test_where_the_examples_do_not_fix_the_border_the_count_stands():
    rng = np.random.default_rng(1)
    found, _ = scores(0.3, 0.8, rng)
    sure, vague = (np.abs(correction(odds(found), rules(found, s, rng))).max() for s in (0.02, 1.0))
    assert vague < 0.25 * sure


@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 40))
def test_shares_stay_shares(seed, classes, chips):
    rng = np.random.default_rng(seed)
    one, *others = rng.dirichlet(np.full(classes, 0.2), (5, chips)).transpose(0, 2, 1)
    found = likeliest(one)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    change = correction(one, np.stack([one, *others]))
    assert change.sum() == pytest.approx(0, abs=1e-9)
    assert (counted(one) + change).min() >= -1e-9


def test_the_fraction_is_nearer_the_truth_than_the_labels_are():
    errors = []
    for seed in range(12):
        world = World(seed, classes=2, gap=2.0)
        truth = np.arange(900) % 20 == 0
        chips = world.cells(truth.astype(int)).mean(1).reshape(30, 30, DIM)
        result = Classifier.fit(world.support()).score(chips, reject=False)
        assert result.counted == pytest.approx([*np.bincount(result.label_map.ravel()) / 900, 0])
        errors.append(np.abs(np.array([result.counted[1], result.intervals[1, 0]]) - truth.mean()))
    counts, estimates = np.mean(errors, axis=0)
    assert estimates < 0.6 * counts
