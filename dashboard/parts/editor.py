"""Example editor: chips of a frame become examples, and what they make of it is seen at once."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.domain.colors import UNKNOWN_COLOR
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import PychipError
from pychip_stream.model.quality import FEWEST, MOST

from ..work.background import Background
from ..work.drafts import DraftState
from ..work.frame_pictures import FramePicture, Key, grid_shape
from ..work.previews import OpenDraft, Preview
from ..work.workbench import Workbench
from .components import ClassShelf
from .frame_view import FrameView
from .grid_controls import GridControls

_REST_S = 0.4


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
    ) -> None:
        self._bench = bench
        self._background = background
        self._enabled = enabled
        self._tell_grid = on_grid
        self._picking = True
        self._echo = 0
        self._moved_at: float | None = None
        self._sent_size: ChipSize | None = None
        self._sent_state = 0
        self._sent_preview: Preview | None = None
        self._shelves = 0
        self.opened = opened
        self.picture: FramePicture | None = None
        self.hints = True
        self.view = FrameView(background, bench.crop, self._on_canvas)
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
        self.grid.fit(picture.shape)
        self.show_again()

    def show_again(self, *, picking: bool = True) -> None:
        """Show the frame with the grid; chips can be chosen while `picking`."""
        if self.picture is None:
            return
        self._picking = picking
        self._sent_size = size = self.opened.draft.state.chip_size
        self.view.show(replace(self.picture, chip_size=(size.width, size.height)))
        self._forget()

    def lock(self) -> None:
        """Let no chip be chosen on what the canvas shows."""
        self.view.canvas.send(type="picks", classes=[], picks=[], echo=0, locked=True)

    def pull(self, now: float) -> None:
        """Show what was changed, here or in another tab, and what has become of it."""
        self.settle_grid(now)
        if self.picture is not None:
            self._show_state(self.picture.key)
            if self._picking:
                self._show_preview(self.picture.key)

    def resize(self, size: ChipSize) -> None:
        """Change the chip size of the draft."""
        draft = self.opened.draft
        if self._enabled and size != draft.state.chip_size:
            draft.change(draft.state.resize(size))

    def settle_grid(self, now: float = math.inf) -> None:
        """Let the draft follow the sliders once they have come to rest."""
        if self._moved_at is not None and now - self._moved_at >= _REST_S:
            self._moved_at = None
            self.resize(self.grid.size)

    def send_hints(self) -> None:
        """Mark the chips that are worth choosing next."""
        preview = self.opened.preview
        shown = preview is not None and self.hints and preview.key == self.key
        chips = preview.suggestions if preview is not None and shown else ()
        marks = [[s.row, s.column, s.kind, s.reason] for s in chips]
        self.view.canvas.send(type="highlights", chips=marks)

    def say(self, lines: list[list[str]]) -> None:
        """Show (level, text) below the classes."""
        self.shelf.send(type="notes", lines=lines)

    def _forget(self) -> None:
        self._sent_state, self._sent_preview = 0, None

    # -- from the browser

    def _on_canvas(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "ready":
            self._echo = 0
            self._forget()
        elif kind in ("pick", "undo") and self._picking:
            self._echo = int(message.get("click", 0))
            self._edit(message)

    def _on_shelf(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._forget()
        else:
            self._edit(message)

    def _edit(self, message: dict[str, Any]) -> None:
        """Change the draft as the browser asks; what is impossible is said, not done."""
        draft = self.opened.draft
        if not self._enabled:
            return
        self.settle_grid()  # what was clicked is a chip of the grid that is shown
        size = draft.state.chip_size
        if message.get("chip", [size.width, size.height]) != [size.width, size.height]:
            self.show_again()  # another tab has changed the grid meanwhile
            return
        try:
            if message["type"] == "undo":
                draft.undo()
            else:
                draft.change(edited(draft.state, message, self.key))
        except PychipError as error:
            self.say([["error", str(error)]])
        self._sent_state = 0

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
        locked = not self._enabled
        self.view.canvas.send(**picks_message(state, key, self._echo, locked=locked))
        preview = self.opened.preview
        known = preview if preview is not None and preview.key == key else None
        self.view.canvas.send(**labels_message(state, known))
        self._send_shelf()

    def _send_shelf(self) -> None:
        """Cut the thumbnails on another thread; frames may have to be read for them."""
        bench, draft = self._bench, self.opened.draft
        number, state, locked = draft.number, draft.state, not self._enabled
        odd = odd_chips(self.opened.preview)
        self._shelves += 1
        asked = self._shelves

        def send(message: dict[str, Any]) -> None:
            if asked == self._shelves:
                self.shelf.send(**message)

        self._background.do(lambda: shelf_message(bench, number, state, odd, locked), send)

    def _show_preview(self, key: Key) -> None:
        preview = self.opened.preview
        if preview is None or preview is self._sent_preview or preview.key != key:
            return
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


def picks_message(state: DraftState, key: Key, echo: int, *, locked: bool) -> dict[str, Any]:
    """Classes, and the chosen chips of one frame; `echo` is the click that this answers."""
    return {
        "type": "picks",
        "classes": [{"name": c.name, "color": c.color} for c in state.classes],
        "picks": [[p.row, p.column, p.label] for p in state.picks if (p.path, p.index) == key],
        "echo": echo,
        "locked": locked,
    }


def labels_message(state: DraftState, preview: Preview | None) -> dict[str, Any]:
    """Labels of the frame, and a bar for every class: one that came later would move the image.

    Labels of another grid than the draft's are left out; a bar without a fraction has no value.
    """
    trial = preview.trial if preview is not None else None
    if trial is not None and trial.support.chip_size != state.chip_size:
        trial = None
    fractions = trial.result.fractions if trial is not None else {}
    pairs = [*((c.name, c.color) for c in state.classes), (UNKNOWN, UNKNOWN_COLOR)]
    bars: list[dict[str, Any]] = [
        {"name": n, "color": c} | (fractions[n]._asdict() if n in fractions else {})
        for n, c in pairs
    ]
    message: dict[str, Any] = {"type": "labels", "bars": bars, "labels": None, "palette": []}
    if preview is None:
        return message
    message["seq"] = preview.number
    if trial is not None:
        size, labels = trial.support.chip_size, trial.result.label_map
        colors = {c.name: c.color for c in trial.support.classes}
        message |= {
            "labels": labels.tobytes(),
            "grid": list(labels.shape),
            "chip": [size.width, size.height],
            "palette": [
                {"name": n, "color": colors.get(n, UNKNOWN_COLOR)}
                for n in (*trial.result.names, UNKNOWN)
            ],
        }
    return message


def shelf_message(
    bench: Workbench, number: int, state: DraftState, odd: dict[int, str], locked: bool
) -> dict[str, Any]:
    """Everything that the shelf shows of a draft."""
    scale = bench.scale_of(state.parent or "")
    classes = []
    for one in state.classes:
        chips = [
            {
                "number": i,
                "jpeg": bench.thumbnail(pick, state.chip_size, scale),
                "where": f"row {pick.row}, column {pick.column} of {pick.path}"
                if pick.row >= 0
                else "imported chip",
                "odd": odd.get(i, ""),
            }
            for i, pick in enumerate(state.picks)
            if pick.label == one.name
        ]
        classes.append(
            {
                "name": one.name,
                "color": one.color,
                "count": len(chips),
                "advice": count_advice(len(chips)),
                "chips": chips,
            }
        )
    return {"type": "shelf", "number": number, "classes": classes, "locked": locked}


def count_advice(count: int) -> str:
    """Say in a few words whether a class has enough examples."""
    if count == 0:
        return "choose 2–10"
    if count < FEWEST:
        return "one more at least"
    if count > MOST:
        return "more gain little"
    return "good"


def odd_chips(preview: Preview | None) -> dict[int, str]:
    """Why an example looks like another class, by its number in the draft."""
    if preview is None or preview.quality is None:
        return {}
    found = {}
    for number, chip in enumerate(preview.quality.chips):
        if chip.taken_for is not None and chip.taken_for != chip.label:
            found[number] = f"looks like {chip.taken_for}"
    return found


def quality_lines(preview: Preview) -> list[list[str]]:
    """Say what cross-validation thinks of a draft, as (level, text)."""
    quality = preview.quality
    if quality is None:
        return [["", preview.trouble or "judging the examples…"]]
    lines = []
    if quality.accuracy is not None:
        level = "good" if quality.accuracy >= 0.9 else "warning"
        lines.append([level, f"accuracy {quality.accuracy:.0%}, cross-validated over the examples"])
    if quality.confusion is not None:
        own, other, share = quality.confusion
        lines.append(["warning", f"{share:.0%} of {own!r} are taken for {other!r}"])
    return lines + [["", line] for line in quality.advice]
