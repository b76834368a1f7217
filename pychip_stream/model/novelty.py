"""Novelty: how unlike everything that was shown a chip is.

The distance is Mahalanobis's, to the nearest point on the line between the two nearest
prototypes (a chip on a boundary shows both phases and is not new), under a covariance of
chips about their class. Few examples cannot say how chips scatter; the background of the
frame they were picked from can, so the covariance and the threshold are relative to it, in
the spirit of the relative Mahalanobis distance (Ren et al., "A simple fix to Mahalanobis
distance for improving near-OOD detection", arXiv 2106.09022), with the least typical part
trimmed as in the minimum covariance determinant (Rousseeuw & Van Driessen, 1999), because the
frame may itself hold what the operator did not name.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import cholesky, solve_triangular
from sklearn.covariance import ledoit_wolf_shrinkage

from pychip_stream.model.lda import Examples, Float, prototypes, shrunken

Floating = npt.NDArray[np.floating]

_KEPT = 0.9
"""Share of the background that is taken to be of the named classes."""
_QUANTILE = 0.995
_SLACK = 1.15
"""Room for frames that differ a little from the one the examples came from; set for the bundled
weights with benchmarks/trust.py on seeds that its documented figures do not use."""
_ROUNDS = 3
_PARTS = 4


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

    def unlikeness(self, chips: Floating) -> Float:
        """(n,) distance of (n, D) standardised chips to the line between their nearest two."""
        return self.between(self.distances(chips @ self.matrix))

    def distances(self, flat: Floating) -> Floating:
        """(n, D) whitened chips to (n, P) distances to the prototypes."""
        centre = self.prototypes
        squared = (
            np.einsum("nd,nd->n", flat, flat)[:, None]
            + np.einsum("kd,kd->k", centre, centre)
            - 2.0 * flat @ centre.T
        )
        return np.asarray(np.sqrt(np.maximum(squared, 0.0)))

    def between(self, distances: Floating) -> Float:
        """(n,) distance to the line between the two nearest prototypes, given all distances."""
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
    """Whitening and the distances that are usual.

    Attributes
    ----------
    threshold
        Distance at which novelty is 1 at sensitivity 1.
    spread
        Distance of a typical chip from its class; the unit of published distances.
    common
        Distance within which nine in ten chips of the support frame lie; infinite where that
        frame is not known.
    """

    whitening: Whitening
    threshold: float
    spread: float
    common: float

    def in_single_precision(self) -> "Novelty":
        """Return the same with float32 arrays, for the hot path."""
        parts = (self.whitening.matrix, self.whitening.prototypes)
        whitening = Whitening(*(part.astype(np.float32) for part in parts))
        return replace(self, whitening=whitening)


def fit_novelty(examples: Examples, background: Float) -> Novelty:
    """Learn what is usual from the examples and the (m, D) standardised background.

    Where the background is nothing but the examples (imported chips, whose frame is not known)
    nobody can say how far chips of the same phase usually scatter: the threshold is infinite.
    """
    whitening = _robust(examples, background)
    usual = _held_out(examples, background)
    bulk = usual[usual <= np.quantile(usual, _KEPT)] if len(usual) > 20 else usual
    typical = float(np.median(bulk)) if bulk.size else 0.0
    edge = float(np.quantile(usual, _QUANTILE)) if usual.size else 0.0
    # A tail far beyond the bulk is something the operator did not name, not their classes.
    scatter = float(np.quantile(bulk, 0.9) - np.quantile(bulk, 0.1)) if bulk.size else 0.0
    threshold = _SLACK * min(edge, typical + 3.0 * scatter)
    floor = max(typical, np.sqrt(examples.cells.shape[-1])) if threshold <= 0 else typical
    if len(background) <= len(examples.labels):  # no more than the examples themselves
        threshold = common = np.inf
    else:
        common = float(np.quantile(whitening.unlikeness(background), _KEPT))
    return Novelty(whitening, max(threshold, floor, 1e-6), max(typical, 1e-6), max(common, 1e-6))


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
    if np.trace(covariance) > 0:
        shrinkage = float(ledoit_wolf_shrinkage(residual, assume_centered=True))
    else:
        shrinkage = 1.0
    lower = cholesky(shrunken(covariance, max(shrinkage, 0.01)), lower=True)
    matrix = solve_triangular(lower, np.eye(dim), lower=True).T
    return Whitening(matrix, centre @ matrix)


def _held_out(examples: Examples, background: Float) -> Float:
    """Distances of background chips under whitenings that did not know them."""
    if len(background) < 2 * _PARTS:
        whitening = _robust(examples, background[:0])
        every = np.concatenate([examples.chips, background])
        return whitening.unlikeness(every)
    part = np.arange(len(background)) % _PARTS
    out = []
    for number in range(_PARTS):
        whitening = _robust(examples, background[part != number])
        out.append(whitening.unlikeness(background[part == number]))
    return np.concatenate(out)
