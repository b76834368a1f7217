"""Grid controls: the size of a chip as sliders, as a number, and as a length."""

from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui

from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.errors import PychipError

from .layouts import in_row, plain_text, wrapped

_LARGEST = 256
"""Sliders reach no further: they could not be aimed; the number does."""


class GridControls:
    """Width and height of a chip.

    Parameters
    ----------
    size
        Shown at first.
    on_move
        Called with the size when the viewer changes it, not when `show` does.
    least
        Shortest edge that a chip may have.
    enabled
        Whether this viewer may change it.
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
        self._least = least
        self._size = size
        self._most = ChipSize(_LARGEST, _LARGEST)
        self._pixel: tuple[float, str] | None = None
        self._silent = False
        slider: dict[str, Any] = {"start": least, "end": _LARGEST, "step": 1, "width": 190}
        slider |= {"margin": (0, 20, 0, 0), "disabled": not enabled, "tooltips": False}
        self._width = pmui.IntSlider(label="chip width (px)", **slider)
        self._height = pmui.IntSlider(label="chip height (px)", **slider)
        self._square = pmui.Checkbox(
            label="square", value=True, disabled=not enabled, margin=in_row()
        )
        self._number = pmui.TextInput(
            label="px: N or W×H", size="small", width=140, disabled=not enabled, margin=in_row(8)
        )
        self._length = plain_text(sizing_mode=None, margin=in_row(), width=170)
        self._display()
        self._square.param.watch(self._on_square, "value")
        self._number.param.watch(self._on_number, "value")
        for one in (self._width, self._height):
            one.param.watch(self._on_slider, "value")

    @property
    def size(self) -> ChipSize:
        """What is shown."""
        return self._size

    def panel(self) -> Any:
        """Beside each other where there is room."""
        return wrapped(self._width, self._height, self._square, self._number, self._length)

    def show(self, size: ChipSize) -> None:
        """Show a size, as far as chips of it fit the frame, without telling `on_move`."""
        self._size = self._limited(size.width, size.height)
        self._display()

    def fit(
        self, shape: tuple[int, int], pixel_size: float | None = None, unit: str | None = None
    ) -> None:
        """Allow chips of up to half a frame (rows, columns) whose pixels have this size."""
        height, width = (max(length // 2, 4 * CELLS) for length in shape)
        self._most = ChipSize(width, height)
        self._pixel = (pixel_size, unit or "") if pixel_size else None
        self._width.end, self._height.end = min(width, _LARGEST), min(height, _LARGEST)
        self._display()

    def _limited(self, width: int, height: int) -> ChipSize:
        edges = ((width, self._most.width), (height, self._most.height))
        return ChipSize(*(min(max(edge, self._least), most) for edge, most in edges))

    def _display(self, moved: bool = False) -> None:
        size, self._silent = self._size, True
        try:
            # Two edges that happen to be equal while one is moved do not lock each other.
            self._square.value = size.width == size.height and (self._square.value or not moved)
            self._height.visible = not self._square.value
            for slider, edge in ((self._width, size.width), (self._height, size.height)):
                slider.value = min(max(edge, slider.start), slider.end)
            self._number.value = str(size).replace("x", "×")
            self._number.error_state = False
        finally:
            self._silent = False
        self._length.visible = self._pixel is not None
        if self._pixel is not None:
            edges = (f"{edge * self._pixel[0]:.3g}" for edge in (size.width, size.height))
            self._length.object = f"= {' × '.join(edges)} {self._pixel[1]}"

    def _change(self, width: int, height: int) -> None:
        size = self._limited(width, height)
        told = size != self._size
        self._size = size
        self._display(moved=True)
        if told:
            self._on_move(size)

    def _on_square(self, event: Any) -> None:
        if self._silent:
            return
        self._height.visible = not event.new
        if event.new:
            self._change(self._size.width, self._size.width)

    def _on_slider(self, event: Any) -> None:
        if self._silent:
            return
        width = event.new if event.obj is self._width else self._size.width
        height = event.new if event.obj is self._height else self._size.height
        self._change(width, width if self._square.value else height)

    def _on_number(self, event: Any) -> None:
        if self._silent:
            return
        try:
            size = ChipSize.parse(event.new)
            self._change(size.width, size.height)
        except PychipError:
            self._number.error_state = True
