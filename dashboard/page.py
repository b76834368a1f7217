"""Page: what one viewer has open: title bar, tabs, and the pull that keeps them fresh."""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol
from urllib.parse import urlencode

import panel as pn
import panel_material_ui as pmui

from pychip_stream.config import Config
from pychip_stream.operation.edited_rules import EditedRules
from pychip_stream.operation.health import Liveness

from .accounts import MAY_LOOK, Viewer
from .guests import make_link
from .parts.components import Heartbeat, StatusBar, Theme
from .parts.layouts import grown
from .work.background import Background
from .work.links import NOTHING, Link
from .work.opened_run import PastFrames
from .work.previews import OpenDrafts
from .work.recent import Every
from .work.runs import RunShelf
from .work.state import RunState
from .work.words import LIGHTS
from .work.workbench import Workbench


@dataclass(frozen=True, eq=False)
class Desk:
    """What all sessions share; made once by `app`.

    Attributes
    ----------
    go
        Opens the page of this name; each session has its own.
    asked
        What the address of this session asks for; before, what is shown where it asks for nothing.
    archived
        What is said of the run where none goes on; else empty.
    """

    config: Config
    run: RunState
    bench: Workbench
    past: PastFrames
    drafts: OpenDrafts
    shelf: RunShelf
    rules: EditedRules
    go: Callable[[str], None] = lambda _name: None
    asked: Link = NOTHING
    archived: str = ""


