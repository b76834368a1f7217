"""Suggestions: which chips of some frames are worth labelling next.

With few labels the typical chips of groups that nobody has named teach most (Hacohen, Dekel &
Weinshall, "Active learning on a budget", TypiClust, arXiv 2202.02794); then those between two
classes (smallest margin); and the one farthest from everything shown, which may be a phase of
its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from pychip_stream.errors import UsageError
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.scoring import Scores

if TYPE_CHECKING:
    from sklearn.cluster import KMeans  # takes a second to import

_NEIGHBOURS = 10
_MOST_GROUPS = 20
_FEWEST, _SMALLEST_SHARE = 3, 0.01
"""Chips that make a group, and their share of all."""
_LOOKED_AT = 2048
"""Chips of more that are grouped; a click must be answered at once."""

Kind = Literal["typical", "uncertain", "far"]
Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Place = tuple[int, int, int]
"""Frame, row and column, from 0."""


@dataclass(frozen=True)
class Suggestion:
    """A chip worth labelling.

    Attributes
    ----------
    row, column
        On the grid of its frame, from 0.
    kind
        "typical" of a group without examples, "uncertain" between two classes, or "far" from
        everything shown.
    looks_like
        Most probable class; None without a classifier.
    confidence
        Its probability, 0…1; None without a classifier.
    reason
        Why, in one line.
    frame
        Which of the frames, from 0.
    """

    row: int
    column: int
    kind: Kind
    looks_like: str | None
    confidence: float | None
    reason: str
    frame: int = 0


def suggest(
    frames: Sequence[npt.NDArray[np.floating]],
    classifier: Classifier | None = None,
    *,
    taken: Iterable[Place] = (),
    count: int = 5,
    seed: int = 0,
) -> tuple[Suggestion, ...]:
    """Suggest chips of one or several frames to label next, the most useful first.

    Parameters
    ----------
    frames
        (rows, columns, D) each, not standardised; grids may differ.
    classifier
        Fitted to the examples so far; None while there are none.
    taken
        Chips that are examples already.
    count
        How many at most: typical ones first, then uncertain ones, the farthest one last.
    """
    if count < 1:
        raise UsageError(f"count {count}: ask for at least one chip")
    chosen = _Choice([frame.shape[:2] for frame in frames], taken)
    flat = np.concatenate([frame.reshape(-1, frame.shape[-1]) for frame in frames])
    chips = _standardised(flat, classifier)
    scores = classifier.scorer.score(flat[None], reject=False) if classifier else None
    groups = _Groups.of(chips, _shown(chips, chosen.blocked, classifier), chosen.blocked, seed)
    near = count - (count >= 2)
    chosen.fill("typical", groups.typical(), near if scores is None else -(-near // 2))
    strange = groups.distance
    if classifier is not None:  # not novelty: what lies in the frame of the examples is not new
        strange = classifier.scorer.novelty.whitening.unlikeness(chips)
    farthest = np.argsort(-strange, kind="stable").tolist()
    if scores is not None:
        chosen.fill("uncertain", [n for n in _uncertain(scores) if n != farthest[0]], near)
    chosen.fill("far", farthest, count - near + len(chosen))
    return tuple(
        _described(n, kind, chosen.place(n), classifier, scores) for n, kind in chosen.found
    )


class _Choice:
    """Chips that were chosen, numbered through the (rows, columns) of the frames."""

    def __init__(self, grids: Sequence[tuple[int, ...]], taken: Iterable[Place]) -> None:
        self._columns = [columns for _, columns in grids]
        self._starts = np.cumsum([0, *(rows * columns for rows, columns in grids)])
        self.blocked: list[int] = []
        self.found: list[tuple[int, Kind]] = []
        for frame, row, column in taken:
            rows, columns = grids[frame]
            if not (0 <= row < rows and 0 <= column < columns):
                raise UsageError(
                    f"chip {row},{column} is outside the grid of {rows} x {columns} chips"
                )
            self.blocked.append(int(self._starts[frame]) + row * columns + column)

    def __len__(self) -> int:
        return len(self.found)

    def place(self, number: int) -> Place:
        """Frame, row and column of a chip."""
        frame = int(np.searchsorted(self._starts, number, side="right")) - 1
        return frame, *divmod(number - int(self._starts[frame]), self._columns[frame])

    def fill(self, kind: Kind, candidates: Iterable[int], total: int) -> None:
        """Choose candidates in their order until there are `total` chips."""
        for number in candidates:
            if len(self) >= total:
                return
            if self._fits(number, kind):
                self.found.append((number, kind))

    def _fits(self, number: int, kind: Kind) -> bool:
        """Whether a chip is new.

        The neighbour of an uncertain one would teach the same, and so would the same spot of the
        specimen at another time.
        """
        found = [n for n, _ in self.found]
        if number in self.blocked or number in found:
            return False
        if kind != "uncertain":
            return True
        _, row, column = self.place(number)
        examples = {self.place(n)[1:] for n in self.blocked}
        others = [self.place(n)[1:] for n in found]
        return (row, column) not in examples and all(
            abs(y - row) > 1 or abs(x - column) > 1 for y, x in others
        )


@dataclass(frozen=True, eq=False)
class _Groups:
    """Chips in groups of alike ones.

    Attributes
    ----------
    chips, numbers
        (m, D) chips that were looked at and (m,) their numbers among all.
    group
        (m,) group of each.
    named
        Groups that hold an example, or overlap with one.
    distance
        (n,) of every chip to the nearest group or example.
    """

    chips: Float
    numbers: Index
    group: Index
    named: frozenset[int]
    distance: Float

    @classmethod
    def of(cls, chips: Float, shown: Float, blocked: list[int], seed: int) -> "_Groups":
        from sklearn.cluster import KMeans

        numbers = np.arange(len(chips))
        if len(numbers) > _LOOKED_AT:
            drawn = np.random.default_rng(seed).choice(len(chips), _LOOKED_AT, replace=False)
            numbers = np.sort(np.union1d(drawn, blocked).astype(np.intp))
        looked_at = chips[numbers]
        distinct = len(np.unique(np.round(looked_at, 6), axis=0))
        wanted = min(max(len(shown), 4) + 4, _MOST_GROUPS, max(len(looked_at) // 2, 1), distinct)
        means = KMeans(wanted, n_init=2, random_state=seed).fit(looked_at)
        named = _named(means, looked_at, shown)
        centres = np.concatenate([means.cluster_centers_, shown])
        distance = _nearest(centres, chips, 1)[:, 0]
        return cls(looked_at, numbers, means.labels_, frozenset(named), distance)

    def typical(self) -> list[int]:
        """Most typical chip of each group: without an example first, large ones first."""
        sizes = np.bincount(self.group)
        fewest = min(max(_FEWEST, int(_SMALLEST_SHARE * len(self.group))), int(sizes.max()))
        large = [g for g in range(len(sizes)) if sizes[g] >= fewest]
        order = sorted(large, key=lambda g: (g in self.named, -int(sizes[g])))
        return [self._most_typical(g) for g in order]

    def _most_typical(self, group: int) -> int:
        members = np.flatnonzero(self.group == group)
        inside = self.chips[members]
        near = min(_NEIGHBOURS, len(members))
        return int(self.numbers[members[_nearest(inside, inside, near).mean(axis=1).argmin()]])


def _nearest(among: Float, chips: Float, count: int) -> Float:
    """(n, count) distances of chips from those among others that are nearest to each."""
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=count).fit(among)
    return np.asarray(finder.kneighbors(chips)[0])


def _named(means: "KMeans", chips: Float, shown: Float) -> list[int]:
    """Find groups whose centre is no farther from an example than twice their own radius.

    A phase that falls into two groups needs no second set of examples.
    """
    if not len(shown):
        return []
    centres = means.cluster_centers_
    spread = np.linalg.norm(chips - centres[means.labels_], axis=1)
    sizes = np.maximum(np.bincount(means.labels_, minlength=len(centres)), 1)
    radius = np.bincount(means.labels_, spread, len(centres)) / sizes
    near = _nearest(shown, centres, 1)[:, 0] <= 2.0 * radius
    return sorted({*np.flatnonzero(near).tolist(), *means.predict(shown).tolist()})


def _standardised(flat: npt.NDArray[np.floating], classifier: Classifier | None) -> Float:
    """(n, D) in units of the support frame's deviation, or of these frames' without a set."""
    values = flat.astype(np.float64)
    values[~np.isfinite(values).all(axis=1)] = 0.0
    if classifier is not None:
        return np.asarray((values - classifier.scorer.mean) / classifier.scorer.deviation)
    deviation = values.std(axis=0)
    floor = 1e-3 * max(float(deviation.max(initial=0.0)), 1e-6)
    return np.asarray((values - values.mean(axis=0)) / np.maximum(deviation, floor))


def _shown(chips: Float, blocked: list[int], classifier: Classifier | None) -> Float:
    """(k, D) what the examples look like: those of the set and those taken here."""
    here = chips[blocked]
    return here if classifier is None else np.concatenate([classifier.examples.chips, here])


def _uncertain(scores: Scores) -> list[int]:
    """Chips of the named classes, those with the smallest margin between two first."""
    ordered = np.sort(scores.probabilities[0], axis=1)
    margin = ordered[:, -1] - ordered[:, -2]
    order = np.argsort(margin, kind="stable")
    return [int(n) for n in order if scores.novelty[0, n] <= 1.0]


def _described(
    number: int,
    kind: Kind,
    place: Place,
    classifier: Classifier | None,
    scores: Scores | None,
) -> Suggestion:
    frame, row, column = place
    if classifier is None or scores is None:
        reason = "typical of a large group" if kind == "typical" else "unlike everything else here"
        return Suggestion(row, column, kind, None, None, reason, frame)
    order = np.argsort(-scores.probabilities[0, number], kind="stable")
    first, second = (classifier.names[int(k)] for k in order[:2])
    reason = {
        "typical": f"typical of a group without examples; looks like {first!r}",
        "uncertain": f"between {first!r} and {second!r}",
        "far": f"the least like any example; nearest is {first!r}",
    }[kind]
    confidence = float(scores.probabilities[0, number, order[0]])
    return Suggestion(row, column, kind, first, confidence, reason, frame)
