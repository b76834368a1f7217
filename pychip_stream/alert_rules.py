"""Alert rules: what an operator writes of when to be warned, and what is done then."""

from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from pychip_stream.alert_actions import ACTIONS
from pychip_stream.domain import quantities
from pychip_stream.section import Section, problems

_INSIDE = 0.1
"""Share of its limit by which a value must be inside for an alarm to clear, unless a rule says."""


TELLING = ("banner", "log")
"""What every rule does unless it says otherwise."""


class AlertRule(Section):
    """When to raise an alarm and what to do then."""

    name: str = Field(min_length=1, max_length=100)
    quantity: str = Field(description="what is watched; see docs/operate.md")
    class_: str | None = Field(
        None, alias="class", description="for fraction and other values of classes"
    )
    above: float | None = Field(None, description="fires when the value is above this")
    below: float | None = Field(None, description="fires when the value is below this")
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
        watched = quantities.watched()
        if self.quantity not in watched:
            raise ValueError(f"quantity {self.quantity!r}: choose {', '.join(watched)}")
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above or below")
        if quantities.needs_class(self.quantity) != (self.class_ is not None):
            takes = "needs a class" if self.class_ is None else "takes no class"
            raise ValueError(f"the quantity {self.quantity!r} {takes}")
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

    @model_validator(mode="after")
    def _allowed(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(set(names)) < len(names):
            raise ValueError("two rules have the same name")
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
