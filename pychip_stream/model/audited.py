"""Audit: fractions corrected by the chips that an operator labelled.

Chips are drawn at random within each predicted class (stratified), so that rare classes get
their share of attention; the operator's labels then estimate the true fractions whatever the
classifier's mistakes: Olofsson et al., "Making better use of accuracy data in land change
studies", Remote Sensing of Environment 129 (2013) 122, and "Good practices for estimating area
and assessing accuracy of land change", RSE 148 (2014) 42, equations 9-11.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from pychip_stream.domain.records import Fraction
from pychip_stream.errors import UsageError

LEVEL = 0.95
FEWEST = 5
"""Chips drawn of every predicted class, where it has as many."""

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Audit:
    """What the labelled chips say about the fractions.

    Attributes
    ----------
    fractions
        Corrected fraction and its 95 % interval for each true class.
    mapped
        Fraction that the classifier gave to each class.
    accuracy
        Share of all chips that are labelled rightly, with its interval.
    chips
        Number of labelled chips.
    confusion
        (strata, classes) labelled chips by predicted and true class.
    warnings
        What makes the interval less certain than it looks.
    """

    fractions: dict[str, Fraction]
    mapped: dict[str, float]
    accuracy: Fraction
    chips: int
    confusion: npt.NDArray[np.int64]
    warnings: tuple[str, ...] = ()


def allocate(sizes: Sequence[int], count: int) -> list[int]:
    """How many chips to draw from each stratum: in proportion, but at least a few of each.

    Parameters
    ----------
    sizes
        Chips of each predicted class; empty ones get none.
    count
        Chips to label altogether; more are drawn where every class needs its few.
    """
    population = np.asarray(sizes, dtype=np.int64)
    if count < 1:
        raise UsageError(f"{count} chips: an audit needs at least one")
    if not population.sum() > 0:
        raise UsageError("there is no chip to draw")
    fewest = np.minimum(population, FEWEST)
    free = max(min(count, int(population.sum())) - int(fewest.sum()), 0)
    room = population - fewest
    share = free * room / max(int(room.sum()), 1)
    drawn = np.floor(share).astype(np.int64)
    for stratum in np.argsort(drawn - share, kind="stable")[: free - int(drawn.sum())]:
        drawn[stratum] += 1
    return [int(n) for n in fewest + drawn]


def draw(sizes: Sequence[int], count: int, rng: np.random.Generator) -> list[Index]:
    """Draw chips at random within each stratum.

    Parameters
    ----------
    sizes
        Chips of each predicted class in the whole run.

    Returns
    -------
    For each stratum the sorted numbers, from 0, of the drawn chips among its chips.
    """
    return [
        np.sort(rng.choice(size, wanted, replace=False)).astype(np.intp)
        for size, wanted in zip(sizes, allocate(sizes, count), strict=True)
    ]


def estimate(
    names: Sequence[str],
    sizes: Sequence[int],
    predicted: Sequence[str],
    labelled: Sequence[str],
) -> Audit:
    """Correct the fractions by labelled chips.

    Parameters
    ----------
    names
        Of the strata: the predicted classes, "unknown" among them.
    sizes
        Chips of the run in each stratum.
    predicted, labelled
        Of every labelled chip: what the classifier and what the operator says. The operator may
        name classes that the classifier does not know.

    Raises
    ------
    UsageError
        If a predicted class is unknown, a stratum has chips but no labelled one, or nothing
        was labelled.
    """
    if len(predicted) != len(labelled) or not predicted:
        raise UsageError("no chip is labelled; fill in the column true_label")
    stray = sorted(set(predicted) - set(names))
    if stray:
        raise UsageError(f"chips are labelled of {stray[0]!r}, a class that the run does not have")
    classes = list(dict.fromkeys([*names, *labelled]))
    counts = np.zeros((len(names), len(classes)), np.int64)
    rows = {name: i for i, name in enumerate(names)}
    columns = {name: i for i, name in enumerate(classes)}
    np.add.at(counts, ([rows[p] for p in predicted], [columns[t] for t in labelled]), 1)
    population = np.asarray(sizes, dtype=np.float64)
    weight = population / population.sum()
    sampled = counts.sum(axis=1)
    bare = [name for name, w, n in zip(names, weight, sampled, strict=True) if w > 0 and n == 0]
    if bare:
        raise UsageError(f"no labelled chip of predicted class {bare[0]!r}; label a few of each")
    share = counts / np.maximum(sampled, 1)[:, None]
    known = weight @ share
    # With one chip the variance within a stratum is not known; half a chip each way bounds it.
    spread = np.where(sampled[:, None] > 1, share * (1 - share), 0.25)
    finite = np.where(population > 0, 1 - sampled / np.maximum(population, 1), 0.0)
    per_stratum = weight**2 * np.maximum(finite, 0.0) / np.maximum(sampled - 1, 1)
    error = np.sqrt(per_stratum @ spread)
    right = np.array([share[i, columns[name]] for i, name in enumerate(names)])
    right_spread = np.where(sampled > 1, right * (1 - right), 0.25)
    degrees = max(int((sampled > 0) @ np.maximum(sampled - 1, 0)), 1)
    wide = float(stats.t.ppf(0.5 + LEVEL / 2, degrees))
    return Audit(
        fractions={
            name: _interval(float(p), wide * float(e))
            for name, p, e in zip(classes, known, error, strict=True)
        },
        mapped={name: float(w) for name, w in zip(names, weight, strict=True)},
        accuracy=_interval(
            float(weight @ right), wide * float(np.sqrt(per_stratum @ right_spread))
        ),
        chips=int(counts.sum()),
        confusion=counts,
        warnings=tuple(_warnings(names, weight, counts)),
    )


def _interval(value: float, half: float) -> Fraction:
    return Fraction(value, max(value - half, 0.0), min(value + half, 1.0))


def _warnings(names: Sequence[str], weight: Float, counts: npt.NDArray[np.int64]) -> list[str]:
    sampled = counts.sum(axis=1)
    few = [name for name, w, n in zip(names, weight, sampled, strict=True) if w > 0 and n < FEWEST]
    out = []
    if few:
        out.append(
            f"fewer than {FEWEST} labelled chips of {', '.join(map(repr, few))}: the interval "
            "rests on little"
        )
    pure = (counts.max(axis=1) == sampled) & (sampled > 0) & (weight > 0)
    if pure.all():
        out.append(
            "no mistake among the labelled chips: the interval says 0 wide where a few more "
            "mistakes may hide; label more chips to see rare ones"
        )
    return out
