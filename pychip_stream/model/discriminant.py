"""Discriminant: one prototype per class and one shrunken covariance shared by all.

Shrinkage linear discriminant analysis (Friedman, "Regularized discriminant analysis", JASA
1989; Ledoit & Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
J. Multivariate Anal. 2004), fitted on the cells of the example chips. Full shrinkage is the
Euclidean prototype classifier of Snell et al., "Prototypical networks for few-shot learning"
(2017). Classes have equal weight whatever their number of examples or chips: a prior taken
from the data would pull the fractions, which are what is measured.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve
from sklearn.covariance import ledoit_wolf_shrinkage

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
    """

    cells: Float = field(repr=False)
    labels: Index = field(repr=False)

    @property
    def chips(self) -> Float:
        """(N, D) chip embeddings: the mean over the cells."""
        return np.asarray(self.cells.mean(axis=1))

    @property
    def counts(self) -> Index:
        """(K,) examples per class."""
        return np.bincount(self.labels)


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A linear rule: logits = chips @ weights + offsets, less a term common to all classes.

    Attributes
    ----------
    prototypes
        (K, D) class means.
    weights, offsets
        (D, K) and (K,) so that logits are minus half the squared distance to a prototype.
    """

    prototypes: Float = field(repr=False)
    weights: Float = field(repr=False)
    offsets: Float = field(repr=False)

    def logits(self, chips: Float) -> Float:
        """(n, D) chips to (n, K) logits."""
        return np.asarray(chips @ self.weights + self.offsets)


def prototypes(examples: Examples, weights: Float | None = None) -> Float:
    """(K, D) weighted mean chip of every class; `weights` (N,) default to equal ones."""
    share = np.ones(len(examples.labels)) if weights is None else weights
    member = np.equal.outer(np.arange(len(examples.counts)), examples.labels) * share
    return np.asarray(member @ examples.chips / member.sum(axis=1, keepdims=True))


def within_covariance(examples: Examples, weights: Float | None = None) -> Float:
    """(D, D) covariance of cells about their class's mean, every class counting the same.

    `weights` (N,) are non-negative and default to equal ones.
    """
    n, per_chip, dim = examples.cells.shape
    share = np.ones(n) if weights is None else weights
    centre = prototypes(examples, share)
    residual = examples.cells - centre[examples.labels][:, None, :]
    total = np.bincount(examples.labels, share)
    each = share / total[examples.labels] / len(total) / per_chip
    scaled = (residual * np.sqrt(each)[:, None, None]).reshape(-1, dim)
    return np.asarray(scaled.T @ scaled)


def analytic_shrinkage(examples: Examples) -> float:
    """Ledoit-Wolf shrinkage of the cells about their class means."""
    residual = examples.cells - prototypes(examples)[examples.labels][:, None, :]
    flat = residual.reshape(-1, residual.shape[-1])
    if not np.abs(flat).max(initial=0.0) > 0.0:
        return 1.0
    value = float(ledoit_wolf_shrinkage(flat, assume_centered=True))
    return min(max(value, _FLOOR), 1.0)


def shrunken(covariance: Float, shrinkage: float) -> Float:
    """Shrink a covariance towards a multiple of the identity; regular even where it is zero."""
    dim = len(covariance)
    scale = float(np.trace(covariance)) / dim
    if not scale > 0.0:
        return np.eye(dim)
    keep = max(shrinkage, _FLOOR)
    return np.asarray((1.0 - keep) * covariance + keep * scale * np.eye(dim))


def linear_rule(centres: Float, covariance: Float, shrinkage: float) -> Discriminant:
    """Rule of the given (K, D) prototypes under a shrunken (D, D) covariance."""
    matrix = shrunken(covariance, shrinkage)
    if shrinkage >= 1.0:
        weights = centres.T / matrix[0, 0]
    else:
        weights = cho_solve(cho_factor(matrix, lower=True, check_finite=False), centres.T)
    offsets = -0.5 * np.einsum("kd,dk->k", centres, weights)
    return Discriminant(centres, weights, offsets)


def fit(examples: Examples, shrinkage: float, weights: Float | None = None) -> Discriminant:
    """Fit prototypes and covariance; `weights` (N,) non-negative, default equal."""
    return linear_rule(
        prototypes(examples, weights), within_covariance(examples, weights), shrinkage
    )


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
    examples: Examples, shrinkages: tuple[float, ...], *, limit: int = 40, seed: int = 0
) -> HeldOut:
    """Cross-validate over chips: the cells of one chip are never in both parts."""
    groups = folds(examples.labels, limit, seed)
    order = np.concatenate(groups) if groups else np.empty(0, np.intp)
    out = np.empty((len(shrinkages), len(order), len(examples.counts)))
    position, chips = 0, examples.chips
    for group in groups:
        keep = np.setdiff1d(np.arange(len(examples.labels)), group)
        rest = Examples(examples.cells[keep], examples.labels[keep])
        centres, covariance = prototypes(rest), within_covariance(rest)
        block = slice(position, position + len(group))
        for number, shrinkage in enumerate(shrinkages):
            out[number, block] = linear_rule(centres, covariance, shrinkage).logits(chips[group])
        position += len(group)
    return HeldOut(order, examples.labels[order], out)
