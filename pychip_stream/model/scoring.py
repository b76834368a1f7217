"""Scoring: the part of a classifier that runs for every frame, a few matrix products.

And what changes between frames and makes their numbers less certain: the drift of the chips, and
the exposure, which multiplies dark and bright pixels alike, while a specimen that transforms does
not (`Monitor`).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.caveats import STRANGE, TRUST, caveats, middle
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.errors import SupportError
from pychip_stream.model.intervals import (
    Ensemble,
    Shares,
    frame_shares,
    moderated,
    probable,
    sampling,
)
from pychip_stream.model.lda import Examples, Float, Index, best_class, largest_per_class
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
        usual = novelty.apart(flat) <= novelty.threshold
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

    def sums(
        self, flat: Floating, labels: npt.NDArray[np.uint8], usual: npt.NDArray[np.bool_]
    ) -> tuple[Floating, Index]:
        """Sum, (F, K, D), and number, (F, K), of the chips of each class.

        `flat` are (F, n, D) whitened chips, `labels` and `usual` (F, n) the class of each and
        whether it is like the examples at all.
        """
        member = (labels[:, None] == np.arange(len(self.means))[:, None]) & usual[:, None]
        return member.astype(flat.dtype) @ flat, member.sum(axis=2)

    def shifts(self, total: Floating, count: Index) -> Float:
        """(F, K) share of the way to the border that each class has moved; 0 for absent ones."""
        dim = self.means.shape[1]
        enough = count >= FEWEST
        means = total / np.maximum(count, 1)[..., None]
        square = np.square(means - self.means, dtype=np.float64).sum(axis=2)
        chance = _CHANCE * (dim / np.maximum(count, 1) + self.scatter)
        moved = np.sqrt(np.maximum(square - chance, 0.0))
        return np.asarray(np.where(enough, moved / self.reach, 0.0))


Float32 = npt.NDArray[np.float32]
_T = TypeVar("_T", bound=np.generic)

_BLOCK = 1 << 16
"""Chips of a frame that are scored at once; bounds what a large one takes."""
_FARTHEST = 1e4
"""Standardised components are limited to this, so that squares stay finite in float32."""
_BROKEN = np.float32(1e6)
"""Novelty of a chip whose embedding is not finite."""


@dataclass(frozen=True, eq=False)
class Scores:
    """The chips of F frames, n = rows × columns of each, in row order.

    Attributes
    ----------
    labels
        (F, n) uint8 class indices; K means unknown.
    probabilities, distances
        (F, n, K) float32.
    novelty
        (F, n) float32, above 1 means unlike the examples.
    shares
        Fractions with their intervals.
    shifts
        (F, K) drift of each class: share of the way to its border that its chips have moved.
    strange
        (F,) share of the chips that are less like the examples than most of the support frame is.
    """

    labels: npt.NDArray[np.uint8]
    probabilities: Float32
    distances: Float32
    novelty: Float32
    shares: Shares
    shifts: Float
    strange: Float


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

    def score(
        self,
        embeddings: npt.NDArray[np.floating],
        *,
        reject: bool,
        progress: Progress = no_progress,
    ) -> Scores:
        """Classify the chips of (F, n, D) embeddings, not standardised.

        They are rounded to float16 first, the precision that archives keep: a frame then has
        the same labels while it is acquired and whenever its run is re-scored with its examples,
        alone or among others. Another D than that of the examples is a SupportError.

        `progress` is told before each block of chips how many are scored, and of how many.
        """
        if embeddings.ndim != 3 or embeddings.shape[2] != len(self.mean):
            raise SupportError(
                f"embeddings of shape {embeddings.shape[1:]} do not fit the support set, whose "
                f"encoder gives {len(self.mean)} components; embed both with one encoder"
            )
        if embeddings.shape[1] == 0:
            raise SupportError("a frame without chips cannot be classified")
        count = embeddings.shape[1]
        step = sampling(count, self.ensemble.classes)
        blocks = []
        for start in range(0, count, _BLOCK):
            progress(start, count)
            block = embeddings[:, start : start + _BLOCK]
            blocks.append(self._look(block, slice(-start % step, None, step)))
        chips = _joined([one.chips for one in blocks], 1)
        logits = _joined([one.logits for one in blocks], 2)
        novelty = _joined([one.novelty for one in blocks], 1)
        best = best_class(logits)
        sums, counts = (
            reduce(np.add, parts) for parts in zip(*(one.classes for one in blocks), strict=True)
        )
        shifts = self.origin.shifts(sums, counts)
        labels = np.where((novelty <= 1.0) | (not reject), best, logits.shape[1]).astype(np.uint8)
        probabilities = probable(moderated(logits, self.ensemble.vagueness(shifts)))
        strange = _joined([one.strange for one in blocks], 1).mean(axis=1)
        return Scores(
            labels=labels,
            probabilities=np.swapaxes(probabilities, 1, 2),
            distances=_joined([one.distances for one in blocks], 1),
            novelty=novelty,
            shares=frame_shares(
                self.ensemble, chips, logits, labels, probabilities, novelty, shifts,
                reject=reject, strange=strange > STRANGE,
            ),
            shifts=shifts,
            strange=strange,
        )  # fmt: skip

    def _look(self, embeddings: npt.NDArray[np.floating], sample: slice) -> "_Block":
        """Look at a block of chips of each frame."""
        chips, broken = self._standardise(embeddings)
        # A product for each frame, however many there are: larger ones are rounded otherwise.
        logits = largest_per_class(chips @ self.weights + self.offsets, self.owners)
        logits = np.ascontiguousarray(np.swapaxes(logits, 1, 2))
        flat = chips @ self.novelty.whitening.matrix
        nearest = -largest_per_class(-self.novelty.whitening.distances(flat), self.owners)
        apart = np.stack([self.novelty.apart(frame) for frame in flat])
        unusual = apart * (self.sensitivity / self.novelty.threshold)
        novelty = np.minimum(unusual, _BROKEN).astype(np.float32)
        novelty[broken] = _BROKEN
        return _Block(
            np.ascontiguousarray(chips[:, sample]),
            logits,
            (nearest / np.float32(self.novelty.spread)).astype(np.float32),
            novelty,
            (apart > self.novelty.common) | broken,
            self.origin.sums(flat, best_class(logits), novelty <= 1.0),
        )

    def _standardise(
        self, embeddings: npt.NDArray[np.floating]
    ) -> tuple[Float32, npt.NDArray[np.bool_]]:
        """Standardised chips, and which of them are not finite (those become zero)."""
        with np.errstate(over="ignore"):  # becomes infinite, and so unlike everything
            kept = embeddings.astype(np.float16, copy=False)
        chips = kept.astype(np.float32)
        chips -= self.mean
        chips /= self.deviation
        finite = np.isfinite(chips)
        broken = np.zeros(chips.shape[:2], np.bool_)
        if not finite.all():
            broken = np.asarray(~finite.all(axis=2))
            chips[broken] = 0.0
        np.clip(chips, -_FARTHEST, _FARTHEST, out=chips)
        return chips, broken


class _Block(NamedTuple):
    """Some chips of F frames, as they are seen one by one.

    Attributes
    ----------
    chips
        (F, m, D) standardised, those of the sample.
    logits, distances, novelty, strange
        Of all chips, as in `Scores` and `frame_shares`.
    classes
        Sums and numbers, as `Origin.sums` gives them.
    """

    chips: Float32
    logits: Float32
    distances: Float32
    novelty: Float32
    strange: npt.NDArray[np.bool_]
    classes: tuple[Floating, Index]


def _joined(parts: Sequence[npt.NDArray[_T]], axis: int) -> npt.NDArray[_T]:
    """Put blocks together; a frame of one block stays as it is."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=axis)


