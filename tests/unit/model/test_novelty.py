"""What is usual, where there is next to nothing to learn it from."""

import numpy as np

from pychip_stream.model.discriminant import Examples
from pychip_stream.model.novelty import fit_novelty

CELLS = np.random.default_rng(0).normal(size=(2, 16, 4)) + np.array([0.0, 5.0])[:, None, None]


def test_single_examples_are_at_no_distance_from_themselves():
    examples = Examples(CELLS, np.array([0, 1]))
    found = fit_novelty(examples, np.empty((0, 4)))
    assert found.spread == 1e-6
    assert found.threshold == np.inf
