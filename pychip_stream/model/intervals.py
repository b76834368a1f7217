"""Intervals: what a phase fraction may be, given what is uncertain about it.

Of one frame: which chips served as examples (bootstrap over them), what the classifier
confuses (its calibrated probabilities), on which side of a border a chip that shows two classes
falls, where "unknown" begins, and how far the chips have moved away from the examples (drift).
A fully tiled frame has no sampling error, so no term goes with the square root of its number of
chips. Over several frames: independent fields tell about the specimen (ASTM E562); frames of one
field in time do not, and are alike besides, so their mean gets its interval from blocks.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.domain.caveats import DOUBTS
from pychip_stream.domain.records import Fraction
from pychip_stream.model.cross_validation import HeldOut
from pychip_stream.model.lda import (
    Discriminant,
    Examples,
    Float,
    Index,
    best_class,
    largest_per_class,
    linear_rule,
    prototypes,
    within_covariance,
)
from pychip_stream.model.prevalence import correction, counted

LEVEL = 0.95
REPLICATES = 96
_SERIES_REPLICATES = 2000
SAMPLED_CHIPS = 1024
"""Chips of a frame that the replicates look at; they only measure a spread."""
_FEW_CLASSES = 8
BORDER = 0.06
"""Standard deviation of a border's place between two prototypes, in units of their distance:
the share of a chip beyond which it is named after a class is never exactly a half."""
DRIFTED = 0.3
"""The same for a class that has moved as far as its border."""
CORRECTED = 12
"""Replicates that say how far a correction of the counts can be believed, and which chips the
others could name otherwise."""
_SURE = 5.0
"""A chip whose margin over the next class is so many times its scatter over these replicates is
named alike by all others, which need not look at it."""
_EXAMPLES, _CONFUSED, _UNSEEN, _REJECTION = 1.1, 2.5, 1.0, 2.0
"""Half widths per unit of what was measured. Narrowest, by the interval score (Gneiting & Raftery
2007), that hold in 95 % of the cases on labelled micrographs, their rare phases, procedural sets
of other sessions, and simulated runs together; see docs/trust.md."""
_TEMPERATURE_SPREAD = 0.35

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Rules refitted to resampled examples, stacked so that one product scores them all.

    Attributes
    ----------
    weights, offsets
        (B·P, D) and (B·P, 1) float32; logits already divided by each replicate's temperature.
    thresholds
        (B,) float32 novelty beyond which each replicate rejects.
    owners
        (P,) class of every prototype.
    borders
        (B, K) standard normal: where each replicate puts the borders of the classes.
    gaps
        (K,) difference of logits between a class's prototype and its nearest neighbour's.
    mistakes
        Share of chips that are named wrongly, as held-out examples tell (Laplace's rule): ten
        right ones cannot exclude one in twelve.

    The first replicate is the rule itself.
    """

    weights: Float32 = field(repr=False)
    offsets: Float32 = field(repr=False)
    thresholds: Float32 = field(repr=False)
    owners: Index = field(repr=False)
    borders: Float32 = field(repr=False)
    gaps: Float32 = field(repr=False)
    mistakes: float

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return int(self.owners[-1]) + 1

    def vagueness(self, shifts: Float) -> Float32:
        """(…, K) deviation of each class's logit: where its border lies, and its drift."""
        return np.asarray(self.gaps * np.hypot(BORDER, DRIFTED * shifts), np.float32)


def moderated(logits: Float32, vagueness: Float32) -> Float32:
    """Flatten (…, K, n) logits by how vague, (…, K), the borders of a chip's two best classes are.

    The mean of a sigmoid under Gaussian uncertainty of its argument (MacKay, "The evidence
    framework applied to classification networks", Neural Computation 4, 1992); the order of the
    classes stays.
    """
    best = best_class(logits)
    away = logits - logits.max(axis=-2, keepdims=True)
    second = best_class(np.where(_only(best, logits.shape[-2]), -np.inf, away))
    square = np.square(vagueness)
    variance = np.take_along_axis(square, best, -1) + np.take_along_axis(square, second, -1)
    return np.asarray(away / np.sqrt(1.0 + np.pi / 8.0 * variance)[..., None, :], np.float32)


def _only(chosen: npt.NDArray[np.uint8], classes: int) -> npt.NDArray[np.bool_]:
    """(…, K, n) where the (…, n) chosen classes are."""
    return np.asarray(chosen[..., None, :] == np.arange(classes, dtype=np.uint8)[:, None])


def probable(logits: Float32) -> Float32:
    """(…, K, n) logits to probabilities that sum to 1 over the classes."""
    odds = logits - logits.max(axis=-2, keepdims=True)
    np.exp(odds, out=odds)
    return np.asarray(odds / odds.sum(axis=-2, keepdims=True))


