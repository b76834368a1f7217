"""Run sections: what can be asked of an opened run, one section at a time."""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui
from panel.io import unlocked

from pychip_stream.export.kinds import ExportSource

from ..accounts import Viewer
from ..work.background import Background
from ..work.frame_pictures import FramePicture
from ..work.opened_run import OpenedRun
from ..work.words import percent
from .clock_panel import ClockPanel
from .components import Tables, table
from .confidence_plot import ConfidencePlot
from .download_bar import DownloadBar
from .events_panel import EventsPanel
from .layouts import SMALL_BUTTONS, grown, wrapped
from .rescore_panel import RescorePanel
from .review_tables import (
    agreement,
    difference_table,
    failed_table,
    provenance_tables,
)

RESCORE = "Re-score"
SECTIONS = (
    "Confidence", "Events", "Clocks", "Compare", RESCORE, "Failed", "Provenance", "Export",
)  # fmt: skip
NOTHING = "nothing"
_WRAPPED_BUTTONS = {"flexWrap": "wrap", "& button": {**SMALL_BUTTONS["& button"], "width": "auto"}}
_OWN = "a class of its own"

Reopen = Callable[[str, str], OpenedRun]
"""(kind "scoring" or "run", its name) → that, opened; takes long."""


class RunSections:
    """The lower right of an opened run.

    Parameters
    ----------
    others
        Names of the runs that it can be compared with.
    reopen
        Opens what is compared with.
    source
        What is exported.
    changed
        Called when what is compared with has changed.
    edited
        Called when a mark was made or changed.
    viewer
        Who looks.
    clocks
        Offsets of the sources of readings.
    rescoring
        Other support sets for the run; operators have it.
    """

    def __init__(
        self,
        background: Background,
        others: list[str],
        reopen: Reopen,
        source: Callable[[], ExportSource | None],
        changed: Callable[[], None],
        edited: Callable[[], None],
        viewer: Viewer,
        clocks: ClockPanel,
        rescoring: RescorePanel,
    ) -> None:
        self._background = background
        self._others = others
        self._reopen = reopen
        self._changed = changed
        self._opened: OpenedRun | None = None
        self.other: OpenedRun | None = None
        self._made: dict[str, list[dict[str, Any]]] = {}
        self._histogram = ConfidencePlot()
        self._tables = Tables(self._on_tables, sizing_mode="stretch_width")
        self._events = EventsPanel(background, viewer, self._tell_events, edited)
        self._clocks, self._rescoring = clocks, rescoring
        self.downloads = DownloadBar(background, source)
        self._section = pmui.RadioButtonGroup(
            options=[one for one in SECTIONS if viewer.operator or one != RESCORE],
            value=SECTIONS[0], size="small", label="", margin=(4, 0),
            sx=_WRAPPED_BUTTONS,
        )  # fmt: skip
        self._compared = pmui.Select(
            label="compare with", options=[NOTHING], value=NOTHING, size="small", width=260
        )
        self._swap = pmui.Checkbox(label="show B's labels on the frame", value=False)
        self._confidence = pn.pane.Bokeh(self._histogram.figure, sizing_mode="stretch_width")
        self._pairs: dict[str, Any] = {}
        self._pair_row = wrapped()
        self._comparison = pn.Column(
            wrapped(self._compared, self._swap), self._pair_row, visible=False
        )
        self._section.param.watch(lambda event: clocks.show(event.new == "Clocks"), "value")
        self._section.param.watch(lambda event: rescoring.show(event.new == RESCORE), "value")
        self._section.param.watch(lambda _event: self._show(), "value")
        self._compared.param.watch(lambda event: self._compare(str(event.new)), "value")
        self._swap.param.watch(lambda _event: changed(), "value")

    @property
    def swapped(self) -> bool:
        """Whether the labels of what is compared with are to be shown."""
        return self.other is not None and bool(self._swap.value)

    def panel(self) -> Any:
        """One section at a time."""
        return pn.Column(
            self._section,
            self._confidence,
            self._comparison,
            self._events.widget,
            self._clocks.widget,
            self._rescoring.widget,
            self._tables,
            self.downloads.widget,
            sizing_mode="stretch_width",
        )

    def about(self, opened: OpenedRun) -> None:
        """Answer for this run, or for what has come to it since."""
        self._opened = opened
        choices = {NOTHING: NOTHING}
        choices |= {f"scoring {told}": f"scoring:{s}" for s, told in opened.scorings.items()}
        choices |= {f"run {name}": f"run:{name}" for name in self._others}
        self._compared.options = choices
        self._made.clear()
        self._events.about(opened)
        self._clocks.about(opened)
        self._rescoring.about(opened)
        self._show()
        if self.other is not None:
            self._compare(str(self._compared.value))

    def about_frame(self, picture: FramePicture, other: FramePicture | None) -> None:
        """Answer for this frame; `other` is the same one in what is compared with."""
        self._events.about_time(picture.time)
        if picture.confidence is not None:
            self._histogram.show_frame(picture.confidence)
        if self.other is None:
            return
        if other is None:
            text = "B has no frame of this name"
        else:
            share = agreement(picture, other)
            text = "on different grids" if share is None else f"{percent(share)} of the chips"
        here = table("This frame", [["same label", text]], wide=True)
        self._made["Compare"] = [*self._made.get("Compare", [])[:1], here]
        self._send("Compare")

    def close(self) -> None:
        """Let go of everything."""
        self.downloads.close()
        self._opened = self.other = None

    def _show(self) -> None:
        section, opened = str(self._section.value), self._opened
        with unlocked():  # one click can be answered amid another, without the document's lock
            self._confidence.visible = section == "Confidence"
        self._comparison.visible = section == "Compare"
        self._events.widget.visible = section == "Events"
        self.downloads.widget.visible = section == "Export"
        self._tables.visible = section in ("Events", "Compare", "Failed", "Provenance")
        if opened is None:
            return
        if section == "Confidence":
            self._background.do(opened.confidence, lambda found: self._histogram.show_run(found[0]))
        elif section == "Failed":
            self._fill(section, lambda: [failed_table(opened.run)])
        elif section == "Provenance":
            self._fill(section, lambda: provenance_tables(opened.run))
        else:
            self._send(section)

    def _tell_events(self, tables: list[dict[str, Any]]) -> None:
        self._made["Events"] = tables
        self._send("Events")

    def _fill(self, section: str, make: Callable[[], list[dict[str, Any]]]) -> None:
        """Show tables, which are made when they are first asked for."""
        if section in self._made:
            self._send(section)
            return
        self._tables.send(type="tables", tables=[])

        def done(tables: list[dict[str, Any]]) -> None:
            self._made[section] = tables
            self._send(section)

        self._background.do(make, done)

    def _send(self, section: str) -> None:
        if self._section.value == section:
            self._tables.send(type="tables", tables=self._made.get(section, []))

    def _on_tables(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._send(str(self._section.value))

    def _compare(self, chosen: str) -> None:
        first = self._opened
        if chosen == NOTHING or first is None:
            self.other = None
            self._pairs, self._pair_row[:] = {}, []
            self._made["Compare"] = []
            self._send("Compare")
            self._changed()
            return
        kind, _, name = chosen.partition(":")

        called = {n: str(s.value) for n, s in self._pairs.items() if s.value != _OWN}

        def load() -> tuple[OpenedRun, dict[str, Any]]:
            other = self._reopen(kind, name)
            other.call(called)
            return other, difference_table(first, other)

        def done(found: tuple[OpenedRun, dict[str, Any]]) -> None:
            self.other = found[0]
            self._offer_pairs(first, found[0])
            self._made["Compare"] = [found[1]]
            self._send("Compare")
            self._changed()

        self._background.do(load, done)

    def _offer_pairs(self, first: OpenedRun, other: OpenedRun) -> None:
        """Offer the classes of A for each of B's that A has not; choices stay while offered."""
        free = [name for name in first.run.names if name not in other.run.names]
        theirs = [name for name in other.run.names if name not in first.run.names]
        offered = {name: [_OWN, *free] for name in theirs if free}
        if offered == {name: list(select.options) for name, select in self._pairs.items()}:
            return
        called = dict(zip(other.run.names, other.names, strict=False))
        self._pairs = {}
        for name, options in offered.items():
            usual = called[name] if called[name] in free else _OWN
            select = pmui.Select(
                label=f"{name} of B is", options=options, value=usual, size="small", width=150
            )
            select.param.watch(lambda _event: self._compare(str(self._compared.value)), "value")
            self._pairs[name] = select
        self._pair_row[:] = [grown(select) for select in self._pairs.values()]
