"""Curve plot: fractions over time with their interval bands, and a quantity on a second axis."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import panel as pn
import panel_material_ui as pmui
from bokeh.events import RangesUpdate, Reset, Tap
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    DatetimeTickFormatter,
    GlyphRenderer,
    HoverTool,
    LabelSet,
    Legend,
    LegendItem,
    Line,
    LinearAxis,
    NumeralTickFormatter,
    Scatter,
    VArea,
)
from bokeh.plotting import figure
from panel.io import unlocked

from pychip_stream.domain.quantities import Quantity, find
from pychip_stream.export.curves import pauses_of

from ..work.history import Curves, plotted

NO_QUANTITY = "none"
_QUANTITY, _MARK = "#a05a2c", "#a3487f"
_FEW, _DOT = 3, 6
"""Fewer points than this are drawn as dots, of this size."""
_WIDE, _FILL, _FAINT = 0.5, 0.22, 0.06
"""Bands that are wider than this in most frames would cover the plot; they are drawn faintly."""
_EMPTY: dict[str, list[float]] = {"t": [], "v0": [], "l0": [], "h0": []}
_CLOCK = ("seconds", "minsec", "minutes", "hourmin", "hours")


def quantity_select(changed: Callable[[], None]) -> Any:
    """Make the chooser of the second axis; its value is the name of a quantity or `NO_QUANTITY`."""
    select = pmui.Select(
        label="second axis",
        options=_choices(()),
        value=NO_QUANTITY,
        size="small",
        width=170,
        margin=(8, 0),
    )
    select.param.watch(lambda _event: changed(), "value")
    return select


def offer_quantities(select: Any, classes: Sequence[str]) -> None:
    """Let the chooser offer what these classes have; a choice stays while it is there."""
    choices = _choices(classes)
    if choices != select.options:
        chosen = select.value
        select.options = choices
        select.value = chosen if chosen in choices.values() else NO_QUANTITY


def _choices(classes: Sequence[str]) -> dict[str, str]:
    told = {f"{q.name}: {q.meaning}": name for name, q in plotted(classes).items()}
    return {NO_QUANTITY: NO_QUANTITY} | told


class CurvePlot:
    """Curves that follow a run; the plot is made anew when the classes change.

    Parameters
    ----------
    on_pick
        Called with the time (seconds since 1970) that was clicked.
    on_range
        Called with the times between which the viewer looks, (None, None) for all.
    other
        What the second curves are, for the legend.
    height
        In pixels; None: all that there is.

    Attributes
    ----------
    pane
        Where it is shown.
    zoomed
        Whether the viewer looks at a part that does not follow the run.
    """

    def __init__(
        self,
        on_pick: Callable[[float], None],
        on_range: Callable[[float | None, float | None], None] = lambda _since, _until: None,
        *,
        name: str = "phase",
        other: str = "true",
        height: int | None = None,
    ) -> None:
        self._on_pick, self._on_range = on_pick, on_range
        self._other, self._height = other, height
        self._measured = ColumnDataSource({"t": []}, name=name)
        self._true = ColumnDataSource({"t": []}, name=f"{name}-true")
        self._marks = ColumnDataSource({"t": [], "version": []}, name=f"{name}-marks")
        self._cursor = ColumnDataSource({"t": []})
        self._second = ColumnDataSource(dict(_EMPTY), name=f"{name}-quantity")
        self._drawn: tuple[tuple[tuple[str, str], ...], tuple[str, ...]] = ((), ())
        self._bands: list[Any] = []
        self._dots: list[Any] = []
        self._quantity = ""
        self._widths: Sequence[float] = ()
        self._banded = True
        self.zoomed = False
        sizing = "stretch_both" if height is None else "stretch_width"
        self.pane = pn.Column(sizing_mode=sizing, min_height=height or 240, margin=0)
        self.renew()

    def renew(self) -> None:
        """Show the whole of the curves again, and follow them."""
        self.zoomed = False
        with unlocked():
            plot = self._make()
            self._draw(plot, *self._drawn)
            plot.on_event(Tap, lambda event: self._on_pick(_seconds(event.x)))
            plot.on_event(RangesUpdate, self._on_ranges)
            plot.on_event(Reset, lambda _event: self._on_reset())
            sizing = self.pane.sizing_mode
            self.pane[:] = [pn.pane.Bokeh(plot, sizing_mode=sizing, margin=0)]

    def show_bands(self, shown: bool) -> None:
        """Draw the intervals, or the values alone."""
        self._banded = shown
        self._shade(self._widths)

    def _shade(self, widths: Sequence[float]) -> None:
        """Fill the bands; what is not visible would grey the legend, so none is hidden."""
        self._widths = widths
        with unlocked():
            for band, width in zip(self._bands, widths, strict=False):
                band.fill_alpha = (_FAINT if width > _WIDE else _FILL) if self._banded else 0.0

    def update(
        self,
        measured: Curves,
        true: Curves,
        colors: Mapping[str, str],
        marks: Sequence[tuple[float, str]] = (),
    ) -> None:
        """Show these curves."""
        names = tuple((name, colors.get(name, "#7f7f7f")) for name in measured.columns)
        drawn = (names, tuple(true.columns))
        with unlocked():  # in Panel's order, or the data can overtake the plot that it is for
            self._measured.data = _columns(measured, [n for n, _ in names])
            self._true.data = _columns(true, list(true.columns))
            if len(marks) != len(self._marks.data["t"]):
                self._marks.data = {
                    "t": [_ms(moment) for moment, _ in marks],
                    "version": [version[:8] for _, version in marks],
                }
            for dot in self._dots:
                dot.size = _DOT if len(measured) < _FEW else 0
        self._shade([_width(measured.columns[name]) for name, _ in names])
        if drawn != self._drawn:
            self._drawn = drawn
            self.renew()

    def add_quantity(self, chosen: str, curves: Curves) -> None:
        """Draw a quantity by its name, or none, on the second axis."""
        quantity = find(chosen)
        with unlocked():
            known = quantity is not None and chosen in curves.columns
            self._second.data = _columns(curves, [chosen]) if known else dict(_EMPTY)
            self._quantity = _label(quantity) if known and quantity is not None else ""
            self._axis.visible, self._axis.axis_label = known, self._quantity

    def point_at(self, moment: float | None) -> None:
        """Mark a moment; None: none."""
        with unlocked():
            self._cursor.data = {"t": [] if moment is None else [_ms(moment)]}

    def _on_ranges(self, event: Any) -> None:
        self.zoomed = True
        self._on_range(_seconds(event.x0), _seconds(event.x1))

    def _on_reset(self) -> None:
        self.zoomed = False
        self._on_range(None, None)

    def _make(self) -> Any:
        plot = figure(
            x_axis_type="datetime",
            sizing_mode=self.pane.sizing_mode,
            height=self._height,
            tools="xpan,xwheel_zoom,xbox_zoom,reset,tap",
            active_drag="xbox_zoom",
            active_scroll="xwheel_zoom",
            y_range=(-0.02, 1.02),
            output_backend="canvas",
        )
        plot.toolbar.logo = None
        plot.toolbar.autohide = True
        plot.yaxis.formatter = NumeralTickFormatter(format="0 %")
        # One for each plot: a model belongs to one document alone.
        clock = dict.fromkeys(_CLOCK, "%H:%M:%S") | {"milliseconds": "%H:%M:%S.%1N"}
        plot.xaxis.formatter = DatetimeTickFormatter(**clock)
        plot.yaxis.axis_label = "fraction of the frame"
        plot.vspan(x="t", source=self._marks, line_color=_MARK, line_width=2, line_dash="dotted")
        plot.vspan(x="t", source=self._cursor, line_color="#f0e442", line_width=2)
        range_ = DataRange1d(range_padding=0.1)
        plot.extra_y_ranges = {"quantity": range_}
        second: dict[str, Any] = {"x": "t", "source": self._second, "y_range_name": "quantity"}
        band = plot.varea(y1="l0", y2="h0", fill_color=_QUANTITY, fill_alpha=0.15, **second)
        line = plot.line(y="v0", line_color=_QUANTITY, line_width=2, line_dash="dashdot", **second)
        range_.renderers = [band, line]
        self._axis = LinearAxis(
            y_range_name="quantity", axis_label=self._quantity, visible=bool(self._quantity)
        )
        self._axis.axis_label_text_color = self._axis.axis_line_color = _QUANTITY
        plot.add_layout(self._axis, "right")
        plot.add_layout(
            LabelSet(
                x="t", y=1.0, text="version", source=self._marks, angle=math.pi / 2, y_offset=-4,
                text_align="right", text_font_size="11px", text_color=_MARK,
            )
        )  # fmt: skip
        return plot

    def _draw(self, plot: Any, names: Sequence[tuple[str, str]], true: Sequence[str]) -> None:
        """Put the curves on a new plot, before a browser has it."""
        bands, lines, dots, items, dashes = [], [], [], [], []
        size = _DOT if len(self._measured.data["t"]) < _FEW else 0
        for number, (name, color) in enumerate(names):
            band = VArea(x="t", y1=f"l{number}", y2=f"h{number}", fill_color=color)
            source = {"data_source": self._measured}
            bands.append(GlyphRenderer(glyph=band, level="underlay", **source))
            line = Line(x="t", y=f"v{number}", line_color=color, line_width=2)
            lines.append(GlyphRenderer(glyph=line, **source))
            dot = Scatter(x="t", y=f"v{number}", size=size, fill_color=color, line_color=color)
            dots.append(GlyphRenderer(glyph=dot, **source))
            drawn = [lines[-1], bands[-1], dots[-1]]
            if name in true:
                dash = Line(
                    x="t", y=f"v{list(true).index(name)}", line_color=color, line_width=2,
                    line_dash=[3, 4],
                )  # fmt: skip
                dashes.append(GlyphRenderer(data_source=self._true, glyph=dash))
                drawn.append(dashes[-1])
            items.append(LegendItem(label=name, renderers=drawn))
        plot.renderers = [*plot.renderers, *bands, *lines, *dots, *dashes]
        self._bands, self._dots = [b.glyph for b in bands], [d.glyph for d in dots]
        self._shade(self._widths)
        if dashes:
            items.append(LegendItem(label=self._other, renderers=dashes))
        legend = Legend(
            items=items, orientation="horizontal", click_policy="hide", padding=2, spacing=12,
            label_text_font_size="13px", border_line_alpha=0, background_fill_alpha=0,
            ncols=4 if true else 5,  # what is wider than the plot runs out of it
        )  # fmt: skip
        plot.add_layout(legend, "above")
        tips = [
            (name, f"@v{n}{{0.0 %}} (@l{n}{{0.0 %}} – @h{n}{{0.0 %}})")
            for n, (name, _) in enumerate(names)
        ]
        plot.add_tools(
            HoverTool(
                renderers=lines[:1], mode="vline", tooltips=[("time", "@t{%H:%M:%S}"), *tips],
                formatters={"@t": "datetime"},
            )
        )  # fmt: skip


def _label(quantity: Quantity) -> str:
    return quantity.name + f" ({quantity.unit})" * bool(quantity.unit)


def _width(column: npt.NDArray[np.float64]) -> float:
    """Usual width of a band."""
    widths = (column[:, 2] - column[:, 1])[np.isfinite(column[:, 0])]
    return float(np.median(widths)) if len(widths) else 0.0


def _columns(curves: Curves, names: Sequence[str]) -> dict[str, Any]:
    """Columns of the browser's table, with an empty row where the run paused."""
    times = curves.times
    pauses = pauses_of(times)
    times = np.insert(times, pauses, times[pauses - 1])
    columns: dict[str, Any] = {"t": np.array([_offset_s()]) * 1000.0 + times * 1000.0}
    for number, name in enumerate(names):
        rows = np.insert(curves.columns[name], pauses, np.nan, axis=0)
        value, low, high = np.ascontiguousarray(rows.T, np.float32)
        columns |= {f"v{number}": value, f"l{number}": low, f"h{number}": high}
    return columns


def _offset_s() -> float:
    """Seconds that the clock on the wall is ahead of UTC; the plot knows no time zones."""
    offset = datetime.now().astimezone().utcoffset()
    return offset.total_seconds() if offset else 0.0


def _ms(moment: float) -> float:
    return (moment + _offset_s()) * 1000.0


def _seconds(milliseconds: float) -> float:
    return float(milliseconds) / 1000.0 - _offset_s()
