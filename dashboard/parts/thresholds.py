"""Thresholds: limits of alert rules as lines over the curves, which operators drag."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from bokeh.models import Span
from panel.io import unlocked

from pychip_stream.alert_rules import AlertRule
from pychip_stream.domain.quantities import FRACTIONS
from pychip_stream.domain.support import UNKNOWN, current_user
from pychip_stream.operation.edited_rules import EditedRules

from ..accounts import MAY_LOOK, Viewer
from ..work.background import Background
from ..work.words import percent
from .components import Limits

_SIDES = ("above", "below")
_NO_COLOR = "#7f7f7f"


class Thresholds:
    """Lines in a figure whose y axis is that of the fractions, and what they mean in words.

    A line that was dragged, or moved by keys beside its words, changes its rule as soon as it
    stands still for a look; `EditedRules` keeps that, for everybody.

    Attributes
    ----------
    widget
        The words.
    """

    def __init__(
        self, figure: Any, rules: EditedRules, background: Background, viewer: Viewer
    ) -> None:
        self._figure, self._rules = figure, rules
        self._background, self._viewer = background, viewer
        self._shown: dict[str, AlertRule] = {}
        self._looks: tuple[tuple[str, str], ...] = ()
        self._lines: dict[str, Span] = {}
        self._moved: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._newest: Mapping[str, float] = {}
        self._note = ""
        self._told: dict[str, Any] = {}
        self.widget = Limits(self._on_message)

    def show(self, colors: Mapping[str, str], newest: Mapping[str, float]) -> None:
        """Draw the rules that watch fractions, each in the colour of its class.

        Parameters
        ----------
        newest
            Fraction of each class, and of unknown, in the newest frame.
        """
        self._newest = newest
        self._shown = {
            rule.name: rule
            for rule in self._rules.known.rules
            if rule.quantity in FRACTIONS and 0 <= rule.limit <= 1
        }
        looks = tuple(
            (name, colors.get(rule.class_ or UNKNOWN, _NO_COLOR))
            for name, rule in self._shown.items()
        )
        if looks != self._looks:
            self._looks = looks
            self._draw()
        for name, rule in self._shown.items():
            if name not in self._moved and self._lines[name].location != rule.limit:
                with unlocked():
                    self._lines[name].location = rule.limit
        self._keep()
        self._tell()

    def _draw(self) -> None:
        others = [part for part in self._figure.center if part not in self._lines.values()]
        self._moved.clear()
        self._lines = {
            name: Span(
                dimension="width", location=self._shown[name].limit, line_color=color,
                line_dash="dotdash", line_width=2, name=f"rule {name}",
                editable=self._viewer.operator, hover_line_width=5, hover_line_color=color,
            )
            for name, color in self._looks
        }  # fmt: skip
        for name, line in self._lines.items():
            line.on_change("location", partial(self._on_line, name))
        with unlocked():
            self._figure.center = [*others, *self._lines.values()]

    def _on_line(self, name: str, _what: str, _old: object, value: object) -> None:
        """Note where a browser has dragged a line to."""
        if not isinstance(value, int | float) or value != value:
            return
        limit = round(min(max(value, 0.0), 1.0), 3)  # however many digits a browser sends
        if name not in self._shown or limit == self._shown[name].limit:
            self._moved.pop(name, None)
        else:
            self._moved[name] = limit
        self._tell()

    def _on_message(self, message: dict[str, Any]) -> None:
        if message["type"] == "ready":
            self._told = {}
        elif message["type"] == "limit" and message.get("name") in self._lines:
            limit = float(message["value"])
            if math.isfinite(limit):
                self._lines[message["name"]].location = limit
        elif message["type"] == "rule":
            self._add(str(message.get("subject")), str(message.get("side")))
        self._tell()

    def _add(self, subject: str, side: str) -> None:
        """Make a rule half way from the newest value, so that it does not fire at once."""
        if subject not in self._newest or side not in _SIDES:
            return
        value, names = self._newest[subject], {rule.name for rule in self._rules.known.rules}
        name = first = f"{subject[:80]} {side}"
        for number in range(2, len(names) + 3):
            if name not in names:
                break
            name = f"{first} {number}"
        limit = (1 + value) / 2 if side == "above" else value / 2
        watched = {"quantity": "fraction", "class": subject}
        if subject == UNKNOWN:
            watched = {"quantity": "unknown"}
        self._put({"name": name, side: round(limit, 2), **watched})

    def _keep(self) -> None:
        """Change the rules whose lines stand where they stood at the last look."""
        for name, limit in list(self._moved.items()):
            if self._before.get(name) == limit:
                self._put(_with_limit(self._shown[name], limit), name)
        self._before = dict(self._moved)

    def _put(self, fields: dict[str, Any], moved: str = "") -> None:
        def done(_rule: AlertRule) -> None:
            self._note = ""
            self._moved.pop(moved, None)

        def failed(text: str) -> None:
            self._note = f"not kept: {text}"
            self._moved.pop(moved, None)  # and the line goes back

        if not self._viewer.operator:
            failed(MAY_LOOK)
            return
        who = self._viewer.user or current_user()
        self._background.do(lambda: self._rules.put(fields, who), done, failed=failed, slot="limit")

    def _tell(self) -> None:
        rows = [
            [name, _words(self._shown[name], limit), color, limit]
            for name, color in self._looks
            if name in self._shown
            for limit in [self._moved.get(name, self._shown[name].limit)]
        ]
        told = {
            "rows": rows,
            "offers": [[subject, side] for subject in self._newest for side in _SIDES],
            "changes": self._viewer.operator,
            "note": self._note,
        }
        if told != self._told:
            self._told = told
            self.widget.send(type="limits", **told)


def _words(rule: AlertRule, limit: float) -> str:
    side = "below" if rule.above is None else "above"
    name = rule.name if rule.name.endswith(side) else f"{rule.name}: {side}"
    return f"{name} {percent(limit)}"


def _with_limit(rule: AlertRule, limit: float) -> dict[str, Any]:
    """Fields of a rule with another limit; where it clears keeps its distance from that."""
    fields = rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    if rule.clear is not None:
        fields["clear"] = rule.clear + limit - rule.limit
    return fields | {"below" if rule.above is None else "above": limit}
