"""Confidence plot: how sure the labels are, over the run and on the frame that is shown."""

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, NumeralTickFormatter
from bokeh.plotting import figure
from panel.io import unlocked

from ..work.frame_pictures import Counts
from ..work.opened_run import BINS

_EDGES = np.linspace(0.0, 1.0, BINS + 1)
_MEANING = "How sure each label is: 1 certain, near 0.5 two classes compete"


class ConfidencePlot:
    """Histogram of the confidence of chips, as shares."""

    def __init__(self) -> None:
        bins = {"left": _EDGES[:-1], "right": _EDGES[1:], "top": np.zeros(BINS)}
        self._run = ColumnDataSource(dict(bins), name="confidence-run")
        self._frame = ColumnDataSource(dict(bins), name="confidence-frame")
        self.figure = self._make()

    def show_run(self, counts: Counts) -> None:
        """Show the histogram of the run."""
        self._show(self._run, counts)

    def show_frame(self, counts: Counts) -> None:
        """Show the histogram of a frame."""
        self._show(self._frame, counts)

    def _show(self, source: ColumnDataSource, counts: Counts) -> None:
        with unlocked():  # in Panel's order, or the data can overtake the plot that it is for
            source.data = dict(source.data) | {"top": _shares(counts)}

    def _make(self) -> Any:
        plot = figure(
            sizing_mode="stretch_width", height=230, tools="", toolbar_location=None,
            x_range=(0, 1), output_backend="canvas", title=_MEANING,
        )  # fmt: skip
        plot.title.text_font_size = "0.925em"
        plot.title.text_font_style = "normal"
        plot.y_range.start = 0
        plot.yaxis.formatter = NumeralTickFormatter(format="0 %")
        plot.yaxis.axis_label = "share of the chips"
        plot.xaxis.axis_label = "confidence of the label"
        plot.quad(
            left="left", right="right", top="top", bottom=0, source=self._run,
            fill_color="#56b4e9", fill_alpha=0.5, line_alpha=0, legend_label="run",
        )  # fmt: skip
        plot.quad(
            left="left", right="right", top="top", bottom=0, source=self._frame,
            fill_alpha=0, line_color="#d55e00", line_width=2, legend_label="this frame",
        )  # fmt: skip
        plot.legend.location = "top_left"
        plot.legend.background_fill_alpha = 0
        plot.legend.border_line_alpha = 0
        return plot


def _shares(counts: Counts) -> "np.typing.NDArray[np.float64]":
    return counts / max(int(counts.sum()), 1)
