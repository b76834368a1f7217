"""History: curves over the whole run, and the few points of them that a browser needs."""

from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pychip_stream.archive.run import Run
from pychip_stream.domain.quantities import OF_FRAMES, Quantity, of_frames

Float = npt.NDArray[np.float64]

_FIRST_ROOM = 1024


@dataclass(frozen=True, eq=False)
class Curves:
    """Curves of n moments (single frames, or buckets of neighbours), in order of time.

    Attributes
    ----------
    times
        (n,) seconds since 1970.
    columns
        (n, 3) per class or quantity: mean value (NaN where it was not asked for or not measured),
        lowest lower and highest upper end of the intervals within the bucket.
    """

    times: Float
    columns: Mapping[str, Float] = field(repr=False)

    def __len__(self) -> int:
        return len(self.times)


class History:
    """Time and values of every frame, one row each; a later revision replaces the row.

    Not thread-safe: one thread writes, and `Course` hands out finished curves.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[str, int], int] = {}
        self._keys: list[tuple[str, int]] = []
        self._times: Float = np.empty(_FIRST_ROOM)
        self._columns: dict[str, Float] = {}
        self._order: npt.NDArray[np.intp] | None = None
        self._left_out: Collection[tuple[str, int]] = ()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order they appeared."""
        return tuple(self._columns)

    def put(
        self, key: tuple[str, int], time: float, fractions: Mapping[str, Iterable[float]]
    ) -> None:
        """Take in one frame.

        Parameters
        ----------
        key
            Path and index.
        time
            Seconds since 1970.
        fractions
            (value, low, high) per name; thrice the same where there is no interval.
        """
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = len(self._keys)
            self._keys.append(key)
            self._make_room(len(self._keys))
        self._order = None
        self._times[row] = time
        for name, triple in fractions.items():
            column = self._columns.get(name)
            if column is None:
                column = self._columns[name] = np.full((len(self._times), 3), np.nan)
            column[row] = tuple(triple)

    def extend(
        self,
        keys: list[tuple[str, int]],
        times: Float,
        columns: Mapping[str, Float],
        *,
        replace: bool = False,
    ) -> None:
        """Take in many frames at once.

        Parameters
        ----------
        columns
            (n, 3) value, low, high per name.
        replace
            Of frames that are there already, these values count and no others; else they stay
            as they are.
        """
        if replace:
            known = [i for i, key in enumerate(keys) if key in self._rows]
            rows = [self._rows[keys[i]] for i in known]
            for name in columns:
                self._columns.setdefault(name, np.full((len(self._times), 3), np.nan))
            for name, column in self._columns.items():
                column[rows] = columns[name][known] if name in columns else np.nan
        fresh = [i for i, key in enumerate(keys) if key not in self._rows]
        start = len(self._keys)
        self._keys.extend(keys[i] for i in fresh)
        self._rows.update({keys[i]: start + n for n, i in enumerate(fresh)})
        self._make_room(len(self._keys))
        self._times[start : len(self._keys)] = times[fresh]
        for name, values in columns.items():
            column = self._columns.setdefault(name, np.full((len(self._times), 3), np.nan))
            column[start : len(self._keys)] = values[fresh]
        self._order = None

    def rows(self, name: str) -> tuple[list[tuple[str, int]], Float]:
        """Keys of all frames as they came, and (n, 3) what they have under a name."""
        empty = np.full((len(self._keys), 3), np.nan)
        return self._keys, self._columns.get(name, empty)[: len(self._keys)]

    def set_times(self, times: Mapping[tuple[str, int], float]) -> None:
        """Draw frames, those of them that are known, at other times."""
        for key in times.keys() & self._rows.keys():
            self._times[self._rows[key]] = times[key]
            self._order = None

    def leave_out(self, keys: Collection[tuple[str, int]]) -> None:
        """Draw curves without these frames from now on; they keep their numbers and times."""
        self._left_out = keys

    def drop(self, key: tuple[str, int]) -> None:
        """Take a frame out, if it is there; the last one gets its row."""
        row = self._rows.pop(key, None)
        if row is None:
            return
        last = self._keys.pop()
        end = len(self._keys)
        if row < end:
            self._keys[row], self._rows[last] = last, row
            self._times[row] = self._times[end]
        for column in self._columns.values():
            column[row] = column[end]
            column[end] = np.nan
        self._order = None

    def time_of(self, key: tuple[str, int]) -> float | None:
        """Time of a frame, or None if it is not known."""
        row = self._rows.get(key)
        return None if row is None else float(self._times[row])

    def newest_time(self) -> float | None:
        """Time of the newest frame of the curves; None while there is none."""
        order = self._counting()
        return float(self._times[order[-1]]) if len(order) else None

    def key_at(self, number: int) -> tuple[str, int] | None:
        """Key of a frame by its number in order of time; None where there is none."""
        if not -len(self._keys) <= number < len(self._keys):
            return None
        return self._keys[int(self._sorted()[number])]

    def number_of(self, key: tuple[str, int]) -> int | None:
        """Return the number of a frame in order of time; None if it is not known."""
        row = self._rows.get(key)
        return None if row is None else int(np.flatnonzero(self._sorted() == row)[0])

    def nearest(self, time: float) -> tuple[str, int] | None:
        """Key of the frame whose time is nearest; None while there is none."""
        if not self._keys:
            return None
        order = self._sorted()
        times = self._times[order]
        at = int(np.searchsorted(times, time))
        near = [i for i in (at - 1, at) if 0 <= i < len(order)]
        best = min(near, key=lambda i: abs(float(times[i]) - time))
        return self._keys[int(order[best])]

    def curves(self, points: int, since: float | None = None, until: float | None = None) -> Curves:
        """Curves of at most `points` moments; more frames become buckets of equal time.

        Parameters
        ----------
        since, until
            Leave out what is older or newer than this, in seconds since 1970.
        """
        order = self._counting()
        times = self._times[order]
        first = 0 if since is None else int(np.searchsorted(times, since))
        last = len(order) if until is None else int(np.searchsorted(times, until, "right"))
        order, times = order[first:last], times[first:last]
        columns = {name: column[order] for name, column in self._columns.items()}
        found = Curves(times, columns)
        return found if len(times) <= points else _bucketed(found, points)

    def _sorted(self) -> npt.NDArray[np.intp]:
        if self._order is None:
            self._order = np.argsort(self._times[: len(self._keys)], kind="stable")
        return self._order

    def _counting(self) -> npt.NDArray[np.intp]:
        """Rows that are not left out, in order of time."""
        order = self._sorted()
        rows = [self._rows[key] for key in self._left_out if key in self._rows]
        return order[~np.isin(order, rows)] if rows else order

    def _make_room(self, count: int) -> None:
        room = len(self._times)
        if count <= room:
            return
        more = max(2 * room, count) - room
        self._times = np.concatenate([self._times, np.empty(more)])
        self._columns = {
            name: np.concatenate([column, np.full((more, 3), np.nan)])
            for name, column in self._columns.items()
        }


