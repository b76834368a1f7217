"""Curves as smooth, rough and wandering ways through a reaction, whose rate follows a reading.

What a fraction becomes as a reaction goes on follows no formula; certain is only that it changes
where the reaction proceeds, and rests where that rests.
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.domain.signals import Series, Times

Places = npt.NDArray[np.int64]

_STEEPNESS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 7.0)
"""Exponents of the rate over half the range of the readings; either sign."""
_SMOOTHNESS = (0.0, 1e2, 1e3, 1e4, 1e5)
"""Variances that the slope of a curve gathers over the whole progress, in those of the noise."""
_ROUGHNESS = (0.0, 3.0, 30.0, 300.0, 3e3)
"""Variances that a curve itself gathers so, such as by chips that change their label at once."""
_WANDERING = (0.0, 30.0)
"""Variances that it gathers over the time of the run, whatever the reaction does."""
_SLOPE = 1e5
"""Variance of the slope before anything was seen."""
_SWITCHED = (1 / 6, 1 / 2, 5 / 6)
"""Parts of the time between two readings after which a heater may have been switched."""
_JUMP = 3.0
"""A reading that changes by so many times what it did before and does after has jumped."""
_LEAST_JUMP = 0.01
"""Of the range of the readings."""
_LEFT_OUT = 10.0
"""What is so much less likely, in logarithms, is looked at no further."""
_COARSE = 2
"""Every so many offsets, of half a frame each, tell which rates are likely at all."""
_SAME_NOISE = 1e-4
"""Combinations of curves with so small a part of the noise repeat others."""
_LEAST = 12
"""Changes from frame to frame."""


class _Ways(NamedTuple):
    """Variances of what curves do, each (n,), and of these the ones that each curve may have."""

    smooth: Times
    rough: Times
    wander: Times

    @classmethod
    def all(cls) -> "_Ways":
        return cls(*np.array(list(product(_SMOOTHNESS, _ROUGHNESS, _WANDERING))).T)

    def of(self, kept: npt.NDArray[np.bool_]) -> "_Ways":
        return _Ways(*(one[kept] for one in self))


class ProgressFit:
    """Likelihood of the offset of a clock, given what the curves do.

    The reading drives a reaction at a rate that is exponential in it (Arrhenius, over a limited
    range), or is itself what the curves follow. A curve is a function of the progress: an
    integrated Wiener process (the prior of a smoothing spline, Wahba, J. R. Stat. Soc. B 40
    (1978) 364) and a Wiener process in it (P. K. Clark, Econometrica 41 (1973) 135), for what
    turns smoothly and what turns chip by chip; another one in time, as noise of neighbouring
    frames is alike; and noise of each frame. A Kalman filter gives the likelihood of that (A. C.
    Harvey, Forecasting, Structural Time Series Models and the Kalman Filter, 1989). Curves are
    made independent first (minimum noise fraction, Green et al., IEEE TGRS 26 (1988) 65). The
    noise is profiled out; steepness of the rate, the variances of each curve, and when between
    two readings a heater was switched, are averaged over.

    Parameters
    ----------
    series
        Readings, on the source's own clock.
    times, curves
        (n,) of the frames, rising, and (n, curves) float64 without NaN.
    longest_s
        Between readings further apart nothing is known.
    """

    def __init__(self, series: Series, times: Times, curves: Times, longest_s: float) -> None:
        self._at, self._times, self._curves = series.time, times, curves
        low, high = float(series.values.min()), float(series.values.max())
        value = (2 * series.values - low - high) / max(high - low, 1e-300)
        self._value, self._apart = value, np.diff(self._at)
        self._longest = longest_s
        both = (*_STEEPNESS, *(-one for one in _STEEPNESS))
        self._rates = [None, *(np.exp(by * value - abs(by)) for by in both)]
        change = np.diff(value)
        size = np.abs(change)
        beside = np.maximum(np.append(0.0, size[:-1]), np.append(size[1:], 0.0))
        jumps = (size > _JUMP * beside) & (size > 2 * _LEAST_JUMP)
        self._falls, self._rises = jumps & (change < 0), jumps & (change > 0)

    def logs(self, offsets: Sequence[float] | Times) -> Times | None:
        """Logarithm of the likelihood of each offset, but for a constant.

        All are judged by the same frames, those that have readings at each of them.

        Returns
        -------
        (offsets,) float64, or None where too few frames are left.
        """
        places = [self._places(self._times - one) for one in offsets]
        seen = np.all([there for there, _ in places], axis=0)
        pairs = np.flatnonzero(seen[1:] & seen[:-1])
        changes = self._curves[pairs + 1] - self._curves[pairs]
        moving = (changes != 0).any(axis=0)
        if len(pairs) < _LEAST or not moving.any():
            return None
        changes = changes[:, moving]
        changes = changes @ _apart(changes, self._curves[seen][:, moving])
        passed = np.diff(self._times)[pairs]
        follows = np.append(False, np.diff(pairs) == 1)

        def walk(
            number: int, switched: tuple[float, float], ways: _Ways, step: int = 1
        ) -> tuple[Times, Times]:
            progress = np.stack([
                self._progress(self._rates[number], self._times - offset, place, switched)
                for offset, (_, place) in zip(offsets[::step], places[::step], strict=True)
            ])  # fmt: skip
            each = _walks(np.diff(progress)[:, pairs], passed, changes, follows, ways)
            return each, scipy.special.logsumexp(each, axis=1).sum(axis=0)

        ways, middle = _Ways.all(), (0.5, 0.5)
        first = [walk(n, middle, ways, _COARSE) for n in range(len(self._rates))]
        least = max(float(logs.max()) for _, logs in first) - _LEFT_OUT
        likely = [n for n, (_, logs) in enumerate(first) if logs.max() > least]
        each = np.max([first[n][0].max(axis=2) for n in likely], axis=0)
        ways = ways.of((each > each.max(axis=1, keepdims=True) - _LEFT_OUT).any(axis=0))
        moments = [_SWITCHED if jumps.any() else (0.5,) for jumps in (self._falls, self._rises)]
        found = [walk(n, (a, b), ways)[1] for n in likely for a, b in product(*moments)]
        return np.asarray(scipy.special.logsumexp(found, axis=0))

    def _places(self, at: Times) -> tuple[npt.NDArray[np.bool_], Places]:
        """Whether there are readings, and after which one."""
        before = np.clip(np.searchsorted(self._at, at, side="right") - 1, 0, len(self._at) - 2)
        seen = (at >= self._at[0]) & (at <= self._at[-1]) & (self._apart[before] <= self._longest)
        return seen, before

    def _progress(
        self, rate: Times | None, at: Times, place: Places, switched: tuple[float, float]
    ) -> Times:
        """Progress up to some moments, each after the reading at its place.

        Between readings the rate is a straight line; where it jumps, a step. Without a rate the
        reading itself is the progress.
        """
        jumps = self._falls | self._rises
        after = np.where(self._falls, *switched) * self._apart
        since, apart = at - self._at[place], self._apart[place]
        if rate is None:
            value = self._value
            line = value[place] + (value[place + 1] - value[place]) * since / apart
            step = np.where(since < after[place], value[place], value[place + 1])
            return np.where(jumps[place], step, line)
        each = (rate[1:] + rate[:-1]) / 2 * self._apart
        each = np.where(jumps, rate[:-1] * after + rate[1:] * (self._apart - after), each)
        done = np.append(0.0, np.cumsum(each))[place]
        line = rate[place] * since + (rate[place + 1] - rate[place]) * since**2 / 2 / apart
        step = rate[place] * np.minimum(since, after[place])
        step += rate[place + 1] * np.maximum(since - after[place], 0.0)
        return done + np.where(jumps[place], step, line)


def _walks(
    progress: Times, passed: Times, changes: Times, follows: npt.NDArray[np.bool_], ways: _Ways
) -> Times:
    """Logarithm of the likelihood of changes, each with its progress and time.

    Parameters
    ----------
    progress, passed, changes
        (offsets, n), (n,) and (n, curves).
    follows
        (n,) whether a change begins at the frame with which the one before ended.
    ways
        Each of (m,) variances.

    Returns
    -------
    (curves, m, offsets) float64.
    """
    progress = progress / np.maximum(np.abs(progress).sum(axis=1, keepdims=True), 1e-300)
    passed = passed / passed.sum()
    smooth, rough, wander = (one[:, None] for one in ways)
    shape = (changes.shape[1], len(smooth), len(progress))
    level, slope, seen = np.zeros(shape), np.zeros(shape), np.zeros((shape[0], 1, 1))
    # Variances in those of the noise: of the level, of level and slope, of the slope.
    own, both, turn = np.ones(shape[1:]), np.zeros(shape[1:]), np.full(shape[1:], _SLOPE)
    squares, sizes = np.zeros(shape), np.zeros(shape[1:])
    for n, change in enumerate(changes):
        if not follows[n]:  # what it did in between is unknown: the level begins anew
            level, own, both = np.broadcast_to(seen, shape), np.ones(shape[1:]), 0.0 * both
        by, size = progress[:, n], np.abs(progress[:, n])
        level = level + slope * by
        own = own + by * (2 * both + by * turn) + smooth * (size**3 / 3)
        own += rough * size + wander * passed[n]
        both = both + by * turn + smooth * (size * by / 2)
        turn = turn + smooth * size
        seen = seen + change[:, None, None]
        error, whole = seen - level, own + 1.0
        gain = both / whole
        level = level + own / whole * error
        slope = slope + gain * error
        turn = turn - gain * both
        own, both = own / whole, both / whole
        squares += error**2 / whole
        sizes += np.log(whole)
    least = 1e-9 * (changes**2).sum(axis=0)[:, None, None]
    spread = np.maximum(squares, least) / len(changes)
    return np.asarray(-sizes / 2 - len(changes) / 2 * np.log(spread))


def _apart(changes: Times, curves: Times) -> Times:
    """(curves, m) combinations whose noise is independent, those that tell most by themselves.

    What only repeats others is left out.
    """
    scale = changes.std(axis=0)
    size, turn = np.linalg.eigh(np.atleast_2d(np.cov((changes / scale).T)))
    own = size > _SAME_NOISE * size.max()
    white = turn[:, own] / np.sqrt(size[own]) / scale[:, None]
    found: Times = white @ np.linalg.eigh(np.atleast_2d(np.cov((curves @ white).T)))[1]
    return found
