"""Temperatures of a few held-out margins, by hand."""

import numpy as np
import pytest

from pychip_stream.model.cross_validation import moment_temperature
from pychip_stream.model.intervals import moderated


def temperature(margins, labels):
    """Of two classes whose own logit exceeds the other by these margins."""
    labels = np.asarray(labels)
    logits = np.zeros((len(labels), 2))
    logits[np.arange(len(labels)), labels] = margins
    return moment_temperature(logits, labels)


def test_the_scatter_within_classes_sets_the_temperature():
    # Squares about the means of the classes, 2 and 3, sum to 4, over 4 chips less 2 classes.
    assert temperature([1, 3, 2, 4], [0, 0, 1, 1]) == pytest.approx(2.0 / (2 * 2.5))


def test_one_chip_per_class_scatters_as_much_as_it_is_far():
    assert temperature([2, 4], [0, 1]) == pytest.approx(3.0**2 / (2 * 3.0))


def test_where_classes_overlap_the_size_of_the_margins_sets_the_scale():
    assert temperature([-1, -3, -2, -4], [0, 0, 1, 1]) == pytest.approx(2.0 / (2 * 0.1 * 2.5))


def test_margins_of_nothing_leave_the_logits_alone():
    assert temperature([0, 0], [0, 1]) == 1.0


def test_the_borders_of_the_two_best_classes_flatten_the_logits_of_a_chip():
    logits = np.array([[5, 1, 3, 0], [0, 2, 1, 4], [3, 4, 1, 0]], np.float32)
    vague = np.array([1, 10, 2, 20], np.float32)
    for row, found, best in zip(
        logits, moderated(logits.T, vague).T, ([0, 2], [3, 1], [1, 0]), strict=True
    ):
        width = np.sqrt(1 + np.pi / 8 * np.square(vague[best]).sum())
        np.testing.assert_allclose(found, (row - row.max()) / width, rtol=1e-5)
