"""Alerting: from the rules of a configuration and the health of a run to alerts."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pychip_stream.alert_rules import AlertRule, Condition
from pychip_stream.config import Config
from pychip_stream.wire.messages import Alert


@dataclass(slots=True)
class _State:
    on: bool = False
    since: float | None = None
    cleared: float = -math.inf
    began: float = 0.0


class Alerting:
    """Decides which rules fire and numbers the alerts that come of it.

    Every rule is a two-state machine: off → on when the value has been beyond the limit at
    every look for `for_s`; on → off when it is inside `clears_at`. A value that is not known
    (absent or NaN) changes nothing, except that it interrupts the wait for `for_s`.
    """

    def __init__(self, config: Config) -> None:
        self._dry_run = config.alerts.dry_run
        self._states = [(rule, _State()) for rule in config.alerts.rules]
        self._began = f"{time.time_ns():x}"
        self._number = 0

    def use(self, rules: Sequence[AlertRule]) -> list[Alert]:
        """Judge by these rules from now on.

        A rule that was changed keeps what it has raised until it clears under its new limit.

        Returns
        -------
        The end of what rules had raised that are gone.
        """
        before = {rule.name: (rule, state) for rule, state in self._states}
        self._states = []
        for rule in rules:
            earlier, state = before.pop(rule.name, (rule, _State()))
            if earlier != rule:
                state.since = None
            self._states.append((rule, state))
        return [
            self._alert(rule, f"the rule {rule.name} was removed", math.nan, "", on=False)
            for rule, state in before.values()
            if state.on
        ]

    def restore(self, alerts: Mapping[str, Alert]) -> None:
        """Take up where an earlier process stopped: what was on is on."""
        for rule, state in self._states:
            earlier = alerts.get(rule.name)
            if earlier is not None and earlier.state == "on" and not state.on:
                state.on, state.began = True, time.monotonic()

    def look(
        self, values: Mapping[tuple[str, str], float], path: str, now: float | None = None
    ) -> list[Alert]:
        """Judge new values.

        Parameters
        ----------
        values
            By quantity and class (empty for other quantities).
        path
            Of the newest frame.
        now
            Seconds on a clock that never goes backwards; none: that of `time.monotonic`.

        Returns
        -------
        What fired or cleared just now.
        """
        now = time.monotonic() if now is None else now
        alerts = []
        for rule, state in self._states:
            value = values.get((rule.quantity, rule.class_ or ""), math.nan)
            besides = [(one, values.get(one.key, math.nan)) for one in rule.and_]
            reason = _judge(rule, state, value, now, besides)
            if reason:
                alerts.append(self._alert(rule, reason, value, path, on=state.on))
        return alerts

    def _alert(self, rule: AlertRule, reason: str, value: float, path: str, *, on: bool) -> Alert:
        self._number += 1
        return Alert(
            id=f"{self._began}-{self._number}",
            rule=rule.name,
            level=rule.level,
            state="on" if on else "off",
            reason=reason,
            time=time.time(),
            quantity=rule.subject,
            value=value,
            limit=rule.limit if on else rule.clears_at,
            path=path,
            dry_run=rule.dry_run or self._dry_run,
            banner="banner" in rule.actions,
        )


def _judge(
    rule: AlertRule,
    state: _State,
    value: float,
    now: float,
    besides: Sequence[tuple[Condition, float]] = (),
) -> str:
    """Say what was seen, the limit and for how long if a rule fires or clears, else nothing."""
    if math.isnan(value) or any(math.isnan(one) for _, one in besides):
        state.since = None
        return ""
    all_hold = all(condition.holds(one) for condition, one in besides)
    if state.on:
        if all_hold and rule.beyond(value, rule.clears_at):
            return ""
        lasted = now - state.began
        state.on, state.cleared, state.since = False, now, None
        back = "is back at" if all_hold else "is, though its conditions hold no more,"
        return f"{rule.subject} {back} {rule.tell(value)} after {lasted:.1f} s"
    if not (all_hold and rule.beyond(value, rule.limit)):
        state.since = None
        return ""
    if state.since is None:
        state.since = now
    lasted = now - state.since
    if lasted < rule.for_s or now - state.cleared < rule.hold_off_s:
        return ""
    state.on, state.began = True, now
    side = "below" if rule.above is None else "above"
    text = f"{rule.subject} {rule.tell(value)} is {side} {rule.tell(rule.limit)}"
    text = " and ".join([text, *(condition.tell(one) for condition, one in besides)])
    return f"{text} for {lasted:.1f} s" if rule.for_s else text
