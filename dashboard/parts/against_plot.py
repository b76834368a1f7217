"""Against plot: fractions against a quantity, with their intervals, branches and times."""

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.events import Tap
from bokeh.models import (
    ColumnDataSource,
    GlyphRenderer,
    Line,
    NumeralTickFormatter,
    Scatter,
    Segment,
)
from bokeh.palettes import Viridis256
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from pychip_stream.domain.quantities import Quantity
from pychip_stream.export.against import BRANCHES, FALLING, HELD, RISING, branches_of
from pychip_stream.export.curves import pauses_of

from ..work.history import Curves

_MARKERS = {RISING: "triangle", FALLING: "inverted_triangle", HELD: "circle"}
_TOLD = "▲ rising  ▼ falling  ● held; filled by time, dark to light"


class AgainstPlot:
    """One plot; the outline of a point is its class, the filling its time.

    Parameters
    ----------
    on_pick
        Called with the time (seconds since 1970) of the point that was clicked.
    """

    def __init__(self, on_pick: Callable[[float], None], name: str) -> None:
        self._on_pick = on_pick
        self._source = ColumnDataSource({"x": []}, name=name)
        self._drawn: tuple[tuple[str, str], ...] = ()
        self._parts: dict[str, tuple[GlyphRenderer, ...]] = {}
        self._times = np.empty(0)
        self.figure: Any = figure(
            tools="pan,wheel_zoom,box_zoom,reset,tap", y_range=(-0.02, 1.02), visible=False,
            active_drag="box_zoom", output_backend="canvas", title=_TOLD, name=f"{name}-plot",
        )  # fmt: skip
        self.figure.title.text_font_style = "normal"
        self.figure.toolbar.logo = None
        self.figure.toolbar.autohide = True
        self.figure.yaxis.formatter = NumeralTickFormatter(format="0 %")
        self.figure.yaxis.axis_label = "fraction of the frame, estimated"
        self.figure.on_event(Tap, lambda event: self._on_tap(event.x, event.y))

    def update(
        self,
        measured: Curves,
        quantities: Curves,
        quantity: Quantity,
        names: Sequence[tuple[str, str]],
    ) -> None:
        """Show these curves; `names` are the classes with their colours."""
        times = measured.times
        x = _at(times, quantities, quantity.name)
        branches = branches_of(times, x)
        pauses = pauses_of(times)
        # An empty row where the run paused: no line leads there.
        columns: dict[str, Any] = {
            "x": np.insert(x, pauses, np.nan),
            "t": np.insert(times, pauses, np.nan),
            "branch": _texts(BRANCHES, branches, pauses),
            "marker": _texts(_MARKERS, branches, pauses),
        }
        for number, (name, _) in enumerate(names):
            rows = np.insert(measured.columns[name], pauses, np.nan, axis=0)
            columns |= dict(zip((f"v{number}", f"l{number}", f"h{number}"), rows.T, strict=True))
        self._times = columns["t"]
        self._source.data = columns
        self.figure.xaxis.axis_label = quantity.label
        if tuple(names) != self._drawn:
            self._drawn = tuple(names)
            self._draw()
        color = linear_cmap("t", Viridis256, *_ends(times))
        for _, _, points in self._parts.values():
            points.glyph.fill_color = color

    def hide(self, hidden: Container[str], *, bands: bool) -> None:
        """Leave classes out, and intervals where not `bands`."""
        for name, (intervals, line, points) in self._parts.items():
            line.visible = points.visible = name not in hidden
            intervals.visible = bands and name not in hidden

    def _draw(self) -> None:
        self._parts = {}
        for number, (name, color) in enumerate(self._drawn):
            ends = {"x0": "x", "x1": "x", "y0": f"l{number}", "y1": f"h{number}"}
            at = {"x": "x", "y": f"v{number}"}
            glyphs = (
                Segment(**ends, line_color=color, line_alpha=0.25),
                Line(**at, line_color=color, line_alpha=0.5),
                Scatter(**at, marker="marker", size=8, line_color=color, line_width=2),
            )
            self._parts[name] = tuple(
                GlyphRenderer(data_source=self._source, glyph=glyph) for glyph in glyphs
            )
        self.figure.renderers = [part for parts in self._parts.values() for part in parts]

    def _on_tap(self, x: float, y: float) -> None:
        """Pick the nearest of the points that are shown, in parts of the ranges."""
        data, nearest = self._source.data, (np.inf, np.nan)
        width = float(np.nanmax(data["x"]) - np.nanmin(data["x"])) if len(self._times) else 0.0
        for number, (_, _, points) in enumerate(self._parts.values()):
            away = np.hypot((data["x"] - x) / (width or 1.0), data[f"v{number}"] - y)
            if points.visible and np.isfinite(away).any():
                at = int(np.nanargmin(away))
                nearest = min(nearest, (float(away[at]), float(self._times[at])))
        if np.isfinite(nearest[0]):
            self._on_pick(nearest[1])


def _at(times: Any, quantities: Curves, name: str) -> Any:
    """(n,) values of a quantity at exactly these moments; NaN where it has none."""
    places = np.searchsorted(quantities.times, times).clip(0, max(len(quantities) - 1, 0))
    if not len(quantities):
        return np.full(len(times), np.nan)
    same = quantities.times[places] == times
    return np.where(same, quantities.columns[name][places, 0], np.nan)


def _texts(words: Mapping[int, str], branches: Any, pauses: Any) -> Any:
    told = np.array([words[branch] for branch in branches.tolist()], object)
    return np.insert(told, pauses, words[HELD])


def _ends(times: Any) -> tuple[float, float]:
    return (float(times[0]), float(times[-1])) if len(times) else (0.0, 1.0)