DRIFTED = 1.0
"""Drift from which on a class's typical chip stands on its border."""
_CALM = 0.8
_EXPOSURE = 1.12
"""Factor by which dark, mean and bright all change when the exposure was changed."""
_WINDOW = 9
_FEWEST = 3

_LEVELS = ("intensity_mean", "intensity_p1", "intensity_p99")
_Levels = tuple[float, ...]


@dataclass
class Monitor:
    """Follows the frames of a run in the order in which they are analysed.

    Attributes
    ----------
    exposure_changes
        How often the exposure changed.
    """

    exposure_changes: int = 0
    _drifts: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW), repr=False)
    _levels: deque[_Levels] = field(default_factory=lambda: deque(maxlen=_WINDOW), repr=False)
    _trust: deque[Mapping[str, float]] = field(
        default_factory=lambda: deque(maxlen=_WINDOW), repr=False
    )
    _drifted: bool = False
    _exposure: str = ""

    @property
    def drift(self) -> float:
        """Median drift of the last frames; 0 before the first."""
        return float(np.median(self._drifts)) if self._drifts else 0.0

    @property
    def notices(self) -> tuple[str, ...]:
        """What holds now, one line each, for people."""
        return tuple(self._standing().values())

    def observe(self, where: str, measured: Mapping[str, float]) -> tuple[str, ...]:
        """Take in the quantities of a frame; returns the notices that are new with it."""
        before = self._standing()
        self._trust.append({n: v for n, v in measured.items() if n in TRUST})
        drift = measured.get("drift", np.nan)
        intensity = tuple(measured.get(name, np.nan) for name in _LEVELS)
        if np.isfinite(drift):
            self._drifts.append(drift)
            enough = len(self._drifts) >= _FEWEST
            self._drifted = enough and self.drift > (_CALM if self._drifted else DRIFTED)
        factor = self._exposure_factor(intensity)
        if factor is not None:
            self.exposure_changes += 1
            self._exposure = (
                f"the exposure changed by a factor of {factor:.2f} at {where}; the intensity "
                "range of the support set no longer fits, make a new one"
            )
        return tuple(line for key, line in self._standing().items() if key not in before)

    def _standing(self) -> dict[str, str]:
        """Give what holds now, by what does not change while it holds."""
        out = {line: line for line in caveats(middle(self._trust))}
        if self._drifted:
            out["drift"] = (
                f"the chips have moved away from the examples (drift {self.drift:.1f}, 1 is the "
                "border between classes); add examples from a recent frame"
            )
        if self._exposure:
            out[self._exposure] = self._exposure
        return out

    def _exposure_factor(self, intensity: _Levels) -> float | None:
        """Factor against the frames before, if everything became brighter or darker by it."""
        level = np.array(intensity)
        if not (np.isfinite(level).all() and (level > 0).all()):
            return None
        factor = None
        if len(self._levels) >= _FEWEST:
            ratio = np.log(level / np.median(self._levels, axis=0))
            same = (ratio > 0).all() or (ratio < 0).all()
            if same and np.abs(ratio).min() > np.log(_EXPOSURE):
                factor = float(np.exp(np.median(ratio)))
                self._levels.clear()
        self._levels.append(intensity)
        return factor
