"""Curve plot: fractions over time with their bands, a quantity below them, or both in one."""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import panel_material_ui as pmui
from bokeh.events import RangesUpdate, Reset, Tap
from bokeh.layouts import column
from bokeh.models import (
    AdaptiveTicker,
    ColumnDataSource,
    CompositeTicker,
    DataRange1d,
    DatetimeTickFormatter,
    GlyphRenderer,
    HoverTool,
    LabelSet,
    Line,
    NoOverlap,
    NumeralTickFormatter,
    Range1d,
    Scatter,
    VArea,
)
from bokeh.plotting import figure
from panel.io import unlocked

from pychip_stream.domain.quantities import find
from pychip_stream.export.curves import pauses_of

from ..work.history import Curves, plotted
from .against_plot import AgainstPlot
from .components import CurveNames

NO_QUANTITY, TIME = "none", "time"
_QUANTITY, _MARK = "#a05a2c", "#a3487f"
_MARK_TEXT = 30
_SPANS = (2.0, 2.0001)
"""Seconds about a single point; two that nobody can tell apart."""
_HOUR_S = 3600.0
_FEW, _DOT = 3, 6
"""Fewer points than this, and a point alone between pauses, are drawn as dots of this size."""
_WIDE = 0.5
"""Bands that are wider than this in most frames would cover the plot; they are drawn faintly."""
_EMPTY: dict[str, list[float]] = {"t": [], "v0": [], "l0": [], "h0": []}
_LONG = "00:00:00"
_FINE = ("microseconds", "milliseconds")
_CLOCK = ("seconds", "minsec", "minutes", "hourmin", "hours")


class Axes:
    """Choosers of the quantity that is drawn below the fractions, and of the one along x.

    Parameters
    ----------
    changed
        Called when another is chosen.
    first
        Quantity that is drawn below as soon as it is offered; empty: none.
    """

    def __init__(self, changed: Callable[[], None], first: str = "") -> None:
        self._first = first
        self._below = _select("below", NO_QUANTITY, changed)
        self._along = _select("along x", TIME, changed)
        self.widgets = (self._below, self._along)

    @property
    def below(self) -> str | None:
        """Quantity that is drawn below the fractions; None: none."""
        chosen = str(self._below.value)
        return None if chosen == NO_QUANTITY else chosen

    @property
    def along(self) -> str | None:
        """Quantity that the fractions are drawn against; None: time."""
        chosen = str(self._along.value)
        return None if chosen == TIME else chosen

    def offer(self, classes: Sequence[str], known: Container[str]) -> None:
        """Offer what these classes have; a choice stays while it is there.

        Parameters
        ----------
        known
            Quantities that have values; those that need not be there are offered only then.
        """
        for select, usual in ((self._below, NO_QUANTITY), (self._along, TIME)):
            choices = _choices(usual, classes, known)
            if choices != select.options:
                chosen = select.value
                select.options = choices
                select.value = chosen if chosen in choices.values() else usual
        if self._first in self._below.options.values():
            if self.below is None:
                self._below.value = self._first
            self._first = ""  # from now on the viewer's choice counts


def _select(label: str, usual: str, changed: Callable[[], None]) -> Any:
    select = pmui.Select(
        label=label, options=_choices(usual), value=usual, size="small", width=150, margin=(8, 0)
    )
    select.param.watch(lambda _event: changed(), "value")
    return select


def _choices(usual: str, classes: Sequence[str] = (), known: Container[str] = ()) -> dict[str, str]:
    told = {f"{q.name}: {q.meaning}": name for name, q in plotted(classes, known).items()}
    return {usual: usual} | told


