"""Rule editor: alert rules are made and changed here, by operators; `EditedRules` keeps them."""

from typing import Any

import panel as pn
import panel_material_ui as pmui

from pychip_stream.alert_rules import AlertConfig, AlertRule
from pychip_stream.domain import quantities
from pychip_stream.domain.support import UNKNOWN, current_user
from pychip_stream.operation.edited_rules import EditedRules, reactions

from ..accounts import MAY_LOOK, Viewer
from ..work.background import Background
from .layouts import in_row, note, plain_text, small_button, wrapped

NEW = "a new rule"
_NO_CLASS, _TELL = "–", "tell only"


class RuleEditor:
    """One rule at a time, chosen from all that are in force.

    Parameters
    ----------
    classes
        Names of the run's classes at this moment.
    """

    def __init__(
        self, rules: EditedRules, background: Background, viewer: Viewer, classes: list[str]
    ) -> None:
        self._rules, self._background, self._viewer = rules, background, viewer
        self._config = rules.known
        self._reactions: dict[str, dict[str, Any]] = {_TELL: {}} | reactions(self._config)
        small: dict[str, Any] = {
            "size": "small", "margin": in_row(6), "disabled": not viewer.operator,
        }  # fmt: skip
        self._chosen = pmui.Select(
            label="rule", options=[NEW], value=NEW, width=220, size="small", margin=in_row(6)
        )
        self._name = pmui.TextInput(label="name", width=220, **small)
        self._quantity = pmui.Select(
            label="what is watched", options=list(quantities.watched()), width=190, **small
        )
        self._class = pmui.Select(label="of class", options=[_NO_CLASS], width=150, **small)
        self._side = pmui.Select(label="fires", options=["above", "below"], width=110, **small)
        self._limit = pmui.TextInput(
            label="limit, such as 0.05 or 5 %", value="0.05", width=190, **small
        )
        self._for_s = pmui.TextInput(label="for seconds", value="0", width=110, **small)
        self._level = pmui.Select(
            label="level", options=["info", "warning", "critical"], value="warning", width=120,
            **small,
        )  # fmt: skip
        self._then = pmui.Select(
            label="and then", options=list(self._reactions), value=_TELL, width=260, **small
        )
        locked = {"disabled": not viewer.operator, "margin": in_row(6)}
        self._save = small_button("Save rule", self._do_save, color="primary", **locked)
        self._remove = small_button("Remove rule", self._do_remove, variant="outlined", **locked)
        self._state = plain_text()
        self._chosen.param.watch(lambda _event: self._fill(), "value")
        self._quantity.param.watch(lambda _event: self._fit_class(), "value")
        self.offer(classes)
        self._fit_class()

    def panel(self) -> Any:
        """Lay it out."""
        return pn.Column(
            pmui.Typography("Alert rules", variant="h5", margin=0),
            wrapped(self._chosen, self._name),
            wrapped(self._quantity, self._class, self._side, self._limit, self._for_s),
            wrapped(self._level, self._then, self._save, self._remove),
            self._state,
            sizing_mode="stretch_width",
            margin=(0, 16),
        )

    def offer(self, classes: list[str]) -> None:
        """Offer the rules in force and these classes; what is chosen stays.

        Where somebody moved its limit over the curves, the field follows, unless it was edited.
        """
        before, after = self._known(self._config), self._known(self._rules.known)
        self._config = self._rules.known
        if before and after and before != after and self._limit.value == f"{before.limit:g}":
            self._limit.value = f"{after.limit:g}"
        names = [NEW, *(rule.name for rule in self._config.rules)]
        if names != self._chosen.options:
            self._chosen.options = names
        used = [rule.class_ for rule in self._config.rules if rule.class_]
        options = list(dict.fromkeys([_NO_CLASS, *(c for c in classes if c != UNKNOWN), *used]))
        if options != self._class.options:
            self._class.options = options

    def _known(self, config: AlertConfig) -> AlertRule | None:
        """Find the chosen rule."""
        return next((rule for rule in config.rules if rule.name == self._chosen.value), None)

    def _fill(self) -> None:
        """Show the chosen rule."""
        rule = self._known(self._config)
        if rule is None:
            return
        self._name.value = rule.name
        self._quantity.value = rule.quantity
        self._class.value = rule.class_ or _NO_CLASS
        self._side.value = "below" if rule.above is None else "above"
        self._limit.value, self._for_s.value = f"{rule.limit:g}", f"{rule.for_s:g}"
        self._level.value = rule.level
        self._then.value = self._reaction_of(rule)

    def _reaction_of(self, rule: AlertRule) -> str:
        asked = rule.model_dump(include={"command", "webhook", "actions"})
        for text, fields in self._reactions.items():
            if fields and fields.items() <= asked.items():
                return text
        return _TELL

    def _fit_class(self) -> None:
        wanted = quantities.needs_class(str(self._quantity.value))
        self._class.disabled = not (wanted and self._viewer.operator)
        if not wanted:
            self._class.value = _NO_CLASS

    def _fields(self) -> dict[str, Any]:
        """Return the rule as it is written here; what cannot be edited here stays as it was."""
        name, then = str(self._name.value).strip(), str(self._then.value)
        before = next((r for r in self._config.rules if r.name == name), None)
        kept = {} if before is None else before.model_dump(include={"hold_off_s", "dry_run"})
        if before is not None and then == self._reaction_of(before):
            kept |= before.model_dump(include={"actions", "settings", "command", "webhook"})
        chosen = None if self._class.value == _NO_CLASS else self._class.value
        fields = {
            "name": name, "quantity": self._quantity.value, "class": chosen,
            str(self._side.value): number(self._limit.value), "for_s": number(self._for_s.value),
            "level": self._level.value,
        }  # fmt: skip
        return kept | fields | self._reactions.get(then, {})

    def _do_save(self) -> None:
        if not self._viewer.operator:
            note(self._state, MAY_LOOK, "error")
            return
        try:
            fields, who = self._fields(), self._viewer.user or current_user()
        except ValueError as error:
            self._say_failed(str(error))
            return

        def saved(_rule: AlertRule) -> None:
            self._say_done(f"{fields['name']} is in force")
            self._chosen.value = fields["name"]

        self._background.do(lambda: self._rules.put(fields, who), saved, failed=self._say_failed)

    def _do_remove(self) -> None:
        if not self._viewer.operator:
            note(self._state, MAY_LOOK, "error")
            return
        name = str(self._name.value).strip()

        def removed(_nothing: None) -> None:
            self._chosen.value = NEW
            self._say_done(f"{name} as it was made here is removed")

        self._background.do(lambda: self._rules.remove(name), removed, failed=self._say_failed)

    def _say_done(self, text: str) -> None:
        self.offer([str(c) for c in self._class.options])
        note(self._state, text, "good")

    def _say_failed(self, text: str) -> None:
        note(self._state, text, "error")


def number(text: str) -> float:
    """Read a number as it is typed: 0.05, 0,05 and 5 % are the same.

    Raises
    ------
    ValueError
        If it is none.
    """
    plain = text.strip().replace(",", ".")
    try:
        return float(plain[:-1]) / 100 if plain.endswith("%") else float(plain)
    except ValueError:
        raise ValueError(f"{text!r} is no number; write it like 0.05 or 5 %") from None
