"""Viewer and desk: who looks, and what all who look share."""

from dataclasses import dataclass
from typing import Any, Protocol

from pychip_stream.config import Config

from .past import PastFrames
from .previews import Benches
from .runs import RunShelf
from .state import RunState
from .studio import Studio


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
