"""Plots: the fractions over time, as vector graphics and as pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from pychip_stream.archive.disk import writing
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError
from pychip_stream.export.kinds import ExportKind
from pychip_stream.export.pictures import Rgb

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pychip_stream.archive.nexus import Curve
    from pychip_stream.archive.run import Run
    from pychip_stream.export.against import Against

_MAX_POINTS = 2000
_PAUSE, _PAUSE_S = 10.0, 5.0
_MOST_EVENTS, _EVENT_TEXT, _EVENT = 30, 40, "#a3487f"
_MARKERS = {1: "^", -1: "v", 0: "o"}
"""Of the branches of `export.against`."""


def pauses_of(times: npt.NDArray[np.float64]) -> npt.NDArray[np.intp]:
    """Numbers of the moments before which a run paused: no line leads there.

    A pause is longer than ten usual distances between moments.

    Parameters
    ----------
    times
        (n,) in s, rising.
    """
    distances = np.diff(times)
    usual = float(np.median(distances)) if len(distances) > 1 else np.inf
    return np.flatnonzero(distances > max(_PAUSE * usual, _PAUSE_S)) + 1


def curve_of(run: Run) -> Curve:
    """Return the fractions of a run under its scoring, its time from the first frame on."""
    from pychip_stream.archive.nexus import Curve

    table = run.fractions
    values = run.intervals[table["frame"]]
    return Curve(table["time_s"].to_numpy(float), values, (*run.names, UNKNOWN), run.colors)


def chart(run: Run, quantity: str | None = None, frame: int | None = None) -> Figure:
    """Draw the fractions over time with their bands, and a frame (default: the newest) as bars.

    A single frame is bars alone, with the number of its chips in each class. With a quantity they
    are drawn against that.
    """
    table = run.fractions
    if not len(table):
        raise ArchiveError(f"{run.path}: has no classified frame to draw")
    if quantity is not None:
        from pychip_stream.export.against import against

        return curves_against(curve_of(run), against(run, quantity))
    if len(table) > 1:
        from pychip_stream.archive.marks import events_of

        number = int(table["frame"].iloc[-1]) if frame is None else frame
        since = float(run.columns("time")["time"][number]) - run.start
        events = [(one.time - run.start, one.text) for one in events_of(run)]
        return curves(curve_of(run), events, Shown(number, since, run.intervals[number]))
    labels = run.label_map(int(table["frame"].iloc[0]))
    counts = np.bincount(labels.ravel(), minlength=len(run.names) + 1)
    return bars(curve_of(run), counts)


def export_svg(
    run: Run, path: str | Path, quantity: str | None = None, frame: int | None = None
) -> None:
    """Draw the `chart` as vector graphics."""
    figure = chart(run, quantity, frame)
    with writing(Path(path)) as temporary:
        temporary.write_bytes(svg_bytes(figure))


def export_chart(
    run: Run, path: str | Path, quantity: str | None = None, frame: int | None = None
) -> None:
    """Draw the `chart` as pixels."""
    figure = chart(run, quantity, frame)
    with writing(Path(path)) as temporary:
        figure.savefig(temporary, format="png", dpi=200)


SVG = ExportKind(
    "svg", "curves and bar chart", ".svg", "image/svg+xml",
    lambda source, path, _: export_svg(source.run, path, source.against, source.frame),
    label="svg", strict=True, against=True, place=6,
)  # fmt: skip


CHART = ExportKind(
    "chart", "curves and bar chart, as png", "-chart.png", "image/png",
    lambda source, path, _: export_chart(source.run, path, source.against, source.frame),
    label="chart png", against=True, place=7,
)  # fmt: skip


def bars(curve: Curve, counts: npt.NDArray[np.integer]) -> Figure:
    """Draw the only frame as bars with their intervals; `counts` (K + 1,) of chips over them."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.6 + 1.1 * len(counts), 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    _bars(axes, curve, curve.intervals[-1])
    axes.set_ylabel("phase fraction")
    for place, (count, high) in enumerate(zip(counts, curve.intervals[-1, :, 2], strict=True)):
        axes.text(place, min(float(np.nan_to_num(high)) + 0.02, 0.96), f"{count}", ha="center")
    axes.set_xlabel(f"number of the {counts.sum()} chips above each bar")
    return figure


