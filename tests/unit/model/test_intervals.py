"""Intervals from replicates that look at open chips only, against all of them on all chips."""

import numpy as np
import pytest

from pychip_stream.model import intervals
from pychip_stream.model.classifier import Classifier

DIM, CLASSES, CHIPS = 24, 4, 400


def plainly(ensemble, chips, _found):
    """Count what every replicate makes of every chip."""
    logits = (chips @ ensemble.weights.T + ensemble.offsets[:, 0]).reshape(len(chips), -1, CLASSES)
    best = logits.argmax(axis=2)
    return np.stack([(best == k).mean(axis=0) for k in range(CLASSES)], axis=1)


@pytest.mark.parametrize("gap", [0.5, 2.0, 6.0])
@pytest.mark.parametrize("shots", [2, 6])
def test_looking_at_open_chips_only_gives_the_same_intervals(made, gap, shots, monkeypatch):
    rng = np.random.default_rng(shots)
    centres = gap * rng.normal(size=(CLASSES, DIM)) / np.sqrt(DIM / CLASSES)
    labels = np.repeat(np.arange(CLASSES), shots)
    background = made.cells(centres[rng.integers(CLASSES, size=300)], rng).mean(axis=1)
    support = made.support(made.cells(centres[labels], rng), labels, background)
    scorer = Classifier.fit(support).scorer
    along = rng.uniform(-1, 2, size=(CHIPS, 1)).clip(0, 1)  # a third on borders
    one, other = rng.integers(CLASSES, size=(2, CHIPS))
    mixed = along * centres[one] + (1 - along) * centres[other]
    chips = made.cells(mixed, rng).mean(axis=1).astype(np.float32)
    seen = []
    real = intervals._resampled_logits

    def watched(ensemble, some, first, stop):
        seen.append((stop - first) * len(some))
        return real(ensemble, some, first, stop)

    monkeypatch.setattr(intervals, "_resampled_logits", watched)
    quick = scorer.score(chips, reject=False).shares
    monkeypatch.setattr(intervals, "_named", plainly)
    plain = scorer.score(chips, reject=False).shares
    np.testing.assert_allclose(quick.intervals, plain.intervals, atol=0.005)
    assert np.ptp(plain.intervals[:-1, 1:], axis=1).min() > 0.02
    if gap == 6.0 and shots == 6:  # two examples leave nearly everything open
        assert sum(seen[:2]) < 0.75 * intervals.REPLICATES * CHIPS
