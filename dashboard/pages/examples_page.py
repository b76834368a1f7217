"""Examples view: a support set is made by clicking chips, and judged while it grows."""

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.errors import PychipError
from pychip_stream.export.kinds import ExportSource
from pychip_stream.model.grid_advice import GridAdvice

from ..page import FULL_HEIGHT, SMALL_BUTTONS, Desk, Viewer, plain_text, side_by_side
from ..parts.components import ChipCanvas, ClassShelf, Tables
from ..parts.confidence_plot import ConfidencePlot
from ..parts.download_bar import DownloadBar
from ..work.background import Later
from ..work.frame_pictures import to_jpeg
from ..work.opened_run import Replay, Still
from ..work.previews import Preview
from ..work.workbench import Key
from .editor import (
    GridControls,
    edited,
    grid_shape,
    labels_message,
    odd_chips,
    picks_message,
    quality_lines,
    shelf_message,
)
from .review_tables import (
    agreement,
    difference_table,
    differences,
    failed_table,
    percent,
    provenance_tables,
    scoring_label,
)
from .versions import VersionsPanel

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
        source: Callable[[], ExportSource | None],
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
        self.downloads = DownloadBar(later.pool, source)
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


logger = logging.getLogger(__name__)

_REST_S = 0.4


@dataclass(frozen=True, eq=False)
class _Picture:
    key: Key
    jpeg: bytes = field(repr=False)
    shape: tuple[int, int]
    pixel_size: float | None
    unit: str | None


