"""Actions: what alerts set off outside this program, one after the other, never in its way.

A new one is an `Action` listed in `ACTIONS`, or an entry point of the group
`pychip_stream.actions` in another package; rules name it in `actions`.
"""

import json
import logging
import queue
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import BaseModel

from pychip_stream.alert_rules import AlertConfig, AlertRule
from pychip_stream.errors import PychipError
from pychip_stream.plugins import Registry
from pychip_stream.section import Section
from pychip_stream.wire.messages import Alert

logger = logging.getLogger(__name__)

_QUEUE = 100
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
    """

    name: str
    act: Callable[[Alert, Any], object]
    settings: type[BaseModel] = Section
    tries: int = 1
    immediate: bool = False


def document(alert: Alert) -> dict[str, object]:
    """Everything of an alert but what concerns the wire; unknown numbers are null."""
    tree: dict[str, object] = msgspec.to_builtins(alert)
    tree = {k: v for k, v in tree.items() if k not in ("type", "arrays")}
    return {k: None if isinstance(v, float) and v != v else v for k, v in tree.items()}


def _log(alert: Alert, _settings: Section) -> None:
    level = logging.WARNING if alert.state == "on" else logging.INFO
    trial = " (on trial)" if alert.dry_run else ""
    logger.log(level, "alert %s %s%s: %s", alert.rule, alert.state, trial, alert.reason)


class WebhookSettings(Section):
    """An address."""

    address: str


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer must not lead to an address that is not allowed."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def _call(alert: Alert, settings: WebhookSettings) -> None:
    """POST an alert as JSON."""
    body = json.dumps(document(alert)).encode()
    request = urllib.request.Request(  # noqa: S310  (the config allows http(s) alone)
        settings.address, body, {"Content-Type": "application/json"}, method="POST"
    )
    try:
        _opener.open(request, timeout=_WEBHOOK_S).close()
    except (OSError, ValueError) as error:
        raise PychipError(f"{settings.address}: {error}") from error


class CommandSettings(Section):
    """A program and its arguments."""

    words: tuple[str, ...]


def _start(alert: Alert, settings: CommandSettings) -> None:
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
        Action("webhook", _call, WebhookSettings, tries=3),
        Action("command", _start, CommandSettings),
    ),
)


def chosen(rule: AlertRule) -> Iterator[tuple[Action, BaseModel]]:
    """Actions of a rule with what it says of them."""
    said: dict[str, object] = {name: rule.settings.get(name, {}) for name in rule.actions}
    if rule.webhook is not None:
        said["webhook"] = {"address": rule.webhook}
    if rule.command is not None:
        said["command"] = {"words": rule.command}
    for name, settings in said.items():
        yield ACTIONS[name], ACTIONS[name].settings.model_validate(settings)


class Actions:
    """Acts on alerts from a thread.

    At most 100 actions wait; more are dropped with a line in the log, so that a storm of alerts
    is no storm of processes.
    """

    def __init__(self, config: AlertConfig) -> None:
        self._chosen = {rule.name: tuple(chosen(rule)) for rule in config.rules}
        self._waiting: queue.Queue[tuple[Alert, Action, BaseModel] | None] = queue.Queue(_QUEUE)
        self._stopping = threading.Event()
        self.done = 0
        self.failed = 0
        self._thread = threading.Thread(target=self._work, name="actions", daemon=True)
        self._thread.start()

    def take(self, alert: Alert) -> None:
        """Set off what the rule of an alert says; on trial, only what tells of it."""
        for action, settings in self._chosen.get(alert.rule, ()):
            if action.immediate:
                self._do(alert, action, settings)
            elif not alert.dry_run:
                self._queue(alert, action, settings)

    def close(self) -> None:
        """Finish the action in hand; what waits is dropped."""
        self._stopping.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            logger.warning("actions of alerts were dropped while stopping")
        self._thread.join(2.0)

    def _queue(self, alert: Alert, action: Action, settings: BaseModel) -> None:
        try:
            self._waiting.put_nowait((alert, action, settings))
        except queue.Full:
            self.failed += 1
            logger.error("alert %s: %d actions wait already; not acted on", alert.rule, _QUEUE)

    def _work(self) -> None:
        while not self._stopping.is_set():
            item = self._waiting.get()
            if item is None:
                return
            self._do(*item)

    def _do(self, alert: Alert, action: Action, settings: BaseModel) -> None:
        wrong = self._try(alert, action, settings)
        if wrong:
            self.failed += 1
            logger.error("alert %s: its %s failed: %s", alert.rule, action.name, wrong)
        elif not action.immediate:
            self.done += 1

    def _try(self, alert: Alert, action: Action, settings: BaseModel) -> str:
        """Try an action; returns what went wrong, empty if nothing."""
        wrong = ""
        for attempt in range(action.tries):
            if attempt and self._stopping.wait(2.0**attempt):
                break
            try:
                action.act(alert, settings)
            except Exception as error:  # of whatever a plug-in raises
                wrong = " ".join(str(error).split()) or type(error).__name__
            else:
                return ""
        return wrong
