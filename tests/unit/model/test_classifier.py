"""The classifier on made-up embeddings and a made-up encoder: right, honest, never NaN."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pychip_stream.domain.caveats import DOUBTS, STRANGE
from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import (
    SupportChip,
    SupportEmbedding,
    SupportSet,
    make_classes,
)
from pychip_stream.errors import SupportError, UsageError
from pychip_stream.model import cross_validation, scoring
from pychip_stream.model.classifier import Classifier

CELL_COUNT = CELLS * CELLS
DIM = 12


def make_support(cells, labels, background, names=None):
    """Support set of given (N, 16, D) cells; the pixels only make the chips distinct."""
    names = names or [f"class {i}" for i in range(max(labels) + 1)]
    chips = tuple(
        SupportChip(names[label], np.full((8, 8), i, np.uint16)) for i, label in enumerate(labels)
    )
    embedding = SupportEmbedding(
        "made up", "0" * 16, np.asarray(cells, np.float32), np.asarray(background, np.float32)
    )
    return SupportSet(
        make_classes(names), chips, ChipSize(8, 8), Normalization(), embedding=embedding
    )


class World:
    """Gaussian classes with correlated cells; draws chips whose truth is known."""

    def __init__(self, seed, classes=3, gap=6.0, dim=DIM):
        self.rng = np.random.default_rng(seed)
        self.centres = gap * self.rng.normal(size=(classes, dim)) / np.sqrt(dim)
        self.mix = np.eye(dim) + 0.3 * self.rng.normal(size=(dim, dim)) / np.sqrt(dim)

    def cells(self, labels, centres=None):
        centres = self.centres if centres is None else centres
        n, dim = len(labels), self.centres.shape[1]
        chip = self.rng.normal(size=(n, 1, dim)) @ self.mix
        cell = self.rng.normal(size=(n, CELL_COUNT, dim)) @ self.mix
        return centres[labels][:, None] + 0.5 * chip + cell

    def support(self, shots=5):
        labels = np.repeat(np.arange(len(self.centres)), shots)
        background = self.cells(self.rng.integers(len(self.centres), size=600)).mean(1)
        return make_support(self.cells(labels), labels, background)


def test_names_and_fractions_of_separated_classes():
    world = World(1)
    clf = Classifier.fit(world.support())
    truth = np.repeat([0, 1, 2], [60, 30, 10]).reshape(10, 10)
    result = clf.score(world.cells(truth.ravel()).mean(1).reshape(10, 10, DIM).astype(np.float32))
    assert (result.label_map == truth).mean() > 0.97
    assert result.fractions["class 0"].value == pytest.approx(0.6, abs=0.03)
    assert result.names == ("class 0", "class 1", "class 2")
    assert result.support_version == clf.support.version == clf.support_version
    np.testing.assert_allclose(result.probabilities.sum(-1), 1, rtol=1e-5)
    assert result.intervals[:, 0].sum() == pytest.approx(1)


def test_unlike_chips_are_unknown_unless_rejection_is_off():
    world = World(2)
    clf = Classifier.fit(world.support())
    stranger = world.centres[:1] + 8 * np.random.default_rng(0).normal(size=(1, DIM))
    chips = world.cells(np.zeros(64, int), stranger).mean(1).reshape(8, 8, DIM)
    assert (clf.score(chips).labels == "unknown").all()
    assert clf.score(chips).fractions["unknown"].value == 1.0
    free = clf.score(chips, reject=False)
    assert not (free.labels == "unknown").any()
    assert tuple(free.fractions["unknown"]) == (0.0, 0.0, 0.0)


def test_known_chips_are_rarely_rejected_and_sensitivity_is_monotonic():
    world = World(3)
    support = world.support()
    chips = world.cells(np.tile([0, 1, 2], 300)).mean(1).reshape(30, 30, DIM)
    rejected = [
        (Classifier.fit(support, sensitivity=s).score(chips).labels == "unknown").mean()
        for s in (0.5, 1.0, 2.0, 4.0)
    ]
    assert rejected[1] <= 0.02
    assert rejected == sorted(rejected)
    assert rejected[-1] > 0.5


def test_a_chip_between_two_classes_is_uncertain_but_not_unknown():
    world = World(4, classes=2, gap=12)
    clf = Classifier.fit(world.support())
    middle = world.cells(np.zeros(16, int), world.centres.mean(0, keepdims=True)).mean(1)
    inside = world.cells(np.zeros(16, int)).mean(1)
    result = clf.score(middle.reshape(4, 4, DIM))
    assert (result.label_map < 2).mean() > 0.9
    assert result.confidence.mean() < clf.score(inside.reshape(4, 4, DIM)).confidence.mean()


def test_the_precision_of_the_archive_changes_nothing():
    world = World(6, gap=2.0)
    clf = Classifier.fit(world.support())
    chips = world.cells(np.tile([0, 1, 2], 300)).mean(1).reshape(30, 30, DIM).astype(np.float32)
    first, again = clf.score(chips), clf.score(chips.astype(np.float16))
    np.testing.assert_array_equal(first.label_map, again.label_map)
    np.testing.assert_array_equal(first.intervals, again.intervals)
    np.testing.assert_array_equal(first.novelty, again.novelty)


def test_a_large_frame_is_scored_in_blocks_and_tells_of_each(monkeypatch):
    world = World(6, gap=2.0)
    clf = Classifier.fit(world.support())
    chips = world.cells(np.tile([0, 1, 2], 1100)).mean(1).reshape(60, 55, DIM).astype(np.float32)
    chips[7, 7] = np.nan
    whole, told = clf.score(chips), []
    monkeypatch.setattr(scoring, "_BLOCK", 999)  # every fourth chip is looked at by replicates
    parts = clf.score(chips, progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 3300), (999, 3300), (1998, 3300), (2997, 3300)]
    np.testing.assert_array_equal(parts.label_map, whole.label_map)
    for name in ("probabilities", "distances", "novelty", "intervals", "drift", "strange"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-4, atol=1e-6)
    assert parts.doubts == pytest.approx(whole.doubts, rel=1e-4)


def test_fewer_examples_give_wider_intervals():
    widths = {}
    for shots in (2, 10):
        found = []
        for seed in range(6):
            world = World(seed, gap=2.5)
            support = world.support(shots)
            chips = world.cells(np.tile([0, 1, 2, 0], 64)).mean(1).reshape(16, 16, DIM)
            rows = Classifier.fit(support).score(chips).intervals
            found.append((rows[:-1, 2] - rows[:-1, 1]).mean())
        widths[shots] = np.mean(found)
    assert widths[2] > 1.3 * widths[10]


def shown(world, chips, rows=30):
    return Classifier.fit(world.support()).score(chips.reshape(rows, -1, DIM).astype(np.float32))


def test_an_interval_tells_what_makes_it_wide():
    world = World(3, classes=2, gap=1.5)
    alike = shown(world, world.cells(np.tile([0, 1], 450)).mean(1))
    assert tuple(alike.doubts) == tuple(DOUBTS)
    assert max(alike.doubts, key=alike.doubts.get) == "confusion"
    world = World(3, classes=2, gap=8)
    moved = world.cells(np.tile([0, 1], 450)).mean(1) + 0.4 * (world.centres[1] - world.centres[0])
    drifted = shown(world, moved)
    assert max(drifted.doubts, key=drifted.doubts.get) == "drift"
    for result in (alike, drifted):
        width = (result.intervals[:, 2] - result.intervals[:, 1]).max()
        assert 0.3 < width <= 2 * np.linalg.norm(list(result.doubts.values())) + 1e-9


def test_other_material_is_strange_and_nothing_is_known_of_its_fractions():
    world = World(4)
    own = shown(world, world.cells(np.tile([0, 1, 2], 300)).mean(1))
    other = shown(world, world.cells(np.tile([0, 1, 2], 300)).mean(1) + 9.0)
    assert own.strange < 0.3
    assert other.strange > STRANGE
    assert (other.intervals[:, 2] - other.intervals[:, 1] == 1).all()


def test_methods_can_be_chosen():
    world = World(5)
    support = world.support()
    assert Classifier.fit(support, method="euclidean").shrinkage == 1.0
    assert Classifier.fit(support, method="lda").shrinkage < 1.0
    assert Classifier.fit(support, method="euclidean").method == "euclidean"
    with pytest.raises(UsageError, match="lda"):
        Classifier.fit(support, method="forest")
    for sensitivity in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="above 0"):
            Classifier.fit(support, sensitivity=sensitivity)


def test_the_same_seed_gives_the_same_numbers():
    support = World(6).support()
    chips = World(7).cells(np.zeros(9, int)).mean(1).reshape(3, 3, DIM)
    a, b = (Classifier.fit(support, seed=3).score(chips) for _ in range(2))
    np.testing.assert_array_equal(a.intervals, b.intervals)
    np.testing.assert_array_equal(a.probabilities, b.probabilities)


def test_derived_numbers_reproduce_the_labels():
    world = World(8)
    clf = Classifier.fit(world.support())
    chips = world.cells(np.tile([0, 1, 2], 12)).mean(1).reshape(6, 6, DIM).astype(np.float32)
    d = clf.derived()
    logits = (chips - d["mean"]) / d["deviation"] @ d["weights"] + d["offsets"]
    np.testing.assert_array_equal(logits.argmax(-1), clf.score(chips, reject=False).label_map)
    assert d["prototypes"].shape == (3, DIM)
    assert float(d["temperature"]) == clf.temperature


def test_without_embedding_or_encoder_it_says_what_to_do():
    support = replace(World(9).support(), embedding=None)
    with pytest.raises(SupportError, match="give an encoder"):
        Classifier.fit(support)
    clf = Classifier.fit(World(9).support())
    with pytest.raises(UsageError, match="without an encoder"):
        clf.predict(Frame(np.zeros((8, 8))))
    with pytest.raises(SupportError, match="12 components"):
        clf.score(np.zeros((2, 2, 5), np.float32))


def test_damaged_embeddings_are_refused():
    support = World(10).support()
    e = support.embedding
    for broken, words in [
        (replace(e, cells=e.cells[:-1]), "embed it again"),
        (replace(e, background=e.background[:0]), "missing"),
        (replace(e, cells=np.full_like(e.cells, np.nan)), "not finite"),
    ]:
        with pytest.raises(SupportError, match=words):
            Classifier.fit(support.with_embedding(broken))


def test_chips_that_are_not_finite_are_unknown_never_nan():
    world = World(11)
    clf = Classifier.fit(world.support())
    chips = world.cells(np.zeros(4, int)).mean(1).reshape(2, 2, DIM).astype(np.float32)
    chips[0, 0, 3] = np.nan
    chips[0, 1] = np.inf
    result = clf.score(chips)
    assert (result.labels[0] == "unknown").all()
    for values in (result.probabilities, result.distances, result.novelty, result.intervals):
        assert np.isfinite(values).all()


def test_one_chip_in_two_classes_is_said():
    world = World(12)
    cells = world.cells(np.array([0, 0, 1, 1]))
    cells[2] = cells[0]
    support = make_support(cells, [0, 0, 1, 1], world.cells(np.zeros(50, int)).mean(1))
    clf = Classifier.fit(support)
    assert any("same chip" in line for line in clf.warnings)
    assert np.isfinite(clf.score(cells.mean(1)[None]).intervals).all()


def test_a_single_example_is_said():
    world = World(13)
    support = make_support(
        world.cells(np.array([0, 0, 1])), [0, 0, 1], world.cells(np.zeros(50, int)).mean(1)
    )
    assert any("only one example of 'class 1'" in w for w in Classifier.fit(support).warnings)


def test_constant_examples_are_said_and_survive():
    support = make_support(np.zeros((4, CELL_COUNT, DIM)), [0, 0, 1, 1], np.zeros((9, DIM)))
    clf = Classifier.fit(support)
    assert any("look the same" in line for line in clf.warnings)
    result = clf.score(np.zeros((2, 2, DIM), np.float32))
    assert np.isfinite(result.intervals).all()
    assert np.isfinite(result.probabilities).all()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    counts=st.lists(st.integers(1, 4), min_size=2, max_size=6),
    background=st.sampled_from([1, 2, 5, 40]),
    constant=st.booleans(),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    method=st.sampled_from(["auto", "lda", "euclidean"]),
)
def test_any_support_set_gives_numbers_that_add_up(
    seed, counts, background, constant, scale, method
):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    cells = scale * rng.normal(size=(len(labels), CELL_COUNT, 5))
    if constant:
        cells[...] = cells[:1]
    clf = Classifier.fit(
        make_support(cells, labels, scale * rng.normal(size=(background, 5))), method=method
    )
    result = clf.score(scale * 3 * rng.normal(size=(3, 4, 5)).astype(np.float32))
    value, low, high = result.intervals.T
    assert value.sum() == pytest.approx(1)
    assert ((low >= 0) & (low <= value) & (value <= high) & (high <= 1)).all()
    for values in (result.probabilities, result.distances, result.novelty):
        assert np.isfinite(values).all()
    np.testing.assert_allclose(result.probabilities.sum(-1), 1, rtol=1e-4)


def test_fifty_classes_with_few_cells():
    rng = np.random.default_rng(0)
    centres = 5 * rng.normal(size=(50, 20))
    labels = np.repeat(np.arange(50), 2)
    cells = centres[labels][:, None] + 0.3 * rng.normal(size=(100, 10, 20))
    clf = Classifier.fit(make_support(cells, labels, centres + 0.1 * rng.normal(size=(50, 20))))
    truth = rng.integers(50, size=(12, 12))
    result = clf.score(centres[truth] + 0.1 * rng.normal(size=(12, 12, 20)), reject=False)
    assert (result.label_map == truth).mean() > 0.99


def held_out(wrong):
    """Two candidates with these numbers of wrong chips among twenty of two classes."""
    labels = np.arange(20) % 2
    logits = np.stack([np.eye(2)[labels] * 3.0] * 2)
    for number, count in enumerate(wrong):
        logits[number, :count] = logits[number, :count, ::-1]
    return cross_validation.HeldOut(np.arange(20), labels, logits)


@pytest.mark.parametrize(("wrong", "chosen"), [((0, 0), 0), ((2, 0), 0), ((4, 1), 1), ((4, 6), 0)])
def test_another_shrinkage_must_save_several_errors(wrong, chosen):
    assert cross_validation.choose_shrinkage(held_out(wrong))[0] == chosen


def imported(support):
    """The same examples without their frame."""
    embedding = support.embedding
    return support.with_embedding(replace(embedding, background=embedding.cells.mean(1)))


def test_without_a_frame_behind_the_examples_they_are_compared_with_each_other():
    world = World(5)
    classifier = Classifier.fit(imported(world.support()))
    assert any("without their frame" in line for line in classifier.warnings)
    own = np.arange(90) % len(classifier.names)
    known = world.cells(own, world.centres).mean(1).reshape(9, 10, DIM).astype(np.float32)
    strange = world.cells(np.zeros(9, int), world.centres + 50.0).mean(1).reshape(3, 3, DIM)
    unnamed = len(classifier.names)
    assert (classifier.score(known).label_map == unnamed).mean() < 0.05
    result = classifier.score(strange.astype(np.float32))
    assert (result.label_map == unnamed).all()
    assert result.strange == 1.0
    framed = Classifier.fit(world.support())
    assert not any("without their frame" in line for line in framed.warnings)
    assert (framed.score(strange.astype(np.float32)).label_map == unnamed).all()


def test_single_examples_without_their_frame_make_nothing_unknown_and_it_says_so():
    world = World(5)
    support = world.support()
    firsts = [support.label_indices.tolist().index(k) for k in range(len(support.names))]
    alone = replace(
        support,
        chips=tuple(support.chips[i] for i in firsts),
        embedding=replace(support.embedding, cells=support.embedding.cells[firsts]),
    )
    classifier = Classifier.fit(imported(alone))
    assert any("nothing can be told to be unknown" in line for line in classifier.warnings)
    strange = world.cells(np.zeros(9, int), world.centres + 50.0).mean(1).reshape(3, 3, DIM)
    assert classifier.score(strange.astype(np.float32)).fractions["unknown"][0] == 0.0