def fit_ensemble(
    examples: Examples,
    rule: Discriminant,
    shrinkage: float,
    temperature: float,
    held_out: HeldOut,
    doubt: float,
    *,
    seed: int,
) -> Ensemble:
    """Refit the rule to `REPLICATES` draws of the examples.

    Each class (or blob of one) is resampled with replacement. The mean of n resampled examples
    scatters less than a mean of n new ones would, by (n - 1)/n in variance and by the ratio of
    the normal to Student's t in the tails; the deviation of every resampled prototype is widened
    by both. A class with a single example borrows the scatter of the others. `doubt` is that of
    `Novelty`.
    """
    rng = np.random.default_rng(seed)
    counts, owners = np.bincount(examples.members), examples.owners
    dim = examples.cells.shape[-1]
    weights = np.empty((REPLICATES, len(owners), dim), np.float32)
    offsets = np.empty((REPLICATES, len(owners), 1), np.float32)
    luck = rng.standard_normal((REPLICATES, 2 + len(examples.counts)))
    luck[0] = 0.0
    temperatures = temperature * np.exp(_TEMPERATURE_SPREAD * luck[:, 0])
    weights[0] = rule.weights.T / temperature
    offsets[0] = rule.offsets[:, None] / temperature
    for number in range(1, REPLICATES):
        share = _resample(examples.members, counts, rng)
        moved = _moved_prototypes(examples, rule.prototypes, share, rng)
        one = linear_rule(moved, within_covariance(examples, share), shrinkage, owners)
        weights[number] = one.weights.T / temperatures[number]
        offsets[number] = one.offsets[:, None] / temperatures[number]
    return Ensemble(
        weights.reshape(-1, dim),
        offsets.reshape(-1, 1),
        np.exp(doubt * luck[:, 1]).astype(np.float32),
        owners,
        luck[:, 2:].astype(np.float32),
        (_gaps(rule) / temperature).astype(np.float32),
        (held_out.wrong + 1) / (len(held_out.labels) + 2),
    )


def _gaps(rule: Discriminant) -> Float:
    """(K,) squared distance, as the rule sees it, of a class to its nearest neighbour."""
    centre, weights = rule.prototypes, rule.weights
    own = np.einsum("pd,dp->p", centre, weights)
    cross = centre @ weights
    square = own[:, None] + own[None, :] - cross - cross.T
    square[np.equal.outer(rule.owners, rule.owners)] = np.inf
    starts = np.flatnonzero(np.diff(rule.owners, prepend=-1))
    return np.asarray(np.maximum(np.minimum.reduceat(square.min(axis=1), starts), 0.0))


@dataclass(frozen=True, eq=False)
class Shares:
    """Fractions of F frames.

    Attributes
    ----------
    intervals
        (F, K + 1, 3) rows of value, low, high; the last is unknown.
    doubts
        (F, len(DOUBTS)) of the class with the widest interval, half the width that each of
        `DOUBTS` alone would give it.
    """

    intervals: Float
    doubts: Float


