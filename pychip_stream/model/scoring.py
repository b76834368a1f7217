"""Scoring: the part of a classifier that runs for every frame, a few matrix products."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pychip_stream.errors import SupportError
from pychip_stream.model.intervals import Ensemble, frame_intervals, moderated
from pychip_stream.model.lda import Discriminant, Examples, Float, Index, largest_per_class
from pychip_stream.model.novelty import Floating, Novelty

FEWEST = 8
"""Chips of a class without which its mean says nothing."""
_CHANCE = 4.0
"""Neighbouring chips are alike, so a mean scatters more than that of independent ones."""


@dataclass(frozen=True, eq=False)
class Origin:
    """Where the chips of each class were on the support frame, whitened.

    Attributes
    ----------
    means
        (K, D) float32; of the prototypes where the frame has too few chips of a class.
    scatter
        (K,) expected square distance of such a mean from the true one.
    reach
        (K,) half the distance to the nearest prototype of another class.
    """

    means: Floating = field(repr=False)
    scatter: Float = field(repr=False)
    reach: Float = field(repr=False)

    @classmethod
    def of(cls, examples: Examples, novelty: Novelty, background: Float, labels: Index) -> "Origin":
        """Learn it from the (m, D) standardised background and its (m,) labels."""
        whitening = novelty.whitening
        flat = background @ whitening.matrix
        usual = whitening.between(whitening.distances(background)) <= novelty.threshold
        owners, classes = examples.owners, len(examples.counts)
        means, scatter, reach = [], [], []
        for k in range(classes):
            own, others = whitening.prototypes[owners == k], whitening.prototypes[owners != k]
            mine = flat[(labels == k) & usual]
            enough = len(mine) >= FEWEST
            means.append(mine.mean(axis=0) if enough else own.mean(axis=0))
            scatter.append(flat.shape[1] / (len(mine) if enough else examples.counts[k]))
            gaps = np.linalg.norm(own[:, None, :] - others[None, :, :], axis=2)
            reach.append(max(float(gaps.min()) / 2.0, 1e-6))
        return cls(np.stack(means).astype(np.float32), np.array(scatter), np.array(reach))

    def shifts(self, flat: Floating, labels: Index, usual: "np.typing.NDArray[np.bool_]") -> Float:
        """(K,) share of the way to the border that each class has moved; 0 for absent ones.

        Parameters
        ----------
        flat
            (n, D) whitened chips.
        labels, usual
            (n,) class of each, and whether it is like the examples at all.
        """
        classes, dim = self.means.shape
        member = np.equal.outer(np.arange(classes), labels) & usual
        count = member.sum(axis=1)
        enough = count >= FEWEST
        means = member.astype(flat.dtype) @ flat / np.maximum(count, 1)[:, None]
        square = np.square(means - self.means, dtype=np.float64).sum(axis=1)
        chance = _CHANCE * (dim / np.maximum(count, 1) + self.scatter)
        moved = np.sqrt(np.maximum(square - chance, 0.0))
        return np.asarray(np.where(enough, moved / self.reach, 0.0))


Float32 = npt.NDArray[np.float32]

_FARTHEST = 1e4
"""Standardised components are limited to this, so that squares stay finite in float32."""
_BROKEN = np.float32(1e6)
"""Novelty of a chip whose embedding is not finite."""


@dataclass(frozen=True, eq=False)
class Scores:
    """The chips of a frame, n = rows × columns, in row order.

    Attributes
    ----------
    labels
        (n,) uint8 class indices; K means unknown.
    probabilities, distances
        (n, K) float32.
    novelty
        (n,) float32, above 1 means unlike the examples.
    intervals
        (K + 1, 3) fraction, low, high.
    shifts
        (K,) drift of each class: share of the way to its border that its chips have moved.
    """

    labels: npt.NDArray[np.uint8]
    probabilities: Float32
    distances: Float32
    novelty: Float32
    intervals: npt.NDArray[np.float64]
    shifts: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scorer:
    """Fitted arrays in the precision and layout that the hot path wants.

    Attributes
    ----------
    mean, deviation
        (D,) of the support frame.
    weights, offsets
        (D, P) and (P,): logits already divided by the temperature.
    owners
        (P,) class of every prototype.
    novelty
        Whitening (float32) and threshold.
    sensitivity
        Factor on novelty.
    ensemble
        Replicates for the intervals.
    origin
        Where the classes were on the support frame.
    """

    mean: Float32 = field(repr=False)
    deviation: Float32 = field(repr=False)
    weights: Float32 = field(repr=False)
    offsets: Float32 = field(repr=False)
    owners: Index = field(repr=False)
    novelty: Novelty = field(repr=False)
    sensitivity: float
    ensemble: Ensemble = field(repr=False)
    origin: Origin = field(repr=False)

    @classmethod
    def of(
        cls,
        scale: tuple[Float32, Float32],
        rule: Discriminant,
        temperature: float,
        novelty: Novelty,
        sensitivity: float,
        ensemble: Ensemble,
        origin: Origin,
    ) -> "Scorer":
        """Bring fitted parts into float32; `scale` is mean and deviation."""
        return cls(
            mean=scale[0].astype(np.float32),
            deviation=scale[1].astype(np.float32),
            weights=np.ascontiguousarray(rule.weights / temperature, dtype=np.float32),
            offsets=np.asarray(rule.offsets / temperature, dtype=np.float32),
            owners=rule.owners,
            novelty=novelty.in_single_precision(),
            sensitivity=sensitivity,
            ensemble=ensemble,
            origin=origin,
        )

    def score(self, embeddings: npt.NDArray[np.floating], *, reject: bool) -> Scores:
        """Classify (n, D) embeddings, not standardised.

        They are rounded to float16 first, the precision that archives keep: a frame then has
        the same labels while it is acquired and whenever its run is re-scored with its examples.

        Raises
        ------
        SupportError
            If D is not that of the examples.
        """
        chips, broken = self._standardise(embeddings)
        logits = largest_per_class(chips @ self.weights + self.offsets, self.owners)
        whitening = self.novelty.whitening
        flat = chips @ whitening.matrix
        distances = whitening.flat_distances(flat)
        nearest = -largest_per_class(-distances, self.owners)
        unusual = whitening.between(distances) * (self.sensitivity / self.novelty.threshold)
        novelty = np.minimum(unusual, _BROKEN).astype(np.float32)
        novelty[broken] = _BROKEN
        labels = logits.argmax(axis=1).astype(np.uint8)
        usual = novelty <= 1.0
        shifts = self.origin.shifts(flat, labels.astype(np.intp), usual)
        if reject:
            labels[~usual] = logits.shape[1]
        return Scores(
            labels=labels,
            probabilities=softmax(moderated(logits, self.ensemble.vagueness(shifts))),
            distances=(nearest / np.float32(self.novelty.spread)).astype(np.float32),
            novelty=novelty,
            intervals=frame_intervals(self.ensemble, chips, labels, novelty, shifts, reject=reject),
            shifts=shifts,
        )

    def _standardise(
        self, embeddings: npt.NDArray[np.floating]
    ) -> tuple[Float32, npt.NDArray[np.bool_]]:
        """Standardised chips, and which of them are not finite (those become zero)."""
        if embeddings.ndim != 2 or embeddings.shape[1] != len(self.mean):
            raise SupportError(
                f"embeddings of shape {embeddings.shape} do not fit the support set, whose "
                f"encoder gives {len(self.mean)} components; embed both with one encoder"
            )
        if len(embeddings) == 0:
            raise SupportError("a frame without chips cannot be classified")
        with np.errstate(over="ignore"):  # becomes infinite, and so unlike everything
            kept = embeddings.astype(np.float16, copy=False)
        chips = (kept.astype(np.float32) - self.mean) / self.deviation
        broken = ~np.isfinite(chips).all(axis=1)
        chips[broken] = 0.0
        np.clip(chips, -_FARTHEST, _FARTHEST, out=chips)
        return chips, broken


def softmax(logits: Float32) -> Float32:
    """(n, K) logits to probabilities that sum to 1."""
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)
