"""Layouts: how the parts of a page stand beside each other, and plain text among them."""

from collections.abc import Callable
from typing import Any

import panel as pn
import panel_material_ui as pmui

FULL_HEIGHT = "max(calc(100vh - 5.5rem - 24px), 460px)"
"""What the title bar and the tabs leave of the window."""

_REM = 16
"""Pixels of the page's own unit where texts are of the usual size."""
SMALL_BUTTONS = {
    "& button": {"padding": "2px 12px", "textTransform": "none", "whiteSpace": "nowrap"}
}


def in_row(above: int = 4) -> tuple[int, int, int, int]:
    """Margin of what stands in a row; the first of them begins where its column does."""
    return (above, 8, above, 0)


def small_button(label: str, act: Callable[[], object], **options: Any) -> Any:
    """Make a button that calls `act`."""
    button = pmui.Button(label=label, size="small", sx=SMALL_BUTTONS, **options)
    button.on_click(lambda _event: act())
    return button


def pixel_size_field(act: Callable[[str], object], **options: Any) -> Any:
    """Make a field for the size of a pixel; calls `act` with what is written there."""
    field = pmui.TextInput(
        label="pixel size", value="", placeholder="as in the file, or 0.5 nm", **options
    )
    field.param.watch(lambda event: act(str(event.new or "").strip()), "value")
    return field


def side_by_side(*parts: Any, narrowest: int = 440) -> Any:
    """Columns of equal width; under each other where one would be narrower than `narrowest` px."""
    columns = f"repeat(auto-fit, minmax(min({narrowest}px, 100%), 1fr))"
    return pn.Row(
        *parts,
        sizing_mode="stretch_width",
        styles={
            "display": "grid",
            "grid-template-columns": columns,
            "gap": "16px",
            "padding": "8px 16px",
            "box-sizing": "border-box",
        },
    )


def grown(layout: Any) -> Any:
    """Let widths in pixels grow with the texts, which are larger on large screens."""
    for part in layout.select(lambda one: getattr(one, "width", None)):
        wide = f":host, :host > div {{ min-width: {part.width / _REM:g}rem !important; }}"
        part.stylesheets = [*part.stylesheets, wide]
    return layout


def wrapped(*parts: Any) -> Any:
    """Beside each other, and under each other where there is no room.

    A column that was turned: a row would be at least as wide as all its parts together.
    """
    styles = {"flex-direction": "row", "flex-wrap": "wrap", "align-items": "center"}
    return pn.Column(*parts, sizing_mode="stretch_width", styles=styles)


_NOTES = {
    "": ("", "transparent"),
    "good": ("✓ ", "#009e73"),
    "error": ("✕ ", "#d55e00"),
}


def note(pane: Any, text: str, level: str = "") -> None:
    """Put a text into a pane of `plain_text` so that its outcome is seen: "good" or "error"."""
    symbol, color = _NOTES[level]
    pane.object = f"{symbol}{text}" if text else ""
    shown = color if text else "transparent"
    pane.styles = {"border-left": f"5px solid {shown}", "padding-left": "8px"}


def plain_text(text: str = "", **options: Any) -> Any:
    """Text that is shown as it is, never as markup, and wrapped; `object` changes it."""
    sheet = (
        "pre { white-space: pre-wrap; font: var(--text, 13px)/1.45 Roboto, sans-serif; margin: 0; }"
    )
    layout = {"margin": (4, 0), "sizing_mode": "stretch_width", **options}
    return pn.pane.Str(text, stylesheets=[sheet], **layout)
