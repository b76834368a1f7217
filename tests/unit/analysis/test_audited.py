import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pychip_stream.analysis import audit as audited
from pychip_stream.domain.records import Fraction
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
    assert (loss.high - loss.low) * 1e7 == pytest.approx(2 * 68_418, rel=0.15)
    assert loss.high - loss.value > loss.value - loss.low  # rare mistakes in large strata
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


WORLDS = {
    "accurate": ([0.5, 0.3, 0.2], [0.97, 0.02, 0.01]),
    "usual": ([0.6, 0.4], [0.9, 0.15]),
    "rare": ([0.9, 0.1], [0.01, 0.7]),
    "without a mistake": ([0.6, 0.4], [1.0, 0.0]),
    "poor": ([0.55, 0.25, 0.15, 0.05], [0.7, 0.3, 0.2, 0.5]),
}
"""Shares of the predicted classes, and how often a chip of each is of the class in question."""


@pytest.mark.parametrize("count", [10, 50])
@pytest.mark.parametrize("world", list(WORLDS))
def test_few_chips_hold_what_their_interval_promises(world, count):
    rng = np.random.default_rng(5)
    weights, shares = map(np.array, WORLDS[world])
    names = list("abcd")[: len(weights)]
    sizes = np.rint(weights * 20_000).astype(int).tolist()
    hits = 0
    for _ in range(400):
        predicted, labelled = [], []
        for name, n, share in zip(names, audited.allocate(sizes, count), shares, strict=True):
            predicted += [name] * n
            labelled += ["x" if luck < share else "y" for luck in rng.random(n)]
        found = audited.estimate(names, sizes, predicted, labelled).fractions
        wanted = found.get("x", Fraction(0.0, 0.0, 0.0))
        hits += wanted.low <= weights @ shares <= wanted.high
    assert hits / 400 >= 0.93


def test_fifty_right_of_fifty_leave_room_for_mistakes():
    found = audited.estimate(["a", "b", "unknown"], [600, 400, 0], ["a"] * 30 + ["b"] * 20,
                             ["a"] * 30 + ["b"] * 20)  # fmt: skip
    assert found.accuracy.value == found.accuracy.high == 1.0
    assert 0.88 < found.accuracy.low < 0.96
    assert found.fractions["a"].low < 0.6 < found.fractions["a"].high
    assert any("no mistake" in line for line in found.warnings)
    every = audited.estimate(["a", "b"], [3, 2], list("aaabb"), list("aaabb"))
    assert tuple(every.accuracy) == (1.0, 1.0, 1.0)  # nothing is left that was not looked at


def test_chips_that_are_all_wrong_are_no_chips_without_a_mistake():
    found = audited.estimate(["a", "b"], [50, 50], ["a"] * 9 + ["b"] * 9, ["a"] * 9 + ["c"] * 9)
    assert not any("no mistake" in line for line in found.warnings)
