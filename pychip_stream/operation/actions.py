"""Actions at work: what alerts set off, one after the other, never in this program's way."""

import logging
import queue
import threading
from collections.abc import Iterator

from pydantic import BaseModel

from pychip_stream.alert_actions import ACTIONS, Action
from pychip_stream.alert_rules import AlertConfig, AlertRule
from pychip_stream.wire.messages import Alert

logger = logging.getLogger(__name__)

_QUEUE = 100


def chosen(rule: AlertRule) -> Iterator[tuple[Action, BaseModel]]:
    """Actions of a rule with what it says of them."""
    for action in ACTIONS:
        said: object = rule.settings.get(action.name, {}) if action.name in rule.actions else None
        if action.field and (value := getattr(rule, action.name, None)) is not None:
            said = {action.field: value}
        if said is not None:
            yield action, action.settings.model_validate(said)


class Actions:
    """Acts on alerts from a thread.

    At most 100 actions wait; more are dropped with a line in the log, so that a storm of alerts
    is no storm of processes.
    """

    def __init__(self, config: AlertConfig) -> None:
        self.use(config)
        self._waiting: queue.Queue[tuple[Alert, Action, BaseModel] | None] = queue.Queue(_QUEUE)
        self._stopping = threading.Event()
        self.done = 0
        self.failed = 0
        self._thread = threading.Thread(target=self._work, name="actions", daemon=True)
        self._thread.start()

    def use(self, config: AlertConfig) -> None:
        """Act as these rules say from now on."""
        self._chosen = {rule.name: tuple(chosen(rule)) for rule in config.rules}

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
