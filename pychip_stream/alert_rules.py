"""Alert rules: what an operator writes of when to be warned, and what is done then."""

import re
from difflib import get_close_matches
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pychip_stream.alert_actions import ACTIONS
from pychip_stream.domain import quantities
from pychip_stream.section import Section, problems

_INSIDE = 0.1
"""Share of its limit by which a value must be inside for an alarm to clear, unless a rule says."""


TELLING = ("banner", "log")
"""What every rule does unless it says otherwise."""


class Condition(Section):
    """What must hold besides for a rule to fire."""

    quantity: str = Field(description="as that of a rule")
    class_: str | None = Field(None, alias="class", description="as that of a rule")
    above: float | None = Field(None, description="holds while the value is above this")
    below: float | None = Field(None, description="holds while the value is below this")

    @property
    def key(self) -> tuple[str, str]:
        """Quantity and class, as `RunHealth.values` has them."""
        return self.quantity, self.class_ or ""

    def holds(self, value: float) -> bool:
        """Whether a value, which is no NaN, lies beyond the limit."""
        if self.above is not None:
            return value > self.above
        return self.below is not None and value < self.below

    def tell(self, value: float) -> str:
        """Say what is so, with the value and the limit."""
        subject = self.quantity if self.class_ is None else f"{self.quantity} of {self.class_}"
        limit, side = (self.below, "below") if self.above is None else (self.above, "above")
        told = [quantities.tell(self.quantity, one) for one in (value, limit or 0.0)]
        return f"{subject} {told[0]} is {side} {told[1]}"

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        _check_subject(self.quantity, self.class_)
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above or below")
        return self


def _check_subject(quantity: str, class_: str | None) -> None:
    """Refuse what nothing is called; names of readings are known only once somebody sends them."""
    watched = quantities.watched()
    if quantity not in watched:
        known = quantity in quantities.OF_FRAMES or get_close_matches(quantity, watched, 1, 0.9)
        if known or not re.fullmatch(r"[a-z][a-z0-9]*_\w+", quantity, re.ASCII):
            raise ValueError(
                f"quantity {quantity!r}: choose {', '.join(watched)}, or the name and unit of "
                "readings, such as temperature_C"
            )
    if quantities.needs_class(quantity) != (class_ is not None):
        takes = "needs a class" if class_ is None else "takes no class"
        raise ValueError(f"the quantity {quantity!r} {takes}")


class AlertRule(Section):
    """When to raise an alarm and what to do then."""

    name: str = Field(min_length=1, max_length=100)
    quantity: str = Field(description="what is watched; see docs/operate.md")
    class_: str | None = Field(
        None, alias="class", description="for fraction and other values of classes"
    )
    above: float | None = Field(None, description="fires when the value is above this")
    below: float | None = Field(None, description="fires when the value is below this")
    and_: tuple[Condition, ...] = Field(
        (), alias="and", max_length=10, description="fires only while all of these hold, too"
    )
    clear: float | None = Field(
        None, description="clears beyond this; none: a tenth of the limit inside it"
    )
    for_s: float = Field(0.0, ge=0, le=86400, description="the limit must be passed for this long")
    hold_off_s: float = Field(
        60.0, ge=0, le=86400, description="not fired again within this time after it cleared"
    )
    level: Literal["info", "warning", "critical"] = "warning"
    dry_run: bool = Field(False, description="on trial: published and archived, nothing else done")
    actions: tuple[str, ...] = TELLING
    settings: dict[str, dict[str, Any]] = Field(
        {}, description="of actions that other packages bring, by their names"
    )
    webhook: str | None = Field(None, description="address that gets the alert as JSON by POST")
    command: tuple[str, ...] | None = Field(
        None, description="program of alerts.commands to start, with its arguments"
    )

    @property
    def limit(self) -> float:
        """Fires when the value is beyond this."""
        limit = self.below if self.above is None else self.above
        assert limit is not None
        return limit

    @property
    def clears_at(self) -> float:
        """Value that has to be passed inwards for the alarm to end."""
        if self.clear is not None:
            return self.clear
        inside = abs(self.limit) * _INSIDE
        return self.limit + inside if self.above is None else self.limit - inside

    @property
    def subject(self) -> str:
        """What is watched, in words."""
        return self.quantity if self.class_ is None else f"{self.quantity} of {self.class_}"

    def beyond(self, value: float, limit: float) -> bool:
        """Whether a value lies on the bad side of a limit; an unknown value does not."""
        return value < limit if self.above is None else value > limit

    def tell(self, value: float) -> str:
        """Write a value with its unit."""
        return quantities.tell(self.quantity, value)

    @model_validator(mode="after")
    def _fit_their_actions(self) -> Self:
        named = {action.name: action for action in ACTIONS if not action.field}
        for name in set(self.actions) - named.keys():
            raise ValueError(f"there is no action {name!r}; choose among {', '.join(named)}")
        strange = self.settings.keys() - set(self.actions)
        strange |= {name for name in self.settings.keys() & named.keys() if named[name].immediate}
        if strange:
            raise ValueError(f"settings of {', '.join(sorted(strange))}, which takes none here")
        for name in self.actions:
            try:
                named[name].settings.model_validate(self.settings.get(name, {}))
            except ValidationError as error:
                raise ValueError(f"settings of {name}: {'; '.join(problems(error))}") from error
        return self

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        _check_subject(self.quantity, self.class_)
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above or below")
        if self.clear is not None and self.beyond(self.clear, self.limit):
            raise ValueError("clear lies on the wrong side of the limit")
        return self


class AlertConfig(Section):
    """Alarms and what they set off."""

    dry_run: bool = Field(False, description="every rule is on trial")
    commands: tuple[str, ...] = Field(
        (), description="programs (full paths) that rules may start; no others"
    )
    webhooks: tuple[str, ...] = Field(
        (), description="beginnings (http://HOST/…) of addresses that rules may call; no others"
    )
    rules: tuple[AlertRule, ...] = ()
    changes: tuple[str, ...] = Field(
        ("fraction",),
        max_length=50,
        description="curves whose change points are told: fraction for all of them, and quantities "
        "of frames; see docs/operate.md",
    )

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError("two rules have the same name")
        for name in self.changes:
            if name != "fraction" and (
                name not in quantities.OF_FRAMES or quantities.needs_class(name)
            ):
                raise ValueError(f"changes: {name!r} is neither fraction nor a quantity of frames")
        for address in self.webhooks:
            if not address.startswith(("http://", "https://")) or address.count("/") < 3:
                raise ValueError(f"webhooks: {address!r} is no http(s)://HOST/… address")
        for rule in self.rules:
            if rule.command is not None and (
                not rule.command or rule.command[0] not in self.commands
            ):
                raise ValueError(f"{rule.name}: its command is not listed in alerts.commands")
            if rule.webhook is not None and not rule.webhook.startswith(self.webhooks or ("\0",)):
                raise ValueError(f"{rule.name}: its webhook is not listed in alerts.webhooks")
        return self
