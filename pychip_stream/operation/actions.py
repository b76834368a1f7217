"""Actions: what alerts set off outside this program, one after the other, never in its way."""

import json
import logging
import queue
import subprocess
import threading
import urllib.error
import urllib.request

import msgspec

from pychip_stream.config import AlertConfig, AlertRule
from pychip_stream.wire.messages import Alert

logger = logging.getLogger(__name__)

_QUEUE = 100
_WEBHOOK_S = 5.0
_WEBHOOK_TRIES = 3
_COMMAND_S = 60.0


class Actions:
    """Calls webhooks and starts commands from a thread.

    At most 100 wait; more are dropped with a line in the log, so that a storm of alerts is no
    storm of processes. Nothing is ever given to a shell.
    """

    def __init__(self, config: AlertConfig) -> None:
        self._rules = {rule.name: rule for rule in config.rules}
        self._waiting: queue.Queue[tuple[Alert, AlertRule] | None] = queue.Queue(_QUEUE)
        self._stopping = threading.Event()
        self.done = 0
        self.failed = 0
        self._thread = threading.Thread(target=self._work, name="actions", daemon=True)
        self._thread.start()

    def take(self, alert: Alert) -> None:
        """Log an alert, and set off what its rule says unless it is on trial."""
        rule = self._rules.get(alert.rule)
        if rule is None:
            return
        if "log" in rule.actions:
            level = logging.WARNING if alert.state == "on" else logging.INFO
            trial = " (on trial)" if alert.dry_run else ""
            logger.log(level, "alert %s %s%s: %s", alert.rule, alert.state, trial, alert.reason)
        if alert.dry_run or (rule.webhook is None and rule.command is None):
            return
        try:
            self._waiting.put_nowait((alert, rule))
        except queue.Full:
            self.failed += 1
            logger.error("alert %s: %d actions wait already; not acted on", alert.rule, _QUEUE)

    def close(self) -> None:
        """Finish the action in hand; what waits is dropped."""
        self._stopping.set()
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            logger.warning("actions of alerts were dropped while stopping")
        self._thread.join(2.0)

    def _work(self) -> None:
        while not self._stopping.is_set():
            item = self._waiting.get()
            if item is None:
                return
            alert, rule = item
            if rule.webhook is not None:
                self._note(alert, "webhook", self._call(rule.webhook, alert))
            if rule.command is not None:
                self._note(alert, "command", _start(rule.command, alert))

    def _note(self, alert: Alert, what: str, wrong: str) -> None:
        if wrong:
            self.failed += 1
            logger.error("alert %s: its %s failed: %s", alert.rule, what, wrong)
        else:
            self.done += 1

    def _call(self, address: str, alert: Alert) -> str:
        """POST an alert; returns what went wrong, empty if nothing."""
        body = json.dumps(_document(alert)).encode()
        wrong = ""
        for attempt in range(_WEBHOOK_TRIES):
            if attempt and self._stopping.wait(2.0**attempt):
                break
            request = urllib.request.Request(  # noqa: S310  (the config allows http(s) alone)
                address, body, {"Content-Type": "application/json"}, method="POST"
            )
            try:
                with _opener.open(request, timeout=_WEBHOOK_S):
                    return ""
            except (OSError, urllib.error.URLError, ValueError) as error:
                wrong = f"{address}: {error}"
        return wrong


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An answer must not lead to an address that is not allowed."""

    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(_NoRedirect)


def _start(command: tuple[str, ...], alert: Alert) -> str:
    """Run a command with the alert as JSON on its input; returns what went wrong."""
    try:
        done = subprocess.run(
            command,
            input=json.dumps(_document(alert)).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_COMMAND_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return " ".join(str(error).split())
    if done.returncode == 0:
        return ""
    tail = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
    return f"{command[0]} ended with {done.returncode} {' '.join(tail)}".rstrip()


def _document(alert: Alert) -> dict[str, object]:
    """Everything of an alert but what concerns the wire; unknown numbers are null."""
    tree: dict[str, object] = msgspec.to_builtins(alert)
    tree = {k: v for k, v in tree.items() if k not in ("type", "arrays")}
    return {k: None if isinstance(v, float) and v != v else v for k, v in tree.items()}
