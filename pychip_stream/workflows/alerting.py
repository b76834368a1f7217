"""Alerting: from the rules of a configuration and the health of a run to alerts."""

import time
from collections.abc import Mapping

from pychip_stream.config import Config
from pychip_stream.domain.alerts import AlertEngine, Firing, Quantity, Rule
from pychip_stream.sections import AlertRule
from pychip_stream.wire.messages import Alert


class Alerting:
    """Judges what is measured and numbers what comes of it."""

    def __init__(self, config: Config) -> None:
        self._config = config.alerts
        self._rules = {rule.name: rule for rule in config.alerts.rules}
        self._engine = AlertEngine(map(rule_of, config.alerts.rules))
        self._began = f"{time.time_ns():x}"
        self._number = 0

    def restore(self, alerts: Mapping[str, Alert]) -> None:
        """Take up where an earlier process stopped: what was on is on."""
        on = [name for name, alert in alerts.items() if alert.state == "on"]
        self._engine.restore(on, time.monotonic())

    def look(self, values: Mapping[tuple[Quantity, str], float], path: str) -> list[Alert]:
        """Judge new values; `path` is the newest frame's."""
        return [self._alert(f, path) for f in self._engine.look(values, time.monotonic())]

    def _alert(self, firing: Firing, path: str) -> Alert:
        rule = self._rules[firing.rule.name]
        self._number += 1
        return Alert(
            id=f"{self._began}-{self._number}",
            rule=rule.name,
            level=rule.level,
            state="on" if firing.on else "off",
            reason=firing.reason,
            time=time.time(),
            quantity=firing.rule.subject,
            value=firing.value,
            limit=firing.rule.limit if firing.on else firing.rule.clears_at,
            path=path,
            dry_run=rule.dry_run or self._config.dry_run,
            banner="banner" in rule.actions,
        )


def rule_of(section: AlertRule) -> Rule:
    """Turn a rule of the configuration into one that can be judged."""
    limit = section.above if section.above is not None else section.below
    assert limit is not None  # checked by the configuration
    return Rule(
        name=section.name,
        quantity=section.quantity,
        limit=limit,
        above=section.above is not None,
        of=section.class_ or "",
        for_s=section.for_s,
        clear=section.clear,
        hold_off_s=section.hold_off_s,
        level=section.level,
    )
