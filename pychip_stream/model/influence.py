"""Influence: what the fractions of the support frame would be without one example."""

from dataclasses import dataclass

import numpy as np

from pychip_stream.model.classifier import Classifier
from pychip_stream.model.discriminant import (
    Discriminant,
    Examples,
    Float,
    Index,
    linear_rule,
)


@dataclass(frozen=True)
class Influence:
    """Effect of one example.

    Attributes
    ----------
    change
        Largest change of a class's fraction on the support frame without it, 0…1.
    affected
        Index of the class whose fraction changes so.
    """

    change: float
    affected: int


def influences(classifier: Classifier) -> list[Influence]:
    """Leave out each example in turn and count the chips of the support frame again.

    Notes
    -----
    Shrinkage and blobs stay as chosen; sums over the cells of each blob are kept, so that
    leaving one chip out costs one small factorisation. Where an example is the only one of its
    blob, that prototype goes with it.
    """
    examples = classifier.examples
    sums = _Sums.of(examples)
    classes = len(examples.counts)
    before = _fractions(classifier.rule, classifier.background, classes)
    out = []
    for chip, blob in enumerate(examples.members.tolist()):
        if sums.chips[blob] == 1:
            rule = _without(classifier.rule, blob)
        else:
            rule = sums.rule_without(blob, examples.cells[chip], classifier.shrinkage)
        after = _fractions(rule, classifier.background, classes)
        change = np.abs(after - before)
        out.append(Influence(float(change.max()), int(change.argmax())))
    return out


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the cells of each blob.

    Attributes
    ----------
    chips, owners
        (P,) examples of each blob and its class.
    per_chip
        Cells per chip.
    first, second
        (P, D) sum of the cells and (P, D, D) of their products.
    """

    chips: Index
    owners: Index
    per_chip: int
    first: Float
    second: Float

    @classmethod
    def of(cls, examples: Examples) -> "_Sums":
        members, owners = examples.members, examples.owners
        flat = [
            examples.cells[members == p].reshape(-1, examples.cells.shape[-1])
            for p in range(len(owners))
        ]
        return cls(
            np.bincount(members),
            owners,
            examples.cells.shape[1],
            np.stack([m.sum(axis=0) for m in flat]),
            np.stack([m.T @ m for m in flat]),
        )

    def rule_without(self, blob: int, cells: Float, shrinkage: float) -> Discriminant:
        """Rule after one chip, given by its (C, D) cells, has left a blob."""
        chips = self.chips.astype(np.float64)
        chips[blob] -= 1
        first = self.first.copy()
        first[blob] -= cells.sum(axis=0)
        centres = first / (chips * self.per_chip)[:, None]
        per_class = np.bincount(self.owners, chips)
        weight = 1.0 / (per_class[self.owners] * len(per_class) * self.per_chip)
        covariance = np.tensordot(weight, self.second, 1) - weight[blob] * (cells.T @ cells)
        covariance -= np.einsum("p,pi,pj->ij", weight * chips * self.per_chip, centres, centres)
        return linear_rule(centres, covariance, shrinkage, self.owners)


def _without(rule: Discriminant, blob: int) -> Discriminant:
    """Leave out one prototype, and with it perhaps its class."""
    kept = np.arange(len(rule.owners)) != blob
    return Discriminant(
        rule.prototypes[kept], rule.weights[:, kept], rule.offsets[kept], rule.owners[kept]
    )


def _fractions(rule: Discriminant, background: Float, classes: int) -> Float:
    nearest = (background @ rule.weights + rule.offsets).argmax(axis=1)
    labels = rule.owners[nearest]
    return np.asarray(np.bincount(labels, minlength=classes) / max(len(labels), 1))
