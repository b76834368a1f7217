"""Plots: the fractions over time, as vector graphics and as pixels."""

import io
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from pychip_stream.archive.disk import writing
from pychip_stream.archive.run import Run
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError
from pychip_stream.export.kinds import ExportKind
from pychip_stream.export.pictures import Rgb

_MAX_POINTS = 2000


@dataclass(frozen=True, eq=False)
class Curves:
    """Fractions over time, as they are drawn.

    Attributes
    ----------
    frame, time_s
        (m,) number and time of each frame.
    intervals
        (m, K + 1, 3) fraction, low, high.
    names, colors
        Of the K classes, then unknown.
    """

    frame: npt.NDArray[np.int64]
    time_s: npt.NDArray[np.float64]
    intervals: npt.NDArray[np.float64]
    names: tuple[str, ...]
    colors: tuple[str, ...]

    @classmethod
    def of(cls, run: Run) -> "Curves":
        """Take all frames of a run under its scoring."""
        names = (*run.names, UNKNOWN)
        time_s = run.fractions["time_s"].to_numpy(float)
        colors = tuple(run.colors[name] for name in names)
        return cls(np.arange(run.count), time_s, run.intervals, names, colors)

    def thinned(self) -> "Curves":
        """At most some 2,000 frames, extremes of every curve kept."""
        count = len(self.time_s)
        if count <= _MAX_POINTS:
            return self
        buckets = max(_MAX_POINTS // (2 * len(self.names)), 1)
        edges = np.linspace(0, count, buckets + 1).astype(int)
        chosen = {0, count - 1}
        for values in self.intervals[..., 0].T:
            for start, stop in pairwise(edges):
                piece = values[start:stop]
                if np.isfinite(piece).any():
                    chosen |= {start + int(np.nanargmin(piece)), start + int(np.nanargmax(piece))}
        few = sorted(chosen)
        return replace(
            self, frame=self.frame[few], time_s=self.time_s[few], intervals=self.intervals[few]
        )


def export_svg(run: Run, path: str | Path) -> None:
    """Draw the fractions over time with their bands, and the newest frame as bars.

    Raises
    ------
    ArchiveError
        If no frame was classified, the run cannot be read, or the file cannot be written.
    """
    if run.count == 0:
        raise ArchiveError(f"{run.path}: has no classified frame to draw")
    figure = curves(Curves.of(run))
    with writing(Path(path)) as temporary:
        temporary.write_bytes(svg_bytes(figure))


SVG = ExportKind(
    "svg", "curves and bar chart", ".svg", "image/svg+xml",
    lambda source, path, _: export_svg(source.run, path), label="svg", strict=True,
)  # fmt: skip


def curves(shown: Curves) -> Figure:
    """Draw the fractions over time with their bands, and the newest frame as bars."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1))
    _draw_curves(left, shown)
    left.legend(loc="best", frameon=False)
    _bars(right, shown)
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


def curve_panel(shown: Curves, height: int) -> Panel:
    """Draw the fractions over time, `height` pixels high, with the legend below."""
    dpi = 100 * height / 480
    figure = Figure(figsize=(5.6, height / dpi), dpi=dpi, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    divisor = _draw_curves(axes, shown)
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


def _draw_curves(axes: matplotlib.axes.Axes, shown: Curves) -> float:
    """Draw the curves; returns the seconds in the unit of the time axis."""
    few = shown.thinned()
    unit, divisor = _time_unit(few.time_s)
    time = few.time_s / divisor
    marker = "o" if len(time) < 3 else None
    curves = np.moveaxis(few.intervals, 1, 0)
    for name, color, (value, low, high) in zip(
        few.names, few.colors, np.moveaxis(curves, 2, 1), strict=True
    ):
        axes.fill_between(time, low, high, color=color, alpha=0.25, linewidth=0)
        axes.plot(time, value, color=color, label=_literal(name), linewidth=1.5, marker=marker)
    axes.set(xlabel=f"time ({unit})", ylabel="phase fraction", ylim=(0, 1))
    return divisor


def _bars(axes: matplotlib.axes.Axes, shown: Curves) -> None:
    values, low, high = shown.intervals[-1].T
    places = np.arange(len(shown.names))
    axes.bar(places, values, color=shown.colors)
    spread = np.nan_to_num(np.stack([values - low, high - values])).clip(0)
    axes.errorbar(places, values, yerr=spread, fmt="none", ecolor="black", capsize=4)
    axes.set_xticks(places, [_literal(n) for n in shown.names], rotation=30, ha="right")
    axes.set(ylim=(0, 1), title=f"frame {shown.frame[-1]}")


def _time_unit(seconds: npt.NDArray[np.float64]) -> tuple[str, float]:
    span = float(seconds[-1] - seconds[0]) if len(seconds) else 0.0
    if span > 7200:
        return "h", 3600.0
    return ("min", 60.0) if span > 300 else ("s", 1.0)


def _literal(text: str) -> str:
    """Keep matplotlib from reading mathematics or a hidden legend entry into a name."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")
