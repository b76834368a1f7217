"""Blobs: several prototypes for a class whose examples do not form one group.

A class such as "crystal" may hold two orientations whose mean looks like neither. Its examples
are grouped by Ward's method; whether that helps is decided by cross-validation over the
examples, in which the groups are formed anew without the chip that is judged.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage

from pychip_stream.model import calibration
from pychip_stream.model.discriminant import Examples, Float, Index
from pychip_stream.model.validation import HeldOut, hold_out

SMALLEST = 2
"""Examples that a blob needs: one alone is a stray, not a group."""
_MOST_BLOBS = 3
_CLASSES_TRIED = 3
_WORTH_TRYING = 0.05
"""Mean held-out loss of a class below which nothing is to be gained."""


def split_classes(examples: Examples, numbers: Sequence[int], smallest: int = 1) -> Examples:
    """Group the examples of each class.

    Parameters
    ----------
    numbers
        (K,) blobs wanted per class; a class gets fewer where one would hold less than
        `smallest` examples.
    """
    if max(numbers) <= 1:
        return replace(examples, blobs=None)
    blobs = np.zeros(len(examples.labels), np.intp)
    first = 0
    for cls, wanted in enumerate(numbers):
        mine = np.flatnonzero(examples.labels == cls)
        groups = _grouped(examples.chips[mine], wanted, smallest)
        blobs[mine] = first + groups
        first += int(groups.max()) + 1
    return replace(examples, blobs=blobs if first > len(numbers) else None)


def choose_blobs(
    examples: Examples, shrinkage: float, held_out: HeldOut, temperature: float, *, seed: int = 0
) -> tuple[Examples, HeldOut, float]:
    """Give prototypes to the classes that cross-validation says need more than one.

    Parameters
    ----------
    held_out, temperature
        Of the rule with one prototype per class and this shrinkage.

    Returns
    -------
    The examples with their blobs, and the held-out logits and temperature that go with them;
    the ones that were given where one prototype per class does as well.
    """
    numbers = [1] * len(examples.counts)
    loss = calibration.log_losses(held_out.logits[0], held_out.labels, temperature)
    for cls in _suspects(examples, held_out, loss):
        for wanted in range(2, min(_MOST_BLOBS, int(examples.counts[cls]) // SMALLEST) + 1):
            tried = [*numbers[:cls], wanted, *numbers[cls + 1 :]]
            if split_classes(examples, tried, SMALLEST).blobs is None:
                continue
            split = partial(split_classes, numbers=tried)
            other = hold_out(examples, (shrinkage,), split=split, seed=seed)
            degree = calibration.fit_temperature(other.logits[0], other.labels)
            other_loss = calibration.log_losses(other.logits[0], other.labels, degree)
            if calibration.clearly_smaller(other_loss, loss):
                numbers, held_out, temperature, loss = tried, other, degree, other_loss
    return split_classes(examples, numbers, SMALLEST), held_out, temperature


def _suspects(examples: Examples, held_out: HeldOut, loss: Float) -> list[int]:
    """Classes with enough examples whose held-out chips are judged badly, worst first."""
    classes = len(examples.counts)
    seen = np.bincount(held_out.labels, minlength=classes)
    mean = np.bincount(held_out.labels, loss, classes) / np.maximum(seen, 1)
    usable = (examples.counts >= 2 * SMALLEST) & (mean > _WORTH_TRYING)
    order = np.argsort(-mean, kind="stable")
    return [int(cls) for cls in order if usable[cls]][:_CLASSES_TRIED]


def _grouped(chips: Float, wanted: int, smallest: int) -> Index:
    """(n,) group of each of the (n, D) chips, from 0; as many groups as are large enough."""
    for number in range(min(wanted, len(chips) // smallest), 1, -1):
        groups = fcluster(linkage(chips, "ward"), number, "maxclust")
        _, found, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        if len(sizes) == number and sizes.min() >= smallest:
            return np.asarray(found, np.intp)
    return np.zeros(len(chips), np.intp)
