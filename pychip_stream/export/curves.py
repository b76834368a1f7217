"""Plots: the fractions over time, as vector graphics and as pixels."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from pychip_stream.archive.catalog import column_name
from pychip_stream.archive.disk import writing
from pychip_stream.archive.run import Run
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError
from pychip_stream.export.kinds import ExportKind
from pychip_stream.export.pictures import Rgb

_MAX_POINTS = 2000


def export_svg(run: Run, path: str | Path) -> None:
    """Draw the fractions over time with their bands, and the newest frame as bars.

    Raises
    ------
    ArchiveError
        If no frame was classified, the run cannot be read, or the file cannot be written.
    """
    if run.count == 0:
        raise ArchiveError(f"{run.path}: has no classified frame to draw")
    figure = curves(run.fractions, (*run.names, UNKNOWN), run.colors)
    with writing(Path(path)) as temporary:
        temporary.write_bytes(svg_bytes(figure))


SVG = ExportKind(
    "svg", "curves and bar chart", ".svg", "image/svg+xml",
    lambda source, path, _: export_svg(source.run, path), label="svg", strict=True,
)  # fmt: skip


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
    _draw_curves(left, few, names, colors, divisor)
    left.set(xlabel=f"time ({unit})", ylabel="phase fraction", ylim=(0, 1))
    left.legend(loc="best", frameon=False)
    _bars(right, table, names, colors)
    return figure


class Panel(NamedTuple):
    """Curves as pixels, and where the time is on them.

    Attributes
    ----------
    picture
        (H, W, 3).
    area
        Top, bottom, left and right of the axes in pixels.
    start, pixels_per_s
        Where time 0 is, and the scale.
    """

    picture: Rgb
    area: tuple[int, int, int, int]
    start: float
    pixels_per_s: float


def curve_panel(
    table: pd.DataFrame, names: Sequence[str], colors: Mapping[str, str], height: int
) -> Panel:
    """Draw the fractions over time, `height` pixels high, with the legend below."""
    dpi = 100 * height / 480
    figure = Figure(figsize=(5.6, height / dpi), dpi=dpi, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    few = thinned(table, names)
    unit, divisor = _time_unit(few["time_s"])
    _draw_curves(axes, few, names, colors, divisor)
    axes.set(xlabel=f"time ({unit})", ylabel="phase fraction", ylim=(0, 1))
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    picture = drawn[:height, :, :3].copy()
    if picture.shape[0] < height:
        missing = height - picture.shape[0]
        picture = np.pad(picture, ((0, missing), (0, 0), (0, 0)), constant_values=255)
    full, box = figure.bbox.height, axes.bbox
    start, _ = axes.transData.transform((0.0, 0.0))
    later, _ = axes.transData.transform((1.0 / divisor, 0.0))
    area = (round(full - box.y1), round(full - box.y0), round(box.x0), round(box.x1))
    return Panel(picture, area, float(start), float(later - start))


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


def _draw_curves(
    axes: matplotlib.axes.Axes,
    few: pd.DataFrame,
    names: Sequence[str],
    colors: Mapping[str, str],
    divisor: float,
) -> None:
    time = few["time_s"] / divisor
    marker = "o" if len(few) < 3 else None
    for name in names:
        column, color = column_name(name), colors[name]
        low, high = few[f"{column}_low"], few[f"{column}_high"]
        axes.fill_between(time, low, high, color=color, alpha=0.25, linewidth=0)
        axes.plot(
            time, few[column], color=color, label=_literal(name), linewidth=1.5, marker=marker
        )


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
