"""Alerting: from the rules of a configuration and the health of a run to alerts."""

import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from pychip_stream.config import AlertRule, Config
from pychip_stream.wire.messages import Alert


class Firing(NamedTuple):
    """A rule fires (`on`) or clears.

    Attributes
    ----------
    reason
        What was seen, the limit and for how long, in one line.
    """

    rule: AlertRule
    on: bool
    value: float
    reason: str


@dataclass(slots=True)
class _State:
    on: bool = False
    since: float | None = None
    cleared: float = -math.inf
    began: float = 0.0


class AlertEngine:
    """Decides which rules fire; owns no clock and does nothing but decide.

    Every rule is a two-state machine: off → on when the value has been beyond the limit at
    every look for `for_s`; on → off when it is inside `clears_at`. A value that is not known
    (absent or NaN) changes nothing, except that it interrupts the wait for `for_s`.
    """

    def __init__(self, rules: Iterable[AlertRule]) -> None:
        self._states = [(rule, _State()) for rule in rules]

    @property
    def active(self) -> tuple[AlertRule, ...]:
        """Rules that are on."""
        return tuple(rule for rule, state in self._states if state.on)

    def restore(self, names: Iterable[str], now: float) -> None:
        """Take the named rules for on, as they were in an earlier life."""
        wanted = set(names)
        for rule, state in self._states:
            if rule.name in wanted and not state.on:
                state.on, state.began = True, now

    def look(self, values: Mapping[tuple[str, str], float], now: float) -> list[Firing]:
        """Judge new values.

        Parameters
        ----------
        values
            By quantity and class (empty for other quantities).
        now
            Seconds on a clock that never goes backwards.

        Returns
        -------
        What fired or cleared just now.
        """
        fired = []
        for rule, state in self._states:
            value = values.get((rule.quantity, rule.class_ or ""), math.nan)
            firing = _judge(rule, state, value, now)
            if firing is not None:
                fired.append(firing)
        return fired


def _judge(rule: AlertRule, state: _State, value: float, now: float) -> Firing | None:
    if math.isnan(value):
        state.since = None
        return None
    if state.on:
        if rule.beyond(value, rule.clears_at):
            return None
        state.on, state.cleared, state.since = False, now, None
        return Firing(rule, False, value, _cleared(rule, value, now - state.began))
    if not rule.beyond(value, rule.limit):
        state.since = None
        return None
    if state.since is None:
        state.since = now
    if now - state.since < rule.for_s or now - state.cleared < rule.hold_off_s:
        return None
    state.on, state.began = True, now
    return Firing(rule, True, value, _fired(rule, value, now - state.since))


def _fired(rule: AlertRule, value: float, lasted: float) -> str:
    side = "below" if rule.above is None else "above"
    text = f"{rule.subject} {rule.tell(value)} is {side} {rule.tell(rule.limit)}"
    return f"{text} for {lasted:.1f} s" if rule.for_s else text


def _cleared(rule: AlertRule, value: float, lasted: float) -> str:
    return f"{rule.subject} is back at {rule.tell(value)} after {lasted:.1f} s"


class Alerting:
    """Judges what is measured and numbers what comes of it."""

    def __init__(self, config: Config) -> None:
        self._config = config.alerts
        self._engine = AlertEngine(config.alerts.rules)
        self._began = f"{time.time_ns():x}"
        self._number = 0

    def restore(self, alerts: Mapping[str, Alert]) -> None:
        """Take up where an earlier process stopped: what was on is on."""
        on = [name for name, alert in alerts.items() if alert.state == "on"]
        self._engine.restore(on, time.monotonic())

    def look(self, values: Mapping[tuple[str, str], float], path: str) -> list[Alert]:
        """Judge new values; `path` is the newest frame's."""
        return [self._alert(f, path) for f in self._engine.look(values, time.monotonic())]

    def _alert(self, firing: Firing, path: str) -> Alert:
        rule = firing.rule
        self._number += 1
        return Alert(
            id=f"{self._began}-{self._number}",
            rule=rule.name,
            level=rule.level,
            state="on" if firing.on else "off",
            reason=firing.reason,
            time=time.time(),
            quantity=rule.subject,
            value=firing.value,
            limit=rule.limit if firing.on else rule.clears_at,
            path=path,
            dry_run=rule.dry_run or self._config.dry_run,
            banner="banner" in rule.actions,
        )
