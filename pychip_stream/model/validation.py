"""Validation: the examples as classifiers that did not know them see them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from pychip_stream.model.discriminant import (
    Examples,
    Float,
    Index,
    linear_rule,
    prototypes,
    within_covariance,
)

Split: TypeAlias = Callable[[Examples], Examples]
"""Gives examples their blobs."""


def no_split(examples: Examples) -> Examples:
    """One prototype per class."""
    return examples


def folds(labels: Index, limit: int, seed: int) -> list[Index]:
    """Split chips into held-out groups that leave every class at least one example.

    One chip per fold while there are at most `limit`; otherwise `limit` folds with each class
    spread over them. The only chip of a class is never held out.
    """
    rng = np.random.default_rng(seed)
    counts = np.bincount(labels)
    usable = np.flatnonzero(counts[labels] > 1)
    if len(usable) <= limit:
        return [np.array([i]) for i in usable]
    number = np.empty(len(labels), np.intp)
    for cls in np.unique(labels[usable]):
        members = rng.permutation(np.flatnonzero(labels == cls))
        start = int(rng.integers(limit))
        number[members] = (start + np.arange(len(members))) % limit
    return [
        np.sort(usable[number[usable] == i]) for i in range(limit) if (number[usable] == i).any()
    ]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Chips as classifiers that did not know them see them.

    Attributes
    ----------
    chips
        (n,) indices of the chips that could be held out.
    labels
        (n,) their classes.
    logits
        (S, n, K), one per candidate shrinkage.
    """

    chips: Index
    labels: Index
    logits: Float = field(repr=False)

    def only(self, number: int) -> "HeldOut":
        """Keep one candidate."""
        return HeldOut(self.chips, self.labels, self.logits[number : number + 1])


def hold_out(
    examples: Examples,
    shrinkages: tuple[float, ...],
    *,
    split: Split = no_split,
    limit: int = 40,
    seed: int = 0,
) -> HeldOut:
    """Cross-validate over chips: the cells of one chip are never in both parts.

    `split` gives the classes their prototypes and is applied within each part, so that a chip
    has no say in the blobs it is judged by.
    """
    groups = folds(examples.labels, limit, seed)
    order = np.concatenate(groups) if groups else np.empty(0, np.intp)
    out = np.empty((len(shrinkages), len(order), len(examples.counts)))
    position, chips = 0, examples.chips
    for group in groups:
        keep = np.setdiff1d(np.arange(len(examples.labels)), group)
        rest = split(examples.take(keep))
        centres, covariance = prototypes(rest), within_covariance(rest)
        block = slice(position, position + len(group))
        for number, shrinkage in enumerate(shrinkages):
            rule = linear_rule(centres, covariance, shrinkage, rest.owners)
            out[number, block] = rule.logits(chips[group])
        position += len(group)
    return HeldOut(order, examples.labels[order], out)
