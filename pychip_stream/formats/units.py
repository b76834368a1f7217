"""Units: intervals and times as the formats write them, made comparable."""

import math
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from pychip_stream.domain.frames import Stamp
from pychip_stream.domain.pixel_size import spelled

_SECONDS = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3,
    "us": 1e-6, "usec": 1e-6, "microsecond": 1e-6, "ns": 1e-9, "nsec": 1e-9, "nanosecond": 1e-9,
    "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "d": 86_400.0,
    "day": 86_400.0,
}  # fmt: skip
_FILETIME_EPOCH_S = 11_644_473_600
_DAYS_EPOCH = datetime(1899, 12, 30)
_DATES = ("%m/%d/%Y", "%m/%d/%y", "%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%d %b %Y")
_CLOCKS = ("%I:%M:%S %p", "%H:%M:%S", "%H:%M:%S.%f", "%H:%M")
_CLOCK = re.compile(r"\d\d?:?(?P<minute>\d\d)?(?::?(?P<second>\d\d)(?:[.,](?P<part>\d+))?)?")


def interval(step: Any, unit: Any) -> float | None:
    """Bring the time between frames to seconds; None where it is none that can be."""
    text = spelled(unit).lower()
    factor = _SECONDS.get(text, _SECONDS.get(text.removesuffix("s")))
    number = seconds(step)
    return None if factor is None or number is None else number * factor


def seconds(value: Any) -> float | None:
    """Read an exposure in seconds; None if it is not a finite positive number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and 0 < number < 1e9 else None


def from_filetime(value: Any) -> Stamp | None:
    """Seconds since 1970 of a Windows file time (units of 100 ns since 1601, UTC)."""
    try:
        stamp = float(value) / 1e7 - _FILETIME_EPOCH_S
    except (TypeError, ValueError, OverflowError):
        return None
    return _plausible(stamp, 1e-7)


def from_unix(value: Any) -> Stamp | None:
    """Check seconds since 1970 that a file gives as such."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return _plausible(number, 1.0 if number.is_integer() else 1e-6)


def from_days(value: Any) -> Stamp | None:
    """Seconds since 1970 of days since 30 December 1899, in this computer's zone."""
    try:
        moment = (_DAYS_EPOCH + timedelta(days=float(value))).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    # Clocks that are read to the second give whole ones, but for the rounding of days.
    whole = abs(moment - round(moment)) < 1e-4
    return _plausible(float(round(moment)) if whole else moment, 1.0 if whole else 1e-4)


def from_text(text: Any) -> Stamp | None:
    """Seconds since 1970 of an ISO 8601 or TIFF date; without a zone it is this computer's."""
    cleaned = str(text or "").replace("\0", "").strip()
    exif = re.match(
        r"^(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?(?:[-+]\d\d:\d\d)?)$", cleaned
    )
    if exif:
        cleaned = f"{exif[1]}-{exif[2]}-{exif[3]} {exif[4]}"
    cleaned = re.sub(r"(\.\d{6})\d+", r"\1", cleaned)
    clock = cleaned.replace("T", " ").partition(" ")[2]
    # Instruments write any number of decimals; older Pythons take three or six.
    cleaned = re.sub(r"\.(\d+)", lambda m: f".{m[1]:0<6}", cleaned, count=1)
    try:
        return _plausible(datetime.fromisoformat(cleaned).timestamp(), _step(clock))
    except (ValueError, OverflowError, OSError):
        return None


def from_date_and_clock(date: Any, clock: Any) -> Stamp | None:
    """Seconds since 1970 of DigitalMicrograph's two strings, in this computer's zone."""
    day = _first(str(date or "").strip(), _DATES)
    hour = _first(str(clock or "").strip(), _CLOCKS)
    if day is None or hour is None:
        return None
    try:
        stamp = datetime.combine(day.date(), hour.time()).timestamp()
        return _plausible(stamp, _step(str(clock).strip()))
    except (ValueError, OverflowError, OSError):
        return None


def _first(text: str, patterns: Iterable[str]) -> datetime | None:
    for pattern in patterns:
        try:
            return datetime.strptime(text, pattern)
        except ValueError:
            continue
    return None


def _step(clock: str) -> float:
    """Resolution in seconds of a time of day as it is written."""
    found = _CLOCK.match(clock)
    if found is None:
        return 86400.0
    if found["part"]:
        return 10.0 ** -len(found["part"])
    return 1.0 if found["second"] else 60.0 if found["minute"] else 3600.0


def _plausible(stamp: float, resolution: float) -> Stamp | None:
    """Drop times before 1980 or after 2200: a clock that was never set tells nothing."""
    if math.isfinite(stamp) and 315_532_800 < stamp < 7_258_118_400:
        return Stamp(stamp, resolution)
    return None
