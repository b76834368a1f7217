"""Grid controls: sliders for the size of a chip."""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

from pychip_stream.domain.chips import CELLS, ChipSize

_LARGEST = 256
_MOST = 1 << 16


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
        edges = (min(max(s.value, CELLS), _MOST) for s in (self._width, self._height))
        return ChipSize(*edges)

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
