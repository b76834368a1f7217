"""App: the operator's page in a browser; wires feed, state and server together."""

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import panel as pn
import panel_material_ui as pmui
from panel.io.resources import LOCAL_DIST

from pychip_stream import process
from pychip_stream.config import Config
from pychip_stream.operation.edited_rules import EditedRules
from pychip_stream.operation.running import expected

from . import accounts, login, server
from .page import Desk, Page
from .pages import PAGES
from .work import scratch
from .work.feed import Feed
from .work.links import NOTHING, Link
from .work.opened_run import PastFrames
from .work.previews import OpenDrafts
from .work.runs import RunShelf
from .work.state import RunState
from .work.workbench import Workbench

logger = logging.getLogger(__name__)

_WITHOUT_RUN = ("review", "upload")
"""Pages that need no run that is going on."""

_STEP_S = 0.2
_FAREWELL_S = 1.3
"""In which every open page says goodbye; they beat once a second."""
_MOST_SESSIONS, _FOR_OPERATORS = 64, 16


class Dashboard:
    """The web server, driven in steps as every service is.

    Parameters
    ----------
    archives
        Archives, or folders with some, to look at without a run; None: beside the config's run.
    ended
        Name of the run among them that has just ended, which is opened first.
    """

    def __init__(
        self, config: Config, archives: Sequence[Path] | None = None, ended: str = ""
    ) -> None:
        scratch.sweep()
        run, bench = RunState(expected(config) if archives is None else ()), Workbench(config)
        past = PastFrames(config, run.course, bench)
        drafts = OpenDrafts(config, bench, past.sample)
        places = archives or [config.archive.folder]
        shelf = RunShelf(places, config.watch.root, bench.readers)
        rules = EditedRules(config)
        asked, said = NOTHING, "" if archives is None else "archives"
        if ended:
            asked, said = Link("review", ended), "the run has ended"
        self._desk = Desk(
            config, run, bench, past, drafts, shelf, rules, asked=asked, archived=said
        )
        names = PAGES.names if archives is None else _WITHOUT_RUN
        self._pages = tuple(PAGES[name] for name in names)
        self._sessions = 0
        self._server = server.make(self._page, config.dashboard)
        self._server.start()
        self._feed = Feed(config, run, bench, past, rules) if archives is None else None
        if self._feed is not None:
            self._feed.start()
        logger.info("dashboard: http://%s:%d/", config.dashboard.address, self._server.port)

    @property
    def port(self) -> int:
        """Port that is listened on."""
        return int(self._server.port)

    @property
    def run(self) -> RunState:
        """What is known of the run."""
        return self._desk.run

    def step(self) -> None:
        """Serve for a moment."""
        self._server.io_loop.run_sync(_moment)
        if self._feed is not None:
            self._feed.serving()

    def close(self) -> None:
        """Stop the feed and the server; whoever looks is told where the run is now.

        What viewers have brought is removed before anything is waited for that may hang.
        """
        if self._feed is not None:
            self._feed.stop()
            self._desk.run.ended = str(self._desk.config.run_path)
            if self._sessions:
                self._server.io_loop.run_sync(_farewell)
        self._server.stop()
        scratch.clear()
        self._desk.bench.close()
        if self._feed is not None:
            self._feed.join()

    def _page(self) -> Any:
        """Build the page of a new session."""
        cookie = pn.state.cookies.get("user") if pn.state.curdoc else None
        config = self._desk.config.dashboard
        who = accounts.viewer(config, login.user_of(config.users, pn.config.cookie_secret, cookie))
        most = _MOST_SESSIONS if who.operator else _MOST_SESSIONS - _FOR_OPERATORS
        if self._sessions >= most:
            return pmui.Typography(f"{most} viewers are connected already; close one, load again.")
        self._sessions += 1
        # Where a browser is slow to connect, Bokeh builds the session anew without its page,
        # and Panel would then take its style sheets from the internet.
        if pn.state.curdoc is not None:
            pn.state.curdoc.template_variables["dist_url"] = LOCAL_DIST
        pn.state.on_session_destroyed(self._gone)
        return Page(self._desk, who, self._pages).panel()

    def _gone(self, _context: Any) -> None:
        self._sessions -= 1


async def _moment() -> None:
    await asyncio.sleep(_STEP_S)


async def _farewell() -> None:
    await asyncio.sleep(_FAREWELL_S)


def main(argv: list[str] | None = None) -> int:
    """Run the dashboard of a configuration."""
    return process.main("dashboard", Dashboard, argv)


if __name__ == "__main__":
    process.leave(main())
