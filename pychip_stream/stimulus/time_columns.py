"""Clock of a log: from what stands in its time columns to seconds since 1970."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from pychip_stream.domain.frames import EARLIEST_S, LATEST_S
from pychip_stream.domain.signals import Times
from pychip_stream.stimulus.dialect import LogError, TimeColumn

_DAY_S = 86400.0
_EXCEL_1970 = 25569.0
_QUARTER_S = 900.0
_BACK_S = 1800.0
"""A local clock that goes back by more, within the hour that there is twice, has been put back."""
_EPOCH = datetime(1970, 1, 1)


def naive_seconds(text: str) -> tuple[float, bool]:
    """Read an ISO time: seconds since 1970 on its own clock, and whether it tells its zone.

    Raises
    ------
    ValueError
        If it is none.
    """
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is not None:
        return moment.timestamp(), True
    return (moment - _EPOCH).total_seconds(), False


def day(text: str, where: str) -> float:
    """Read a date, as seconds since 1970 on the local clock."""
    try:
        return (date.fromisoformat(text) - _EPOCH.date()).total_seconds()
    except ValueError:
        raise LogError(f"{where}: date {text!r} is none; write it as 2026-11-27") from None


class LogClock:
    """Tells the moments of lines, one block after the other.

    Parameters
    ----------
    zone
        Name of the zone of local times; empty: that of this computer.
    """

    def __init__(self, column: TimeColumn, zone: str) -> None:
        self._column = column
        self._zone: tzinfo | None = ZoneInfo(zone) if zone else None
        self._last_clock = -np.inf
        self._days = 0
        self._last_local = -np.inf
        self._put_back = False

    def seconds(
        self, columns: list[pd.Series], decimal: str, written: Times | None = None
    ) -> Times:
        """(n,) seconds since 1970; NaN where a line tells none.

        Parameters
        ----------
        columns
            As they were read, of the time columns.
        written
            What `written_times` read of these; then `columns` do not count.
        """
        column = self._column
        if column.form == "text" and written is not None:
            local, zoned = written, column.zoned
        elif column.form == "text":
            local, zoned = _texts(columns, column)
        elif column.form == "clock":
            of_day = _clocks(columns[0]) if written is None else written
            local, zoned = column.start + self._on(of_day), column.zoned
        else:
            number = numbers(columns[0], decimal)
            local = {
                "unix": lambda: number * column.step_s,
                "elapsed": lambda: number * column.step_s + column.start,
                "excel": lambda: (number - _EXCEL_1970) * _DAY_S,
            }[column.form]()
            zoned = column.form == "unix" or column.zoned
        local = np.where((local > EARLIEST_S) & (local < LATEST_S), local, np.nan)
        return local if zoned else self._utc(local)

    def _on(self, found: Times) -> Times:
        """Seconds since the first midnight; a jump back of half a day is another midnight."""
        known = np.flatnonzero(np.isfinite(found))
        steps = np.diff(found[known], prepend=self._last_clock)
        days = self._days + np.cumsum(steps < -_DAY_S / 2)
        if len(known):
            self._last_clock, self._days = found[known[-1]], int(days[-1])
        found[known] += days * _DAY_S
        return found

    def _utc(self, local: Times) -> Times:
        """From a local clock, on which an hour is missing in spring and there twice in autumn.

        What stands in that hour twice is the first of the two until the clock has gone back.
        """
        known = np.flatnonzero(np.isfinite(local))
        out = np.full(len(local), np.nan)
        if not len(known):
            return out
        times = local[known]
        quarter = np.floor(times / _QUARTER_S)
        another = np.diff(quarter, prepend=np.nan) != 0
        quarters, place = np.unique(quarter[another], return_inverse=True)
        place = place[np.cumsum(another) - 1]
        first = np.array([self._offset(q * _QUARTER_S, 0) for q in quarters])
        second = np.array([self._offset(q * _QUARTER_S, 1) for q in quarters])
        twice = (first > second)[place]
        back = np.diff(times, prepend=self._last_local) < -_BACK_S
        gone = self._put_back | np.cumsum(back & twice).astype(bool)
        self._last_local, self._put_back = float(times[-1]), bool(gone[-1] and twice[-1])
        out[known] = times - np.where(twice & gone, second[place], first[place])
        return out

    def _offset(self, local: float, fold: int) -> float:
        """Seconds by which the local clock is before UTC."""
        moment = (_EPOCH + timedelta(seconds=local)).replace(fold=fold)
        if self._zone is None:
            shift = moment.astimezone().utcoffset()
        else:
            shift = moment.replace(tzinfo=self._zone).utcoffset()
        return (shift or timedelta()).total_seconds()


def numbers(column: pd.Series, decimal: str) -> Times:
    """(n,) float64; NaN for what is no number."""
    if column.dtype.kind in "iufb":
        return column.to_numpy(np.float64)
    text = column.astype(str).str.strip().str.strip('"').str.strip()
    if decimal == ",":
        text = text.str.replace(",", ".", regex=False)
    return np.asarray(pd.to_numeric(text, errors="coerce").to_numpy(np.float64))


def _clocks(column: pd.Series) -> Times:
    """(n,) seconds since midnight."""
    text = column.astype(str).str.strip().str.strip('"').str.replace(",", ".")
    found = pd.to_timedelta(text, errors="coerce").dt.total_seconds()
    return np.asarray(found.to_numpy(np.float64, copy=True))


def _texts(columns: list[pd.Series], column: TimeColumn) -> tuple[Times, bool]:
    text = columns[0].astype(str).str.strip().str.strip('"')
    for more in columns[1:]:
        text = text + " " + more.astype(str).str.strip().str.strip('"')
    pattern = column.pattern
    if pattern:
        zoned = "%z" in pattern
    else:
        pattern, zoned = "ISO8601", column.zoned
        text = text.str.replace(",", ".", regex=False)
    try:
        moments = pd.to_datetime(text, format=pattern, errors="coerce", utc=zoned)
    except ValueError:  # of a damaged line that tells a zone where others tell none
        told = text.str.contains(r":.*[+-]|Z$")
        moments = pd.to_datetime(text.mask(told), format=pattern, errors="coerce", utc=zoned)
    return _since_1970(moments), zoned


def _since_1970(moments: pd.Series) -> Times:
    plain = moments.dt.tz_localize(None) if moments.dt.tz is not None else moments
    values: npt.NDArray[np.datetime64] = plain.to_numpy("datetime64[ns]")
    seconds = values.astype(np.int64) / 1e9
    return np.where(np.isnat(values), np.nan, seconds)


def zone_name(zone: str) -> str:
    """Name of a zone, also that of this computer."""
    return zone or f"this computer ({datetime.now(UTC).astimezone().tzname()})"
