"""Alert actions: what an alert can set off, and what a rule has to say of it.

A new one is an `Action` listed in `ACTIONS`, or an entry point of the group
`pychip_stream.actions` in another package; rules name it in `actions`.
"""

import json
import logging
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import BaseModel

from pychip_stream.errors import PychipError
from pychip_stream.plugins import Registry
from pychip_stream.section import Section

if TYPE_CHECKING:
    import urllib.request

    from pychip_stream.wire.messages import Alert

logger = logging.getLogger(__name__)

_WEBHOOK_S = 5.0
_COMMAND_S = 60.0


@dataclass(frozen=True)
class Action:
    """Something that an alert can set off.

    Attributes
    ----------
    name
        By which rules ask for it.
    act
        Does it, (alert, settings), and raises what went wrong.
    settings
        Model of what a rule says of it; checked when the configuration is read.
    tries
        How often it is tried, with growing pauses.
    immediate
        Done at once, and on trial too: for what only tells.
    field
        Rules ask for it by a field of its name, whose value they may use is listed in the
        configuration; empty: by naming it in `actions`. The name of the setting it becomes.
    """

    name: str
    act: Callable[["Alert", Any], object]
    settings: type[BaseModel] = Section
    tries: int = 1
    immediate: bool = False
    field: str = ""


def document(alert: "Alert") -> dict[str, object]:
    """Everything of an alert but what concerns the wire; unknown numbers are null."""
    tree: dict[str, object] = msgspec.to_builtins(alert)
    tree = {k: v for k, v in tree.items() if k not in ("type", "arrays")}
    return {k: None if isinstance(v, float) and v != v else v for k, v in tree.items()}


def _log(alert: "Alert", _settings: Section) -> None:
    level = logging.WARNING if alert.state == "on" else logging.INFO
    trial = " (on trial)" if alert.dry_run else ""
    logger.log(level, "alert %s %s%s: %s", alert.rule, alert.state, trial, alert.reason)


class WebhookSettings(Section):
    """An address."""

    address: str


@cache
def _opener() -> "urllib.request.OpenerDirector":
    import urllib.request  # loads slowly; most rules call nobody

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        """An answer must not lead to an address that is not allowed."""

        def redirect_request(self, *_: object) -> None:
            return None

    return urllib.request.build_opener(NoRedirect)


def _call(alert: "Alert", settings: WebhookSettings) -> None:
    """POST an alert as JSON."""
    import urllib.request

    opener = _opener()
    body = json.dumps(document(alert)).encode()
    request = urllib.request.Request(  # noqa: S310  (the config allows http(s) alone)
        settings.address, body, {"Content-Type": "application/json"}, method="POST"
    )
    try:
        opener.open(request, timeout=_WEBHOOK_S).close()
    except (OSError, ValueError) as error:
        raise PychipError(f"{settings.address}: {error}") from error


class CommandSettings(Section):
    """A program and its arguments."""

    words: tuple[str, ...]


def _start(alert: "Alert", settings: CommandSettings) -> None:
    """Run a command, without a shell, with the alert as JSON on its input."""
    done = subprocess.run(
        settings.words,
        input=json.dumps(document(alert)).encode(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=_COMMAND_S,
        check=False,
    )
    if done.returncode:
        tail = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise PychipError(f"{settings.words[0]} ended with {done.returncode} {' '.join(tail)}")


ACTIONS = Registry[Action](
    "pychip_stream.actions",
    (
        Action("banner", lambda *_: None, immediate=True),  # pages show what the alert says of it
        Action("log", _log, immediate=True),
        Action("webhook", _call, WebhookSettings, tries=3, field="address"),
        Action("command", _start, CommandSettings, field="words"),
    ),
)