class ExamplesView:
    """Choose chips on a frame; see at once what they make of it; save and publish."""

    title = "Examples"

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        self._desk = desk
        self._viewer = viewer
        self._bench = desk.benches.of(viewer.user, desk.run.support)
        self._picture: _Picture | None = None
        self._loading: tuple[Key, Future[_Picture]] | None = None
        self._numbers = 0
        self._echo = 0
        self._moved_at: float | None = None
        self._sent_size: ChipSize | None = None
        self._sent_state = 0
        self._sent_preview: Preview | None = None
        self._thumbs: Future[dict[str, Any]] | None = None
        self._said = ""
        self._canvas = ChipCanvas(self._on_canvas, sizing_mode="stretch_width")
        self._shelf = ClassShelf(self._on_shelf, sizing_mode="stretch_width")
        self._versions = VersionsPanel(desk, viewer, self._bench, lambda: self._key)
        self._make_controls()

    @property
    def _key(self) -> Key | None:
        return self._picture.key if self._picture else None

    def _make_controls(self) -> None:
        size = self._bench.draft.state.chip_size
        self._grid = GridControls(
            size, self._on_grid, least=2 * CELLS, enabled=self._viewer.operator
        )
        small: dict[str, Any] = {"size": "small", "sx": SMALL_BUTTONS, "margin": (4, 4)}
        self._newest = pmui.Button(label="Take the newest frame", **small)
        self._newest.on_click(lambda _event: self._take(self._desk.run.newest_key()))
        self._number = pmui.IntInput(
            label="frame of the run", value=0, start=0, width=130, size="small", margin=(4, 4)
        )
        self._number.param.watch(self._on_number, "value")
        self._advice = plain_text(sizing_mode="stretch_width")
        self._recommended: Future[GridAdvice] | None = None
        self._use = pmui.Button(
            label="Use the recommended size", variant="outlined", visible=False, **small
        )
        self._use.on_click(lambda _event: self._use_recommended())
        self._hints = pmui.Checkbox(label="suggest chips to label next", value=True, margin=(4, 4))
        self._hints.param.watch(lambda _event: self._send_hints(), "value")

    def panel(self) -> Any:
        """Lay the page out: frame left, classes and versions right."""
        choose = pn.Row(self._newest, self._number, sizing_mode="stretch_width")
        advice = pn.Row(self._use, self._advice, sizing_mode="stretch_width")
        right = pn.Column(
            choose, self._grid.panel(), advice, self._shelf, self._hints, self._versions.panel(),
            sizing_mode="stretch_width",
            styles={"max-height": FULL_HEIGHT, "overflow": "auto"},
        )  # fmt: skip
        return side_by_side(self._canvas, right)

    def pull(self, now: float) -> None:
        """Show what has been read, fitted or changed elsewhere."""
        if self._picture is None and self._loading is None:
            self._take(self._desk.run.newest_key())
        self._show_loaded()
        self._show_advice()
        self._settle_grid(now)
        self._show_state()
        self._show_preview()
        self._versions.pull(now)

    def close(self) -> None:
        """Leave the draft as it is; it is kept on the server."""

    # -- the frame

    def _take(self, key: Key | None) -> None:
        if key is None or self._loading is not None:
            return
        studio = self._desk.studio
        scale = studio.normalization
        state = self._bench.draft.state

        def read() -> _Picture:
            frame = studio.frame(key)
            jpeg, _ = to_jpeg(frame.pixels, scale(state))
            return _Picture(key, jpeg, frame.shape, frame.pixel_size, frame.unit)

        self._loading = key, studio.frames.submit(read)

    def _show_loaded(self) -> None:
        if self._loading is None or not self._loading[1].done():
            return
        (key, future), self._loading = self._loading, None
        error = future.exception()
        if error is not None:
            self._say([["error", str(error)]])
            if not isinstance(error, PychipError):
                logger.error("%s cannot be shown", key[0], exc_info=error)
            return
        self._picture = future.result()
        studio = self._desk.studio
        self._recommended = studio.frames.submit(lambda: studio.advise(key))
        self._grid.fit(self._picture.shape)
        self._send_frame()

    def _send_frame(self) -> None:
        picture = self._picture
        if picture is None:
            return
        self._numbers += 1
        state = self._bench.draft.state
        self._sent_size = state.chip_size
        self._canvas.send(
            type="frame",
            seq=self._numbers,
            jpeg=picture.jpeg,
            shape=list(picture.shape),
            chip=[state.chip_size.width, state.chip_size.height],
            grid=grid_shape(picture.shape, state.chip_size),
            labels=None,
            palette=[],
            pixel_size=picture.pixel_size,
            unit=picture.unit,
            bars=[],
            caption=picture.key[0] + (f" #{picture.key[1]}" if picture.key[1] else ""),
            alt=f"frame {picture.key[0]}; click chips to choose examples",
        )
        self._sent_state, self._sent_preview = 0, None

    def _show_advice(self) -> None:
        if self._recommended is None or not self._recommended.done():
            return
        if self._recommended.exception() is not None:
            logger.warning("no chip size is recommended: %s", self._recommended.exception())
            self._recommended = None
            return
        advice = self._recommended.result()
        text = "\n".join((f"{advice.chip_size} px: {advice.reason}", *advice.warnings))
        if text != self._advice.object:
            self._advice.object, self._use.visible = text, self._viewer.operator

    def _use_recommended(self) -> None:
        if self._recommended is not None and self._recommended.done():
            size = self._recommended.result().size
            self._bench.draft.change(self._bench.draft.state.resize(size))

    def _send_hints(self) -> None:
        preview = self._bench.previewer.preview
        shown = preview is not None and self._hints.value and preview.key == self._key
        chips = preview.suggestions if preview is not None and shown else ()
        self._canvas.send(
            type="highlights", chips=[[s.row, s.column, s.kind, s.reason] for s in chips]
        )

    def _on_number(self, event: Any) -> None:
        self._take(self._desk.run.key_at(int(event.new or 0)))

    # -- the draft

    def _on_canvas(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._echo = 0
            self._send_frame()
        elif kind in ("pick", "undo"):
            self._echo = int(message.get("click", 0))
            self._edit(message)

    def _on_shelf(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._sent_state = 0
        else:
            self._edit(message)

    def _edit(self, message: dict[str, Any]) -> None:
        """Change the draft as the browser asks; what is impossible is said, not done."""
        draft = self._bench.draft
        if not self._viewer.operator:
            return
        self._settle_grid(math.inf)  # what was clicked is a chip of the grid that is shown
        size = draft.state.chip_size
        if message.get("chip", [size.width, size.height]) != [size.width, size.height]:
            self._sent_state = 0  # another tab has changed the grid meanwhile
            self._send_frame()
            return
        try:
            if message["type"] == "undo":
                draft.undo()
            else:
                draft.change(edited(draft.state, message, self._key))
        except PychipError as error:
            self._say([["error", str(error)]])
        except (KeyError, ValueError, TypeError, IndexError):
            logger.warning("a message of a browser makes no sense: %.200r", message)
        self._sent_state = 0

    def _on_grid(self, size: ChipSize) -> None:
        """Draw the grid while the slider moves; the draft follows when it is let go."""
        if size != self._bench.draft.state.chip_size:
            self._moved_at = time.monotonic()
            self._send_grid(size)

    def _send_grid(self, size: ChipSize) -> None:
        if self._picture is None:
            return
        self._sent_size = size
        self._canvas.send(
            type="grid", grid=grid_shape(self._picture.shape, size), chip=[size.width, size.height]
        )

    def _settle_grid(self, now: float) -> None:
        """Let the draft follow once the sliders have come to rest."""
        if self._moved_at is None or now - self._moved_at < _REST_S:
            return
        self._moved_at = None
        size = self._grid.size
        draft = self._bench.draft
        if self._viewer.operator and size != draft.state.chip_size:
            draft.change(draft.state.resize(size))

    # -- what is shown of it

    def _show_state(self) -> None:
        draft = self._bench.draft
        number, state = draft.number, draft.state
        if self._picture is None:
            return
        if number != self._sent_state:
            self._sent_state = number
            size = state.chip_size
            if self._moved_at is None:
                self._grid.show(size)
                if size != self._sent_size:
                    self._send_grid(size)
            locked = not self._viewer.operator
            key = self._picture.key
            self._canvas.send(**picks_message(state, key, self._echo, locked=locked))
            self._send_shelf()
        self._bench.previewer.ask(number, state, self._picture.key)
        if self._thumbs is not None and self._thumbs.done():
            done, self._thumbs = self._thumbs, None
            self._shelf.send(**done.result())

    def _send_shelf(self) -> None:
        """Cut the thumbnails on another thread; frames may have to be read for them."""
        studio, draft = self._desk.studio, self._bench.draft
        number, state = draft.number, draft.state
        odd = odd_chips(self._bench.previewer.preview)
        locked = not self._viewer.operator
        self._thumbs = studio.frames.submit(
            lambda: shelf_message(studio, number, state, odd, locked)
        )

    def _show_preview(self) -> None:
        preview = self._bench.previewer.preview
        if preview is None or preview is self._sent_preview or self._picture is None:
            return
        if preview.key != self._picture.key:
            return
        self._sent_preview = preview
        self._canvas.send(**labels_message(self._bench.draft.state, preview))
        if preview.trial is None:
            self._say([["", preview.trouble]])
            return
        self._say(quality_lines(preview))
        self._send_hints()
        if preview.quality is not None:
            self._send_shelf()

    def _say(self, lines: list[list[str]]) -> None:
        self._shelf.send(type="notes", lines=lines)
