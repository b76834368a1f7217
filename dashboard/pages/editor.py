"""Example texts: between a draft and what the browser says and is told of it; no Panel."""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pychip_stream.domain.chips import CELLS, ChipSize, Grid
from pychip_stream.domain.support import UNKNOWN, UNKNOWN_COLOR
from pychip_stream.errors import PychipError
from pychip_stream.model.quality import FEWEST, MOST

from ..work.drafts import DraftState
from ..work.previews import Preview
from ..work.workbench import Key, Studio

_LARGEST = 256


class GridControls:
    """Width and height of a chip.

    Parameters
    ----------
    size
        Shown at first.
    on_move
        Called with the size while the viewer moves a slider, not when `show` does.
    least
        Shortest edge that the sliders reach.
    enabled
        Whether this viewer may move them.
    """

    def __init__(
        self,
        size: ChipSize,
        on_move: Callable[[ChipSize], None],
        *,
        least: int = CELLS,
        enabled: bool = True,
    ) -> None:
        self._on_move = on_move
        self._silent = False
        slider: dict[str, Any] = {"start": least, "end": _LARGEST, "step": 1, "width": 190}
        slider |= {"margin": (0, 10), "disabled": not enabled}
        self._width = pmui.IntSlider(label="chip width (px)", value=size.width, **slider)
        self._height = pmui.IntSlider(label="chip height (px)", value=size.height, **slider)
        self._square = pmui.Checkbox(label="square", value=size.width == size.height)
        self._height.visible = not self._square.value
        self._square.param.watch(self._on_square, "value")
        for one in (self._width, self._height):
            one.param.watch(self._on_slider, "value")

    @property
    def size(self) -> ChipSize:
        """What the sliders say."""
        return ChipSize(self._width.value, self._height.value)

    def panel(self) -> Any:
        """Beside each other where there is room."""
        return pn.Row(
            self._width, self._square, self._height, sizing_mode="stretch_width",
            styles={"flex-wrap": "wrap"},
        )  # fmt: skip

    def show(self, size: ChipSize) -> None:
        """Move the sliders, as far as they reach, without telling `on_move`."""
        width, height = min(size.width, self._width.end), min(size.height, self._height.end)
        if ChipSize(width, height) == self.size:
            return
        self._silent = True
        try:
            self._square.value = width == height
            self._width.value, self._height.value = width, height
        finally:
            self._silent = False

    def fit(self, shape: tuple[int, int]) -> None:
        """Let the sliders reach as far as half a frame (rows, columns)."""
        for slider, length in ((self._width, shape[1]), (self._height, shape[0])):
            slider.end = max(length // 2, 4 * CELLS)

    def _on_square(self, event: Any) -> None:
        self._height.visible = not event.new
        if event.new and not self._silent:
            self._height.value = self._width.value

    def _on_slider(self, event: Any) -> None:
        if self._silent:
            return
        if self._square.value and event.obj is self._width and self._height.value != event.new:
            self._height.value = event.new  # and that tells `on_move`
        else:
            self._on_move(self.size)


def grid_shape(shape: tuple[int, int], size: ChipSize) -> list[int]:
    """Rows and columns of chips on a frame; none where not even one fits."""
    try:
        grid = Grid.of(shape, size)
    except PychipError:
        return [0, 0]
    return [grid.rows, grid.columns]


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
    studio: Studio, number: int, state: DraftState, odd: dict[int, str], locked: bool
) -> dict[str, Any]:
    """Everything that the shelf shows of a draft."""
    scale = studio.normalization(state)
    classes = []
    for one in state.classes:
        chips = [
            {
                "number": i,
                "jpeg": studio.thumbnail(pick, state.chip_size, scale),
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