class View(Protocol):
    """One page of one session, in a file of its own in `pages`.

    It is built when its tab is first opened. It may have a method `link`, which returns a `Link`
    to what it shows, and then follows `Desk.asked`.

    Attributes
    ----------
    name
        By which it is chosen.
    title
        Of its tab.
    place
        Of its tab among all.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    place: ClassVar[int]

    def __init__(self, desk: Desk, viewer: Viewer) -> None: ...

    def panel(self) -> Any:
        """Build what is shown; called once."""

    def pull(self, now: float) -> None:
        """Send what is new, ten times a second while the tab is open; must not wait.

        `now` is `time.monotonic()`. Longer work belongs in a `Background`.
        """

    def close(self) -> None:
        """Let go of everything; the session is over."""


logger = logging.getLogger(__name__)

PULL_MS = 100
_BEAT_S = 1.0
_SHARED = ("live", "review")
"""Pages that an operator may open for others by a read-only link."""
_COLOR, _COLOR_DARK = "#00576b", "#5cc0d6"
_PARTS = {
    # The title is the page's heading; an empty heading and a bar without a name are none.
    "MuiTypography": {"defaultProps": {"variantMapping": {"h3": "h1", "h5": "div"}}},
    "MuiToolbar": {"styleOverrides": {"root": {"minHeight": "3rem !important", "height": "3rem"}}},
    "MuiLinearProgress": {"defaultProps": {"aria-label": "busy"}},
}
_TABS = {
    "& .MuiTab-root": {"minWidth": 0, "minHeight": "2.5rem", "padding": "0 16px"},
    "& .MuiTabs-root": {"minHeight": "2.5rem"},
}
_TEXT = {
    "fontSize": 13,
    "button": {"textTransform": "none"},
    # On a phone the room is for how the run is.
    "h3": {"fontSize": "1.25rem", "@media (max-width: 600px)": {"fontSize": 0}},
}
_NARROW_TABS = {"@media (max-width: 600px)": {"& .MuiTab-root": {"padding": "12px 8px"}}}
_DARK_BAR = {"backgroundColor": "#12262d", "color": "#ffffff"}


class Page:
    """One session. It holds the views and nothing refers to it but its own document."""

    def __init__(self, desk: Desk, viewer: Viewer, kinds: Sequence[type[View]]) -> None:
        asked = Link.read(pn.state.session_args if pn.state.curdoc else {})
        if asked.page not in {kind.name for kind in kinds}:
            asked = desk.asked
        self._desk = replace(desk, go=self._go, asked=asked)
        self._viewer = viewer
        self._kinds = kinds
        self._views: dict[int, View] = {}
        self._beats = 0
        self._trouble = ""
        self._beat_time = Every(_BEAT_S)
        self._places = [pn.Column(sizing_mode="stretch_width") for _ in kinds]
        self._beat = Heartbeat(lambda _message: None, width=1, height=1)
        self._background = Background(self._not_shared, shared=desk.bench.frames)
        self._bar = StatusBar(self._on_bar, sizing_mode="stretch_width")
        self._tabs = pmui.Tabs(
            *((kind.title, place) for kind, place in zip(kinds, self._places, strict=True)),
            sizing_mode="stretch_width",
            sx={**_TABS, **_NARROW_TABS},
        )

    def panel(self) -> Any:
        """Build the page of the current session and start to pull."""
        self._go(self._desk.asked.page)
        self._open(self._tabs.active)
        self._tabs.param.watch(lambda event: self._open(event.new), "active")
        theme = Theme(lambda _message: None, width=1, height=1)
        page = pmui.Page(
            title="pychip-stream",
            main=[self._tabs],
            header=[self._bar, self._beat, theme],
            busy_indicator=None,
            theme_config={
                "light": {
                    "palette": {"primary": {"main": _COLOR}},
                    "components": _PARTS,
                    "typography": _TEXT,
                },
                "dark": {
                    "typography": _TEXT,
                    "palette": {"primary": {"main": _COLOR_DARK}},
                    "components": _PARTS | {"MuiAppBar": {"styleOverrides": {"root": _DARK_BAR}}},
                },
            },
        )
        unlink_busy(page)
        page.param.watch(
            lambda event: theme.send(theme="dark" if event.new else "light"), "dark_theme"
        )
        # What is shown later than the page would fetch its styles from elsewhere without this.
        pn.state.curdoc.template_variables.setdefault("dist_url", "static/extensions/panel/")
        pn.state.add_periodic_callback(self._pull, period=PULL_MS)
        pn.state.on_session_destroyed(lambda _context: self._close())
        return page

    def _status(self) -> dict[str, Any]:
        """Say in the title bar how the run is."""
        run, name = self._desk.run, self._desk.config.archive.name
        said = self._desk.archived
        state = Liveness("idle", said) if said else run.health.liveness()
        alarms = [alarm._asdict() for alarm in run.alarms()]
        return {
            "light": state.light, "symbol": LIGHTS[state.light], "text": state.text,
            "run": name, "alarms": alarms, "operator": self._viewer.operator,
            "user": self._viewer.user, "may": MAY_LOOK, "link": self._link().query,
            "shares": self._may_share and self._link().page in _SHARED,
        }  # fmt: skip

    def _link(self) -> Link:
        """Say what is shown, so far as the open page tells."""
        tell = getattr(self._views.get(self._tabs.active), "link", None)
        return tell() if tell else Link(self._kinds[self._tabs.active].name)

    @property
    def _may_share(self) -> bool:
        """Whether this viewer may let others look; without accounts whoever comes is let in."""
        return self._viewer.operator and self._desk.config.dashboard.users is not None

    def _on_bar(self, message: dict[str, Any]) -> None:
        if message["type"] == "acknowledge" and self._viewer.operator:
            self._desk.run.acknowledge(str(message.get("name")), self._viewer.user or "operator")
        elif message["type"] == "share" and self._may_share:
            users, query = self._desk.config.dashboard.users, self._link().query
            assert users is not None
            self._background.do(
                lambda: f"{query}&{urlencode({'link': make_link(users, time.time())})}",
                lambda link: self._bar.send(type="shared", link=link, trouble=""),
            )

    def _not_shared(self, trouble: str) -> None:
        self._bar.send(type="shared", link="", trouble=trouble)

    def _go(self, name: str) -> None:
        for number, kind in enumerate(self._kinds):
            if kind.name == name:
                self._tabs.active = number

    def _open(self, number: int) -> None:
        if number not in self._views and number in range(len(self._kinds)):
            self._views[number] = self._kinds[number](self._desk, self._viewer)
            self._places[number].append(grown(self._views[number].panel()))

    def _pull(self) -> None:
        context = pn.state.curdoc.session_context if pn.state.curdoc else None
        session = context.session if context else None
        if session is not None and session.connection_count == 0:
            return  # the tab is closed; the session ends in a moment
        if not pn.state.loaded:
            return  # what widgets become before the browser has them never reaches it
        now = time.monotonic()
        if self._beat_time.due(now):
            self._beats += 1
            self._beat.send(beat=self._beats, ended=self._desk.run.ended)
            self._bar.send(**self._status())
        view = self._views.get(self._tabs.active)
        if view is None:
            return
        try:
            view.pull(now)
        except Exception as error:
            if repr(error) != self._trouble:  # ten times a second the same
                self._trouble = repr(error)
                logger.exception("the page %s could not be brought up to date", view.title)

    def _close(self) -> None:
        self._background.close()
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
