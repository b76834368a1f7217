"""Colours of classes."""

import re
from collections.abc import Container, Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

PALETTE = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#999933",
    "#882255", "#44aa99",
)  # fmt: skip
"""Colour-blind-safe class colours (Okabe & Ito 2008, then Tol's muted scheme)."""

UNKNOWN_COLOR = "#7f7f7f"

_MOST = 250
_LEVELS = 9
_LIGHTNESS = (30, 88)
_LEAST_CHROMA = 18
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def color_of(number: int) -> str:
    """Colour of the class at a position, unlike those before it and unlike that of unknown.

    The first ten are `PALETTE`, which colour-blind people tell apart; each further one is the
    colour farthest from all before it in CIELAB (farthest-first traversal, Gonzalez 1985).
    """
    return _colors()[number % _MOST]


def shown_color(text: str) -> str:
    """Colour as it is shown: what is not #rrggbb (files may say anything) is grey."""
    return text if re.fullmatch("#[0-9a-fA-F]{6}", text) else UNKNOWN_COLOR


def told_apart(colors: Mapping[str, str], first: Container[str] = ()) -> dict[str, str]:
    """Colours of classes, no two of them the same.

    Parameters
    ----------
    colors
        By name; where several have one, all but one get a free one.
    first
        Names that keep theirs before others do.
    """
    taken, kept, found = set(colors.values()), set[str](), dict(colors)
    for name in sorted(colors, key=lambda name: name not in first):
        if colors[name] in kept:
            free = (color for color in map(color_of, range(_MOST)) if color not in taken)
            found[name] = next(free, colors[name])
            taken.add(found[name])
        kept.add(colors[name])
    return found


@cache
def _colors() -> tuple[str, ...]:
    steps = np.rint(np.linspace(0, 255, _LEVELS))
    candidates = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    places = _lab(candidates)
    chroma = np.hypot(places[:, 1], places[:, 2])
    low, high = _LIGHTNESS
    fit = (places[:, 0] > low) & (places[:, 0] < high) & (chroma > _LEAST_CHROMA)
    candidates, places = candidates[fit], places[fit]
    taken = _lab(np.array([_rgb(color) for color in (*PALETTE, UNKNOWN_COLOR)], float))
    nearest = np.linalg.norm(places[:, None] - taken, axis=-1).min(axis=1)
    found = [*PALETTE]
    while len(found) < _MOST:
        farthest = int(nearest.argmax())
        found.append("#{:02x}{:02x}{:02x}".format(*candidates[farthest].astype(int)))
        nearest = np.minimum(nearest, np.linalg.norm(places - places[farthest], axis=-1))
    return tuple(found)


def _rgb(color: str) -> list[int]:
    return [int(color[at : at + 2], 16) for at in (1, 3, 5)]


def _lab(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(n, 3) CIELAB of (n, 3) sRGB 0…255 under D65 (CIE 15:2004)."""
    share = rgb / 255
    linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
    xyz = linear @ _TO_XYZ.T / _TO_XYZ.sum(axis=1)
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
