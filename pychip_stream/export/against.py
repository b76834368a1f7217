"""Against: fractions against a quantity instead of time, rising and falling told apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.quantities import OF_FRAMES, Quantity, find, of_frames
from pychip_stream.errors import UsageError

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run

Float = npt.NDArray[np.float64]

RISING, FALLING, HELD = 1, -1, 0
BRANCHES = {RISING: "rising", FALLING: "falling", HELD: "held"}
_FEWEST, _MOST, _PARTS = 5, 501, 50
_SIGMAS, _SMALLEST = 3.0, 0.01


def branches_of(times: Float, values: Float) -> npt.NDArray[np.int8]:
    """Tell where a quantity rises (heating), falls (cooling) or is held.

    The sign of its rate, smoothed: the slope of a straight line through a fiftieth of the moments
    (at least 5) about each. It is held where the slope is within three standard errors of none, or
    the line changes by less than 1 % of the whole range.

    Parameters
    ----------
    times
        (n,) in s, rising.
    values
        (n,) of the quantity; NaN where it has none.

    Returns
    -------
    (n,) int8 `RISING`, `FALLING` or `HELD`; held where there is no value.
    """
    branches = np.zeros(len(times), np.int8)
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(times))
    count = len(known)
    if count < 3:
        return branches
    time, value = times[known] - times[known].mean(), values[known] - values[known].mean()
    half = (min(max(_FEWEST, count // _PARTS), _MOST, count) - 1) // 2
    places = np.arange(count)
    first, last = np.maximum(places - half, 0), np.minimum(places + half, count - 1)
    window, number = np.ones(2 * half + 1), last - first + 1

    def mean(of: Float) -> Float:
        # No running sum: its rounding would exceed the spread of close moments late in a run.
        return np.asarray(np.convolve(of, window, "same") / number)

    about_t, about_v = mean(time), mean(value)
    spread = np.maximum(mean(time**2) - about_t**2, 0.0)
    shared = mean(time * value) - about_t * about_v
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(spread > 0, shared / spread, 0.0)
        left = np.maximum(mean(value**2) - about_v**2 - slope * shared, 0.0)
        error = np.sqrt(left / spread / np.maximum(number - 2, 1))
    change = np.abs(slope) * (time[last] - time[first])
    told = (np.abs(slope) > _SIGMAS * error) & (change >= _SMALLEST * np.ptp(value))
    branches[known] = np.where(told, np.sign(slope), HELD)
    return branches


class Against(NamedTuple):
    """A quantity at the frames of a curve.

    Attributes
    ----------
    quantity
        Which it is.
    values
        (n,) NaN where a frame has none.
    branches
        (n,) as of `branches_of`.
    """

    quantity: Quantity
    values: Float
    branches: npt.NDArray[np.int8]


def against(run: Run, name: str) -> Against:
    """Return a quantity at the frames of `Run.fractions`, in their order.

    Raises
    ------
    UsageError
        If there is no such quantity, or no frame has it.
    """
    table = run.fractions
    quantity = find(name)
    if quantity is not None:
        values = run.columns(name)[name][table["frame"].to_numpy()].astype(np.float64)
        if np.isfinite(values).any():
            times = table["time_s"].to_numpy(np.float64)
            return Against(quantity, values, branches_of(times, values))
    columns = run.columns(*(q.name for q in of_frames(run.names, OF_FRAMES.names)))
    there = [known for known, values in columns.items() if np.isfinite(values).any()]
    raise UsageError(f"{run.path}: no frame has a quantity {name!r}; there are {', '.join(there)}")
