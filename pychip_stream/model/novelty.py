"""Novelty: how unlike everything that was shown a chip is.

The distance to the nearest chip of the support frame (Sun, Ming, Zhu & Li, "Out-of-distribution
detection with deep nearest neighbors", ICML 2022), under a covariance of chips about their class.
Few examples cannot say how chips scatter, nor what the borders between two phases look like; the
frame they were picked from can. Borders that it does not show are made up: an embedding is a mean
over cells, so a chip on a border lies between chips of its two phases.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.model.cross_validation import folds
from pychip_stream.model.lda import Examples, Float, ledoit_wolf, prototypes, shrunken

Floating = npt.NDArray[np.floating]

_KEPT = 0.9
"""Share of the background that is taken to be of the named classes."""
_REFERENCE = 256
"""Chips of the support frame that others are compared with."""
_BORDERS = 64
"""Chips of borders that are made up."""
_QUANTILE = 0.98
_SLACK = 1.15
"""Room for frames that differ a little from the one the examples came from; set for the bundled
weights with benchmarks/trust.py on seeds that its documented figures do not use."""
_SLACK_ALONE = 2.2
"""The same for examples without their frame, against the farthest of them: chips of a frame are
seen with their surroundings, which those pictures lack."""
_DOUBT, _DOUBT_ALONE = 0.15, 0.45
"""Standard deviation of the logarithm of the threshold, with a frame and without one."""
_LEFT_OUT = 10
"""In at most so many parts the examples are left out in turn."""
_ROUNDS = 3
_AT_ONCE = 2048
"""Chips that are compared at once; bounds the memory for frames of very many."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """Chips in coordinates in which the spread of a class is the unit sphere.

    Attributes
    ----------
    matrix
        (D, D): whitened = standardised chips @ matrix.
    prototypes
        (P, D) whitened prototypes.
    """

    matrix: Floating = field(repr=False)
    prototypes: Floating = field(repr=False)

    def distances(self, flat: Floating) -> Floating:
        """(…, D) whitened chips to (…, P) distances to the prototypes."""
        return np.asarray(np.sqrt(_squared(flat, self.prototypes)))

    def unlikeness(self, chips: Floating) -> Float:
        """(n,) distance of (n, D) standardised chips to the line between their nearest two.

        A chip on a border shows both phases and is not new.
        """
        distances = self.distances(chips @ self.matrix)
        nearest = np.argpartition(distances, 1, axis=1)[:, :2]
        pair = np.take_along_axis(distances, nearest, axis=1).astype(np.float64)
        swap = pair[:, 0] > pair[:, 1]
        pair[swap], nearest[swap] = pair[swap][:, ::-1], nearest[swap][:, ::-1]
        gap = self.prototypes[:, None, :] - self.prototypes[None, :, :]
        length = np.einsum("jkd,jkd->jk", gap, gap)[nearest[:, 0], nearest[:, 1]]
        # Fraction of the way from the nearest prototype to the second, at most half.
        along = (pair[:, 0] ** 2 - pair[:, 1] ** 2 + length) / np.maximum(2.0 * length, 1e-12)
        along = np.clip(along, 0.0, 0.5)
        squared = (1 - along) * pair[:, 0] ** 2 + along * pair[:, 1] ** 2
        return np.asarray(np.sqrt(np.maximum(squared - along * (1 - along) * length, 0.0)))


@dataclass(frozen=True, eq=False)
class Novelty:
    """Whitening, chips to compare with, and the distances from them that are usual.

    Attributes
    ----------
    reference
        (m, D) whitened chips: of the support frame, the examples, and of borders.
    threshold
        Distance at which novelty is 1 at sensitivity 1; infinite where neither a frame nor two
        examples of a class are known.
    common
        Distance within which nine in ten chips of the support frame lie; without one, the
        threshold.
    spread
        Distance of a typical chip from its class; the unit of published distances.
    doubt
        Standard deviation of the logarithm of the threshold, for the interval of unknown.
    """

    whitening: Whitening
    reference: Floating = field(repr=False)
    threshold: float
    common: float
    spread: float
    doubt: float = _DOUBT

    def in_single_precision(self) -> "Novelty":
        """Return the same with float32 arrays, for the hot path."""
        parts = (self.whitening.matrix, self.whitening.prototypes)
        whitening = Whitening(*(part.astype(np.float32) for part in parts))
        return replace(self, whitening=whitening, reference=self.reference.astype(np.float32))

    @cached_property
    def _compared(self) -> tuple[Floating, Floating]:
        """What `apart` needs of the reference for every frame."""
        square = np.einsum("nd,nd->n", self.reference, self.reference)
        return (-2 * self.reference).T, square

    def apart(self, flat: Floating) -> Floating:
        """(n,) distance of (n, D) whitened chips from the nearest that was shown."""
        others, square = self._compared
        least = np.einsum("nd,nd->n", flat, flat)
        for start in range(0, len(flat), _AT_ONCE):
            mine = slice(start, start + _AT_ONCE)
            found = flat[mine] @ others
            found += square
            least[mine] += found.min(axis=1)
        return np.asarray(np.sqrt(np.maximum(least, 0.0, out=least)))


def fit_novelty(examples: Examples, background: Float) -> Novelty:
    """Learn what is usual from the examples and the (m, D) standardised background.

    Where the background is nothing but the examples (imported chips, whose frame is not known)
    they are compared with each other instead, see `_scatter`. With a single example of each class
    nobody can say how far chips of a phase usually scatter: the threshold is infinite.
    """
    whitening = _robust(examples, background)
    distance = whitening.unlikeness(background)
    bulk = distance[distance <= np.quantile(distance, _KEPT)] if len(distance) else distance
    spread = max(float(np.median(bulk)) if len(bulk) else 0.0, 1e-6)
    shown = examples.chips @ whitening.matrix
    rng = np.random.default_rng(0)
    if len(background) <= len(examples.labels):  # no more than the examples themselves
        farthest = _scatter(examples).max(initial=0.0)
        if farthest <= 0:
            return Novelty(whitening, shown, np.inf, np.inf, spread)
        reference = np.concatenate([shown, _borders(shown, whitening, rng)])
        threshold = _SLACK_ALONE * farthest
        return Novelty(whitening, reference, threshold, threshold, spread, _DOUBT_ALONE)
    some = rng.permutation(len(background))[:_REFERENCE]
    frame = background[some] @ whitening.matrix
    seen = np.concatenate([frame, shown])
    own = np.sqrt(np.partition(_squared(frame, seen), 1, axis=1)[:, 1])  # 0: the chip itself
    common, edge = np.quantile(own, (_KEPT, _QUANTILE))
    threshold = _SLACK * float(edge) if edge > 0 else float(np.sqrt(shown.shape[1]))
    reference = np.concatenate([seen, _borders(seen, whitening, rng)])
    return Novelty(whitening, reference, threshold, max(float(common), 1e-6), spread)


def _scatter(examples: Examples) -> Float:
    """Distances of examples from the nearest other one of their class; none of single ones.

    Each under a whitening that does not know it: among few examples of many components the one
    that was fitted to all finds none of them far from the others.
    """
    chips, labels, found = examples.chips, examples.labels, []
    for held in folds(labels, _LEFT_OUT, 0):
        kept = np.setdiff1d(np.arange(len(labels)), held)
        rest = Examples(examples.cells[kept], labels[kept])
        whitening = _robust(rest, chips[:0])
        apart = _squared(chips[held] @ whitening.matrix, chips[kept] @ whitening.matrix)
        apart[labels[held][:, None] != labels[kept]] = np.inf
        found.append(np.sqrt(apart.min(axis=1)))
    return np.concatenate(found) if found else np.zeros(0)


def _borders(chips: Float, whitening: Whitening, rng: np.random.Generator) -> Float:
    """Mix pairs of (m, D) whitened chips of unlike classes."""
    nearest = whitening.distances(chips).argmin(axis=1)
    one, other = rng.integers(len(chips), size=(2, 16 * _BORDERS))
    unlike = np.flatnonzero(nearest[one] != nearest[other])[:_BORDERS]
    along = rng.uniform(0.2, 0.8, (len(unlike), 1))
    return np.asarray(along * chips[one[unlike]] + (1 - along) * chips[other[unlike]])


def _squared(chips: Floating, others: Floating) -> Floating:
    """(…, m) squared distances of (…, D) chips and (m, D) others."""
    found = chips @ (-2 * others).T
    found += np.einsum("...d,...d->...", chips, chips)[..., None]
    found += np.einsum("nd,nd->n", others, others)
    return np.asarray(np.maximum(found, 0.0, out=found))


def _robust(examples: Examples, background: Float) -> Whitening:
    """Whitening from examples and the typical part of the background."""
    centre = prototypes(examples)
    known = examples.chips - centre[examples.members]
    within = (examples.cells - examples.chips[:, None, :]).reshape(-1, centre.shape[1])
    per_chip = examples.cells.shape[1]
    # Until the background has spoken, the scatter of cells stands in for that of chips.
    residual = np.concatenate([known, within / np.sqrt(per_chip)])
    whitening = _whiten(centre, residual)
    for _ in range(_ROUNDS if len(background) else 0):
        distance = whitening.unlikeness(background)
        typical = background[distance <= np.quantile(distance, _KEPT)]
        residual = np.concatenate([known, _residuals(typical, whitening, centre)])
        whitening = _whiten(centre, residual)
    return whitening


def _residuals(chips: Float, whitening: Whitening, centre: Float) -> Float:
    """(n, D) difference of chips from the nearest prototype."""
    return np.asarray(chips - centre[whitening.distances(chips @ whitening.matrix).argmin(axis=1)])


def _whiten(centre: Float, residual: Float) -> Whitening:
    dim = centre.shape[1]
    covariance = residual.T @ residual / max(len(residual), 1)
    shrinkage = ledoit_wolf(residual) if np.trace(covariance) > 0 else 1.0
    lower = scipy.linalg.cholesky(shrunken(covariance, max(shrinkage, 0.01)), lower=True)
    matrix = scipy.linalg.solve_triangular(lower, np.eye(dim), lower=True).T
    return Whitening(matrix, centre @ matrix)
