"""Gathered: readings of one thing, as they come and in order, at the cost of what is new."""

from dataclasses import dataclass, field

import numpy as np

from pychip_stream.domain.signals import Kind, Times, in_order


@dataclass(frozen=True, eq=False)
class Raw:
    """Readings of one thing at one moment of a run, on the clock of their source.

    Attributes
    ----------
    came
        Times and values as they came, (n,) each.
    ordered
        The same in order of time, as `domain.signals.in_order` makes it.
    """

    kind: Kind
    max_gap_s: float
    rank: int
    came: tuple[Times, Times] = field(repr=False)
    ordered: tuple[Times, Times] = field(repr=False)


class _Room:
    """Times and values that grow, in room that is doubled; what was given away stays as it is."""

    def __init__(self) -> None:
        self._data = np.empty((2, 0))
        self._count = 0

    def put(self, times: Times, values: Times) -> None:
        end = self._count + len(times)
        if end > self._data.shape[1]:
            wider = np.empty((2, max(2 * self._data.shape[1], end)))
            wider[:, : self._count] = self._data[:, : self._count]
            self._data = wider
        self._data[:, self._count : end] = times, values
        self._count = end

    @property
    def columns(self) -> tuple[Times, Times]:
        times, values = self._data[:, : self._count]
        return times, values


class Gathered:
    """Readings of one thing while they come; each costs what is new, unless time runs backwards."""

    def __init__(self, kind: Kind, max_gap_s: float, rank: int) -> None:
        self._told = kind, max_gap_s, rank
        self._came, self._ordered = _Room(), _Room()

    def put(self, times: Times, values: Times) -> None:
        """Take in what has come, (n,) each."""
        self._came.put(times, values)
        times, values = in_order(times, values)
        before, known = self._ordered.columns
        if len(times) and len(before) and times[0] <= before[-1]:
            self._ordered = _Room()
            both = np.concatenate([before, times]), np.concatenate([known, values])
            times, values = in_order(*both)
        self._ordered.put(times, values)

    @property
    def raw(self) -> Raw:
        """What has come up to now."""
        return Raw(*self._told, self._came.columns, self._ordered.columns)
