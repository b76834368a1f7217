"""Figures: label maps as pictures, curves as vector graphics."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image, ImageColor, ImageDraw, ImageFont

from pychip_stream.archive.tables import column_name
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.support import UNKNOWN

Rgb = npt.NDArray[np.uint8]

_OPACITY = 0.45
_MAX_POINTS = 2000
_NICE = (1.0, 2.0, 5.0)
_OUTSIDE = 40
"""Grey of pixels that no chip covers."""


@dataclass(frozen=True)
class Legend:
    """What is written below a picture.

    Attributes
    ----------
    entries
        (name, colour, fraction or None) in order.
    pixel_size, unit
        For the scale bar; None: it counts pixels.
    title
        First line.
    """

    entries: Sequence[tuple[str, str, float | None]]
    pixel_size: float | None = None
    unit: str | None = None
    title: str = ""


def color_labels(
    label_map: npt.NDArray[np.uint8],
    colors: Sequence[str],
    chip_size: ChipSize,
    shape: tuple[int, int],
) -> Rgb:
    """Paint a label map at frame resolution.

    Parameters
    ----------
    label_map
        (rows, columns) index into `colors`, the last of which is that of unknown.
    shape
        (H, W) of the frame in pixels.

    Returns
    -------
    (H, W, 3) uint8; what no chip covers is dark grey.
    """
    palette = np.array([ImageColor.getrgb(c)[:3] for c in colors], np.uint8)
    tiles = palette[label_map].repeat(chip_size.height, 0).repeat(chip_size.width, 1)
    picture = np.full((*shape, 3), _OUTSIDE, np.uint8)
    height, width = min(shape[0], tiles.shape[0]), min(shape[1], tiles.shape[1])
    picture[:height, :width] = tiles[:height, :width]
    return picture


def overlay(grey: npt.NDArray[np.floating], painted: Rgb, covered: tuple[int, int]) -> Rgb:
    """Lay a painted label map over the frame.

    Parameters
    ----------
    grey
        (H, W) frame, 0…1 is black to white.
    covered
        Height and width of the area that the chips cover; beyond it the frame stays grey.
    """
    frame = np.repeat((np.clip(grey, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    mixed = frame.astype(np.float32) * (1 - _OPACITY) + painted.astype(np.float32) * _OPACITY
    out = frame.copy()
    out[: covered[0], : covered[1]] = mixed[: covered[0], : covered[1]].astype(np.uint8)
    return out


def with_legend(picture: Rgb, legend: Legend) -> Image.Image:
    """Put title, scale bar and legend below a picture, whose own pixels stay as they are."""
    height, width = picture.shape[:2]
    size = int(np.clip(min(height, width) / 28, 12, 48))
    font, pad = _font(size), size // 2
    lines = _wrapped(legend, font, max(width, 18 * size), size)
    canvas_width = max(width, max(x for line in lines for _, _, x in line) + pad, 12 * size)
    bar_px, bar_text = scale_bar(width, legend.pixel_size, legend.unit)
    rows = len(lines) + 1 + bool(legend.title)
    strip = rows * (size + pad) + pad
    canvas = Image.new("RGB", (canvas_width, height + strip), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    y = height + pad
    if legend.title:
        draw.text((pad, y), legend.title, fill="black", font=font)
        y += size + pad
    draw.rectangle((pad, y + size // 2, pad + bar_px - 1, y + size), fill="black")
    draw.text((bar_px + 2 * pad, y), bar_text, fill="black", font=font)
    y += size + pad
    for line in lines:
        for (text, color), start, _ in line:
            draw.rectangle((start, y + size // 8, start + size, y + size), fill=color)
            draw.text((start + size + pad, y), text, fill="black", font=font)
        y += size + pad
    return canvas


def scale_bar(width: int, pixel_size: float | None, unit: str | None) -> tuple[int, str]:
    """Length in pixels and text of a scale bar of about a fifth of the width."""
    scale = pixel_size if pixel_size and np.isfinite(pixel_size) and pixel_size > 0 else 1.0
    wanted = width * scale / 5
    exponent = 10.0 ** np.floor(np.log10(wanted))
    length = max((n * exponent for n in _NICE if n * exponent <= wanted), default=exponent)
    label = (unit or "") if scale is pixel_size else "pixels"
    return max(round(length / scale), 1), f"{length:g} {label.replace('um', 'µm')}".strip()


def curves(table: pd.DataFrame, names: Sequence[str], colors: Mapping[str, str]) -> Figure:
    """Draw the fractions over time with their bands, and the newest frame as bars.

    Parameters
    ----------
    table
        As `Run.fractions`.
    names
        Classes, then unknown.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1))
    few = thinned(table, names)
    unit, divisor = _time_unit(few["time_s"])
    for name in names:
        column, color = column_name(name), colors[name]
        time = few["time_s"] / divisor
        left.fill_between(
            time, few[f"{column}_low"], few[f"{column}_high"], color=color, alpha=0.25, linewidth=0
        )
        marker = "o" if len(few) < 3 else None
        left.plot(
            time, few[column], color=color, label=_literal(name), linewidth=1.5, marker=marker
        )
    left.set(xlabel=f"time ({unit})", ylabel="phase fraction", ylim=(0, 1))
    left.legend(loc="best", frameon=False)
    _bars(right, table, names, colors)
    return figure


