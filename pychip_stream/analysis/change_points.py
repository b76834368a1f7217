"""Change points: when a curve steps or bends, proposed afterwards and told as the run goes on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.domain.quantities import OF_FRAMES, of_frames
from pychip_stream.domain.support import UNKNOWN

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run

Float = npt.NDArray[np.float64]

MOMENTS = 150
"""A curve is looked at in so many medians of neighbours; changes are told as exactly as that."""
_SHORTEST = 5
_PARAMETERS = 3  # of each further piece: where it begins, its level and its slope
_LEAST = 2e-3
"""Noise is taken for at least this part of the range: rounding makes no change."""


@dataclass(frozen=True, slots=True)
class ChangePoint:
    """A moment at which a curve steps or bends.

    Attributes
    ----------
    name
        Of the class or quantity.
    time
        As in the curve, s.
    step
        How far it jumps there.
    before, after
        Slopes on both sides, per s.
    """

    name: str
    time: float
    step: float
    before: float
    after: float

    @property
    def text(self) -> str:
        """What changes, for people."""
        slopes = f"slope {self.before:.2g} to {self.after:.2g} per s"
        return f"{self.name}: step {self.step:+.2g}, {slopes}"


def change_points(name: str, times: Float, values: Float) -> list[ChangePoint]:
    """Propose where a curve changes: the best pieces of straight lines through it.

    PELT (Killick et al., JASA 107, 1590, 2012; the library ruptures) with a penalty as of the BIC
    for each further piece, twice over, as the noise of neighbouring frames is not independent. The
    noise comes from second differences, which ramps do not touch.

    Parameters
    ----------
    times
        (n,) in s, rising.
    values
        (n,); NaN where there is none.
    """
    import ruptures

    known = np.isfinite(values) & np.isfinite(times)
    size = -(-int(known.sum()) // MOMENTS) | 1  # odd: no median lies between the sides of a step
    pieces = int(known.sum()) // size
    if pieces < 2 * _SHORTEST or np.ptp(values[known]) == 0:
        return []
    moments, medians = (
        np.median(of[known][: pieces * size].reshape(pieces, size), axis=1)
        for of in (times, values)
    )
    bends = np.abs(np.diff(medians, 2))
    noise = float(np.median(bends)) / (0.6745 * math.sqrt(6))
    scale = max(noise, _LEAST * float(np.ptp(medians)))
    place = (moments - moments[0]) / max(moments[-1] - moments[0], 1e-9)
    signal = np.stack([medians / scale, place, np.ones(pieces)], axis=1)
    search = ruptures.Pelt(model="linear", min_size=_SHORTEST, jump=1).fit(signal)
    ends = search.predict(pen=2 * _PARAMETERS * math.log(pieces))[:-1]
    found = []
    for first, end, last in zip([0, *ends], ends, [*ends[1:], pieces], strict=False):
        moment = (moments[end - 1] + moments[end]) / 2
        left = np.polyfit(moments[first:end] - moment, medians[first:end], 1)
        right = np.polyfit(moments[end:last] - moment, medians[end:last], 1)
        step = float(right[1] - left[1])
        found.append(ChangePoint(name, float(moment), step, float(left[0]), float(right[0])))
    return found


def change_points_of(run: "Run") -> list[ChangePoint]:
    """Propose where the fractions of a run and the quantities of its frames change.

    Those of single classes beside their fractions are left aside. Times are seconds since 1970.
    """
    rows = run.fractions["frame"].to_numpy()
    columns = run.columns("time", *(q.name for q in of_frames((), OF_FRAMES.names) if q.plotted))
    curves = {n: run.intervals[rows, i, 0] for i, n in enumerate((*run.names, UNKNOWN))}
    curves |= {n: values[rows] for n, values in columns.items() if n != "time"}
    return all_change_points(columns["time"][rows].astype(np.float64), curves)


def all_change_points(times: Float, curves: Mapping[str, Float]) -> list[ChangePoint]:
    """Propose where each of the curves, (n,) by name, changes; in order of time."""
    found = [
        point for name, values in curves.items() for point in change_points(name, times, values)
    ]
    return sorted(found, key=lambda point: point.time)


ALLOWANCE, LIMIT = 0.5, 8.05
FALSE_ALARM_FRAMES = 10_000
"""Frames between two false alarms of one curve, on average: Siegmund's approximation for these
(Sequential Analysis, 1985), where the noise is normal and independent from frame to frame."""
WARMING = 20


@dataclass(slots=True)
class SequentialTest:
    """Two-sided CUSUM of one curve, self-starting (Hawkins, The Statistician 36, 299, 1987).

    Each value is compared with mean and deviation of those before it, by the t distribution: no
    history is needed and none is kept. It begins anew after a change.
    """

    count: int = field(default=0, init=False)
    _mean: float = field(default=0.0, init=False)
    _squares: float = field(default=0.0, init=False)
    _up: float = field(default=0.0, init=False)
    _down: float = field(default=0.0, init=False)

    def put(self, value: float) -> bool:
        """Take in the value of the next frame; whether the curve has changed. NaN is no value."""
        if not math.isfinite(value):
            return False
        if self.count >= WARMING and self._squares > 0:
            deviation = math.sqrt(self._squares / (self.count - 1))
            away = (value - self._mean) / deviation * math.sqrt(self.count / (self.count + 1))
            share = float(scipy.special.stdtr(self.count - 1, away))
            residual = float(scipy.special.ndtri(min(max(share, 1e-15), 1 - 1e-15)))
            self._up = max(0.0, self._up + residual - ALLOWANCE)
            self._down = max(0.0, self._down - residual - ALLOWANCE)
            if max(self._up, self._down) > LIMIT:
                self.__init__()  # type: ignore[misc]
                return True
        self.count += 1
        change = value - self._mean
        self._mean += change / self.count
        self._squares += change * (value - self._mean)
        return False
