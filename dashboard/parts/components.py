"""Components: our own browser parts, each a script with its style beside it."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from panel.custom import JSComponent
from panel.models.esm import ReactiveESM

logger = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], None]

_NONSENSE = (
    ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError,
)  # fmt: skip
_HERE = Path(__file__).resolve().parent

FILES = {path.name: path for kind in ("*.js", "*.css") for path in sorted(_HERE.glob(kind))}
"""What a browser may ask for below `PATH`."""
PATH = "parts/"

ReactiveESM.__javascript__ = [f"{PATH}modules.js"]


class _Part(JSComponent):
    """A component that speaks in messages only; Python keeps what must not be lost.

    Nothing is sent before the component says "ready", after which it wants everything anyway:
    a message that overtakes the component itself makes the browser drop what comes with it.
    """

    __abstract = True

    def __init__(self, on_message: Handler, **params: Any) -> None:
        super().__init__(**params)
        self._on_message = on_message
        self._heard = False

    def send(self, **message: Any) -> None:
        """Send a message to the browser, once it listens."""
        if self._heard:
            self._send_msg(message)

    def _handle_msg(self, data: Any) -> None:
        if not isinstance(data, dict) or not isinstance(data.get("type"), str):
            return
        self._heard = True
        try:
            self._on_message(data)
        except _NONSENSE as error:
            logger.warning("a message of a browser makes no sense (%r): %.200r", error, data)

    @classmethod
    def _component_resource_path(cls, esm_path: Path, compiled: bool) -> str:
        del compiled
        return PATH + esm_path.name


class ChipCanvas(_Part):
    """One frame with its chips: picture, coloured labels, zoom, picking.

    Messages to it: frame, labels, crop, picks, highlights; from it: ready, painted, crop, pick.
    After every "ready" it knows nothing and wants everything again.
    """

    _bundle = _HERE / "chip_canvas.js"


class StatusStrip(_Part):
    """How fresh the page is, and where the time goes."""

    _bundle = _HERE / "status_strip.js"


class StatusBar(_Part):
    """How the run is, on every page; sends acknowledge, share."""

    _bundle = _HERE / "status_bar.js"


class CurveNames(_Part):
    """Names and colours of the curves; sends toggle.

    It must not be called a legend: the theme would treat it as one of Bokeh's.
    """

    _bundle = _HERE / "curve_names.js"


class Limits(_Part):
    """Limits of alert rules in words; sends limit where one was moved, rule for a new one."""

    _bundle = _HERE / "limits.js"


class MarkField(_Part):
    """Takes the text of a mark; sends opened when somebody begins to write, and mark."""

    _bundle = _HERE / "mark_field.js"


class ClassShelf(_Part):
    """The classes of a draft with their chips."""

    _bundle = _HERE / "class_shelf.js"


class Heartbeat(_Part):
    """Tells the viewer when the server is gone, and reloads the page when it is back."""

    _bundle = _HERE / "heartbeat.js"


class Theme(_Part):
    """Makes the page light or dark as this browser wants it, and keeps the viewer's choice."""

    _bundle = _HERE / "theme.js"


class Tables(_Part):
    """Tables and logs as plain text; wants everything again after "ready"."""

    _bundle = _HERE / "tables.js"


def table(
    title: str,
    rows: Sequence[Sequence[object]],
    head: Sequence[str] = (),
    *,
    right: Sequence[int] = (),
    note: str = "",
    empty: str = "nothing",
    wide: bool = False,
) -> dict[str, Any]:
    """Make one of the tables that `Tables` shows.

    Parameters
    ----------
    rows
        Of texts, or of dicts with "text" and "mono", or "state" and "symbol".
    right
        Columns of numbers.
    empty
        What is said where there is no row.
    wide
        Whether it takes the whole width.
    """
    found: dict[str, Any] = {"title": title, "rows": rows, "right": right}
    if head:
        found["head"] = head
    return found | {"note": note, "empty": empty, "wide": wide}


class Scrubber(_Part):
    """Goes through the frames of a run; sends seek, one at a time, and gets where it is."""

    _bundle = _HERE / "scrubber.js"


class RunList(_Part):
    """Cards of the runs in a folder; sends open."""

    _bundle = _HERE / "run_list.js"


class Downloads(_Part):
    """Buttons of exports, their progress, and files in pieces; see `DownloadBar`."""

    _bundle = _HERE / "downloads.js"


class DropZone(_Part):
    """Takes one file from the viewer's machine, in pieces; see `UploadPage`, `RescorePanel`."""

    _bundle = _HERE / "dropzone.js"
