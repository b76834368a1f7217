"""What is usual: how far chips scatter, and what cannot be known."""

import numpy as np

from pychip_stream.model.lda import Examples
from pychip_stream.model.novelty import fit_novelty

DIM = 4
CENTRES = np.array([[0.0] * DIM, [8.0] * DIM])


def chips(rng, count):
    """(count, D) chips about the centres in turn."""
    return CENTRES[np.arange(count) % 2] + rng.normal(size=(count, DIM))


def examples(rng, count):
    cells = chips(rng, count)[:, None] + rng.normal(0, 0.5, (count, 16, DIM))
    return Examples(cells, np.arange(count) % 2)


def test_half_of_the_chips_of_a_frame_are_nearer_than_the_typical_one():
    rng = np.random.default_rng(0)
    found = fit_novelty(examples(rng, 6), chips(rng, 300))
    distances = found.whitening.unlikeness(chips(rng, 300))
    assert 0.3 < (distances < found.spread).mean() < 0.7
    others = found.apart(chips(rng, 300) @ found.whitening.matrix)
    assert (others < found.threshold).mean() > 0.95
    assert 0.8 < (others < found.common).mean() < 0.97


def test_a_phase_that_came_later_is_found_and_borders_are_not():
    rng = np.random.default_rng(1)
    found = fit_novelty(examples(rng, 10), chips(rng, 300))
    share = rng.uniform(0.2, 0.8, (200, 1))
    mixed = share * chips(rng, 400)[::2] + (1 - share) * chips(rng, 400)[1::2]
    other = np.array([8.0, -8.0, 8.0, -8.0]) + rng.normal(size=(200, DIM))
    for later, wanted in ((mixed, (0.0, 0.1)), (other, (0.95, 1.0))):
        beyond = found.apart(later @ found.whitening.matrix) > found.threshold
        assert wanted[0] <= beyond.mean() <= wanted[1]


def test_single_examples_without_their_frame_make_nothing_unknown():
    found = fit_novelty(examples(np.random.default_rng(0), 2), np.empty((0, DIM)))
    assert found.spread == 1e-6  # they are at no distance from themselves
    assert found.threshold == np.inf


def test_examples_without_their_frame_tell_how_far_others_may_be():
    """The whitening that they made finds none of them far: each is seen by one of the others."""
    rng = np.random.default_rng(4)
    wide = 40  # many more components than examples
    centres = np.zeros((2, wide))
    centres[1] = 4.0

    def drawn(count):
        return centres[np.arange(count) % 2] + rng.normal(size=(count, wide))

    cells = drawn(11)[:, None] + rng.normal(0, 0.5, (11, 16, wide))
    shown = Examples(cells, np.append(np.arange(10) % 2, 2))  # the last class has one alone
    found = fit_novelty(shown, shown.chips)
    assert found.doubt > fit_novelty(shown, drawn(300)).doubt
    own = found.apart(drawn(300) @ found.whitening.matrix)
    assert (own <= found.threshold).mean() > 0.98
    other = found.apart((drawn(300) - 25.0) @ found.whitening.matrix)
    assert (other > found.threshold).mean() > 0.98


def test_few_chips_of_a_frame_are_judged_together():
    rng = np.random.default_rng(3)
    shown, few = examples(rng, 4), chips(rng, 7)
    found = fit_novelty(shown, few)
    assert np.isfinite(found.threshold)
    again = fit_novelty(shown, np.roll(few, 1, axis=0))  # in parts the order would matter
    assert np.isclose(again.threshold, found.threshold, rtol=1e-9)
