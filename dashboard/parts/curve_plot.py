"""Curve plot: fractions over time with their interval bands, and a quantity on a second axis."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import panel_material_ui as pmui
from bokeh.events import Tap
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    DatetimeTickFormatter,
    GlyphRenderer,
    HoverTool,
    Legend,
    LegendItem,
    Line,
    LinearAxis,
    NumeralTickFormatter,
    VArea,
)
from bokeh.plotting import figure
from panel.io import unlocked

from pychip_stream.domain.quantities import Quantity, find

from ..work.history import Curves, plotted

NO_QUANTITY = "none"
_QUANTITY = "#a05a2c"
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
    """One plot; its glyphs are made anew when the classes change.

    Parameters
    ----------
    on_pick
        Called with the time (seconds since 1970) that was clicked.
    other
        What the second curves are, for the legend.
    """

    def __init__(
        self, on_pick: Callable[[float], None], name: str = "phase", other: str = "true"
    ) -> None:
        self._other = other
        self._measured = ColumnDataSource({"t": []}, name=name)
        self._true = ColumnDataSource({"t": []}, name=f"{name}-true")
        self._marks = ColumnDataSource({"t": [], "version": []}, name=f"{name}-marks")
        self._cursor = ColumnDataSource({"t": []})
        self._second = ColumnDataSource(dict(_EMPTY), name=f"{name}-quantity")
        self._drawn: tuple[object, ...] = ()
        self.figure = self._make()
        self.figure.on_event(Tap, lambda event: on_pick(_seconds(event.x)))

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
            if drawn != self._drawn:
                self._drawn = drawn
                self._draw(*drawn)
            if len(marks) != len(self._marks.data["t"]):
                self._marks.data = {
                    "t": [_ms(moment) for moment, _ in marks],
                    "version": [version[:8] for _, version in marks],
                }

    def add_quantity(self, chosen: str, curves: Curves) -> None:
        """Draw a quantity by its name, or none, on the second axis."""
        quantity = find(chosen)
        with unlocked():
            known = quantity is not None and chosen in curves.columns
            self._second.data = _columns(curves, [chosen]) if known else dict(_EMPTY)
            self._axis.visible = known
            if quantity is not None:
                self._axis.axis_label = _label(quantity)

    def point_at(self, moment: float | None) -> None:
        """Mark a moment; None: none."""
        with unlocked():
            self._cursor.data = {"t": [] if moment is None else [_ms(moment)]}

    @staticmethod
    def time(milliseconds: float) -> float:
        """Seconds since 1970 at a place on the time axis."""
        return _seconds(milliseconds)

    def _make(self) -> Any:
        plot = figure(
            x_axis_type="datetime",
            sizing_mode="stretch_both",
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
        plot.yaxis.axis_label = "fraction of the frame, estimated"
        plot.vspan(
            x="t", source=self._marks, line_color="#cc79a7", line_width=2, line_dash="dotted"
        )
        plot.vspan(x="t", source=self._cursor, line_color="#f0e442", line_width=2)
        range_ = DataRange1d(range_padding=0.1)
        plot.extra_y_ranges = {"quantity": range_}
        second: dict[str, Any] = {"x": "t", "source": self._second, "y_range_name": "quantity"}
        band = plot.varea(y1="l0", y2="h0", fill_color=_QUANTITY, fill_alpha=0.15, **second)
        line = plot.line(y="v0", line_color=_QUANTITY, line_width=2, line_dash="dashdot", **second)
        range_.renderers = [band, line]
        self._axis = LinearAxis(y_range_name="quantity", visible=False)
        self._axis.axis_label_text_color = self._axis.axis_line_color = _QUANTITY
        plot.add_layout(self._axis, "right")
        self._fixed = len(plot.renderers)
        self._legend = Legend(
            orientation="horizontal", click_policy="hide", label_text_font_size="13px",
            border_line_alpha=0, background_fill_alpha=0, padding=2, spacing=12,
        )  # fmt: skip
        plot.add_layout(self._legend, "above")
        return plot

    def _draw(self, names: Sequence[tuple[str, str]], true: Sequence[str]) -> None:
        """Set each list of the plot once: the browser refuses what names a part before it came."""
        plot, bands, lines, dashes = self.figure, [], [], []
        for number, (name, color) in enumerate(names):
            band = VArea(x="t", y1=f"l{number}", y2=f"h{number}", fill_color=color, fill_alpha=0.22)
            bands.append(GlyphRenderer(data_source=self._measured, glyph=band, level="underlay"))
            line = Line(x="t", y=f"v{number}", line_color=color, line_width=2)
            lines.append(GlyphRenderer(data_source=self._measured, glyph=line))
            if name in true:
                dash = Line(
                    x="t", y=f"v{list(true).index(name)}", line_color=color, line_width=2,
                    line_dash=[3, 4],
                )  # fmt: skip
                dashes.append(GlyphRenderer(data_source=self._true, glyph=dash))
        plot.renderers = [*plot.renderers[: self._fixed], *bands, *lines, *dashes]
        items = [LegendItem(label=n, renderers=[r]) for (n, _), r in zip(names, lines, strict=True)]
        if dashes:
            items.append(LegendItem(label=self._other, renderers=dashes))
        self._legend.ncols = 4 if true else 5  # what is wider than the plot runs out of it
        self._legend.items = items
        tips = [(name, f"@v{number}{{0.0 %}}") for number, (name, _) in enumerate(names)]
        hover = HoverTool(
            renderers=lines[:1], mode="vline", tooltips=[("time", "@t{%H:%M:%S}"), *tips],
            formatters={"@t": "datetime"},
        )  # fmt: skip
        plot.tools = [*(tool for tool in plot.tools if not isinstance(tool, HoverTool)), hover]


def _label(quantity: Quantity) -> str:
    return quantity.name + f" ({quantity.unit})" * bool(quantity.unit)


def _columns(curves: Curves, names: Sequence[str]) -> dict[str, Any]:
    columns: dict[str, Any] = {"t": np.array([_offset_s()]) * 1000.0 + curves.times * 1000.0}
    for number, name in enumerate(names):
        value, low, high = np.ascontiguousarray(curves.columns[name].T, np.float32)
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
