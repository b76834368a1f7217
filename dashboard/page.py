"""Page: what one viewer has open: title bar, tabs, and the pull that keeps them fresh."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import panel as pn
import panel_material_ui as pmui

from pychip_stream.config import Config

from .parts.components import Heartbeat
from .work.frame_pictures import PastFrames
from .work.previews import Benches
from .work.runs import RunShelf
from .work.state import RunState
from .work.workbench import Studio

FULL_HEIGHT = "max(calc(100vh - 150px), 460px)"
"""What the title bar and the tabs leave of the window."""

SMALL_BUTTONS = {
    "& button": {"padding": "2px 12px", "textTransform": "none", "whiteSpace": "nowrap"}
}


def side_by_side(*parts: Any, narrowest: int = 440) -> Any:
    """Columns of equal width; under each other where one would be narrower than `narrowest` px."""
    columns = f"repeat(auto-fit, minmax({narrowest}px, 1fr))"
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


def plain_text(text: str = "", **options: Any) -> Any:
    """Text that is shown as it is, never as markup, and wrapped; `object` changes it."""
    sheet = "pre { white-space: pre-wrap; font: 14px/1.45 Roboto, sans-serif; margin: 0; }"
    layout = {"margin": (4, 0), "sizing_mode": "stretch_width", **options}
    return pn.pane.Str(text, stylesheets=[sheet], **layout)


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks.

    Attributes
    ----------
    user
        Login name; empty without accounts.
    operator
        Whether this viewer may change anything: support sets, scorings.
    """

    user: str = ""
    operator: bool = True


@dataclass(frozen=True, eq=False)
class Desk:
    """What all sessions share; made once by `app`."""

    config: Config
    run: RunState
    studio: Studio
    past: PastFrames
    benches: Benches
    shelf: RunShelf


class View(Protocol):
    """One page of one session, in a file of its own and listed in `app.VIEWS`.

    A view is built when its tab is first opened.

    Attributes
    ----------
    title
        Of its tab.
    """

    title: str

    def __init__(self, desk: Desk, viewer: Viewer) -> None: ...

    def panel(self) -> Any:
        """Build what is shown; called once."""

    def pull(self, now: float) -> None:
        """Send what is new, ten times a second while the tab is open; must not wait.

        `now` is `time.monotonic()`. Longer work belongs on the threads of `Desk.studio`.
        """

    def close(self) -> None:
        """Let go of everything; the session is over."""


logger = logging.getLogger(__name__)

PULL_MS = 100
_BEAT_S = 1.0
_COLOR, _COLOR_DARK = "#00576b", "#5cc0d6"


class Page:
    """One session. It holds the views and nothing refers to it but its own document."""

    def __init__(self, desk: Desk, viewer: Viewer, kinds: Sequence[type[View]]) -> None:
        self._desk = desk
        self._viewer = viewer
        self._kinds = kinds
        self._views: dict[int, View] = {}
        self._beats = 0
        self._beat_at = 0.0
        self._places = [pn.Column(sizing_mode="stretch_width") for _ in kinds]
        self._beat = Heartbeat(lambda _message: None, width=1, height=1)
        self._tabs = pmui.Tabs(
            *((kind.title, place) for kind, place in zip(kinds, self._places, strict=True)),
            sizing_mode="stretch_width",
        )

    def panel(self) -> Any:
        """Build the page of the current session and start to pull."""
        self._open(self._tabs.active)
        self._tabs.param.watch(lambda event: self._open(event.new), "active")
        page = pmui.Page(
            title="pychip-stream",
            main=[self._tabs],
            header=[self._beat],
            busy_indicator=None,
            theme_config={
                "light": {"palette": {"primary": {"main": _COLOR}}},
                "dark": {"palette": {"primary": {"main": _COLOR_DARK}}},
            },
        )
        unlink_busy(page)
        # What is shown later than the page would fetch its styles from elsewhere without this.
        pn.state.curdoc.template_variables.setdefault("dist_url", "static/extensions/panel/")
        pn.state.add_periodic_callback(self._pull, period=PULL_MS)
        pn.state.on_session_destroyed(lambda _context: self._close())
        return page

    def _open(self, number: int) -> None:
        if number not in self._views:
            self._views[number] = self._kinds[number](self._desk, self._viewer)
            self._places[number].append(self._views[number].panel())

    def _pull(self) -> None:
        context = pn.state.curdoc.session_context if pn.state.curdoc else None
        session = context.session if context else None
        if session is not None and session.connection_count == 0:
            return  # the tab is closed; the session ends in a moment
        now = time.monotonic()
        if now - self._beat_at > _BEAT_S:
            self._beat_at, self._beats = now, self._beats + 1
            self._beat.send(beat=self._beats)
        view = self._views.get(self._tabs.active)
        if view is None:
            return
        try:
            view.pull(now)
        except Exception:
            logger.exception("the page %s could not be brought up to date", view.title)

    def _close(self) -> None:
        for view in self._views.values():
            view.close()
        self._views.clear()


def unlink_busy(page: Any) -> None:
    """Cut the page off the global busy flag.

    Every page follows it: each callback of any session then updates every page, and no closed
    page is ever released (holoviz/param#963). Private interface, hence the pinned versions and
    the test.
    """
    private = page._param__private
    for _, watcher in private.ref_watchers:
        owner = watcher.cls if watcher.inst is None else watcher.inst
        owner.param.unwatch(watcher)
    private.ref_watchers = []
    private.refs.pop("busy", None)