def curves(curve: Curve, events: Sequence[tuple[float, str]], shown: Shown) -> Figure:
    """Draw the fractions over time with their bands, and a frame as bars, marked in the curves.

    `events` are moments, as those of the curve, and texts; the first 30 are drawn.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), layout="constrained")
    FigureCanvasSVG(figure)
    left, right = figure.subplots(1, 2, width_ratios=(3, 1))
    divisor = _draw_curves(left, curve)
    for moment, text in events[:_MOST_EVENTS]:
        left.axvline(moment / divisor, color=_EVENT, linestyle=":", linewidth=1.2)
        left.annotate(
            _literal(text[:_EVENT_TEXT]), (moment / divisor, 0.98), rotation=90, color=_EVENT,
            fontsize="x-small", va="top", ha="right", xycoords=("data", "axes fraction"),
        )  # fmt: skip
    left.axvline(shown.time / divisor, color="black", linewidth=0.8, alpha=0.5)
    left.legend(loc="best", frameon=False)
    _bars(right, curve, shown.intervals)
    right.set_title(f"frame {shown.number + 1}, {shown.time:.2f} s")
    return figure


def curves_against(curve: Curve, other: Against) -> Figure:
    """Draw the fractions against a quantity: rising and falling by marker, time by colour."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    from pychip_stream.export.against import BRANCHES

    rows = thinned_rows(curve)
    time, x, branches = curve.time[rows], other.values[rows], other.branches[rows]
    unit, divisor = _time_unit(time)
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.subplots()
    pauses = pauses_of(time)
    shown = None
    for code, name in enumerate(curve.class_names):
        value, low, high = curve.intervals[rows, code].T
        color = curve.colors[name]
        axes.vlines(x, low, high, color=color, alpha=0.25, linewidth=1)
        path = np.insert(x, pauses, np.nan), np.insert(value, pauses, np.nan)
        axes.plot(*path, color=color, linewidth=0.6, alpha=0.6)
        for branch, marker in _MARKERS.items():
            here = branches == branch
            shown = axes.scatter(
                x[here], value[here], c=time[here] / divisor, marker=marker, edgecolors=color, s=28,
                cmap="viridis", vmin=time[0] / divisor, vmax=time[-1] / divisor, linewidths=0.8,
            )  # fmt: skip
    names = [Line2D([], [], color=curve.colors[n], label=_literal(n)) for n in curve.class_names]
    plain = {"color": "none", "markeredgecolor": "black"}
    kinds = [
        Line2D([], [], marker=_MARKERS[branch], label=word, **plain)  # type: ignore[arg-type]
        for branch, word in BRANCHES.items()
        if (branches == branch).any()
    ]
    figure.legend(handles=[*names, *kinds], loc="outside upper center", ncols=4, frameon=False)
    assert shown is not None  # there is always unknown
    figure.colorbar(shown, label=f"time ({unit})")
    axes.set(xlabel=_literal(other.quantity.label), ylabel="phase fraction", ylim=(0, 1))
    return figure


class Shown(NamedTuple):
    """A frame that is drawn as bars.

    Attributes
    ----------
    number
        Of the frame, from 0 on; people are told it from 1 on, as on the pages.
    time
        As that of the curve, in s.
    intervals
        (K + 1, 3) fraction, low, high.
    """

    number: int
    time: float
    intervals: npt.NDArray[np.float64]


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


def curve_panel(curve: Curve, height: int) -> Panel:
    """Draw the fractions over time, `height` pixels high, with the legend below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dpi = 100 * height / 480
    figure = Figure(figsize=(5.6, height / dpi), dpi=dpi, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    divisor = _draw_curves(axes, curve)
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
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pychip-stream"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def thinned(curve: Curve) -> Curve:
    """At most some 2,000 frames, extremes of every class kept."""
    few = thinned_rows(curve)
    return curve._replace(time=curve.time[few], intervals=curve.intervals[few])


def thinned_rows(curve: Curve) -> list[int]:
    """Numbers of the frames that `thinned` keeps."""
    count = len(curve.time)
    if count <= _MAX_POINTS:
        return list(range(count))
    buckets = max(_MAX_POINTS // (2 * len(curve.class_names)), 1)
    edges = np.linspace(0, count, buckets + 1).astype(int)
    chosen = {0, count - 1}
    for values in curve.intervals[..., 0].T:
        for start, stop in pairwise(edges):
            piece = values[start:stop]
            if np.isfinite(piece).any():
                chosen |= {start + int(np.nanargmin(piece)), start + int(np.nanargmax(piece))}
    return sorted(chosen)


def _draw_curves(axes: Axes, curve: Curve) -> float:
    """Draw the curves; returns the seconds in the unit of the time axis."""
    few = thinned(curve)
    unit, divisor = _time_unit(few.time)
    pauses = pauses_of(few.time)
    time = np.insert(few.time / divisor, pauses, np.nan)
    intervals = np.insert(few.intervals, pauses, np.nan, axis=0)
    marker = "o" if len(time) < 3 else None
    for code, name in enumerate(few.class_names):
        value, low, high = intervals[:, code].T
        color = few.colors[name]
        axes.fill_between(time, low, high, color=color, alpha=0.25, linewidth=0)
        axes.plot(time, value, color=color, label=_literal(name), linewidth=1.5, marker=marker)
    axes.set(xlabel=f"time ({unit})", ylabel="phase fraction", ylim=(0, 1))
    return divisor


def _bars(axes: Axes, curve: Curve, intervals: npt.NDArray[np.float64]) -> None:
    values, low, high = intervals.T
    names = curve.class_names
    places = np.arange(len(names))
    axes.bar(places, values, color=[curve.colors[n] for n in names])
    spread = np.nan_to_num(np.stack([values - low, high - values])).clip(0)
    axes.errorbar(places, values, yerr=spread, fmt="none", ecolor="black", capsize=4)
    axes.set_xticks(places, [_literal(n) for n in names], rotation=30, ha="right")
    axes.set_ylim(0, 1)


def _time_unit(seconds: npt.NDArray[np.float64]) -> tuple[str, float]:
    span = float(seconds[-1] - seconds[0]) if len(seconds) else 0.0
    if span > 7200:
        return "h", 3600.0
    return ("min", 60.0) if span > 300 else ("s", 1.0)


def _literal(text: str) -> str:
    """Keep matplotlib from reading mathematics or a hidden legend entry into a name."""
    return ("\u200b" if text.startswith("_") else "") + text.replace("$", r"\$")