class CurvePlot:
    """One plot; its glyphs are made anew when the classes change.

    Parameters
    ----------
    on_pick
        Called with the time (seconds since 1970) that was clicked.
    other
        What the second curves are, for the legend.
    height
        In pixels, the least; None: what there is.
    start
        The axis tells the time since this moment, in seconds since 1970; None: the clock's.

    Attributes
    ----------
    layout, legend
        What is shown, the legend above.
    figure
        The fractions over time.
    zoomed
        Whether the viewer looks at a part that does not follow the run.
    window
        Beginning and end of that part, in seconds since 1970; None: the whole.
    """

    def __init__(
        self,
        on_pick: Callable[[float], None],
        name: str = "phase",
        other: str = "true",
        height: int | None = None,
        start: float | None = None,
    ) -> None:
        self._other = other
        self._start = start
        self._per_s = 1000.0 if start is None else 1.0  # of the time axis; a clock's has ms
        self._spans = [self._per_s * span for span in _SPANS]
        self._hidden: set[str] = set()
        self._banded = True
        self._parts: dict[str, list[GlyphRenderer]] = {}
        self._bands: list[GlyphRenderer] = []
        self.zoomed = False
        self.window: tuple[float, float] | None = None
        self.legend = CurveNames(self._on_legend, sizing_mode="stretch_width")
        self._measured = ColumnDataSource({"t": []}, name=name)
        self._true = ColumnDataSource({"t": []}, name=f"{name}-true")
        self._marks = ColumnDataSource({"t": [], "text": []}, name=f"{name}-marks")
        self._cursor = ColumnDataSource({"t": []})
        self._second = ColumnDataSource(dict(_EMPTY), name=f"{name}-quantity")
        self._drawn: tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = ((), ())
        self.figure = self._make()
        self._below = self._make_below(name)
        self._whole = DataRange1d(default_span=self._spans[0])
        self._share(self._whole)
        self._against = AgainstPlot(on_pick, f"{name}-against")
        size: dict[str, Any] = {"sizing_mode": "stretch_both"}
        if height is not None:
            size = {"sizing_mode": "stretch_width", "height": height}
            size["styles"] = {"min-height": "34vh"}  # large screens have the room
        for part in (self.figure, self._against.figure):
            part.update(**size)
        whole = "stretch_both" if height is None else "stretch_width"
        parts = (self.figure, self._below, self._against.figure)
        self.layout = column(*parts, sizing_mode=whole, spacing=0)
        self.figure.on_event(Tap, lambda event: on_pick(self.time(event.x)))
        self.figure.on_event(
            RangesUpdate, lambda e: self._note_zoom((self.time(e.x0), self.time(e.x1)))
        )
        self.figure.on_event(Reset, lambda _event: self._note_zoom(None))

    def update(
        self,
        measured: Curves,
        true: Curves,
        colors: Mapping[str, str],
        marks: Sequence[tuple[float, str]] = (),
        other: str | None = None,
    ) -> None:
        """Show these curves, and marks: moments in seconds since 1970, and their texts.

        `other`: what the second curves are from now on.
        """
        names = tuple((name, colors.get(name, "#7f7f7f")) for name in measured.columns)
        known = dict(names) | dict(colors)
        second = tuple((name, known[name]) for name in true.columns if name in known)
        drawn = (names, second)
        alphas = [_band_alpha(measured.columns[name]) for name, _ in names]
        anew = drawn != self._drawn or (other or self._other) != self._other
        self._other = other or self._other
        with unlocked():  # in Panel's order, or the data can overtake the plot that it is for
            self._measured.data = self._columns(measured, [n for n, _ in names])
            self._true.data = self._columns(true, [n for n, _ in second])
            if anew:
                self._drawn = drawn
                self._draw(*drawn, alphas)
            for band, alpha in zip(self._bands, alphas, strict=True):
                band.glyph.fill_alpha = alpha
            texts = [_short(text) for _, text in marks]
            told = {"t": [self._place(at) for at, _ in marks], "text": texts}
            if told != self._marks.data:
                self._marks.data = told
        if anew:
            self._hide()

    def follow(self) -> None:
        """Show the whole of the curves again, and follow them."""
        self._note_zoom(None)
        with unlocked():
            self._share(self._whole)
            # Only a change of its own makes the browser's range forget that it was moved by hand.
            self._whole.default_span = self._spans[self._whole.default_span == self._spans[0]]

    def look_at(self, since: float, until: float) -> None:
        """Show this part, in seconds since 1970, until the viewer chooses another."""
        self._note_zoom((since, until))
        with unlocked():
            self._share(Range1d(self._place(since), self._place(until)))

    def _share(self, range_: Any) -> None:
        self.figure.x_range = self._below.x_range = range_

    def show_bands(self, shown: bool) -> None:
        """Draw the intervals, or the values alone."""
        self._banded = shown
        self._hide()

    def _hide(self) -> None:
        """Hide what the viewer does not want, and say in the legend what that is."""
        with unlocked():
            off = [part for name in self._hidden for part in self._parts.get(name, ())]
            off += [] if self._banded else self._bands
            for part in {part for parts in self._parts.values() for part in parts}:
                part.visible = part not in off
            self._against.hide(self._hidden, bands=self._banded)
        colors: dict[str, str] = dict(self._drawn[1]) | dict(self._drawn[0])
        items = [[n, colors.get(n, ""), n not in self._hidden] for n in self._parts]
        self.legend.send(names=items)

    def _on_legend(self, message: dict[str, Any]) -> None:
        if message["type"] == "toggle":
            self._hidden ^= {str(message.get("name"))} & self._parts.keys()
        self._hide()

    def _note_zoom(self, window: tuple[float, float] | None) -> None:
        self.window, self.zoomed = window, window is not None

    def add_quantities(
        self, measured: Curves, quantities: Curves, *, below: str | None, along: str | None
    ) -> None:
        """Draw a quantity below the fractions, and another along x instead of time.

        Parameters
        ----------
        measured, quantities
            Fractions as they were shown last, and quantities at the same moments.
        below, along
            Names of quantities; None: none, and time.
        """
        known = find(below) if below in quantities.columns and below is not None else None
        other = find(along) if along in quantities.columns and along is not None else None
        with unlocked():
            self._second.data = self._columns(quantities, [known.name]) if known else dict(_EMPTY)
            if known is not None:
                self._below.yaxis.axis_label = known.label
            if other is not None:
                self._against.update(measured, quantities, other, self._drawn[0])
                self._against.hide(self._hidden, bands=self._banded)
            self.figure.visible = other is None
            self._below.visible = other is None and known is not None
            self._against.figure.visible = other is not None

    def point_at(self, moment: float | None) -> None:
        """Mark a moment; None: none."""
        with unlocked():
            self._cursor.data = {"t": [] if moment is None else [self._place(moment)]}

    def time(self, place: float) -> float:
        """Seconds since 1970 at a place on the time axis."""
        return float(place) / self._per_s - self._ahead_s()

    def _place(self, moment: float) -> float:
        return (moment + self._ahead_s()) * self._per_s

    def _ahead_s(self) -> float:
        """Seconds that the axis is ahead of UTC; the plot knows no time zones."""
        if self._start is not None:
            return -self._start
        offset = datetime.now().astimezone().utcoffset()
        return offset.total_seconds() if offset else 0.0

    def _columns(self, curves: Curves, names: Sequence[str]) -> dict[str, Any]:
        """Columns of the browser's table, with an empty row where the run paused."""
        times, pauses = curves.times, pauses_of(curves.times)
        alone = np.ones(len(times), bool)
        if len(times) >= _FEW:
            ends = np.isin(np.arange(len(times) + 1), [0, *pauses, len(times)])
            alone = ends[:-1] & ends[1:]
        twice = np.repeat(pauses, 2)
        beside = np.stack([pauses - 1, pauses], axis=1).ravel()
        shown = np.insert(times, twice, times[beside])
        columns: dict[str, Any] = {"t": (self._ahead_s() + shown) * self._per_s}
        columns["s"] = np.insert(np.where(alone, _DOT, 0), twice, 0)
        for number, name in enumerate(names):
            rows = np.insert(curves.columns[name], twice, np.nan, axis=0)
            value, low, high = np.ascontiguousarray(rows.T, np.float32)
            # The browser draws a band over what has no value; nothing is seen without a height.
            known = np.isfinite(value)
            low = low[np.maximum.accumulate(np.where(known, np.arange(len(low)), 0))]
            high = np.where(known, high, low)
            columns |= {f"v{number}": value, f"l{number}": low, f"h{number}": high}
        return columns

    def _make(self) -> Any:
        plot = figure(
            x_axis_type="datetime" if self._start is None else "linear",
            tools="xpan,xwheel_zoom,xbox_zoom,reset,tap",
            active_drag="xbox_zoom",
            active_scroll="xwheel_zoom",
            y_range=(-0.02, 1.02),
            output_backend="canvas",
        )
        plot.toolbar.logo = None
        plot.toolbar.autohide = True
        plot.yaxis.formatter = NumeralTickFormatter(format="0 %")
        plot.yaxis.axis_label = "fraction of the frame, estimated"
        # One for each plot: a model belongs to one document alone.
        if self._start is None:
            clock = dict.fromkeys(_CLOCK, "%H:%M:%S") | dict.fromkeys(_FINE, "%H:%M:%S.%3N")
            plot.xaxis.formatter = DatetimeTickFormatter(**clock)
        else:
            plot.xaxis.formatter = NumeralTickFormatter(format=_LONG)
            plot.xaxis.ticker = _since_start()
            plot.xaxis.axis_label = "time since start (h:min:s)"
        plot.xaxis.major_label_policy = NoOverlap(min_distance=8)  # those of milliseconds are long
        plot.vspan(x="t", source=self._marks, line_color=_MARK, line_width=2, line_dash="dotted")
        plot.vspan(x="t", source=self._cursor, line_color="#f0e442", line_width=2)
        plot.add_layout(
            LabelSet(
                x="t", y=1.0, text="text", source=self._marks, angle=math.pi / 2, y_offset=-4,
                text_align="right", text_font_size="0.85em",
                # Read on light and dark pages, and over curves.
                text_color="#ffffff", background_fill_color=_MARK, border_line_color=_MARK,
                border_line_width=2,
            )
        )  # fmt: skip
        self._fixed = len(plot.renderers)
        return plot

    def _make_below(self, name: str) -> Any:
        """Make the plot of a quantity, whose time is always that of the fractions."""
        plot = figure(
            x_axis_type="datetime", height=130, visible=False,
            sizing_mode="stretch_width", tools="xpan,xwheel_zoom,reset",
            active_scroll="xwheel_zoom", output_backend="canvas", name=f"{name}-below",
        )  # fmt: skip
        plot.toolbar_location = None
        plot.xaxis.visible = False
        plot.yaxis.axis_label_text_color = _QUANTITY
        plot.vspan(x="t", source=self._marks, line_color=_MARK, line_width=2, line_dash="dotted")
        plot.vspan(x="t", source=self._cursor, line_color="#f0e442", line_width=2)
        second: dict[str, Any] = {"x": "t", "source": self._second}
        plot.varea(y1="l0", y2="h0", fill_color=_QUANTITY, fill_alpha=0.15, **second)
        plot.line(y="v0", line_color=_QUANTITY, line_width=2, **second)
        plot.scatter(y="v0", size=3, color=_QUANTITY, **second)
        return plot

    def _draw(
        self,
        names: Sequence[tuple[str, str]],
        true: Sequence[tuple[str, str]],
        alphas: Sequence[float],
    ) -> None:
        """Set each list of the plot once: the browser refuses what names a part before it came."""
        plot, parts = self.figure, {}
        bands, lines, dots, dashes = [], [], [], []
        for number, (name, color) in enumerate(names):
            source: dict[str, Any] = {"data_source": self._measured}
            band = VArea(
                x="t", y1=f"l{number}", y2=f"h{number}", fill_color=color,
                fill_alpha=alphas[number],
            )  # fmt: skip
            bands.append(GlyphRenderer(glyph=band, level="underlay", **source))
            line = Line(x="t", y=f"v{number}", line_color=color, line_width=2)
            lines.append(GlyphRenderer(glyph=line, **source))
            dot = Scatter(x="t", y=f"v{number}", size="s", fill_color=color, line_color=color)
            dots.append(GlyphRenderer(glyph=dot, **source))
            parts[name] = [bands[-1], lines[-1], dots[-1]]
        for number, (name, color) in enumerate(true):
            dash = Line(
                x="t", y=f"v{number}", line_color=dict(names).get(name, color), line_width=2,
                line_dash=[3, 4],
            )  # fmt: skip
            dashes.append(GlyphRenderer(data_source=self._true, glyph=dash))
            parts.setdefault(name, []).append(dashes[-1])
        plot.renderers = [*plot.renderers[: self._fixed], *bands, *lines, *dots, *dashes]
        self._bands = bands
        self._parts = parts | ({self._other: dashes} if dashes else {})
        tips = [
            (name, f"@v{n}{{0.0 %}} (@l{n}{{0.0 %}} to @h{n}{{0.0 %}})")
            for n, (name, _) in enumerate(names)
        ]
        clock, form = ("%H:%M:%S", "datetime") if self._start is None else (_LONG, "numeral")
        hover = HoverTool(
            renderers=lines[:1], mode="vline", tooltips=[("time", f"@t{{{clock}}}"), *tips],
            formatters={"@t": form},
        )  # fmt: skip
        plot.tools = [*(tool for tool in plot.tools if not isinstance(tool, HoverTool)), hover]


def _short(text: str) -> str:
    return text if len(text) <= _MARK_TEXT else text[: _MARK_TEXT - 1].rstrip() + "…"


def _since_start() -> CompositeTicker:
    """Round steps of seconds, minutes, hours and days, on an axis of seconds."""
    steps = (
        (0.0, 1.0, 10, [1, 2, 5]),
        (1.0, 1800.0, 60, [1, 2, 5, 10, 15, 20, 30]),
        (_HOUR_S, 12 * _HOUR_S, 24, [1, 2, 4, 6, 8, 12]),
        (24 * _HOUR_S, None, 10, [1, 2, 5]),
    )
    return CompositeTicker(
        tickers=[
            AdaptiveTicker(min_interval=least, max_interval=most, base=base, mantissas=mantissas)
            for least, most, base, mantissas in steps
        ]
    )


def _band_alpha(column: npt.NDArray[np.float64]) -> float:
    """Say how strongly a band is filled."""
    widths = (column[:, 2] - column[:, 1])[np.isfinite(column[:, 0])]
    return 0.06 if len(widths) and np.median(widths) > _WIDE else 0.22
