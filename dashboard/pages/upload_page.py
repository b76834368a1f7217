"""Upload view: the original way of working: one image, grid, examples, result, export."""

from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import PychipError
from pychip_stream.export.kinds import ExportKind, ExportSource, Progress
from pychip_stream.formats.reading import suffixes

from ..page import SMALL_BUTTONS, Desk, Viewer, plain_text, side_by_side
from ..parts.components import ChipCanvas, ClassShelf, DropZone
from ..parts.download_bar import DownloadBar
from ..work.background import Later
from ..work.export_kinds import KINDS
from ..work.opened_run import Replay
from ..work.previews import Preview
from ..work.runs import pixel_reader
from ..work.uploads import NO_FILE, UploadBench, Uploaded
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
from .review_tables import percent
from .reviewed_run import still_message

FILE, GRID, EXAMPLES, RESULT = STEPS = ("1 File", "2 Grid", "3 Examples", "4 Result")
_CANVAS_HEIGHT = "max(calc(100vh - 210px), 440px)"


class UploadView:
    """Four steps with one image; nothing of it is kept on the server."""

    title = "Upload"

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        self._viewer = viewer
        self._bench = UploadBench(desk.config)
        self._later = Later(self._on_trouble)
        self._sequence = self._echo = self._sent_state = 0
        self._sent_preview: Preview | None = None
        self._replay: Replay | None = None
        self._classified = 0
        self._busy = False
        self._canvas = ChipCanvas(self._on_canvas, sizing_mode="stretch_width")
        self._drop = DropZone(self._on_drop, sizing_mode="stretch_width")
        self._shelf = ClassShelf(self._on_shelf, sizing_mode="stretch_width")
        support = ExportKind(
            "support", "the examples, to be used again", "-support.h5", "application/x-hdf5",
            self._write_support, label="support set",
        )  # fmt: skip
        kinds = (*(kind for kind in KINDS if not kind.film), support)
        self._downloads = DownloadBar(self._later.pool, self._source, kinds)
        self._step = pmui.RadioButtonGroup(
            options=list(STEPS), value=FILE, label="", size="small", margin=(4, 0), sx=SMALL_BUTTONS
        )
        self._step.param.watch(lambda event: self._go(event.new), "value")
        self._say = plain_text()
        self._make_pages()

    def _make_pages(self) -> None:
        small = {"size": "small", "margin": (6, 0)}
        self._grid = GridControls(self._bench.draft.state.chip_size, self._on_grid)
        self._advice = plain_text()
        use = pmui.Button(label="Use this grid size", **small)
        use.on_click(lambda _event: self._use_grid())
        classify = pmui.Button(label="Classify", **small)
        classify.on_click(lambda _event: setattr(self._step, "value", RESULT))
        hint = plain_text("One feature per square; smaller squares show more and take longer.")
        self._fractions = plain_text()
        self._pages = {
            FILE: pn.Column(self._drop, sizing_mode="stretch_width"),
            GRID: pn.Column(
                self._grid.panel(), hint, self._advice, use, sizing_mode="stretch_width"
            ),
            EXAMPLES: pn.Column(self._shelf, classify, sizing_mode="stretch_width"),
            RESULT: pn.Column(
                self._fractions, self._downloads.widget, sizing_mode="stretch_width"
            ),
        }  # fmt: skip
        self._show_page(FILE)

    def panel(self) -> Any:
        """Image left, the present step right."""
        left = pn.Column(self._canvas, sizing_mode="stretch_width")
        left.styles = {"--canvas-height": _CANVAS_HEIGHT}
        right = pn.Column(
            self._step, self._say, *self._pages.values(), sizing_mode="stretch_width"
        )  # fmt: skip
        return side_by_side(left, right)

    def pull(self, now: float) -> None:
        """Show what has been clicked and what it makes of the image."""
        self._downloads.pull(now)
        if self._step.value == EXAMPLES and self._bench.uploaded is not None:
            self._show_state(self._bench.uploaded)
            self._show_preview()

    def close(self) -> None:
        """Remove the image and all that was made of it."""
        self._downloads.close()
        self._later.close()
        self._bench.close()

    # -- steps

    def _go(self, step: str) -> None:
        if step != FILE and self._bench.uploaded is None:
            self._step.value = FILE
            self._say.object = NO_FILE
            return
        self._say.object = ""
        self._show_page(step)
        self._sent_state, self._sent_preview = 0, None
        if step == RESULT:
            self._classify()
        else:
            self._send_image()

    def _show_page(self, step: str) -> None:
        for name, page in self._pages.items():
            page.visible = name == step

    def _on_trouble(self, text: str) -> None:
        self._busy = False
        self._say.object = text
        self._drop.send(type="say", text=text, level="error")
        if self._step.value == RESULT:
            self._fractions.object = ""

    # -- the file

    def _on_drop(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        try:
            if kind == "ready":
                self._drop.send(type="accept", suffixes=sorted(suffixes()))
            elif kind == "nothing":
                self._on_trouble(NO_FILE)
            elif kind == "begin":
                self._replay = None
                self._bench.begin(str(message["name"]), int(message["size"]))
                self._drop.send(type="more")
            elif kind == "piece":
                self._bench.add(bytes(message["data"]))
                if message["last"]:
                    self._drop.send(type="say", text="reading…", level="")
                    self._later.do(self._bench.finish, self._on_read)
                else:
                    self._drop.send(type="more")
        except PychipError as error:
            self._on_trouble(str(error))

    def _on_read(self, uploaded: Uploaded) -> None:
        height, width = uploaded.shape
        self._drop.send(type="say", text=f"{width} × {height} pixels", level="good")
        self._grid.fit(uploaded.shape)
        self._grid.show(self._bench.draft.state.chip_size)
        advice = uploaded.advice
        self._advice.object = "" if advice is None else f"{advice.chip_size} px: {advice.reason}"
        self._step.value = GRID

    def _send_image(self) -> None:
        uploaded = self._bench.uploaded
        if uploaded is None:
            return
        self._sequence += 1
        self._echo = 0
        size = self._bench.draft.state.chip_size
        self._canvas.send(
            type="frame", seq=self._sequence, jpeg=uploaded.jpeg, shape=list(uploaded.shape),
            chip=[size.width, size.height], grid=grid_shape(uploaded.shape, size), labels=None,
            palette=[], pixel_size=uploaded.pixel_size, unit=uploaded.unit, bars=[],
            caption=uploaded.key[0].partition("/")[2], alt="the uploaded image",
        )  # fmt: skip
        if self._step.value != EXAMPLES:
            self._lock_picks()
        if self._step.value == GRID:
            self._on_grid(self._grid.size)

    def _lock_picks(self) -> None:
        self._canvas.send(type="picks", classes=[], picks=[], echo=0, locked=True)

    # -- the grid

    def _on_grid(self, size: ChipSize) -> None:
        uploaded = self._bench.uploaded
        if uploaded is None or self._step.value != GRID:
            return
        rows, columns = grid = grid_shape(uploaded.shape, size)
        self._canvas.send(type="grid", grid=grid, chip=[size.width, size.height])
        self._say.object = f"{rows} rows × {columns} columns = {rows * columns} chips"

    def _use_grid(self) -> None:
        draft = self._bench.draft
        draft.change(draft.state.resize(self._grid.size))
        self._step.value = EXAMPLES

    # -- the examples

    def _on_canvas(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            if self._step.value == RESULT and self._replay is not None:
                self._show_result(self._replay)
            else:
                self._sent_state, self._sent_preview = 0, None
                self._send_image()
        elif kind in ("pick", "undo") and self._step.value == EXAMPLES:
            self._echo = int(message.get("click", 0))
            self._edit(message)

    def _on_shelf(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._sent_state, self._sent_preview = 0, None
        else:
            self._edit(message)

    def _edit(self, message: dict[str, Any]) -> None:
        uploaded, draft = self._bench.uploaded, self._bench.draft
        if uploaded is None:
            return
        try:
            if message["type"] == "undo":
                draft.undo()
            else:
                draft.change(edited(draft.state, message, uploaded.key))
        except PychipError as error:
            self._say.object = str(error)
        except (KeyError, ValueError, TypeError, IndexError):
            self._say.object = "that made no sense; load the page again"
        self._sent_state = 0

    def _show_state(self, uploaded: Uploaded) -> None:
        draft = self._bench.draft
        number, state = draft.number, draft.state
        self._bench.previewer.ask(number, state, uploaded.key)
        if number == self._sent_state:
            return
        self._sent_state = number
        self._canvas.send(**picks_message(state, uploaded.key, self._echo, locked=False))
        preview = self._bench.previewer.preview
        self._canvas.send(**labels_message(state, preview))
        odd = odd_chips(preview)
        studio = self._bench.studio
        self._later.do(
            lambda: shelf_message(studio, number, state, odd, False),
            lambda found: self._shelf.send(**found),
        )

    def _show_preview(self) -> None:
        preview = self._bench.previewer.preview
        if preview is None or preview is self._sent_preview:
            return
        self._sent_preview = preview
        self._shelf.send(type="notes", lines=quality_lines(preview))
        if preview.trial is not None:
            self._canvas.send(**labels_message(self._bench.draft.state, preview))

    # -- the result

    def _classify(self) -> None:
        state, number = self._bench.draft.state, self._bench.draft.number
        if self._replay is not None and self._classified == number:
            self._show_result(self._replay)
            return
        if self._busy:
            return
        self._busy, self._replay = True, None
        self._fractions.object = "classifying…"

        def done(replay: Replay) -> None:
            self._busy = False
            self._replay, self._classified = replay, number
            if self._step.value == RESULT:
                self._show_result(replay)

        self._later.do(lambda: self._bench.classify(state, self._viewer.user), done)

    def _show_result(self, replay: Replay) -> None:
        def done(still: Any) -> None:
            self._sequence += 1
            self._lock_picks()
            self._canvas.send(**still_message(still, still.jpeg, self._sequence))
            self._fractions.object = "\n".join(
                f"{name}: {percent(value)} (95 % interval {percent(low)} to {percent(high)})"
                for name, (value, low, high) in zip(still.names, still.intervals, strict=True)
            )

        self._later.do(lambda: replay.still(0), done)

    def _write_support(self, _source: ExportSource, path: Path, _progress: Progress) -> None:
        path.write_bytes(self._bench.support_file().read_bytes())

    def _source(self) -> ExportSource | None:
        replay = self._replay
        if replay is None:
            return None
        return ExportSource(replay.run, pixel_reader(replay.run, replay.run.path.parent), 0)
