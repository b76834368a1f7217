import numpy as np
import pytest

from pychip_stream.model import lda
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.cross_validation import split_classes
from pychip_stream.model.lda import Examples

DIM = 10


@pytest.fixture
def world(made):
    """Class 0 has two blobs with class 1 in the middle between them; class 2 lies aside."""
    rng = np.random.default_rng(0)
    far = np.zeros(DIM)
    far[:3] = 9.0
    aside = np.zeros(DIM)
    aside[4] = 14.0
    homes = [(0, far), (0, -far), (1, np.zeros(DIM)), (2, aside)]

    def draw(count):
        labels = np.repeat([label for label, _ in homes], count)
        centres = np.repeat([home for _, home in homes], count, axis=0)
        return made.cells(centres, rng), labels

    cells, labels = draw(4)
    background, _ = draw(60)
    return made.support(cells, labels, background.mean(axis=1)), draw


def test_a_class_of_two_blobs_gets_two_prototypes(world):
    support, draw = world
    fitted = Classifier.fit(support)
    assert fitted.rule.owners.tolist() == [0, 0, 1, 2]
    cells, truth = draw(100)
    chips = cells.mean(axis=1)[None]
    result = fitted.score(chips, reject=False)
    assert (result.label_map == truth).mean() > 0.98
    assert result.probabilities.shape == (1, 400, 3)
    assert result.distances.shape == (1, 400, 3)
    assert result.fractions["class 0"].value == pytest.approx(0.5, abs=0.02)
    one = lda.fit(Examples(fitted.examples.cells, fitted.examples.labels), 0.1)
    scaled = (chips[0] - fitted.scorer.mean) / fitted.scorer.deviation
    assert (one.logits(scaled).argmax(axis=1) == truth).mean() < 0.9


def test_distances_and_novelty_know_every_blob(world):
    support, draw = world
    result = Classifier.fit(support).score(draw(50)[0].mean(axis=1)[None])
    assert (result.labels == "unknown").mean() < 0.05
    own = result.distances[0, :100, 0]
    assert np.median(own) < 1.5


def test_plain_classes_keep_one_prototype(made):
    rng = np.random.default_rng(1)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        labels = np.repeat([0, 1, 2], 8)
        centres = 3.0 * rng.normal(size=(3, DIM))
        support = made.support(
            made.cells(centres[labels], rng), labels, made.cells(centres[labels], rng).mean(axis=1)
        )
        assert Classifier.fit(support).rule.owners.tolist() == [0, 1, 2]


def test_two_blobs_survive_storage_of_the_derived_numbers(world):
    support, draw = world
    fitted = Classifier.fit(support)
    derived = fitted.derived()
    chips = draw(5)[0].mean(axis=1)
    raw = (chips - derived["mean"]) / derived["deviation"] @ derived["weights"] + derived["offsets"]
    labels = derived["owners"][raw.argmax(axis=1)]
    np.testing.assert_array_equal(labels, fitted.score(chips[None], reject=False).label_map[0])


def test_splitting_respects_the_smallest_blob():
    chips = np.array([[0.0], [0.1], [0.2], [9.0], [5.0], [5.1]])
    examples = Examples(chips[:, None], np.array([0, 0, 0, 0, 1, 1]))
    assert split_classes(examples, [2, 1], smallest=2).blobs is None
    assert split_classes(examples, [2, 1]).members.tolist() in (
        [0, 0, 0, 1, 2, 2],
        [1, 1, 1, 0, 2, 2],
    )
    assert split_classes(examples, [2, 1]).owners.tolist() == [0, 0, 1]
    kept = split_classes(examples, [2, 1]).take(np.array([0, 1, 4, 5]))
    assert kept.members.tolist() == [0, 0, 1, 1]
    assert kept.owners.tolist() == [0, 1]
