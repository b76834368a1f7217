"""Sequential test: tells while curves grow when one has stepped or bent, at a stated rate of error.

Each curve is predicted by a straight line and its last value, fitted by recursive least squares to
everything since its last change; so neither a ramp nor the autocorrelation of neighbouring frames
(of first order) is a change. The recursive residuals (Brown, Durbin & Evans, J. R. Stat. Soc. B 37,
149, 1975) are standardized by those before them, turned into normal ones by the t distribution
(Hawkins, The Statistician 36, 299, 1987), and summed up by Page's two-sided CUSUM (Biometrika 41,
100, 1954).
"""

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

Float = npt.NDArray[np.float64]

FALSE_ALARM_FRAMES = 10_000
"""Frames between two false alarms of one curve, on average, at least. `_LIMIT` was found by
simulating normal noise on level and rising curves: 24,000 frames where it is independent, 14,000
where neighbours are correlated by 0.8."""
WARMING = 30
"""So many values after the first, and after each change, only tell what is usual."""
_ALLOWANCE, _LIMIT = 0.5, 9.0
_CLIP = 4.0
"""No single frame counts more than so many deviations: a blank one is no change."""
_LEAST = 2e-3
"""Noise is taken for at least this part of the range: rounding makes no change."""
_FREEDOM = 3
_PRIOR = 100.0


class SequentialTests:
    """One test for each of some curves; memory and work for a frame do not grow with the run.

    Parameters
    ----------
    count
        Curves.
    least
        Noise is taken for at least this, in the unit of the curves.
    """

    def __init__(self, count: int, least: float = 0.0) -> None:
        self._least = least
        self._seen = np.zeros(count, np.int64)  # values since the last change
        self._warm = np.full((count, WARMING), np.nan)
        self._low, self._high = np.full(count, np.inf), np.full(count, -np.inf)
        self._origin, self._scale = np.zeros(count), np.ones(count)
        self._last = np.zeros(count)
        self._spread = np.zeros((count, _FREEDOM, _FREEDOM))
        self._model = np.zeros((count, _FREEDOM))
        self._squares, self._number = np.zeros(count), np.zeros(count)
        self._sums = np.zeros((2, count))
        self._ages = np.zeros((2, count), np.int64)  # values since a sum was nothing

    def put(self, values: Float) -> npt.NDArray[np.int64]:
        """Take in the values of the next frame, (count,), NaN where there is none.

        Returns
        -------
        (count,) how many values ago a curve began to change, negative where it fell, else 0. Its
        test begins anew then.
        """
        known = np.isfinite(values)
        self._low = np.where(known, np.minimum(self._low, values), self._low)
        self._high = np.where(known, np.maximum(self._high, values), self._high)
        warming = np.flatnonzero(known & (self._seen < WARMING))
        judged = np.flatnonzero(known & (self._seen >= WARMING))
        found = np.zeros(len(values), np.int64)
        if len(judged):
            found[judged] = self._judge(judged, values[judged])
        self._warm[warming, self._seen[warming]] = values[warming]
        self._seen[known] += 1
        ready = warming[self._seen[warming] == WARMING]
        if len(ready):
            self._begin(ready)
        self._seen[found != 0] = 0
        return found

    def _begin(self, rows: npt.NDArray[np.intp]) -> None:
        """Learn level, noise and model from the first values."""
        first = self._warm[rows]
        self._origin[rows] = np.median(first, axis=1)
        steps = np.abs(np.diff(first, axis=1))
        least = np.maximum(_LEAST * (self._high - self._low)[rows], self._least)
        scale = np.maximum(np.median(steps, axis=1) / (0.6745 * np.sqrt(2)), least)
        self._scale[rows] = np.where(scale > 0, scale, 1.0)
        self._spread[rows] = _PRIOR * np.eye(_FREEDOM)
        self._model[rows] = self._squares[rows] = self._number[rows] = 0.0
        self._sums[:, rows] = self._ages[:, rows] = 0
        scaled = (first - self._origin[rows, None]) / self._scale[rows, None]
        self._last[rows] = scaled[:, 0]
        for n in range(1, WARMING):
            residual, gain = self._predict(rows, scaled[:, n], np.full(len(rows), float(n)))
            usual = np.clip(residual, -_CLIP, _CLIP) if n > 2 * _FREEDOM else residual
            self._learn(rows, residual, usual, gain, scaled[:, n], n > _FREEDOM)

    def _judge(self, rows: npt.NDArray[np.intp], values: Float) -> npt.NDArray[np.int64]:
        least = np.maximum(_LEAST * (self._high - self._low)[rows], self._least)
        least = np.where(least > 0, least, 1.0) / self._scale[rows]
        scaled = (values - self._origin[rows]) / self._scale[rows]
        residual, gain = self._predict(rows, scaled, self._seen[rows].astype(np.float64))
        noise = np.sqrt(self._squares[rows] / self._number[rows])
        share = scipy.special.stdtr(self._number[rows], residual / np.maximum(noise, least))
        normal = scipy.special.ndtri(np.clip(share, 1e-15, 1 - 1e-15))
        normal = np.clip(normal, -_CLIP, _CLIP)
        both = np.stack([normal, -normal]) - _ALLOWANCE
        sums = np.maximum(self._sums[:, rows] + both, 0.0)
        ages = np.where(sums > 0, self._ages[:, rows] + 1, 0)
        self._sums[:, rows], self._ages[:, rows] = sums, ages
        limit = _CLIP * np.maximum(noise, least)
        self._learn(rows, residual, np.clip(residual, -limit, limit), gain, scaled, True)
        rises, falls = sums > _LIMIT
        return np.where(rises, ages[0], np.where(falls, -ages[1], 0))

    def _predict(
        self, rows: npt.NDArray[np.intp], scaled: Float, number: Float
    ) -> tuple[Float, tuple[Float, Float]]:
        """Recursive residual of each value, and what its model learns from one."""
        told = np.stack([np.ones(len(rows)), number / WARMING, self._last[rows]], axis=1)
        away = np.einsum("kij,kj->ki", self._spread[rows], told)
        size = 1.0 + np.einsum("ki,ki->k", told, away)
        error = scaled - np.einsum("ki,ki->k", told, self._model[rows])
        return error / np.sqrt(size), (away, size)

    def _learn(
        self,
        rows: npt.NDArray[np.intp],
        residual: Float,
        usual: Float,
        gain: tuple[Float, Float],
        scaled: Float,
        counts: bool,
    ) -> None:
        away, size = gain
        self._model[rows] += away * (usual / np.sqrt(size))[:, None]
        self._spread[rows] -= np.einsum("ki,kj->kij", away, away) / size[:, None, None]
        # What a model learns of one value that is far off is bounded; so is what the next expects.
        self._last[rows] = scaled - (residual - usual) * np.sqrt(size)
        if counts:
            self._squares[rows] += usual**2
            self._number[rows] += 1
