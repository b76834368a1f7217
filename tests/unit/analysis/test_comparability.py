"""When the ranges of a support set and a run are near enough to each other."""

import pytest

from pychip_stream.analysis.rescoring import Conditions, adapt
from pychip_stream.domain.normalization import Normalization
from tests.support.simple_runs import ENCODER, picked


@pytest.mark.parametrize(
    ("low", "high", "again"),
    [(1000.0, 2045.0, False), (1000.0, 2055.0, True), (1048.0, 1952.0, True)],
)
def test_ranges_are_compared_by_the_width_of_the_narrower(low, high, again):
    support = picked(0, norm=Normalization("range", 1000.0, 2000.0))
    run = Conditions(ENCODER.weights_hash, Normalization("range", low, high))
    adapted, (note,) = adapt(support, run, lambda _hash: ENCODER, "run")
    assert ("embedded again" in note) == again
    assert (adapted.normalization == run.normalization) == again
