"""Curves as random walks in the progress of a reaction, whose rate follows a reading.

What a fraction becomes as a reaction goes on follows no formula; certain is only that it changes
where the reaction proceeds, and rests where that rests.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.domain.signals import Series, Times

Places = npt.NDArray[np.int64]

_STEEPNESS = (1.0, 2.0, 3.0, 4.0, 5.0, 7.0)
"""Exponents of the rate over half the range of the readings; either sign."""
_ROUGHNESS = (0.0, 1.0, 10.0, 100.0, 1e3, 1e4)
"""Variances of the walk over the whole progress, in those of a frame's noise."""
_SAME_NOISE = 1e-4
"""Combinations of curves with so small a part of the noise repeat others."""
_LEAST = 12
"""Changes from frame to frame."""


class ProgressFit:
    """Likelihood of the offset of a clock, given what the curves do.

    The reading drives a reaction at a rate that is exponential in it (Arrhenius, over a limited
    range), or is itself what the curves follow. From frame to frame each curve changes in
    proportion to the progress between them, give or take a Wiener process in it (a subordinated
    random walk, P. K. Clark, Econometrica 41 (1973) 135), and each frame has its own noise. So
    what a fit leaves may depend on all that came before it. Curves are made independent in their
    noise first (minimum noise fraction, Green et al., IEEE TGRS 26 (1988) 65); slopes and
    variances are profiled out, steepness of the rate and roughness of each curve averaged over.

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
        self._rates = [np.exp(by * value - abs(by)) for by in both]
        self._done = [
            np.append(0.0, np.cumsum((one[1:] + one[:-1]) / 2 * self._apart)) for one in self._rates
        ]

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
        # Two changes that share a frame share its noise.
        shared = np.where(np.diff(pairs) == 1, -1.0, 0.0)
        found = [
            self._log(offset, place, pairs, changes, shared)
            for offset, (_, place) in zip(offsets, places, strict=True)
        ]
        return np.array(found)

    def _places(self, at: Times) -> tuple[npt.NDArray[np.bool_], Places]:
        """Whether there are readings, and after which one."""
        before = np.clip(np.searchsorted(self._at, at, side="right") - 1, 0, len(self._at) - 2)
        seen = (at >= self._at[0]) & (at <= self._at[-1]) & (self._apart[before] <= self._longest)
        return seen, before

    def _log(
        self, offset: float, place: Places, pairs: Places, changes: Times, shared: Times
    ) -> float:
        since, apart = self._times - offset - self._at[place], self._apart[place]
        value = self._value[place]
        value = value + (self._value[place + 1] - value) * since / apart
        logs = [_walk(value[pairs + 1] - value[pairs], changes, shared)]
        for rate, done in zip(self._rates, self._done, strict=True):
            # The rate is a straight line between readings: a step is halfway between them.
            more = (rate[place + 1] - rate[place]) * since**2 / 2 / apart
            progress = done[place] + rate[place] * since + more
            logs.append(_walk(progress[pairs + 1] - progress[pairs], changes, shared))
        return float(scipy.special.logsumexp(logs))


def _walk(progress: Times, changes: Times, shared: Times) -> float:
    """Logarithm of the likelihood of changes, each with its part of the progress."""
    count = len(changes)
    part = np.abs(progress) / max(float(np.abs(progress).sum()), 1e-300)
    both = np.column_stack([np.copysign(part, progress), changes])
    least = 1e-9 * (changes**2).sum(axis=0)
    logs = []
    for rough in _ROUGHNESS:
        band = np.zeros((2, count))
        band[0] = 2.0 + rough * part
        band[1, :-1] = shared
        root = scipy.linalg.cholesky_banded(band, lower=True, check_finite=False)
        white = scipy.linalg.solve_banded((1, 0), root, both, check_finite=False)
        slope, rest = white[:, 0], white[:, 1:]
        along = slope @ rest / max(float(np.linalg.norm(slope)), 1e-300)
        left = np.maximum((rest**2).sum(axis=0) - along**2, least)
        logs.append(-np.log(root[0]).sum() - count / 2 * np.log(left / count))
    return float(scipy.special.logsumexp(logs, axis=0).sum())


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
