"""Questions: what can be asked about an opened run: confidence, comparison, failures, origin."""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from .comparison import agreement, differences
from .components import Tables
from .confidence_plot import ConfidencePlot
from .download_bar import DownloadBar
from .exports import FILMS, KINDS, Source
from .later import Later
from .layout import SMALL_BUTTONS
from .replay import Replay, Still
from .review_tables import difference_table, failed_table, percent, provenance_tables, scoring_label

SECTIONS = ("Confidence", "Compare", "Failed", "Provenance", "Export")
NOTHING = "nothing"

Reopen = Callable[[str, str], Replay]
"""(kind "scoring" or "run", its name) → that, opened; takes long."""


class Questions:
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
    """

    def __init__(
        self,
        later: Later,
        others: list[str],
        reopen: Reopen,
        source: Callable[[], Source | None],
        changed: Callable[[], None],
    ) -> None:
        self._later = later
        self._others = others
        self._reopen = reopen
        self._changed = changed
        self._replay: Replay | None = None
        self.other: Replay | None = None
        self._made: dict[str, list[dict[str, Any]]] = {}
        self._histogram = ConfidencePlot()
        self._tables = Tables(self._on_tables, sizing_mode="stretch_width")
        self.downloads = DownloadBar(later.pool, source, (*KINDS, *FILMS))
        self._section = pmui.RadioButtonGroup(
            options=list(SECTIONS), value=SECTIONS[0], size="small", label="", margin=(4, 0),
            sx=SMALL_BUTTONS,
        )  # fmt: skip
        self._compared = pmui.Select(
            label="compare with", options=[NOTHING], value=NOTHING, size="small", width=260
        )
        self._swap = pmui.Checkbox(label="show B's labels on the frame", value=False)
        self._confidence = pn.pane.Bokeh(self._histogram.figure, sizing_mode="stretch_width")
        self._comparison = pn.Row(self._compared, self._swap, visible=False)
        self._section.param.watch(lambda _event: self._show(), "value")
        self._compared.param.watch(lambda event: self._compare(event.new), "value")
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
            self._tables,
            self.downloads.widget,
            sizing_mode="stretch_width",
        )

    def about(self, replay: Replay) -> None:
        """Answer for this run, or for what has come to it since."""
        self._replay = replay
        choices = {NOTHING: NOTHING}
        choices |= {f"scoring {scoring_label(s)}": f"scoring:{s}" for s in replay.run.scorings}
        choices |= {f"run {name}": f"run:{name}" for name in self._others}
        self._compared.options = choices
        self._made.clear()
        self._show()
        if self.other is not None:
            self._compare(self._compared.value)

    def about_frame(self, still: Still, other: Still | None) -> None:
        """Answer for this frame; `other` is the same one in what is compared with."""
        self._histogram.show_frame(still.confidence)
        if self.other is None:
            return
        if other is None:
            text = "B has no frame of this name"
        else:
            share = agreement(still, other)
            text = "on different grids" if share is None else f"{percent(share)} of the chips"
        table = {"title": "This frame", "rows": [["same label", text]], "wide": True}
        self._made["Compare"] = [*self._made.get("Compare", [])[:1], table]
        self._send("Compare")

    def close(self) -> None:
        """Let go of everything."""
        self.downloads.close()
        self._replay = self.other = None

    def _show(self) -> None:
        section, replay = self._section.value, self._replay
        self._confidence.visible = section == "Confidence"
        self._comparison.visible = section == "Compare"
        self.downloads.widget.visible = section == "Export"
        self._tables.visible = section in ("Compare", "Failed", "Provenance")
        if replay is None:
            return
        if section == "Confidence":
            self._later.do(replay.confidence, lambda found: self._histogram.show_run(found[0]))
        elif section == "Failed":
            self._fill(section, lambda: [failed_table(replay.run)])
        elif section == "Provenance":
            self._fill(section, lambda: provenance_tables(replay.run))
        else:
            self._send(section)

    def _fill(self, section: str, make: Callable[[], list[dict[str, Any]]]) -> None:
        """Show tables, which are made when they are first asked for."""
        if section in self._made:
            self._send(section)
            return
        self._tables.send(type="tables", tables=[])

        def done(tables: list[dict[str, Any]]) -> None:
            self._made[section] = tables
            self._send(section)

        self._later.do(make, done)

    def _send(self, section: str) -> None:
        if self._section.value == section:
            self._tables.send(type="tables", tables=self._made.get(section, []))

    def _on_tables(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._send(self._section.value)

    def _compare(self, chosen: str) -> None:
        first = self._replay
        if chosen == NOTHING or first is None:
            self.other = None
            self._made["Compare"] = []
            self._send("Compare")
            self._changed()
            return
        kind, _, name = chosen.partition(":")

        def load() -> tuple[Replay, dict[str, Any]]:
            other = self._reopen(kind, name)
            rows, common = differences(first, other)
            return other, difference_table(first.label, other.label, rows, common)

        def done(found: tuple[Replay, dict[str, Any]]) -> None:
            self.other = found[0]
            self._made["Compare"] = [found[1]]
            self._send("Compare")
            self._changed()

        self._later.do(load, done)
