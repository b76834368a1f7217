"""Example editor: chips of a frame become examples, and what they make of it is seen at once."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.errors import PychipError

from ..work.background import Background
from ..work.drafts import DraftState
from ..work.frame_pictures import FramePicture, Key, grid_shape
from ..work.previews import Hint, OpenDraft, Preview
from ..work.recent import Every
from ..work.workbench import Workbench
from .components import ClassShelf
from .editor_messages import (
    hint_lines,
    labels_message,
    merged_line,
    odd_chips,
    picks_message,
    quality_lines,
    shelf_message,
    waiting_line,
)
from .frame_view import FrameView
from .grid_controls import GridControls

_REST_S = 0.4
_WAIT_S = 1.0
_CLASSES = {
    "pick": ("label",), "rename": ("old",), "recolor": ("name",), "remove": ("name",),
    "merge": ("source", "target"),
}  # fmt: skip
"""What names a class in each kind of message."""


class ExampleEditor:
    """Canvas, shelf of classes and grid of one draft; a page lays them out and calls `pull`.

    Parameters
    ----------
    enabled
        Whether this viewer may change the draft.
    least
        Shortest edge of a chip that the sliders reach.
    on_grid
        Told every size that the sliders show.
    on_look
        Told the frame of a suggestion that was pressed.

    Attributes
    ----------
    opened
        The draft, and what it makes of the frame.
    picture
        The frame; None before the first.
    hints
        Whether chips are suggested.
    """

    def __init__(
        self,
        bench: Workbench,
        background: Background,
        opened: OpenDraft,
        *,
        enabled: bool = True,
        least: int = CELLS,
        on_grid: Callable[[ChipSize], None] = lambda _size: None,
        on_look: Callable[[Key], None] = lambda _key: None,
    ) -> None:
        self._bench = bench
        self._background = background
        self._enabled = enabled
        self._tell_grid = on_grid
        self._tell_look = on_look
        self._offered: tuple[Hint, ...] = ()
        self._pressed: Hint | None = None
        self._picking = True
        self._echo = 0
        self._moved_at: float | None = None
        self._sent_size: ChipSize | None = None
        self._sent_state = 0
        self._sent_preview: Preview | None = None
        self._shelves = 0
        self._stage = ""
        self._renamed: dict[str, str] = {}
        self._remarks: list[list[str]] = []
        self._lines: list[list[str]] = []
        self._wait = Every(_WAIT_S)
        self.opened = opened
        self.picture: FramePicture | None = None
        self.hints = True
        self.view = FrameView(background, bench.crop, self._on_canvas, bench.repaint)
        self.shelf = ClassShelf(self._on_shelf, sizing_mode="stretch_width")
        self.grid = GridControls(
            opened.draft.state.chip_size, self._on_grid, least=least, enabled=enabled
        )

    @property
    def key(self) -> Key | None:
        """Of the frame; None before the first."""
        return self.picture.key if self.picture else None

    def show(self, picture: FramePicture) -> None:
        """Choose from this frame."""
        self.picture = picture
        self.grid.fit(picture.shape, picture.pixel_size, picture.unit)
        self._remarks = []
        if self._pressed is not None and self._pressed.key != picture.key:
            self._pressed = None
        self.say([])
        self.show_again()
        self.send_hints()

    def show_again(self, *, picking: bool = True) -> None:
        """Show the frame with the grid; chips can be chosen while `picking`."""
        if self.picture is None:
            return
        self._picking = picking
        self._sent_size = None  # its grid is drawn from the start
        size = self.opened.draft.state.chip_size
        self.view.show(replace(self.picture, chip_size=(size.width, size.height)))
        self._forget()

    def lock(self) -> None:
        """Let no chip be chosen on what the canvas shows."""
        self.view.lock()

    def pull(self, now: float) -> None:
        """Show what was changed, here or in another tab, and what has become of it."""
        self.settle_grid(now)
        if self.picture is not None:
            self._show_state(self.picture.key)
            if self._picking:
                self._show_preview(self.picture.key)
                self._show_wait(now)

    def resize(self, size: ChipSize) -> None:
        """Change the chip size of the draft."""
        draft = self.opened.draft
        before = draft.state
        if self._enabled and size != before.chip_size:
            draft.change(before.resize(size, self.picture.shape if self.picture else None))
            self.remark("warning", merged_line(before, draft.state))

    def settle_grid(self, now: float = math.inf) -> None:
        """Let the draft follow the sliders once they have come to rest."""
        if self._moved_at is not None and now - self._moved_at >= _REST_S:
            self._moved_at = None
            self.resize(self.grid.size)

    def send_hints(self) -> None:
        """Mark the chips of the frame that are worth choosing next, and list those of others.

        The one that was pressed to come here is marked, whatever is suggested by now.
        """
        preview = self.opened.preview
        shown = preview is not None and self.hints and preview.key == self.key
        found = preview.suggestions if preview is not None and shown else ()
        here = {hint.place: hint.chip for hint in found if hint.key == self.key}
        picked = {pick.place for pick in self.opened.draft.state.picks}
        pressed = self._pressed if self.hints else None
        if pressed is not None and pressed.key == self.key and pressed.place not in picked:
            here.setdefault(pressed.place, pressed.chip)
        marks = [[s.row, s.column, s.kind, s.reason] for s in here.values()]
        self.view.canvas.send(type="highlights", chips=marks)
        self._offered = tuple(hint for hint in found if hint.key != self.key)
        self.shelf.send(type="hints", lines=hint_lines(self._offered))

    def say(self, lines: list[list[str]]) -> None:
        """Show (level, text) below the classes, after what the last step has led to."""
        self._lines = lines
        self.shelf.send(type="notes", lines=[*self._remarks, *lines])

    def remark(self, level: str, text: str) -> None:
        """Say something that stays until the next step."""
        self._remarks = [[level, text]] if text else []
        self.say(self._lines)

    def _forget(self) -> None:
        self._sent_state, self._sent_preview = 0, None

    # -- from the browser

    def _on_canvas(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._echo, self._sent_size = 0, None
            self._forget()
        elif kind in ("pick", "undo") and self._picking:
            self._echo = int(message.get("click", 0))
            self._edit(message)

    def _on_shelf(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._forget()
            self.say(self._lines)
        elif message["type"] == "look":
            self._look(message)
        else:
            self._edit(message)

    def _look(self, message: dict[str, Any]) -> None:
        """Go to the frame of a suggestion; one that is not on the list any more is left alone."""
        for hint, line in zip(self._offered, hint_lines(self._offered), strict=True):
            if line == message["line"]:
                self._pressed = hint
                self._tell_look(hint.key)

    def _edit(self, message: dict[str, Any]) -> None:
        """Change the draft as the browser asks; what is impossible is said, not done."""
        draft = self.opened.draft
        if not self._enabled:
            return
        self._remarks = []
        self.settle_grid()  # what was clicked is a chip of the grid that is shown
        size = draft.state.chip_size
        if message.get("chip", [size.width, size.height]) != [size.width, size.height]:
            self.show_again()  # another tab has changed the grid meanwhile
            self.say(self._lines)
            return
        try:
            if message["type"] == "undo":
                draft.undo()
            else:
                self._change(self._named(message))
            self.say(self._lines)
        except PychipError as error:
            self.remark("error", str(error))
        self._sent_state = 0

    def _named(self, message: dict[str, Any]) -> dict[str, Any]:
        """Give a message, which was on its way for a while, the names that classes have now."""
        names, found = self.opened.draft.state.names, dict(message)
        for field in _CLASSES.get(message["type"], ()):
            for _ in self._renamed:
                if found[field] not in names:
                    found[field] = self._renamed.get(found[field], found[field])
        return found

    def _change(self, message: dict[str, Any]) -> None:
        draft, kind = self.opened.draft, message["type"]
        before = draft.state
        draft.change(edited(before, message, self.key))
        if kind == "rename":
            self._renamed[str(message["old"])] = str(message["name"]).strip()
        elif kind == "merge":
            self._renamed[str(message["source"])] = str(message["target"])
        elif kind == "add":
            self._stage = draft.state.names[-1]

    def _on_grid(self, size: ChipSize) -> None:
        """Draw the grid while a slider moves; the draft follows when it is let go."""
        self._tell_grid(size)
        if self._enabled and size != self.opened.draft.state.chip_size:
            self._moved_at = time.monotonic()
            self._send_grid(size)

    # -- to the browser

    def _send_grid(self, size: ChipSize) -> None:
        if self.picture is not None:
            self._sent_size = size
            chip = [size.width, size.height]
            self.view.canvas.send(type="grid", grid=grid_shape(self.picture.shape, size), chip=chip)

    def _show_state(self, key: Key) -> None:
        draft = self.opened.draft
        number, state = draft.number, draft.state
        if self._picking:
            self.opened.ask(key)
        if number == self._sent_state:
            return
        self._sent_state = number
        if self._moved_at is None:
            self.grid.show(state.chip_size)
            if state.chip_size != self._sent_size:
                self._send_grid(state.chip_size)
        if not self._picking:
            self.lock()
            return
        stage, self._stage = self._stage, ""
        self.view.canvas.send(
            **picks_message(
                state, key, self._echo, locked=not self._enabled, stage=stage, renamed=self._renamed
            )
        )
        preview = self.opened.preview
        known = preview if preview is not None and preview.key == key else None
        self.view.canvas.send(**labels_message(state, known))
        self._send_shelf(stage)

    def _send_shelf(self, focus: str = "") -> None:
        """Send what is known at once; other thumbnails are cut on another thread.

        Frames may have to be read for them.
        """
        bench, draft = self._bench, self.opened.draft
        number, state, locked = draft.number, draft.state, not self._enabled
        make = partial(
            shelf_message, bench, number, state, odd_chips(self.opened.preview), locked=locked
        )
        self._shelves += 1
        asked = self._shelves
        first = make(known=True)
        self.shelf.send(**first, focus=focus)
        if all(chip["jpeg"] is not None for one in first["classes"] for chip in one["chips"]):
            return

        def send(message: dict[str, Any]) -> None:
            if asked == self._shelves:
                self.shelf.send(**message)

        self._background.do(make, send)

    def _show_wait(self, now: float) -> None:
        """Say once a second that labels are on their way."""
        seconds, picture = self.opened.waiting_s, self.picture
        if picture is not None and seconds > _WAIT_S and self._wait.due(now):
            grid = grid_shape(picture.shape, self.opened.draft.state.chip_size)
            self.say([["busy", waiting_line(grid, seconds, self.opened.share)]])
            self._sent_preview = None  # its lines come back

    def _show_preview(self, key: Key) -> None:
        preview = self.opened.preview
        if preview is None or preview is self._sent_preview or preview.key != key:
            return
        if self.opened.waiting_s > _WAIT_S or self._moved_at is not None:
            return  # it is of a step before
        self._sent_preview = preview
        self.view.canvas.send(**labels_message(self.opened.draft.state, preview))
        self.say(quality_lines(preview))
        self.send_hints()
        if preview.quality is not None:
            self._send_shelf()


def edited(state: DraftState, message: dict[str, Any], key: Key | None) -> DraftState:
    """Return the state of a draft after what a browser asked for.

    Raises
    ------
    PychipError
        If it is impossible; KeyError, ValueError, TypeError: if the message makes no sense.
    """
    kind = message["type"]
    if kind == "pick":
        if key is None:
            return state
        places = [(int(row), int(column)) for row, column in message["chips"]]
        if any(row < 0 or column < 0 for row, column in places):
            raise ValueError("negative place")
        return state.choose(str(message["label"]), *key, places, add=bool(message["add"]))
    changes = {
        "add": lambda: state.add_class(),
        "rename": lambda: state.rename(str(message["old"]), str(message["name"])),
        "recolor": lambda: state.recolor(str(message["name"]), str(message["color"])),
        "merge": lambda: state.merge(str(message["source"]), str(message["target"])),
        "remove": lambda: state.remove_class(str(message["name"])),
        "drop": lambda: state.drop(int(message["number"])),
    }
    return changes[kind]()
