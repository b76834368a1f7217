"""Discriminant: one prototype per class and one shrunken covariance shared by all.

Shrinkage linear discriminant analysis (Friedman, "Regularized discriminant analysis", JASA
1989; Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
J. Multivariate Anal. 2004), fitted on the cells of the example chips. Full shrinkage is the
Euclidean prototype classifier of Snell et al., "Prototypical networks for few-shot learning"
(2017). Classes have equal weight whatever their number of examples or chips: a prior taken
from the data would pull the fractions, which are what is measured.

A class that is not one blob may have several prototypes (see `blobs`); a chip belongs to the
class of its nearest one (Hastie & Tibshirani, "Discriminant analysis by Gaussian mixtures",
J. R. Stat. Soc. B 1996, with hard membership).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]

SHRINKAGES = (0.02, 0.1, 0.3, 0.6, 1.0)
"""Candidates beside the analytic value; 1 is Euclidean."""
_FLOOR = 1e-3
"""Never shrink less: keeps the covariance regular when examples are near-identical."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Standardised examples.

    Attributes
    ----------
    cells
        (N, C, D) cells of the chips.
    labels
        (N,) class indices 0…K-1, every class present.
    blobs
        (N,) index 0…P-1 of the prototype that each belongs to, those of one class beside each
        other in the order of the classes; None where every class has one.
    """

    cells: Float = field(repr=False)
    labels: Index = field(repr=False)
    blobs: Index | None = field(default=None, repr=False)

    @property
    def chips(self) -> Float:
        """(N, D) chip embeddings: the mean over the cells."""
        return np.asarray(self.cells.mean(axis=1))

    @property
    def counts(self) -> Index:
        """(K,) examples per class."""
        return np.bincount(self.labels)

    @property
    def members(self) -> Index:
        """(N,) prototype that each example belongs to."""
        return self.labels if self.blobs is None else self.blobs

    @property
    def owners(self) -> Index:
        """(P,) class of every prototype."""
        if self.blobs is None:
            return np.arange(len(self.counts))
        return np.asarray(self.labels[np.unique(self.blobs, return_index=True)[1]])

    def take(self, chips: Index) -> "Examples":
        """Keep some examples; classes may not vanish, prototypes may."""
        blobs = self.blobs
        if blobs is not None:
            blobs = np.unique(blobs[chips], return_inverse=True)[1].astype(np.intp)
        return Examples(self.cells[chips], self.labels[chips], blobs)


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A linear rule: logits = chips @ weights + offsets, less a term common to all classes.

    Attributes
    ----------
    prototypes
        (P, D) means of the classes or of their blobs.
    weights, offsets
        (D, P) and (P,) so that logits are minus half the squared distance to a prototype.
    owners
        (P,) class of every prototype, not decreasing.
    """

    prototypes: Float = field(repr=False)
    weights: Float = field(repr=False)
    offsets: Float = field(repr=False)
    owners: Index = field(repr=False)

    def logits(self, chips: Float) -> Float:
        """(n, D) chips to (n, K) logits: of each class's nearest prototype."""
        return largest_per_class(np.asarray(chips @ self.weights + self.offsets), self.owners)


def largest_per_class(values: npt.NDArray[Any], owners: Index, axis: int = -1) -> npt.NDArray[Any]:
    """Reduce P prototypes to their K classes along an axis; nothing to do where P = K."""
    if owners[-1] + 1 == len(owners):
        return values
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    return np.asarray(np.maximum.reduceat(values, starts, axis=axis))


def best_class(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """(…, n) first class with the largest of (…, K, n) values; argmax along such axes is slow."""
    best = np.zeros((*values.shape[:-2], values.shape[-1]), np.uint8)
    top = values[..., 0, :]
    for k in range(1, values.shape[-2]):
        larger = values[..., k, :] > top
        np.maximum(best, larger.view(np.uint8) * np.uint8(k), out=best)
        top = np.maximum(top, values[..., k, :])
    return best


def prototypes(examples: Examples, weights: Float | None = None) -> Float:
    """(P, D) weighted mean chip of every blob; `weights` (N,) default to equal ones."""
    share = np.ones(len(examples.labels)) if weights is None else weights
    member = np.equal.outer(np.arange(len(examples.owners)), examples.members) * share
    return np.asarray(member @ examples.chips / member.sum(axis=1, keepdims=True))


def within_covariance(examples: Examples, weights: Float | None = None) -> Float:
    """(D, D) covariance of cells about their prototype, every class counting the same.

    `weights` (N,) are non-negative and default to equal ones.
    """
    n, per_chip, dim = examples.cells.shape
    share = np.ones(n) if weights is None else weights
    centre = prototypes(examples, share)
    residual = examples.cells - centre[examples.members][:, None, :]
    total = np.bincount(examples.labels, share)
    each = share / total[examples.labels] / len(total) / per_chip
    scaled = (residual * np.sqrt(each)[:, None, None]).reshape(-1, dim)
    return np.asarray(scaled.T @ scaled)


def analytic_shrinkage(examples: Examples) -> float:
    """Ledoit-Wolf shrinkage of the cells about their prototypes."""
    residual = examples.cells - prototypes(examples)[examples.members][:, None, :]
    flat = residual.reshape(-1, residual.shape[-1])
    if not np.abs(flat).max(initial=0.0) > 0.0:
        return 1.0
    return min(max(ledoit_wolf(flat), _FLOOR), 1.0)


def ledoit_wolf(rows: Float) -> float:
    """Shrinkage of the covariance of (n, D) rows about zero (Ledoit & Wolf 2004, section 3).

    That of scikit-learn, which takes a second to import.
    """
    count, dim = rows.shape
    square = np.square(rows).sum(axis=1)
    table = rows @ rows.T if count < dim else rows.T @ rows  # either has the same norm
    norm = float(np.square(table).sum()) / count**2
    scatter = (float(np.square(square).sum()) / count - norm) / (dim * count)
    distance = (norm - (float(square.sum()) / count) ** 2 / dim) / dim
    scatter = min(scatter, distance)
    return scatter / distance if scatter > 0.0 else 0.0


def shrunken(covariance: Float, shrinkage: float) -> Float:
    """Shrink a covariance towards a multiple of the identity; regular even where it is zero."""
    dim = len(covariance)
    scale = float(np.trace(covariance)) / dim
    if not scale > 0.0:
        return np.eye(dim)
    keep = max(shrinkage, _FLOOR)
    return np.asarray((1.0 - keep) * covariance + keep * scale * np.eye(dim))


def linear_rule(
    centres: Float, covariance: Float, shrinkage: float, owners: Index | None = None
) -> Discriminant:
    """Rule of the given (P, D) prototypes under a shrunken (D, D) covariance.

    `owners` (P,) defaults to one prototype per class.
    """
    matrix = shrunken(covariance, shrinkage)
    if shrinkage >= 1.0:
        weights = centres.T / matrix[0, 0]
    else:
        weights = scipy.linalg.cho_solve(
            scipy.linalg.cho_factor(matrix, lower=True, check_finite=False), centres.T
        )
    offsets = -0.5 * np.einsum("kd,dk->k", centres, weights)
    classes = np.arange(len(centres)) if owners is None else owners
    return Discriminant(centres, weights, offsets, classes)


def fit(examples: Examples, shrinkage: float, weights: Float | None = None) -> Discriminant:
    """Fit prototypes and covariance; `weights` (N,) non-negative, default equal."""
    return linear_rule(
        prototypes(examples, weights),
        within_covariance(examples, weights),
        shrinkage,
        examples.owners,
    )
