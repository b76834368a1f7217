"""Thresholds: limits of alert rules as lines over the curves."""

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import Span
from panel.io import unlocked

from pychip_stream.alert_rules import AlertRule
from pychip_stream.domain.quantities import FRACTIONS
from pychip_stream.domain.support import UNKNOWN


class Thresholds:
    """Lines in a figure whose y axis is that of the fractions."""

    def __init__(self, figure: Any) -> None:
        self._figure = figure
        self._shown: tuple[tuple[AlertRule, str], ...] = ()
        self._lines: list[Span] = []

    def show(self, rules: Sequence[AlertRule], colors: Mapping[str, str]) -> None:
        """Draw the rules that watch fractions, each in the colour of its class."""
        shown = tuple(
            (rule, colors.get(rule.class_ or UNKNOWN, "#7f7f7f"))
            for rule in rules
            if rule.quantity in FRACTIONS and 0 <= rule.limit <= 1
        )
        if shown == self._shown:
            return
        self._shown = shown
        others = [part for part in self._figure.center if part not in self._lines]
        self._lines = [
            Span(
                dimension="width", location=rule.limit, line_color=color, line_dash="dotdash",
                line_width=2, name=f"rule {rule.name}",
            )
            for rule, color in shown
        ]  # fmt: skip
        with unlocked():
            self._figure.center = [*others, *self._lines]
