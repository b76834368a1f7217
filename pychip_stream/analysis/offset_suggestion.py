"""Offsets of clocks, suggested from what a source and the frames both saw."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.analysis.progress_fit import ProgressFit
from pychip_stream.archive.run import Run
from pychip_stream.domain.signals import Series, Times
from pychip_stream.errors import ArchiveError

_POINTS = 1 << 14
_SURE = {"changes": 0.5, "values": 0.7}
_RIVAL = 0.9
_NEAR = 4
_SPANS = 12
"""Changes are compared over spans no longer than this part of the curve."""
_PAUSE = 4
"""Readings further apart than so many usual ones have a pause between them."""
_CLIP = 8.0
_OFFSETS, _FINE, _MOST_FITTED = 240, 4, 1000
"""Offsets that are looked at everywhere, those that are looked at closely, points of a fit."""
_CLEAR = 30.0
"""A gain below this says nothing."""
_LEAST_LESS = 5.0
"""Between offsets of single steps, in logarithms of the likelihood: three standard deviations."""
_FAR_LESS = 16.0
_FRAMES, _ROUNDS = 5, 3
"""Offsets of so many frames to both sides are judged closely, and again about what was found."""
_HELD = 0.95
"""So probable is it that an offset is off by `within_s` at most."""
_FAR = 20.0
"""Chips further from a class count as much; usual ones of another class are at 3 to 6."""
_MOST_CHIPS = 20_000_000
"""Runs with more are judged by their fractions: reading all distances would take minutes."""
_WALKS = "drift"
"""The curve that changes while nothing else does."""


def suggested(run: Run, source: str) -> "Suggestion | None":
    """Suggest the offset of a source of a run, from mean counts, drift and every class.

    A class tells by how far the chips are from it on average, against the other classes: as a phase
    grows chips turn one by one, and a fraction jumps with each, their distances do not.
    """
    times = run.columns("time", "intensity_mean", "drift")
    curves = {"intensity_mean": times["intensity_mean"], "drift": times["drift"]}
    curves |= dict(zip(run.names, _nearness(run).T, strict=True))
    found = [
        suggest_offset(one, times["time"], curves)
        for one in run.stimulus.shifted(source, 0.0).series
        if one.source == source
    ]
    known = [one for one in found if one is not None]
    return max(known, key=lambda one: (one.sure, one.agreement), default=None)


def _nearness(run: Run) -> Times:
    """(count, K) how much nearer the chips of each frame are to a class than to all, on average.

    Fractions where distances cannot be read; NaN where there are none.
    """
    shares = run.intervals[:, : len(run.names), 0]
    near, chips = np.full_like(shares, np.nan), 0
    try:
        for numbers, rows in run.result_blocks(("distances",)):
            chips += int(rows.counts.sum())
            if chips > _MOST_CHIPS:
                return shares
            far = np.minimum(rows.arrays["distances"].astype(np.float64), _FAR)
            far = np.add.reduceat(far, rows.offset) / rows.counts[:, None]
            there = np.isfinite(far)
            mean = np.where(there, far, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
            near[numbers] = mean[:, None] - far
    except ArchiveError:
        return shares
    return near


class Suggestion(NamedTuple):
    """An offset of a clock, and how well it stands.

    Attributes
    ----------
    offset_s
        To add to the clock of the source.
    agreement
        Correlation at this offset, 0…1.
    sure
        Whether that is clear: no other offset further than a frame does nearly as well.
    how
        From what, in words.
    within_s
        It is no further off than this with 95 %; None where that is not known.
    """

    offset_s: float
    agreement: float
    sure: bool
    how: str
    within_s: float | None = None

    @property
    def told(self) -> str:
        """Offset and how well it is known, in words."""
        known = "" if self.within_s is None else f" ± {self.within_s:.2g} s"
        return f"{self.offset_s:+.1f} s{known}"


def suggest_offset(
    series: Series, times: Times, curves: dict[str, Times], most_s: float = 7200.0
) -> Suggestion | None:
    """Find by how much the clock of a source is off, from what it and the frames both saw.

    Values and changes of the readings are correlated with the changes of each curve, values also
    with those over longer spans, over every shift (Pearson's coefficient over what overlaps);
    outliers are clipped. About the shifts found so, and over all others, the curves are fitted
    together: each as its level, a drift, the reading and the integral of a cubic of it, for heat
    that drives a reaction at a rate of its own (profile likelihood over the shift). What such a fit
    leaves depends on the frames before, so the neighbourhood of the best is judged by
    `ProgressFit`. The clearest shift wins; a curve that clearly tells another one makes it unclear.

    Parameters
    ----------
    series
        Readings, on the source's own clock.
    times
        (n,) of the frames, seconds since 1970, rising.
    curves
        (n,) by name, such as mean counts, drift or a fraction.
    most_s
        Largest offset that is looked for.

    Returns
    -------
    None where nothing changed, or there is too little.
    """
    if len(times) < 8 or len(series.time) < 8:
        return None
    step = _step(times, series.time)
    start, other = times[0], series.time[0]
    since = series.time - other
    signal = _without_pauses(_grid(since, series.values, step), since, step)
    found: list[Suggestion] = []
    for name, values in curves.items():
        known = np.isfinite(values)
        if known.sum() < 8:
            continue
        curve = _grid(times[known] - start, values[known], step)
        for told, span, mine, seen in _compared(signal, curve):
            best = _best_shift(mine, seen, step, most_s, start - other)
            if best is None:
                continue
            shift, agreement, rival, within = best
            # Over long spans anything that happened once agrees with what else happened once.
            sure = span == 1 and agreement > _SURE[told] and rival < _RIVAL * agreement
            sure &= within <= step * 1.01
            how = f"{told} of {series.quantity} against changes of {name}"
            found.append(Suggestion(shift, agreement, sure, how, within))
    top = max(found, key=lambda one: one.agreement, default=None)
    if top is None:
        return None
    joint = _Joint(series, times, curves, step)
    fitted = joint.best([one.offset_s for one in found], start - other, most_s)
    if fitted is not None:
        # Single steps agree by chance more easily than whole curves do.
        apart = [one for one in found if abs(one.offset_s - fitted.offset_s) > _NEAR * step]
        return fitted._replace(sure=fitted.sure and not any(one.sure for one in apart))
    # What agrees better at another offset takes the certainty from all that agrees less.
    near = [one for one in found if abs(one.offset_s - top.offset_s) <= _NEAR * step]
    clear = [one for one in near if one.sure]
    return max(clear, key=lambda one: one.agreement, default=top._replace(sure=False))


class _Joint:
    """Fits all curves together to what the readings did, at one offset after the other."""

    def __init__(
        self, series: Series, times: Times, curves: Mapping[str, Times], step: float
    ) -> None:
        self._names = [
            name for name, one in curves.items()
            if np.isfinite(one).mean() > 0.8 and np.nanstd(one) > 0
        ]  # fmt: skip
        self._quantity, self._series = series.quantity, series
        known = [_without_outliers(curves[name]) for name in self._names]
        self._curves = np.stack(known, axis=1) if known else np.empty((len(times), 0))
        there = np.isfinite(self._curves).all(axis=1)
        self._times, self._curves = _binned(times[there], self._curves[there])
        self._at, self._step = series.time, step
        centred = series.values - series.values.mean()
        self._values = centred / max(float(np.abs(centred).max()), 1e-300)
        self._apart = np.diff(self._at)
        self._longest = _PAUSE * max(float(np.median(self._apart)), step)
        powers = np.stack([self._values**n for n in (1, 2, 3)], axis=1)
        means = (powers[1:] + powers[:-1]) / 2 * self._apart[:, None]
        self._integrals = np.concatenate([np.zeros((1, 3)), np.cumsum(means, axis=0)])
        self.top = 0.0

    def gain(self, offset_s: float) -> float:
        """Logarithm of the likelihood over that of straight lines, 0 where little overlaps."""
        at = self._times - offset_s
        place = np.clip(np.searchsorted(self._at, at), 1, len(self._at) - 1)
        seen = (at >= self._at[0]) & (at <= self._at[-1])
        seen &= self._apart[place - 1] <= self._longest
        if seen.sum() < max(0.3 * len(at), 20):
            return 0.0
        at = at[seen]
        line = np.stack([np.ones(len(at)), at - at.mean()], axis=1)
        told = [np.interp(at, self._at, self._values)]
        told += [np.interp(at, self._at, self._integrals[:, n]) for n in range(3)]
        whole = np.column_stack([line, *told])
        curves = self._curves[seen]
        less, more = _rest(line, curves), _rest(whole, curves)
        return float(len(at) / 2 * np.log(less / more).sum())

    def best(self, near: Sequence[float], base: float, most_s: float) -> Suggestion | None:
        """Give the offset of the largest gain; sure if no other does nearly as well."""
        if not self._curves.shape[1] or len(self._times) < 20:
            return None
        seconds = self._times[-1] - self._times[0] + self._at[-1] - self._at[0]
        span = np.linspace(self._at[0] - self._at[-1], self._times[-1] - self._times[0], _OFFSETS)
        wide = [one for one in base + span if abs(one) <= most_s]
        gains = {one: self.gain(one) for one in (*wide, *near)}
        about = sorted(gains, key=lambda one: gains[one])[-_FINE:]
        reach = max(seconds / _OFFSETS, _NEAR * self._step)
        for one in about:
            for fine in np.arange(one - reach, one + reach, max(self._step / 2, reach / 200)):
                gains[fine] = self.gain(float(fine))
        offset = max(gains, key=lambda one: gains[one])
        self.top = gains[offset]
        if self.top < _CLEAR:
            return None
        sure = all(
            self.far_below(gain)
            for one, gain in gains.items()
            if abs(one - offset) > self._step * 2 * _NEAR
        )
        offset, within = self._closely(float(offset))
        sure &= within is not None and within <= self._step * 1.01
        share = 1 - math.exp(-2 * self.top / self._curves.size)
        how = f"{self._quantity} and what it adds up to against {', '.join(self._names)}"
        return Suggestion(offset, math.sqrt(share), sure, how, within)

    def _closely(self, offset: float) -> tuple[float, float | None]:
        """Give the best offset nearby, and how far off it may be; None where that is not known.

        What is told is the median of where the offset may be, each as likely as another before.
        """
        own = [n for n, name in enumerate(self._names) if name != _WALKS]
        fit = ProgressFit(self._series, self._times, self._curves[:, own], self._longest)
        best = offset
        for _ in range(_ROUNDS if own else 0):
            near = best + np.arange(-2 * _FRAMES, 2 * _FRAMES + 1) * self._step / 2
            logs = fit.logs(near)
            if logs is None:
                break
            chance = np.append(0.0, np.cumsum(np.exp(logs - logs.max())))
            chance /= chance[-1]
            edges = np.append(near, near[-1] + self._step / 2) - self._step / 4
            low, best, high = np.interp(
                [0.5 - _HELD / 2, 0.5, 0.5 + _HELD / 2], chance, edges
            ).tolist()
            if max(chance[2], 1 - chance[-3]) < (1 - _HELD) / 2:  # it does not lie beyond
                # A frame is exposed for some part of its time, nobody tells which.
                return best, max(best - low, high - best, self._step / 2)
        return best, None

    def far_below(self, gain: float) -> bool:
        """Whether what was gained elsewhere is clearly less, though no model is quite right."""
        return self.top - gain > _FAR_LESS + 0.05 * self.top


def _without_outliers(values: Times) -> Times:
    """Single frames that nothing beside them is like become like these."""
    usual = scipy.ndimage.median_filter(values, 5, mode="nearest")
    away = np.abs(values - usual)
    return np.where(away > _CLIP * max(float(np.nanpercentile(away, 90)), 1e-300), usual, values)


def _binned(times: Times, curves: Times) -> tuple[Times, Times]:
    """Means of neighbouring frames, where there are more than it takes to see a shift."""
    if not len(times):
        return times, curves
    size = -(-len(times) // _MOST_FITTED)
    starts = np.arange(0, len(times), size)
    count = np.diff(np.append(starts, len(times)))
    return (
        np.add.reduceat(times, starts) / count,
        np.add.reduceat(curves, starts) / count[:, None],
    )


def _rest(design: Times, curves: Times) -> Times:
    """Squares that a fit leaves of each curve."""
    scaled = design / np.maximum(np.abs(design).max(axis=0), 1e-300)
    solved = np.linalg.lstsq(scaled, curves, rcond=1e-9)[0]
    left = curves - scaled @ solved
    found: Times = np.maximum((left**2).sum(axis=0), 1e-9 * (curves**2).sum(axis=0) + 1e-300)
    return found


def _step(times: Times, others: Times) -> float:
    """Grid on which frames are not blurred, of bounded size."""
    usual = float(np.median(np.diff(times)))
    longest = float(max(times[-1] - times[0], others[-1] - others[0]))
    return max(usual, longest / _POINTS, 1e-3)


def _cells(times: Times, step: float) -> npt.NDArray[np.int64]:
    """(n,) nearest place on a grid."""
    return np.floor(times / step + 0.5).astype(np.int64)


def _grid(times: Times, values: Times, step: float) -> Times:
    """Means over steps of a grid; where there is none, in between."""
    cell = _cells(times, step)
    count = np.bincount(cell)
    total = np.bincount(cell, values)
    there = np.flatnonzero(count)
    return np.interp(np.arange(len(count)), there, total[there] / count[there])


def _without_pauses(grid: Times, times: Times, step: float) -> Times:
    """Make NaN what is in a pause: what a straight line does there was seen by nobody."""
    cell = np.unique(_cells(times, step))
    apart = np.diff(cell)
    for at in np.flatnonzero(apart > _PAUSE * max(float(np.median(apart)), 1.0)):
        grid[cell[at] + 1 : cell[at + 1]] = np.nan
    return grid


def _compared(signal: Times, curve: Times) -> Iterator[tuple[str, int, Times, Times]]:
    """Give what is compared in words, the span in steps, and both sides.

    The noise of a fraction is as large over a long span as over a short one, its change is not.
    """
    yield "changes", 1, np.diff(signal), np.diff(curve)
    span = 1
    while span == 1 or span <= min(len(signal), len(curve)) / _SPANS:
        mean = np.convolve(signal[1:], np.ones(span) / span, "valid")
        yield "values", span, mean, curve[span:] - curve[:-span]
        span *= 2


def _best_shift(
    signal: Times, curve: Times, step: float, most_s: float, base: float
) -> tuple[float, float, float, float] | None:
    """Offset, its correlation, the best one at another offset, and how far others are as good."""
    ones_s, ones_c = (np.isfinite(one).astype(np.float64) for one in (signal, curve))
    signal, curve = _clipped(signal), _clipped(curve)
    if not signal.any() or not curve.any():
        return None
    size = len(signal) + len(curve) - 1
    long = int(scipy.fft.next_fast_len(size))

    def correlate(a: Times, b: Times) -> Times:
        found = scipy.fft.irfft(scipy.fft.rfft(a, long) * np.conj(scipy.fft.rfft(b, long)), long)
        return np.concatenate([found[long - len(b) + 1 :], found[: len(a)]])

    count = np.rint(correlate(ones_c, ones_s))
    total_c, total_s = correlate(curve, ones_s), correlate(ones_c, signal)
    spread_c = correlate(curve**2, ones_s) - total_c**2 / np.maximum(count, 1)
    spread_s = correlate(ones_c, signal**2) - total_s**2 / np.maximum(count, 1)
    cross = correlate(curve, signal) - total_c * total_s / np.maximum(count, 1)
    # Where little of what happened overlaps, chance agrees with anything.
    enough = (spread_c > 0.3 * spread_c.max()) & (spread_s > 0.3 * spread_s.max())
    shifts = np.arange(-(len(signal) - 1), len(curve)) * step + base
    enough &= (count > 0.3 * min(ones_s.sum(), ones_c.sum())) & (np.abs(shifts) <= most_s)
    if not enough.any():
        return None
    agreement = np.zeros(len(cross))
    agreement[enough] = np.abs(cross[enough]) / np.sqrt(spread_c[enough] * spread_s[enough])
    top = int(agreement.argmax())
    near = np.abs(np.arange(len(agreement)) - top) <= max(3, _width(agreement, top))
    rival = float(agreement[~near].max(initial=0.0))
    logs = _alike(signal, curve) * count[top] / 2 * np.log1p(-np.minimum(agreement**2, 1 - 1e-9))
    good = np.flatnonzero(near & (logs <= logs[top] + _LEAST_LESS))
    within = max(float(np.abs(shifts[good] - shifts[top]).max()), step)
    return float(shifts[top]), float(min(agreement[top], 1.0)), rival, within


def _alike(signal: Times, curve: Times) -> float:
    """Part of the points that count as independent (Bartlett, J. R. Stat. Soc. 98 (1935) 536)."""
    both = 1.0
    for one in (signal, curve):
        both *= float(one[1:] @ one[:-1]) / max(float(one @ one), 1e-300)
    return (1 - both) / (1 + both)


def _width(agreement: Times, top: int) -> int:
    """Count the steps around a peak that belong to it: twice those to half of it."""
    low = np.flatnonzero(agreement[: top + 1] < agreement[top] / 2)
    high = np.flatnonzero(agreement[top:] < agreement[top] / 2)
    left = top - int(low[-1]) if len(low) else top
    right = int(high[0]) if len(high) else len(agreement) - top
    return 2 * max(left, right)


def _clipped(values: Times) -> Times:
    """Centred, outliers no further than so many usual deviations, 0 for what is unknown."""
    if not np.isfinite(values).any():
        return np.zeros_like(values)
    centred = np.nan_to_num(values - np.nanmedian(values))
    usual = float(np.percentile(np.abs(centred), 90))
    return np.clip(centred, -_CLIP * usual, _CLIP * usual) if usual > 0 else centred
