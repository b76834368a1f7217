"""Cross-validation over the examples: the shrinkage, the temperature, and blobs.

Blobs are several prototypes for a class whose examples do not form one group: "crystal" may hold
two orientations whose mean looks like neither. Its examples are grouped by Ward's method; whether
that helps is decided with the groups formed anew without the chip that is judged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias

import numpy as np
import scipy  # its parts load when they are used

from pychip_stream.model.lda import (
    Examples,
    Float,
    Index,
    linear_rule,
    prototypes,
    within_covariance,
)

Split: TypeAlias = Callable[[Examples], Examples]
"""Gives examples their blobs."""


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


def frame_folds(labels: Index, frames: Sequence[object]) -> list[Index]:
    """Split chips into held-out groups by frame; no group where fewer than two classes allow it.

    `frames` names the frame of each chip. Chips of a class that is shown on one frame only are
    never held out, for no example of it would be left.
    """
    shown = [{f for f, own in zip(frames, labels, strict=True) if own == c} for c in set(labels)]
    several = {c for c, seen in zip(set(labels), shown, strict=True) if len(seen) > 1}
    if len(several) < 2:
        return []
    usable = [i for i, own in enumerate(labels.tolist()) if own in several]
    return [
        np.array([i for i in usable if frames[i] == frame], np.intp)
        for frame in dict.fromkeys(frames[i] for i in usable)
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

    @property
    def wrong(self) -> int:
        """Chips that the first candidate names wrongly."""
        return int((self.logits[0].argmax(axis=1) != self.labels).sum())

    def only(self, number: int) -> "HeldOut":
        """Keep one candidate shrinkage."""
        return HeldOut(self.chips, self.labels, self.logits[number : number + 1])


def hold_out(
    examples: Examples,
    shrinkages: tuple[float, ...],
    *,
    split: Split = lambda examples: examples,
    groups: list[Index] | None = None,
    limit: int = 40,
    seed: int = 0,
) -> HeldOut:
    """Cross-validate over chips, or over `groups` of them: no chip's cells are in both parts.

    `split` gives the classes their prototypes and is applied within each part, so that a chip
    has no say in the blobs it is judged by.
    """
    if groups is None:
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


PRIOR_SPREAD = 0.7
"""Standard deviation of the logarithm of the temperature about its moment estimate."""
FEWER_ERRORS = 3
"""Held-out errors that another shrinkage must save to replace the analytic one. A difference
of log-losses, even by several standard errors, chooses worse from ten to twenty examples: on
the labelled micrographs by 0.01 to 0.02 within and 0.01 to 0.04 across images."""
_BOUNDS = (np.log(1e-4), np.log(1e6))


def nearest_margins(logits: Float, labels: Index) -> Float:
    """(n,) logit of the own class less that of the nearest other; negative where wrong."""
    rows = np.arange(len(labels))
    others = logits.copy()
    others[rows, labels] = -np.inf
    return np.asarray(logits[rows, labels] - others.max(axis=1))


def moment_temperature(logits: Float, labels: Index) -> float:
    """Temperature that two Gaussian classes with these margins would need.

    With margins of mean m and variance v in either class the calibrated logit is 2·m/v times
    the margin.
    """
    margins = nearest_margins(logits, labels)
    mean = float(margins.mean())
    degrees = len(margins) - len(np.unique(labels))
    scatter = sum(float(((m := margins[labels == c]) - m.mean()) @ (m - m.mean()))
                  for c in np.unique(labels))  # fmt: skip
    variance = scatter / degrees if degrees > 0 else mean * mean
    size = float(np.abs(margins).mean())
    # Overlapping classes have no positive mean margin; their size still sets the scale.
    return max(variance / (2.0 * max(mean, 0.1 * size)), 1e-3) if size > 0 else 1.0


def fit_temperature(logits: Float, labels: Index, spread: float = PRIOR_SPREAD) -> float:
    """Most probable temperature given (n, K) logits of chips whose rule did not know them.

    `labels` are (n,), n may be 0; `spread` is the width of the prior about the moment estimate, in
    units of the logarithm.
    """
    if len(labels) == 0:
        return 1.0
    centre = float(np.clip(np.log(moment_temperature(logits, labels)), *_BOUNDS))
    rows = np.arange(len(labels))

    def cost(log_temperature: float) -> float:
        log_p = scipy.special.log_softmax(logits / np.exp(log_temperature), axis=1)[rows, labels]
        return -float(log_p.sum()) + 0.5 * ((log_temperature - centre) / spread) ** 2

    found = scipy.optimize.minimize_scalar(cost, bounds=(centre - 4, centre + 4), method="bounded")
    return float(np.exp(np.clip(found.x, *_BOUNDS)))


def log_losses(logits: Float, labels: Index, temperature: float) -> Float:
    """(n,) negative log-probability of the true classes."""
    log_p = scipy.special.log_softmax(logits / temperature, axis=1)
    return np.asarray(-log_p[np.arange(len(labels)), labels])


def choose_shrinkage(held_out: HeldOut) -> tuple[int, float]:
    """Pick a candidate by cross-validation over the examples.

    The first candidate is the default: the choice is made from very few chips, so another one
    must save `FEWER_ERRORS` of its errors. Among those that do, the smallest loss counts.

    Returns
    -------
    Position of the choice among the candidates, and its temperature.
    """
    labels = held_out.labels
    if len(labels) == 0:
        return 0, 1.0
    temperatures = [fit_temperature(logits, labels) for logits in held_out.logits]
    losses = [
        float(log_losses(logits, labels, t).mean())
        for logits, t in zip(held_out.logits, temperatures, strict=True)
    ]
    errors = (held_out.logits.argmax(axis=2) != labels).sum(axis=1)
    better = [n for n in range(len(errors)) if errors[0] - errors[n] >= FEWER_ERRORS]
    best = min(better, key=losses.__getitem__, default=0)
    return best, temperatures[best]


def clearly_smaller(losses: Float, reference: Float) -> bool:
    """Whether (n,) paired losses are smaller by more than one standard error."""
    gain = reference - losses
    error = gain.std(ddof=min(1, len(gain) - 1)) / np.sqrt(len(gain))
    return bool(gain.mean() > error)


SMALLEST = 2
"""Examples that a blob needs: one alone is a stray, not a group."""
_MOST_BLOBS = 3
_CLASSES_TRIED = 3
_WORTH_TRYING = 0.05
"""Mean held-out loss of a class below which nothing is to be gained."""


def split_classes(examples: Examples, numbers: Sequence[int], smallest: int = 1) -> Examples:
    """Group the examples of each class into (K,) `numbers` of blobs.

    A class gets fewer where one would hold less than `smallest` examples.
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
    loss = log_losses(held_out.logits[0], held_out.labels, temperature)
    for cls in _suspects(examples, held_out, loss):
        for wanted in range(2, min(_MOST_BLOBS, int(examples.counts[cls]) // SMALLEST) + 1):
            tried = [*numbers[:cls], wanted, *numbers[cls + 1 :]]
            if split_classes(examples, tried, SMALLEST).blobs is None:
                continue
            split = partial(split_classes, numbers=tried)
            other = hold_out(examples, (shrinkage,), split=split, seed=seed)
            degree = fit_temperature(other.logits[0], other.labels)
            other_loss = log_losses(other.logits[0], other.labels, degree)
            if clearly_smaller(other_loss, loss):
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
        groups = scipy.cluster.hierarchy.fcluster(
            scipy.cluster.hierarchy.linkage(chips, "ward"), number, "maxclust"
        )
        _, found, sizes = np.unique(groups, return_inverse=True, return_counts=True)
        if len(sizes) == number and sizes.min() >= smallest:
            return np.asarray(found, np.intp)
    return np.zeros(len(chips), np.intp)
