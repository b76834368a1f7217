"""Change points: when a curve steps or bends, proposed afterwards."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.quantities import OF_FRAMES, of_frames
from pychip_stream.domain.support import UNKNOWN

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run

Float = npt.NDArray[np.float64]

MOMENTS = 150
"""A curve is looked at in so many medians of neighbours; changes are told as exactly as that."""
_SHORTEST = 5
_PARAMETERS = 3  # of each further piece: where it begins, its level and its slope
_FAR, _MOST_SHARED = 4, 0.9
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
    for each further piece, twice over, as no line is quite straight. Noise that neighbours share
    counts as much as it does in the mean of many.

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
    scale = max(_noise(medians), _LEAST * float(np.ptp(medians)))
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


def _noise(values: Float) -> float:
    """Noise of a curve, taken as autocorrelated of first order, as it acts on means.

    From second differences, which ramps do not touch: over the next value and over four, whose
    ratio tells how much neighbours share.
    """
    near, far = (
        float(np.median(np.abs(values[2 * k :] - 2 * values[k:-k] + values[: -2 * k]))) / 0.6745
        for k in (1, _FAR)
    )
    shared = np.linspace(0.0, _MOST_SHARED, 100)
    own, over = (6 - 8 * shared**k + 2 * shared ** (2 * k) for k in (1, _FAR))
    at = float(np.interp((far / max(near, 1e-300)) ** 2, over / own, shared))
    return near / math.sqrt(6 - 8 * at + 2 * at**2) * math.sqrt((1 + at) / (1 - at))


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
