"""Units: pixel sizes, intervals and times as the formats write them, made comparable."""

import math
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pychip_stream.domain.frames import Stamp

_LENGTHS_NM = {
    "pm": 1e-3, "nm": 1.0, "um": 1e3, "mm": 1e6, "cm": 1e7, "m": 1e9, "inch": 2.54e7,
    "a": 0.1, "å": 0.1, "angstrom": 0.1, "ångström": 0.1, "micron": 1e3,
    "picometer": 1e-3, "nanometer": 1.0, "micrometer": 1e3, "millimeter": 1e6,
    "centimeter": 1e7, "meter": 1e9,
}  # fmt: skip
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0}
_RECIPROCAL = re.compile(r"^(?:1\s*/\s*(?P<a>.+)|(?P<b>.+?)\s*\^?(?:-1|⁻¹))$")
_NOT_UNITS = {"", "pixel", "pixels", "px", "pix", "none", "null"}
_FILETIME_EPOCH_S = 11_644_473_600
_DATES = ("%m/%d/%Y", "%m/%d/%y", "%Y-%m-%d", "%d.%m.%Y", "%Y/%m/%d", "%d %b %Y")
_CLOCKS = ("%I:%M:%S %p", "%H:%M:%S", "%H:%M:%S.%f", "%H:%M")
_CLOCK = re.compile(r"\d\d?:?(?P<minute>\d\d)?(?::?(?P<second>\d\d)(?:[.,](?P<part>\d+))?)?")


def pixel_size(size: Any, unit: Any) -> tuple[float | None, str | None]:
    """Bring a pixel size to nm (or 1/nm), where the unit is a length (or a reciprocal one).

    Parameters
    ----------
    size
        Edge of a pixel; anything that is not a finite positive number counts as unknown.
    unit
        As the file says it; one that is neither stays as it is.

    Returns
    -------
    Size and unit, both None where the file does not say.
    """
    try:
        number = abs(float(size))
    except (TypeError, ValueError, OverflowError):
        return None, None
    text = _spelled(unit)
    if not math.isfinite(number) or number <= 0 or text.lower() in _NOT_UNITS:
        return None, None
    # "A" and "M" differ from "a" and "m" in SI, but no microscope counts in ampere or mega.
    factor = _length(text)
    if factor is not None:
        return _positive(number * factor, "nm")
    match = _RECIPROCAL.match(text)
    base = _length((match["a"] or match["b"]).strip()) if match else None
    if base is not None:
        return _positive(number / base, "1/nm")
    if not text.isprintable():
        return None, None
    return number, text[:16]


def _spelled(unit: Any) -> str:
    """Undo what programs do to units: escapes, brackets, other letters for micro and ångström."""
    text = re.sub(
        r"\\u([0-9a-fA-F]{4})", lambda m: chr(int(m[1], 16)), str(unit or "").replace("\0", "")
    )
    text = re.sub("^\ufffd(?=m$)", "u", text.strip())
    text = text.translate({0xB5: "u", 0x3BC: "u", 0x212B: "å"})
    inner = re.fullmatch(r"[(\[]\s*(.+?)\s*[)\]]", text)
    return inner[1] if inner else text


def _length(text: str) -> float | None:
    """Nanometres of a unit of length, in singular or plural, metre or meter."""
    lower = re.sub(r"metre(?=s?$)", "meter", text.lower())
    return _LENGTHS_NM.get(lower, _LENGTHS_NM.get(lower.removesuffix("s")))


def interval(step: Any, unit: Any) -> float | None:
    """Bring the time between frames to seconds; None where it is none that can be."""
    text = _spelled(unit).lower()
    factor = _SECONDS.get(text, _SECONDS.get(text.removesuffix("s")))
    number = seconds(step)
    return None if factor is None or number is None else number * factor


def _positive(number: float, unit: str) -> tuple[float | None, str | None]:
    if not math.isfinite(number) or number <= 0:
        return None, None
    return float(f"{number:.12g}"), unit


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


def from_text(text: Any) -> Stamp | None:
    """Seconds since 1970 of an ISO 8601 or TIFF date; without a zone it is this computer's."""
    cleaned = str(text or "").replace("\0", "").strip()
    exif = re.match(r"^(\d{4}):(\d\d):(\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)$", cleaned)
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
