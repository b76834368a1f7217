import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pychip_stream.analysis import audit as audited
from pychip_stream.errors import UsageError


def test_the_worked_example_of_olofsson_2014():
    """Deforestation, forest gain, stable forest, stable non-forest; areas in pixels."""
    names = ["loss", "gain", "forest", "other"]
    sizes = [200_000, 150_000, 3_200_000, 6_450_000]
    counts = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
    predicted, labelled = [], []
    for row, name in zip(counts, names, strict=True):
        for n, truth in zip(row, names, strict=True):
            predicted += [name] * n
            labelled += [truth] * n
    found = audited.estimate(names, sizes, predicted, labelled)
    loss = found.fractions["loss"]
    assert loss.value * 1e7 == pytest.approx(235_086, abs=1)
    assert (loss.high - loss.value) * 1e7 == pytest.approx(68_418, rel=0.005)
    assert found.accuracy.value == pytest.approx(0.947, abs=0.001)
    assert found.mapped["loss"] == pytest.approx(0.02)
    assert found.chips == 640
    assert found.confusion.tolist() == counts


def test_the_interval_covers_and_the_bias_goes():
    """A classifier that calls a third of beta alpha; 100 labelled chips put it right."""
    rng = np.random.default_rng(0)
    truth = rng.random(20_000) < 0.6
    says = np.where(truth & (rng.random(20_000) < 1 / 3), False, truth)
    sizes = [int((~says).sum()), int(says.sum())]
    names, hits, errors = ["alpha", "beta"], 0, []
    for _ in range(200):
        predicted, labelled = [], []
        for stratum, ranks in enumerate(audited.draw(sizes, 100, rng)):
            chips = np.flatnonzero(says == bool(stratum))[ranks]
            predicted += [names[stratum]] * len(chips)
            labelled += [names[int(truth[c])] for c in chips]
        beta = audited.estimate(names, sizes, predicted, labelled).fractions["beta"]
        hits += beta.low <= truth.mean() <= beta.high
        errors.append(beta.value - truth.mean())
    assert 0.9 <= hits / 200 <= 0.99
    assert abs(np.mean(errors)) < 0.01
    assert says.mean() < 0.45


@given(st.lists(st.integers(0, 400), min_size=1, max_size=8), st.integers(1, 300))
def test_chips_are_shared_out_within_what_there_is(sizes, count):
    if sum(sizes) == 0:
        with pytest.raises(UsageError, match="no chip"):
            audited.allocate(sizes, count)
        return
    drawn = audited.allocate(sizes, count)
    assert all(0 <= n <= size for n, size in zip(drawn, sizes, strict=True))
    fewest = sum(min(size, audited.FEWEST) for size in sizes)
    assert sum(drawn) == max(min(count, sum(sizes)), fewest)
    ranks = audited.draw(sizes, count, np.random.default_rng(0))
    for chosen, n, size in zip(ranks, drawn, sizes, strict=True):
        assert len(set(chosen.tolist())) == n
        assert ((chosen >= 0) & (chosen < size)).all()


def test_a_class_that_only_the_operator_knows_gets_its_fraction():
    found = audited.estimate(
        ["a", "b", "unknown"], [50, 50, 0], ["a"] * 10 + ["b"] * 10, ["a"] * 10 + ["c"] * 10
    )
    assert found.fractions["c"].value == 0.5
    assert found.fractions["b"].value == 0.0
    assert found.accuracy.value == 0.5


def test_what_cannot_be_estimated_is_refused_and_little_is_said():
    with pytest.raises(UsageError, match="no labelled chip of predicted class 'b'"):
        audited.estimate(["a", "b"], [5, 5], ["a"], ["a"])
    with pytest.raises(UsageError, match="does not have"):
        audited.estimate(["a"], [5], ["z"], ["a"])
    with pytest.raises(UsageError, match="no chip is labelled"):
        audited.estimate(["a"], [5], [], [])
    few = audited.estimate(["a", "b"], [50, 50], ["a", "b"], ["a", "b"])
    assert few.fractions["a"].high - few.fractions["a"].low > 0.5
    assert any("rests on little" in line for line in few.warnings)
    assert any("no mistake" in line for line in few.warnings)