def svg_bytes(figure: Figure) -> bytes:
    """Return a figure as svg with its texts as texts."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pychip-stream"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def thinned(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """At most some 2,000 rows, extremes of every curve kept."""
    if len(table) <= _MAX_POINTS:
        return table
    buckets = max(_MAX_POINTS // (2 * len(names)), 1)
    edges = np.linspace(0, len(table), buckets + 1).astype(int)
    chosen = {0, len(table) - 1}
    for name in names:
        values = table[column_name(name)].to_numpy()
        for start, stop in pairwise(edges):
            piece = values[start:stop]
            if np.isfinite(piece).any():
                chosen |= {start + int(np.nanargmin(piece)), start + int(np.nanargmax(piece))}
    return table.iloc[sorted(chosen)]


def _bars(
    axes: matplotlib.axes.Axes,
    table: pd.DataFrame,
    names: Sequence[str],
    colors: Mapping[str, str],
) -> None:
    row = table.iloc[-1]
    values = np.array([row[column_name(n)] for n in names], float)
    low = np.array([row[f"{column_name(n)}_low"] for n in names], float)
    high = np.array([row[f"{column_name(n)}_high"] for n in names], float)
    places = np.arange(len(names))
    axes.bar(places, values, color=[colors[n] for n in names])
    spread = np.nan_to_num(np.stack([values - low, high - values])).clip(0)
    axes.errorbar(places, values, yerr=spread, fmt="none", ecolor="black", capsize=4)
    axes.set_xticks(places, [_literal(n) for n in names], rotation=30, ha="right")
    axes.set(ylim=(0, 1), title=f"frame {int(row['frame'])}")


def _time_unit(seconds: pd.Series) -> tuple[str, float]:
    span = float(seconds.iloc[-1] - seconds.iloc[0]) if len(seconds) else 0.0
    if span > 7200:
        return "h", 3600.0
    return ("min", 60.0) if span > 300 else ("s", 1.0)


def _literal(text: str) -> str:
    """Keep matplotlib from reading mathematics or a hidden legend entry into a name."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")


def _wrapped(
    legend: Legend, font: ImageFont.FreeTypeFont, width: int, size: int
) -> list[list[tuple[tuple[str, str], int, int]]]:
    """Legend entries in lines: ((text, colour), start, end) in pixels."""
    pad = size // 2
    lines: list[list[tuple[tuple[str, str], int, int]]] = [[]]
    x = pad
    for name, color, fraction in legend.entries:
        shown = name if len(name) <= 40 else name[:39] + "…"
        text = shown if fraction is None else f"{shown} {100 * fraction:.1f} %"
        end = x + size + pad + int(np.ceil(font.getlength(text)))
        if lines[-1] and end + pad > width:
            lines.append([])
            x, end = pad, end - x + pad
        lines[-1].append(((text, color), x, end))
        x = end + 2 * pad
    return lines


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Comes with matplotlib and knows Greek, Cyrillic and more.
    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size
    )


def fraction_entries(
    names: Sequence[str], colors: Mapping[str, str], row: Mapping[str, float] | pd.Series
) -> list[tuple[str, str, float | None]]:
    """Legend entries of classes and unknown with their fractions where these are known."""
    entries: list[tuple[str, str, float | None]] = []
    for name in (*names, UNKNOWN):
        value = float(row[column_name(name)])
        entries.append((name, colors[name], value if np.isfinite(value) else None))
    return entries
