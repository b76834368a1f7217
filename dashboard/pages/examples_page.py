"""Examples page: a support set is made by clicking chips, and judged while it grows."""

import logging
from typing import Any, ClassVar

import panel as pn
import panel_material_ui as pmui

from pychip_stream.domain.chips import CELLS
from pychip_stream.model.grid_advice import GridAdvice, recommend_grid

from ..accounts import MAY_LOOK, Viewer
from ..page import Desk, View
from ..parts.editor import ExampleEditor
from ..parts.layouts import (
    FULL_HEIGHT,
    in_row,
    pixel_size_field,
    plain_text,
    side_by_side,
    small_button,
    wrapped,
)
from ..parts.versions import VersionsPanel
from ..work.background import Background
from ..work.frame_pictures import FramePicture, Key

logger = logging.getLogger(__name__)


class ExamplesPage(View):
    """Choose chips on a frame of the run; see at once what they make of it; save and publish."""

    name: ClassVar = "examples"
    title: ClassVar = "Examples"
    place: ClassVar = 1

    def __init__(self, desk: Desk, viewer: Viewer) -> None:
        self._run = desk.run
        self._bench = desk.bench
        self._operator, self._user = viewer.operator, viewer.user
        self._background = Background(self._on_trouble, shared=desk.bench.frames)
        opened = desk.drafts.of(viewer.user, desk.run.support)
        self._draft = opened.draft
        self._editor = ExampleEditor(
            desk.bench, self._background, opened,
            enabled=viewer.operator, least=2 * CELLS, on_look=self._take,
        )  # fmt: skip
        self._versions = VersionsPanel(
            desk.bench, self._background, viewer, opened.draft, lambda: self._editor.key
        )
        self._recommended: GridAdvice | None = None
        self._newest = small_button(
            "Take the newest frame", lambda: self._take(self._run.newest_key()), margin=in_row()
        )
        self._number = pmui.TextInput(
            label="frame of the run", width=150, size="small", margin=in_row()
        )
        self._number.param.watch(lambda event: self._on_number(str(event.new)), "value")
        self._of = plain_text(margin=in_row(12), sizing_mode=None, width=160)
        self._size = pixel_size_field(
            self._on_size, width=220, size="small", margin=in_row(), disabled=not viewer.operator
        )
        self._measured = ""
        self._advice = plain_text(sizing_mode="stretch_width")
        self._use = small_button(
            "Use the recommended size", self._use_recommended,
            variant="outlined", visible=False, margin=in_row(),
        )  # fmt: skip
        self._hints = pmui.Checkbox(
            label="suggest chips to label next", value=True, margin=in_row()
        )
        self._hints.param.watch(self._on_hints, "value")

    def panel(self) -> Any:
        """Lay the page out: frame left, classes and versions right."""
        choose = wrapped(self._newest, self._number, self._of)
        advice = pn.Column(self._advice, self._use, sizing_mode="stretch_width")
        right = pn.Column(
            *([] if self._operator else [plain_text(MAY_LOOK)]),
            choose, self._size, self._editor.grid.panel(), advice, self._editor.shelf, self._hints,
            self._versions.panel(),
            sizing_mode="stretch_width",
            # The room above is for labels that stand on the border of their field.
            styles={"max-height": FULL_HEIGHT, "overflow": "auto", "padding-top": "6px"},
        )  # fmt: skip
        return side_by_side(self._editor.view.canvas, right)

    def pull(self, now: float) -> None:
        """Show what has been read, fitted or changed elsewhere."""
        if self._editor.picture is None:
            self._take(self._run.newest_key())
        if self._measured != self._run.pixel_size:
            self._measured = self._size.value = self._run.pixel_size
            self._take(self._editor.key)
        of = f"of {len(self._run.course)} in the run"
        if self._of.object != of:
            self._of.object = of
            if not self._number.value and self._editor.key is not None:  # it is archived by now
                self._number.value = _number(self._run.course.number_of(self._editor.key))
        self._editor.pull(now)
        self._versions.pull(now)

    def close(self) -> None:
        """Leave the draft as it is; it is kept on the server."""
        self._background.close()

    def _take(self, key: Key | None) -> None:
        if key is None:
            return
        bench, version = self._bench, self._draft.state.parent or ""
        self._background.do(lambda: bench.picture(key, version), self._show, slot="frame")

    def _on_number(self, text: str) -> None:
        """Take a frame by its number, from 1 on as in Review."""
        number = int(text) if text.isdecimal() else 0
        shown = self._editor.key and self._run.course.number_of(self._editor.key)
        if text == _number(shown):
            return
        key = self._run.course.key_at(number - 1) if number else None
        if key is None:
            self._number.error_state = True
            frames = len(self._run.course)
            said = f"the run has the frames 1 to {frames}" if frames else "the run has no frame yet"
            self._editor.remark("error", said)
        self._take(key)

    def _on_size(self, size: str) -> None:
        """Set the pixel size of the run; what it is then comes back from the hub."""
        if size == self._measured:
            return
        if not self._operator:
            self._on_trouble(MAY_LOOK)
            return
        bench, user = self._bench, self._user
        self._background.do(lambda: bench.set_pixel_size(size, user), lambda _size: None)

    def _show(self, picture: FramePicture) -> None:
        self._editor.show(picture)
        self._number.value = _number(self._run.course.number_of(picture.key))
        self._number.error_state = False
        bench = self._bench
        self._background.do(
            lambda: recommend_grid(bench.frame(picture.key)),
            self._on_advice,
            failed=self._on_no_advice,
        )

    def _on_trouble(self, text: str) -> None:
        self._editor.say([["error", text]])

    def _on_advice(self, advice: GridAdvice) -> None:
        self._recommended = advice
        lines = (f"{advice.chip_size} px: {advice.reason}", *advice.warnings)
        self._advice.object, self._use.visible = "\n".join(lines), self._operator

    def _on_no_advice(self, text: str) -> None:
        logger.warning("no chip size is recommended: %s", text)

    def _use_recommended(self) -> None:
        if self._recommended is not None:
            self._editor.resize(self._recommended.size)

    def _on_hints(self, event: Any) -> None:
        self._editor.hints = event.new
        self._editor.send_hints()


def _number(number: int | None) -> str:
    """Write the number of a frame for people; empty where it is not in the run yet."""
    return "" if number is None else str(number + 1)
