"""Sentinel: watches the run itself, raises alerts, and tells Prometheus.

A process of its own, so that a webhook that hangs or a rule that is wrong can hurt neither the
frames nor the archive. It hears what every subscriber hears and sends what every client may.
"""

import logging
import sys
import time

import zmq

from pychip_stream import process
from pychip_stream.config import Config
from pychip_stream.operation.actions import Actions
from pychip_stream.operation.alerts import Alerting
from pychip_stream.operation.change_watch import ChangeWatch
from pychip_stream.operation.edited_rules import EditedRules
from pychip_stream.operation.health import RunHealth
from pychip_stream.operation.metrics import Exporter
from pychip_stream.operation.running import expected
from pychip_stream.wire import messages
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.heartbeat import Beacon
from pychip_stream.wire.messages import Alert, Event, Live, Reply

logger = logging.getLogger(__name__)

_LOOK_S = 0.25
_RESEND_S = 1.0
_REPEAT_S = 10.0
_SETTLE_S = 1.5
_MOST_WAITING = 1000
_TOPICS = (messages.STATUS, messages.LIVE, messages.SEEN, messages.ALERT, messages.STIMULUS)


class Sentinel:
    """Judges the health of a run four times a second.

    Queues: alerts and change points that are not archived wait here, at most 1000; then the oldest
    is dropped with an error. What the archive refuses for good is dropped at once. Actions wait in
    `Actions`, at most 100.
    """

    def __init__(self, config: Config) -> None:
        self._endpoints = Endpoints(config.wire)
        self._events = self._endpoints.reach("events", zmq.SUB, 1000, topics=_TOPICS)
        self._archive = self._endpoints.reach("results", zmq.DEALER, 100)
        self._beacon = Beacon(self._endpoints, "sentinel", "sentinel")
        self._health = RunHealth(expected(config))
        self._rules, self._in_force = EditedRules(config), config.alerts
        self._alerting = Alerting(config)
        self._actions = Actions(config.alerts)
        port = config.health.prometheus
        self._exporter = Exporter(self._health, port) if port is not None else None
        self._changes = ChangeWatch(config.alerts.changes)
        self._watched: Live | None = None
        self._waiting: dict[str, Alert | Event] = {}
        self._refused, self._refusal = 0, ""
        self._last: dict[str, Alert] = {}
        now = time.monotonic()
        self._look_at = now + _SETTLE_S  # first hear how things are
        self._restored = False
        self._resend_at = self._repeat_at = now + _SETTLE_S

    def step(self) -> None:
        """Listen, judge, tell."""
        for received in self._events.drain(500, wait_s=0.05):
            self._health.take(received)
            self._watch_changes()
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._look()
        self._take_receipts()
        if now >= self._resend_at:
            self._resend_at = now + _RESEND_S
            for one in list(self._waiting.values()):
                self._archive.send(one)
        if now >= self._repeat_at:  # for those who joined after a restart of the hub
            self._repeat_at = now + _REPEAT_S
            for alert in self._last.values():
                self._beacon.show(alert)
        self._say()

    def close(self) -> None:
        """Stop; alerts that are not archived yet have a moment to get there."""
        end = time.monotonic() + 1.0
        while self._waiting and time.monotonic() < end:
            for one in self._waiting.values():
                self._archive.send(one)
            self._archive.raw.poll(200)
            self._take_receipts()
        self._actions.close()
        if self._exporter is not None:
            self._exporter.close()
        self._beacon.close()
        self._endpoints.close()

    def _look(self) -> None:
        self._use_rules()
        if not self._restored:
            self._restored = True
            self._last.update(self._health.alerts)
            self._alerting.restore(self._health.alerts)
        newest = self._health.newest
        path = newest.frame.path if newest is not None else ""
        values = self._health.values() | {("change_points", ""): self._changes.recent}
        for alert in self._alerting.look(values, path):
            self._tell(alert)

    def _use_rules(self) -> None:
        """Take up what was edited on the page."""
        rules = self._rules.current()
        if rules is not self._in_force:
            self._in_force = rules
            for alert in self._alerting.use(rules.rules):
                self._tell(alert)
            self._actions.use(rules)
            logger.info("alert rules: %s", ", ".join(r.name for r in rules.rules) or "none")

    def _watch_changes(self) -> None:
        newest = self._health.newest
        if newest is not None and newest is not self._watched:
            self._watched = newest
            for event in self._changes.take(newest, self._health.fractions):
                logger.info("change point: %s", event.text)
                self._send(event)

    def _send(self, one: Alert | Event) -> None:
        """Send to the archive, again until that acknowledges it."""
        if len(self._waiting) >= _MOST_WAITING:
            lost = self._waiting.pop(next(iter(self._waiting)))
            logger.error("%s %s is not archived: too many wait", type(lost).__name__, lost.id)
        self._waiting[one.id] = one
        self._archive.send(one)

    def _tell(self, alert: Alert) -> None:
        self._last[alert.rule] = alert
        self._send(alert)
        self._beacon.show(alert)
        self._actions.take(alert)

    def _take_receipts(self) -> None:
        for received in self._archive.drain(100):
            message = received.packet.message
            if not isinstance(message, Reply):
                continue
            lost = self._waiting.pop(message.detail if message.ok else message.refused, None)
            if lost is not None and not message.ok:
                self._refused += 1
                if message.detail != self._refusal:
                    self._refusal = message.detail
                    logger.error(
                        "%s %s is not archived: %s", type(lost).__name__, lost.id, message.detail
                    )

    def _say(self) -> None:
        counters = {
            "alerts_on": float(sum(a.state == "on" for a in self._last.values())),
            "unarchived": float(len(self._waiting)),
            "refused": float(self._refused),
            "actions_done": float(self._actions.done),
            "actions_failed": float(self._actions.failed),
            "dropped": float(self._events.dropped),
        }
        self._beacon.status("running", counters)


def main(argv: list[str] | None = None) -> int:
    """Run the sentinel of a configuration."""
    return process.main("sentinel", Sentinel, argv)


if __name__ == "__main__":
    sys.exit(main())