def _bucketed(curves: Curves, points: int) -> Curves:
    """Reduce to buckets of equal time: mean value, lowest low, highest high; no peak is lost."""
    times = curves.times
    edges = np.linspace(times[0], times[-1], points + 1)[:-1]
    starts = np.unique(np.searchsorted(times, edges))
    counts = np.diff(np.append(starts, len(times)))
    columns = {}
    for name, column in curves.columns.items():
        value, low, high = column.T
        known = np.isfinite(value)
        number = np.add.reduceat(known.astype(np.float64), starts)
        total = np.add.reduceat(np.where(known, value, 0.0), starts)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = total / number
        ends = np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)
        columns[name] = np.stack([mean, *ends], axis=1)
    return Curves(np.add.reduceat(times, starts) / counts, columns)


def triples(values: Float) -> Float:
    """(n, 3) value, low, high of n values without intervals."""
    return np.repeat(values[:, None], 3, axis=1)


def plotted(classes: Iterable[str] = (), optional: Container[str] = ()) -> dict[str, Quantity]:
    """Quantities of frames with these classes that may be drawn as a curve, by name."""
    return {q.name: q for q in of_frames(classes, optional) if q.plotted}


def measured(run: Run) -> dict[str, Float]:
    """(count,) values of every quantity of a run that may be drawn and that some frame has."""
    there = (*OF_FRAMES.names, *run.stimulus.quantities)
    columns = run.columns(*plotted(run.names, there))
    return {name: values for name, values in columns.items() if np.isfinite(values).any()}
