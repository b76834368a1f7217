"""Stimulus: what is done to the specimen, as readings that each keep their own time."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.float64]
Kind = Literal["number", "state"]

MAX_GAP_S = 10.0
"""Nothing is interpolated between readings that are further apart, unless a source says more."""

MOST_SIGNALS = 64
"""Of one source; more columns of a log are left out."""

MOST_NOTES = 1000
"""Of the logs of a run; more are left out."""

_LONGEST = 140
"""Letters of a name and of a unit that become part of the name of a quantity."""

_UNITS = {
    "°c": "degC", "c": "degC", "degc": "degC", "deg c": "degC", "degrees c": "degC",
    "celsius": "degC", "ºc": "degC", "℃": "degC", "kelvin": "K", "degrees k": "K",
    "degrees f": "degF", "°f": "degF", "amps": "A", "amp": "A", "milliamps": "mA",
    "microamps": "uA", "µa": "uA", "μa": "uA", "nanoamps": "nA", "volts": "V", "millivolts": "mV",
    "ohms": "ohm", "ω": "ohm", "watts": "W", "milliwatts": "mW", "perc": "%", "percent": "%",
    "seconds": "s", "sec": "s", "milliseconds": "ms",
}  # fmt: skip
_ENDINGS = {"degC": "C", "degF": "F", "%": "percent"}


class Measurement(NamedTuple):
    """One reading of one thing; `time` in seconds since 1970."""

    name: str
    value: float
    unit: str
    time: float


def unit_of(text: str) -> str:
    """Write a unit as NeXus spells it, where it is known; as it stands where not."""
    plain = " ".join(text.split()).strip("[]() ")
    return _UNITS.get(plain.casefold(), plain.replace("µ", "u").replace("μ", "u"))


def quantity_name(name: str, unit: str) -> str:
    """Name of the quantity that readings become: letters, digits, underscores, the unit last.

    It is cut where it is too long for messages, which live frames carry it in.
    """
    ending = re.sub(r"[^A-Za-z0-9]+", "_", _ENDINGS.get(unit, unit).replace("/", "_per_"))
    plain = re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_") or "value"
    plain, ending = plain[:_LONGEST], ending[:_LONGEST]
    if not plain[0].isalpha():
        plain = f"x_{plain}"
    ending = ending.strip("_")
    if not ending or plain.endswith(f"_{ending.casefold()}"):
        return f"{plain[: len(plain) - len(ending)]}{ending}"
    return f"{plain}_{ending}"


@dataclass(frozen=True, eq=False)
class Signal:
    """What a source tells of one thing.

    Attributes
    ----------
    name, unit
        As the source calls it; as NeXus spells it.
    kind
        "number" is interpolated between readings, "state" (on or off, a set point) stays until
        the next.
    values
        (n,) float64, NaN where a reading lacks it.
    """

    name: str
    unit: str
    kind: Kind
    values: Times = field(repr=False)

    @property
    def quantity(self) -> str:
        """Name of the quantity that it becomes."""
        return quantity_name(self.name, self.unit)


class Note(NamedTuple):
    """What whoever worked wrote into a log; `time` as in `Readings`."""

    time: float
    text: str


@dataclass(frozen=True, eq=False)
class Readings:
    """Readings of one source, in the order in which it made them.

    Attributes
    ----------
    source
        Its name in the run.
    time
        (n,) float64 seconds since 1970 on the source's own clock.
    signals
        What was read at these times.
    max_gap_s
        Between readings further apart nothing is interpolated.
    """

    source: str
    time: Times = field(repr=False)
    signals: tuple[Signal, ...]
    max_gap_s: float = MAX_GAP_S

    def __len__(self) -> int:
        return len(self.time)


@dataclass(frozen=True, eq=False)
class Series:
    """All readings of one thing by one source, in order of time on the clock of the frames.

    Attributes
    ----------
    time, values
        (n,) float64; seconds since 1970, without a NaN.
    """

    source: str
    name: str
    unit: str
    kind: Kind
    max_gap_s: float
    time: Times = field(repr=False)
    values: Times = field(repr=False)

    @property
    def quantity(self) -> str:
        """Name of the quantity that it becomes."""
        return quantity_name(self.name, self.unit)

    def at(self, times: Times) -> Times:
        """Values at the times of frames; NaN where no reading tells.

        A number is interpolated between two readings that are no further apart than the gap; a
        state is that of the reading before, and counts for no longer than the gap after the last.

        Parameters
        ----------
        times
            (m,) seconds since 1970.
        """
        found = np.full(len(times), np.nan)
        if not len(self.time):
            return found
        after = np.searchsorted(self.time, times, side="right")
        before = np.maximum(after - 1, 0)
        known = after > 0
        later = np.minimum(after, len(self.time) - 1)
        span = self.time[later] - self.time[before]
        if self.kind == "state":
            known &= (after < len(self.time)) | (times - self.time[-1] <= self.max_gap_s)
            found[known] = self.values[before[known]]
            return found
        exact = known & (self.time[before] == times)
        between = known & (after < len(self.time)) & (span <= self.max_gap_s) & ~exact
        found[exact] = self.values[before[exact]]
        low, high = before[between], later[between]
        share = (times[between] - self.time[low]) / span[between]
        found[between] = self.values[low] * (1 - share) + self.values[high] * share
        return found


def series_of(
    source: str, name: str, unit: str, kind: Kind, max_gap_s: float, time: Times, values: Times,
    offset_s: float = 0.0,
) -> Series:  # fmt: skip
    """Make a series of readings, in any order.

    Parameters
    ----------
    offset_s
        To add to the clock of the source.
    """
    time, values = in_order(time, values)
    if offset_s:
        time = time + offset_s
    return Series(source, name, unit, kind, max_gap_s, time, values)


def in_order(time: Times, values: Times) -> tuple[Times, Times]:
    """Put readings in order of time; of several at one moment the last one counts."""
    known = np.isfinite(time) & np.isfinite(values)
    if not known.all():
        time, values = time[known], values[known]
    steps = np.diff(time)
    if (steps < 0).any():
        order = np.argsort(time, kind="stable")
        time, values = time[order], values[order]
        steps = np.diff(time)
    if (steps == 0).any():
        last = np.append(steps > 0, True)
        time, values = time[last], values[last]
    return time, values


def join(series: Sequence[Series], times: Times) -> dict[str, Times]:
    """Values of every quantity at the times of frames.

    Where several sources tell the same quantity, the one that comes first in `series` counts,
    and the next where it tells nothing.

    Parameters
    ----------
    times
        (m,) seconds since 1970.

    Returns
    -------
    (m,) float64 by the name of the quantity.
    """
    found: dict[str, Times] = {}
    for one in series:
        values = one.at(times)
        if one.quantity in found:
            values = np.where(np.isfinite(found[one.quantity]), found[one.quantity], values)
        found[one.quantity] = values
    return found
