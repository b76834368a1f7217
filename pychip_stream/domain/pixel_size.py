"""Pixel sizes: in every spelling of their units, made comparable; and those given by hand."""

import math
import re
from typing import Any, NamedTuple

_LENGTHS_NM = {
    "pm": 1e-3, "nm": 1.0, "um": 1e3, "mm": 1e6, "cm": 1e7, "m": 1e9, "inch": 2.54e7,
    "a": 0.1, "å": 0.1, "angstrom": 0.1, "ångström": 0.1, "micron": 1e3,
    "picometer": 1e-3, "nanometer": 1.0, "micrometer": 1e3, "millimeter": 1e6,
    "centimeter": 1e7, "meter": 1e9,
}  # fmt: skip
_RECIPROCAL = re.compile(r"^(?:1\s*/\s*(?P<a>.+)|(?P<b>.+?)\s*\^?(?:-1|⁻¹))$")
_NOT_UNITS = {"", "[]", "()", "pixel", "pixels", "px", "pix", "none", "null"}
_BY_HAND = re.compile(r"\s*(?P<size>\d*[.,]?\d+(?:[eE][-+]?\d+)?)\s*(?P<unit>\S.*?)\s*")
_SMALLEST_NM, _LARGEST_NM = 1e-4, 1e6
"""No microscope has smaller pixels than a tenth of a picometre, or larger ones than 1 mm."""


class PixelSize(NamedTuple):
    """Edge of a pixel in `unit`, which is nm or 1/nm."""

    size: float
    unit: str

    def __str__(self) -> str:
        return f"{self.size:.12g} {self.unit}"


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
    text = spelled(unit)
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


def by_hand(text: str) -> PixelSize:
    """Read what a person gives as the size of a pixel: "0.5 nm", "2e-3 um", "0.1 1/nm".

    Raises
    ------
    ValueError
        If it is no such thing, or no pixel can have that size.
    """
    match = _BY_HAND.fullmatch(text)
    found = pixel_size(match["size"].replace(",", "."), match["unit"]) if match else (None, None)
    size, unit = found
    if size is None or unit not in ("nm", "1/nm"):
        raise ValueError(f"pixel size {text[:40]!r}: write a number and a length, such as 0.5nm")
    if not is_plausible(size, unit):
        raise ValueError(f"pixel size {text[:40]!r}: no pixel is that size (1e-4 nm to 1 mm)")
    return PixelSize(size, unit)


def is_plausible(size: float, unit: str | None) -> bool:
    """Whether a pixel can have this size; of units that are no lengths nobody knows."""
    if unit == "1/nm":
        return _SMALLEST_NM <= 1 / size <= _LARGEST_NM
    return unit != "nm" or _SMALLEST_NM <= size <= _LARGEST_NM


def spelled(unit: Any) -> str:
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


def _positive(number: float, unit: str) -> tuple[float | None, str | None]:
    if not math.isfinite(number) or number <= 0:
        return None, None
    return float(f"{number:.12g}"), unit
