"""Caveats: what makes the fractions of frames mean less than they seem, told from quantities."""

from collections.abc import Iterable, Mapping
from math import isfinite, nan
from statistics import median_low

STRANGE = 0.8
"""Share of a frame's chips that must be less like the examples than nine in ten of the support
frame's for the frame to be of another material, or taken under other conditions."""
WIDE = 0.3
"""Width of an interval from which on its reason is told."""

DOUBTS = {
    "examples": "other chips of the same classes would give other fractions; add examples",
    "confusion": "classes look alike, or too few examples show that they do not; add examples, "
    "merge classes, or label chips in an audit",
    "border": "many chips show two classes; make chips smaller",
    "drift": "the chips have moved away from the examples; add examples from a recent frame",
    "unknown": "many chips are almost unlike the examples; name what they show, or add examples",
}
"""What an interval is made of, and why it is wide then."""

TRUST = (
    "pixel_size_ratio",
    "strange",
    "interval_width",
    *(f"interval_{name}" for name in DOUBTS),
)
"""Quantities that caveats are told from."""


def middle(frames: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Median of each of these quantities, as one of the frames that have it does."""
    known = list(frames)
    found = {name: [one[name] for one in known if isfinite(one.get(name, nan))] for name in TRUST}
    return {name: median_low(values) for name, values in found.items() if values}


def caveats(measured: Mapping[str, float]) -> list[str]:
    """Say what holds for these quantities of a frame, or of several, one line each."""
    found = []
    if isfinite(ratio := measured.get("pixel_size_ratio", nan)):
        found.append(
            f"another magnification than that of the examples (pixels {ratio:.3g} times as large): "
            "chips were cut as large on the specimen as the examples are; a support set at this "
            "magnification is surer (classify.match_pixel_size: false cuts them as large in pixels)"
        )
    if measured.get("strange", 0.0) > STRANGE:
        return [
            *found,
            "unlike the support set: nearly every chip is stranger than most of the frame that "
            "its examples came from. Another material, or taken under other conditions; the "
            "fractions mean nothing, make a support set on a frame of this kind",
        ]
    parts = {name: measured.get(f"interval_{name}", nan) for name in DOUBTS}
    known = [name for name, width in parts.items() if isfinite(width)]
    if not (known and measured.get("interval_width", 0.0) > WIDE):
        return found
    why = max(known, key=parts.__getitem__)
    return [
        *found,
        f"intervals are wider than {100 * WIDE:.0f} % mostly since {DOUBTS[why]} ({why})",
    ]


def shows_nothing(measured: Mapping[str, float]) -> bool:
    """Whether these quantities are those of a blank frame."""
    return measured.get("blank", 0.0) > 0
