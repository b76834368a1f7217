"""Metadata: what files say of stage, beam and detector, under common names and in common units."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar

from pychip_stream.domain.frames import TEXTS
from pychip_stream.domain.pixel_size import spelled

_T = TypeVar("_T")
Metadata = dict[str, float | str]
"""As `domain.frames.Frame` has it."""
Entry = tuple[str, str, str]
"""Where a value stands in a file, the name it gets, and its unit there."""

_MAX_XML = 4 << 20
_LENGTHS = {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "pm": 1e-12}
_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
# By the last part of a name: what a value in another unit is multiplied with.
_UNITS = {
    "kV": {"kv": 1.0, "v": 1e-3},
    "um": {unit: factor * 1e6 for unit, factor in _LENGTHS.items()},
    "mm": {unit: factor * 1e3 for unit, factor in _LENGTHS.items()},
    "us": {unit: factor * 1e6 for unit, factor in _TIMES.items()},
    "deg": {"deg": 1.0, "°": 1.0, "rad": math.degrees(1)},
    "C": {"c": 1.0, "°c": 1.0, "k": 1.0},
    "magnification": {"": 1.0, "x": 1.0, "kx": 1e3},
    "s": {"e/å2/s": 1.0, "e/a2/s": 1.0, "e/nm2/s": 1e-2, "e/m2/s": 1e-20},
}
_NEVER_BELOW = {"deg": -1e4, "um": -1e9, "C": -273.15}
_MOST = 1e12
_MOST_TEXT = 100
_NO_TEXTS = {"", "unknown", "none", "nothing", "n/a"}
_PLAIN = {ord(" "): None, ord("^"): None, ord("²"): "2"}
_NUMBER = re.compile(r"\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)\s*(.*)")


def courtesy(work: Callable[[], _T], otherwise: _T) -> _T:
    """Do what may fail over anything: whatever stands beside the pixels must not cost them."""
    try:
        return work()
    except Exception:
        return otherwise


def collect(find: Callable[[str], Any], table: Iterable[Entry]) -> Metadata:
    """Collect what a file says; of several places for one name the first that says anything counts.

    Parameters
    ----------
    find
        Gives what stands in a place: a number or text, which may end with a unit of its own;
        None where there is nothing.
    """
    found: Metadata = {}
    for place, name, unit in table:
        if name in found:
            continue
        value = find(place)
        known = _text(value) if name in TEXTS else _number(value, name, unit)
        if known is not None:
            found[name] = known
    return found


# Of lines that people can read; numbers without a unit are left alone.
_LABELS = (
    *((label, "high_voltage_kV", "") for label in ("high tension", "high voltage", "hv")),
    *((f"{word} voltage", "high_voltage_kV", "") for word in ("accelerating", "acceleration")),
    ("magnification", "magnification", ""),
    ("camera length", "camera_length_mm", ""),
    *((f"stage {axis}", f"stage_{axis}_um", "") for axis in "xyz"),
    *((f"stage {word}", "stage_alpha_deg", "") for word in ("a", "alpha", "tilt")),
    *((f"stage {word}", "stage_beta_deg", "") for word in ("b", "beta")),
    *((label, "stage_temperature_C", "") for label in ("stage temperature", "holder temperature")),
    ("dwell time", "dwell_us", ""),
    ("dose rate", "dose_rate_e_A2_s", ""),
    ("microscope", "microscope", ""),
    *((label, "detector", "") for label in ("detector", "camera")),
    *((label, "holder", "") for label in ("holder", "specimen holder")),
)


def labelled(lines: Iterable[tuple[str, str]]) -> Metadata:
    """Collect what labels and values say; units stand behind the values or in the label's brackets.

    Parameters
    ----------
    lines
        Such as ("High tension", "200 kV") or ("Dose rate (e/nm2/s)", "12").
    """
    told: dict[str, str] = {}
    for label, value in lines:
        name, _, unit = label.strip().partition("(")
        key = name.replace("_", " ").strip().lower()
        told.setdefault(key, f"{value} {unit.rstrip(' )')}".strip())
    return collect(told.get, _LABELS)


@lru_cache(maxsize=2)
def xml(text: str) -> ET.Element | None:
    """Parse XML unless it is large or declares entities (which can be made to explode)."""
    if len(text) > _MAX_XML or "<!ENTITY" in text or "<!DOCTYPE" in text:
        return None
    try:
        return ET.fromstring(text.strip())  # noqa: S314
    except ET.ParseError:
        return None


def _text(value: Any) -> str | None:
    text = " ".join(str(value if value is not None else "").replace("\0", " ").split())
    text = "".join(c for c in text if c.isprintable())[:_MOST_TEXT]
    return None if text.lower() in _NO_TEXTS else text


def _number(value: Any, name: str, unit: str) -> float | None:
    """Value in the unit of the name; None where it is none, or none that can be."""
    match = None if isinstance(value, bool) else _NUMBER.fullmatch(str(value))
    if match is None:
        return None
    dimension = name.rpartition("_")[2]
    told = spelled(match[2] or unit).lower().translate(_PLAIN)
    factor = _UNITS[dimension].get(told)
    if factor is None:
        return None
    number = float(match[1]) * factor - (273.15 if told == "k" else 0.0)
    lowest = _NEVER_BELOW.get(dimension)
    # Voltages, lengths of cameras and the like are never 0: that is how programs write nothing.
    if number <= 0 if lowest is None else number < lowest:
        return None
    return float(f"{number:.9g}") + 0.0 if number < _MOST else None  # -0 is 0