def sampling(chips: int, classes: int) -> int:
    """How many of n chips there are for each that the replicates look at, from the first one on.

    Many classes cost as much as many chips; the interval must stay cheap next to the network.
    """
    return -(-chips // max(SAMPLED_CHIPS * _FEW_CLASSES // max(classes, _FEW_CLASSES), 128))


def frame_shares(
    ensemble: Ensemble,
    chips: Float32,
    logits: Float32,
    labels: npt.NDArray[np.integer],
    probabilities: Float32,
    novelty: Float32,
    shifts: Float,
    *,
    reject: bool,
    strange: npt.NDArray[np.bool_],
) -> Shares:
    """Estimate the fractions of F frames of n chips each, with their intervals.

    Parameters
    ----------
    chips
        (F, m, D) standardised embeddings of a sample of the chips, see `sampling`.
    logits
        (F, K, n), divided by the temperature.
    labels
        (F, n) class indices; K means unknown.
    probabilities
        (F, K, n) of these logits, moderated by vague borders and drift.
    novelty
        (F, n) above 1 means unknown.
    shifts
        (F, K) drift of each class, in units of the way to its border.
    strange
        (F,) whether the chips are not those of the support frame at all: nothing is then known
        of the fractions, and the intervals say so.
    """
    classes, frames = ensemble.classes, len(chips)
    value = _tally(labels, classes + 1) / labels.shape[1]
    step = sampling(labels.shape[1], classes)
    logits, novelty = logits[..., ::step], novelty[:, ::step]
    accepted = novelty <= 1.0 if reject else np.ones(novelty.shape, np.bool_)
    number = accepted.sum(axis=1)
    known = np.flatnonzero(number)
    parts = np.zeros((len(DOUBTS), frames, classes + 1))
    if reject:
        parts[-1] = _REJECTION * _rejection(ensemble, logits, novelty)
    parts[-1, strange] = 1.0
    if len(known):
        if len(known) < frames:  # frames of nothing but unknown chips
            chips, logits, accepted = chips[known], logits[known], accepted[known]
        probabilities = probabilities[known][..., ::step]
        found = _resampled_logits(ensemble, chips, 0, CORRECTED)
        vague, drifting = (ensemble.vagueness(by) for by in (0 * shifts[known], shifts[known]))
        # As the rule alone sees the chips, then with vague borders, then with their drift as well.
        sharp, mixed = probable(logits), probable(moderated(logits, vague))
        moved = ensemble.borders[:CORRECTED] * drifting[:, None]
        change = correction(sharp, probable(found + moved[..., None]), accepted)
        rest = 1 - value[known, -1:]
        mine = np.maximum(value[known, :-1] + rest * change, 0)
        value[known, :-1] = mine * rest / mine.sum(axis=1, keepdims=True)
        within = accepted.astype(np.float32)[..., None] / number[known, None, None]
        confused = np.square([
            ((p - p * p) @ within)[..., 0] for p in (sharp, mixed, probabilities)
        ])  # fmt: skip
        grown = _CONFUSED * np.sqrt(np.maximum(np.diff(confused, axis=0), 0))
        named = _named(ensemble, chips, found, accepted)
        parts[:-1, known, :-1] = accepted.mean(axis=1)[:, None] * np.stack([
            _EXAMPLES * np.sqrt(np.square(named[:, 1:] - named[:, :1]).mean(axis=1)),
            _CONFUSED * np.sqrt(confused[0]),
            *grown,
        ])  # fmt: skip
        unseen = _UNSEEN * ensemble.mistakes * np.sqrt(value * (1 - value))
        parts[1, known, :-1] = np.hypot(parts[1], unseen)[known, :-1]
    parts[..., -1] *= reject
    half = np.sqrt(np.square(parts).sum(axis=0))
    low, high = np.maximum(value - half, 0), np.minimum(value + half, 1)
    widest = parts[:, np.arange(frames), (high - low).argmax(axis=1)].T
    return Shares(np.stack([value, low, high], axis=2), widest)


def _tally(
    values: npt.NDArray[np.integer], kinds: int, counting: npt.NDArray[np.bool_] | None = None
) -> Index:
    """(F, kinds) how often each of the (F, n) values that count is there; default: all do."""
    keys = values + np.arange(len(values))[:, None] * kinds
    those = keys.ravel() if counting is None else keys[counting]
    return np.bincount(those, minlength=len(values) * kinds).reshape(-1, kinds)


def _resampled_logits(ensemble: Ensemble, chips: Float32, first: int, stop: int) -> Float32:
    """(…, stop - first, K, n) logits of (…, n, D) chips by some of the replicates."""
    count = len(ensemble.owners)
    rows = slice(first * count, stop * count)
    logits = ensemble.weights[rows] @ np.swapaxes(chips, -1, -2)
    logits += ensemble.offsets[rows]
    logits = logits.reshape(*chips.shape[:-2], -1, count, chips.shape[-2])
    return largest_per_class(logits, ensemble.owners, axis=-2)


def _named(
    ensemble: Ensemble, chips: Float32, found: Float32, accepted: npt.NDArray[np.bool_]
) -> Float32:
    """(F, B, K) share of the (F, n) accepted chips that each replicate gives to each class.

    `found` are the logits of the first replicates. Of the other ones only chips are looked at that
    these do not agree on by far (`_SURE`).
    """
    frames, first, classes, _ = found.shape
    best = best_class(found[:, 0])
    mine = _only(best, classes)[:, None]
    margin = (mine * found).sum(axis=2) - np.where(mine, -np.inf, found).max(axis=2)
    number = accepted.sum(axis=1)[:, None, None]
    size = (np.abs(margin) @ accepted.astype(np.float32)[..., None]) / number
    margin /= size.astype(np.float32) + np.float32(1e-30)  # temperatures differ
    open_ = accepted & (margin.mean(axis=1) <= _SURE * margin.std(axis=1))
    others = len(ensemble.thresholds) - first
    rest = np.tile(_tally(best, classes, accepted & ~open_), (others, 1, 1))
    frame, chip = np.nonzero(open_)
    for start in range(0, len(frame), SAMPLED_CHIPS):
        of = frame[start : start + SAMPLED_CHIPS]
        asked = chips[of, chip[start : start + SAMPLED_CHIPS]]
        names = best_class(_resampled_logits(ensemble, asked, first, first + others))
        rest += _tally(names + of * classes, frames * classes).reshape(rest.shape)
    rest = rest.transpose(1, 0, 2) / number
    return np.concatenate([counted(found, accepted[:, None]), rest.astype(np.float32)], axis=1)


def _rejection(ensemble: Ensemble, logits: Float32, novelty: Float32) -> Float:
    """(F, K + 1) deviation of the fractions when "unknown" begins elsewhere."""
    frames, classes, chips = logits.shape
    limits = np.sort(ensemble.thresholds)
    # A chip is kept by the limits that are not below its novelty.
    place = np.searchsorted(limits, novelty) + best_class(logits) * np.intp(len(limits) + 1)
    counts = _tally(place, classes * (len(limits) + 1)).reshape(frames, classes, -1)
    kept = np.cumsum(counts, axis=2)[..., :-1] / chips
    every = np.concatenate([kept, kept.sum(axis=1, keepdims=True)], axis=1)
    own = np.searchsorted(limits, ensemble.thresholds[0])
    square = np.square(every - every[..., own, None]).sum(axis=2)
    return np.asarray(np.sqrt(square / (len(limits) - 1)))


def _resample(
    labels: npt.NDArray[np.intp], counts: npt.NDArray[np.intp], rng: np.random.Generator
) -> Float:
    """(N,) how often each example was drawn, class by class."""
    share = np.zeros(len(labels))
    for cls, count in enumerate(counts):
        members = np.flatnonzero(labels == cls)
        share[members] = np.bincount(rng.integers(count, size=count), minlength=count)
    return share


def _moved_prototypes(
    examples: Examples, centre: Float, share: Float, rng: np.random.Generator
) -> Float:
    """(P, D) prototypes of the resampled examples, with their scatter widened."""
    moved = prototypes(examples, share)
    members = examples.members
    counts = np.bincount(members)
    residual = examples.chips - centre[members]
    many = np.flatnonzero(counts[members] > 1)
    for cls, count in enumerate(counts):
        if count > 1:
            moved[cls] = centre[cls] + widening(int(count)) * (moved[cls] - centre[cls])
        elif len(many):
            moved[cls] = centre[cls] + widening(2) * residual[rng.choice(many)]
        else:
            own = examples.cells[members == cls][0]
            moved[cls] = own[rng.integers(len(own))]
    return moved


@cache
def widening(count: int) -> float:
    """Factor from the scatter of a bootstrap mean of `count` values to a t-interval's."""
    degrees = max(count - 1, 1)
    tail = float(
        scipy.special.stdtrit(degrees, 0.5 + LEVEL / 2) / scipy.special.ndtri(0.5 + LEVEL / 2)
    )
    return float(np.sqrt(max(count, 2) / degrees) * min(tail, 3.0))


def field_interval(fractions: npt.ArrayLike) -> Fraction:
    """Mean fraction of a specimen from (n,) independent fields: mean ± t·s/√n (ASTM E562).

    Non-finite ones are left out; without any other, a ValueError. With one field the interval is
    0…1: it says nothing about the specimen.
    """
    values = _finite(fractions)
    mean = float(values.mean())
    if len(values) < 2:
        return Fraction(mean, 0.0, 1.0)
    half = float(scipy.special.stdtrit(len(values) - 1, 0.5 + LEVEL / 2)) * float(
        values.std(ddof=1) / np.sqrt(len(values))
    )
    return Fraction(mean, max(mean - half, 0.0), min(mean + half, 1.0))


def series_interval(fractions: npt.ArrayLike) -> Fraction:
    """Mean fraction over a time series (n,) of one field, by circular block bootstrap.

    Neighbouring frames are alike, so √n would promise too much; blocks of frames are resampled
    instead (Politis & Romano 1992). Non-finite ones are left out; without any other, a ValueError.
    """
    values = _finite(fractions)
    count, mean = len(values), float(values.mean())
    if count < 3:
        return Fraction(mean, 0.0, 1.0)
    length = min(_block_length(values), count)
    rng = np.random.default_rng(0)
    starts = rng.integers(count, size=(_SERIES_REPLICATES, -(-count // length), 1))
    places = ((starts + np.arange(length)) % count).reshape(_SERIES_REPLICATES, -1)[:, :count]
    means = values[places].mean(axis=1)
    low, high = np.quantile(means, (0.5 - LEVEL / 2, 0.5 + LEVEL / 2))
    return Fraction(mean, float(min(low, mean)), float(max(high, mean)))


def _block_length(values: Float) -> int:
    """Larger of n^(1/3) and twice the lag at which the autocorrelation has fallen below 1/e."""
    centred = values - values.mean()
    power = float(centred @ centred)
    default = max(int(np.rint(len(values) ** (1 / 3))), 1)
    if not power > 0:
        return default
    lag = 1
    while lag < len(values) // 2 and float(centred[lag:] @ centred[:-lag]) / power > np.exp(-1):
        lag += 1
    return max(default, 2 * lag if lag > 1 else 1)


def _finite(fractions: npt.ArrayLike) -> Float:
    values = np.asarray(fractions, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        raise ValueError("no finite fraction to average")
    return values
