"""Shrinkage of the covariance, against scikit-learn; and what the start of a service costs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.covariance import ledoit_wolf_shrinkage

from pychip_stream.model.lda import ledoit_wolf


@given(st.integers(2, 60), st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_the_shrinkage_is_that_of_scikit_learn(count, dim, seed):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, dim)) * rng.uniform(0, 10, dim)
    expected = ledoit_wolf_shrinkage(rows, assume_centered=True)
    assert ledoit_wolf(rows) == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_rows_that_do_not_scatter_need_no_shrinkage():
    assert ledoit_wolf(np.ones((5, 1))) == 0.0
    assert ledoit_wolf(np.zeros((5, 3))) == 0.0
