"""Upload page: the original way of working: one image, grid, examples, result, export."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.progress import Progress
from pychip_stream.domain.records import Fraction
from pychip_stream.domain.support import current_user
from pychip_stream.errors import PychipError
from pychip_stream.export.curves import chart, svg_bytes
from pychip_stream.export.kinds import ExportKind, ExportSource
from pychip_stream.formats.reading import suffixes

from ..accounts import MAY_LOOK, Viewer
from ..page import Desk, View
from ..parts.components import DropZone
from ..parts.download_bar import KINDS, DownloadBar
from ..parts.editor import ExampleEditor
from ..parts.layouts import SMALL_BUTTONS, note, pixel_size_field, plain_text, side_by_side
from ..work.background import Background
from ..work.frame_pictures import FramePicture, grid_shape
from ..work.kept_uploads import Kept
from ..work.opened_run import OpenedRun
from ..work.uploads import NO_FILE, SUPPORT_SUFFIX, UploadBench
from ..work.words import moment

FILE, GRID, EXAMPLES, RESULT = STEPS = ("1 File", "2 Grid", "3 Examples", "4 Result")
_NOTHING = "–"
_PICTURE = (
    '<img alt="bar chart of the fractions" src="data:image/svg+xml;base64,{}" '
    'style="width: 100%; max-width: 460px; border-radius: 4px">'
)
_CANVAS_HEIGHT = "max(calc(100vh - 5.5rem - 36px), 440px)"


class UploadPage(View):
    """Four steps with one image; what was classified can be recalled by its user."""

    name: ClassVar = "upload"
    title: ClassVar = "Upload"
    place: ClassVar = 4

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        self._desk = desk
        self._viewer = viewer
        self._upload = UploadBench(desk.config, viewer.user)
        self._background = Background(self._on_trouble)
        self._editor = ExampleEditor(
            self._upload.bench, self._background, self._upload.open,
            enabled=viewer.operator, on_grid=self._on_grid,
        )  # fmt: skip
        self._editor.hints = False
        self._result: OpenedRun | None = None
        self._classified = 0
        self._drop = DropZone(self._on_drop, sizing_mode="stretch_width")
        support = ExportKind(
            "support", "the examples, to be used again", "-support.h5", "application/x-hdf5",
            self._write_support, label="support set",
        )  # fmt: skip
        kinds = (*(kind for kind in KINDS if not kind.film), support)
        self._downloads = DownloadBar(self._background, self._source, kinds)
        self._step = pmui.RadioButtonGroup(
            options=list(STEPS), value=FILE, label="", size="small", margin=(4, 0), sx=SMALL_BUTTONS
        )
        self._step.param.watch(lambda event: self._go(event.new), "value")
        self._say = plain_text()
        self._make_pages()

    def _make_pages(self) -> None:
        small = {"size": "small", "margin": (6, 0)}
        self._advice = plain_text()
        use = pmui.Button(label="Use this grid size", **small)
        use.on_click(lambda _event: self._use_grid())
        classify = pmui.Button(label="Classify", **small)
        classify.on_click(lambda _event: setattr(self._step, "value", RESULT))
        self._size = pixel_size_field(self._on_size, width=220, **small)
        hint = plain_text("One feature per square; smaller squares show more and take longer.")
        self._fractions = plain_text()
        self._chart = pn.pane.HTML("", visible=False, sizing_mode="stretch_width")
        self._publish = pmui.Button(
            label="Publish to the run", color="success", visible=False, **small
        )
        self._publish.on_click(lambda _event: self._hand_over())
        self._published = plain_text()
        self._recall = pmui.Select(
            label="or go on with one of before", options={_NOTHING: ""}, value="",
            sizing_mode="stretch_width", **small,
        )  # fmt: skip
        self._recall.param.watch(self._on_recall, "value")
        self._offer()
        self._pages = {
            FILE: pn.Column(self._drop, self._recall, sizing_mode="stretch_width"),
            GRID: pn.Column(
                self._editor.grid.panel(), hint, self._advice, use, self._size,
                sizing_mode="stretch_width",
            ),
            EXAMPLES: pn.Column(self._editor.shelf, classify, sizing_mode="stretch_width"),
            RESULT: pn.Column(
                self._fractions, self._chart, self._downloads.widget, self._publish,
                self._published, sizing_mode="stretch_width",
            ),
        }  # fmt: skip
        self._show_page(FILE)

    def panel(self) -> Any:
        """Image left, the present step right."""
        left = self._left = pn.Column(
            self._editor.view.canvas, sizing_mode="stretch_width", visible=False,
            styles={"--canvas-height": _CANVAS_HEIGHT},
        )  # fmt: skip
        right = pn.Column(
            self._step, self._say, *self._pages.values(), sizing_mode="stretch_width"
        )  # fmt: skip
        return side_by_side(left, right)

    def pull(self, now: float) -> None:
        """Show what has been clicked and what it makes of the image."""
        self._downloads.pull(now)
        if self._step.value != RESULT:
            self._editor.pull(now)

    def close(self) -> None:
        """Remove the image and all that was made of it."""
        self._downloads.close()
        self._background.close()
        self._upload.close()

    # -- steps

    def _go(self, step: str) -> None:
        if step != FILE and self._upload.uploaded is None:
            self._step.value = FILE
            self._on_trouble(NO_FILE)
            return
        note(self._say, "")
        self._show_page(step)
        if step == RESULT:
            self._classify()
            return
        self._editor.show_again(picking=step == EXAMPLES)
        if step == GRID:
            self._on_grid(self._editor.grid.size)

    def _show_page(self, step: str) -> None:
        for name, page in self._pages.items():
            page.visible = name == step

    def _on_trouble(self, text: str) -> None:
        if self._step.value == FILE:
            self._drop.send(type="say", text=text, level="error")
        else:
            note(self._say, text, "error")
        if self._step.value == RESULT:
            self._fractions.object = ""

    # -- the file

    def _on_drop(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        try:
            if kind == "ready":
                images = sorted(suffixes())
                words = f"Images, stacks too: {' '.join(images)}; support sets: {SUPPORT_SUFFIX}"
                self._drop.send(type="accept", suffixes=[*images, SUPPORT_SUFFIX], words=words)
                if not self._viewer.operator:
                    self._on_trouble(MAY_LOOK)
            elif not self._viewer.operator:
                self._on_trouble(MAY_LOOK)
            elif kind == "nothing":
                self._on_trouble(NO_FILE)
            elif kind == "begin":
                self._result = None
                self._upload.begin(str(message["name"]), int(message["size"]))
                self._size.value = ""
                self._drop.send(type="more")
            elif kind == "piece":
                self._upload.add(bytes(message["data"]))
                if message["last"]:
                    self._drop.send(type="say", text="reading…", level="")
                    self._background.do(self._upload.finish, self._on_read)
                else:
                    self._drop.send(type="more")
        except PychipError as error:
            self._on_trouble(str(error))

    def _offer(self) -> None:
        """Offer what this user has classified before."""
        if not self._viewer.operator:
            self._recall.visible = False
            return

        def done(found: list[Kept]) -> None:
            names = {f"{one.name}: {one.about}, {moment(one.time)}": one.folder for one in found}
            self._recall.options = {_NOTHING: ""} | names
            self._recall.visible = bool(found)

        self._background.do(self._upload.kept, done, slot="kept")

    def _on_recall(self, event: Any) -> None:
        folder = str(event.new or "")
        if not folder or not self._viewer.operator:
            return

        def done(picture: FramePicture | None) -> None:
            self._recall.value = ""
            self._on_read(picture)
            self._step.value = EXAMPLES

        self._result = None
        self._drop.send(type="say", text="reading…", level="")
        self._background.do(lambda: self._upload.recall(folder), done, slot="recall")

    def _on_read(self, picture: FramePicture | None) -> None:
        support = self._upload.start
        words = []
        if support is not None:
            words.append(f"examples of {', '.join(support.names)}, chips of {support.chip_size} px")
        if picture is None:
            self._drop.send(type="say", text="; ".join([*words, "now an image"]), level="good")
            return
        height, width = picture.shape
        words.insert(0, f"{width} × {height} pixels")
        self._drop.send(type="say", text="; ".join(words), level="good")
        self._left.visible = True
        self._editor.opened = self._upload.open
        self._editor.show(picture)
        self._editor.grid.show(self._upload.open.draft.state.chip_size)
        advice = self._upload.advice
        self._advice.object = "" if advice is None else f"{advice.chip_size} px: {advice.reason}"
        self._step.value = GRID

    # -- the grid

    def _on_grid(self, size: ChipSize) -> None:
        uploaded = self._upload.uploaded
        if uploaded is not None and self._step.value == GRID:
            rows, columns = grid_shape(uploaded.shape, size)
            note(self._say, f"{rows} rows × {columns} columns = {rows * columns} chips")

    def _on_size(self, size: str) -> None:
        """Measure the image anew; what was classified with another size is not the result."""

        def done(picture: FramePicture | None) -> None:
            self._result = None
            if picture is not None:
                self._editor.show(picture)

        upload = self._upload
        self._say.object = ""
        self._background.do(lambda: upload.measure(size), done)

    def _use_grid(self) -> None:
        self._editor.settle_grid()
        self._step.value = EXAMPLES

    # -- the result

    def _classify(self) -> None:
        draft = self._upload.open.draft
        state, number, upload, user = draft.state, draft.number, self._upload, self._viewer.user
        if not self._viewer.operator:
            self._on_trouble(MAY_LOOK)
            return
        if self._result is not None and self._classified == number:
            self._show_result(self._result)
            return

        def done(result: OpenedRun) -> None:
            self._result, self._classified = result, number
            self._offer()
            if self._step.value == RESULT:
                self._show_result(result)

        if self._background.do(lambda: upload.classify(state, user), done, slot="classify"):
            self._result = None
            self._fractions.object = "classifying…"
            self._chart.visible = self._publish.visible = False
            note(self._published, "")

    def _show_result(self, result: OpenedRun) -> None:
        def work() -> tuple[FramePicture, str]:
            drawn = base64.b64encode(svg_bytes(chart(result.run))).decode("ascii")
            return result.picture(0), drawn

        def done(found: tuple[FramePicture, str]) -> None:
            picture, drawn = found
            if self._upload.uploaded is not None:  # parts of it are cut from the file that came
                uploaded = self._upload.uploaded
                picture = replace(picture, key=uploaded.key, title=uploaded.title)
            self._chart.object = _PICTURE.format(drawn)
            self._editor.lock()
            self._editor.view.show(picture)
            self._fractions.object = "\n".join(counted(picture))
            self._chart.visible = True
            self._publish.visible = bool(self._desk.run.health.statuses)

        self._background.do(work, done)

    def _hand_over(self) -> None:
        """Make the examples the support set of the run."""
        if not self._viewer.operator or self._result is None:
            note(self._published, MAY_LOOK if self._result else NO_FILE, "error")
            return
        upload, bench = self._upload, self._desk.bench
        author = self._viewer.user or current_user()
        self._background.do(
            lambda: upload.hand_over(bench, author),
            lambda said: note(self._published, said, "good"),
            failed=lambda text: note(self._published, f"publishing failed: {text}", "error"),
            slot="publish",
        )

    def _write_support(self, _source: ExportSource, path: Path, _progress: Progress) -> None:
        path.write_bytes(self._upload.support_file().read_bytes())

    def _source(self) -> ExportSource | None:
        result = self._result
        if result is None:
            return None
        return ExportSource(result.run, result.pixel_reader(), 0)


def counted(picture: FramePicture) -> list[str]:
    """Say of each class how many chips it has, and its fraction with the 95 % interval."""
    labels = picture.label_map
    if labels is None:
        return []
    return [
        f"{name}: {int((labels == code).sum())} of {labels.size} chips, "
        f"{Fraction(*bounds).text}, with the 95 % interval"
        for code, name in enumerate(picture.names)
        for bounds in [picture.fractions.get(name, (float("nan"),) * 3)]
    ]
