"""Sections of the configuration that concern operation, and what all sections share."""

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pychip_stream.domain.alerts import Quantity

Port = Annotated[int, Field(ge=0, le=65535)]
ServiceName = Literal["hub", "archiver", "inference", "watcher", "sentinel", "dashboard"]


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MachineConfig(Section):
    """What of the run is on this machine."""

    services: tuple[ServiceName, ...] | None = Field(
        None, description="services that `run` starts here; none: all of them"
    )

    name: str = Field(
        "", pattern=r"^[A-Za-z0-9_-]{0,40}$", description="tells its workers from those of others"
    )

    def instance(self, number: int) -> str:
        """Name of the worker `number`, from 0, on this machine."""
        return f"{self.name}-{number + 1}" if self.name else str(number + 1)


class SupervisionConfig(Section):
    """When a service that dies is started again."""

    longest_pause_s: float = Field(
        10.0, gt=0, le=3600, description="pauses before restarts grow up to this"
    )
    give_up_after: int = Field(
        8, ge=1, description="deaths in a row, without an archived frame between, that end the run"
    )


class HealthConfig(Section):
    """Who is told how the run is."""

    prometheus: Port | None = Field(
        None, description="port on 127.0.0.1 where Prometheus can read the counters"
    )


class AlertRule(Section):
    """When to raise an alarm and what to do then."""

    name: str = Field(min_length=1, max_length=100)
    quantity: Quantity = Field(description="what is watched; see docs/operate.md")
    class_: str | None = Field(None, alias="class", description="for fraction: the class")
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
    actions: tuple[Literal["banner", "log"], ...] = ("banner", "log")
    webhook: str | None = Field(None, description="address that gets the alert as JSON by POST")
    command: tuple[str, ...] | None = Field(
        None, description="program of alerts.commands to start, with its arguments"
    )

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above or below")
        if (self.quantity == "fraction") != (self.class_ is not None):
            raise ValueError('the quantity "fraction" needs a class, the others take none')
        limit, wrong = self.above, 1
        if limit is None:
            limit, wrong = self.below, -1
        if self.clear is not None and limit is not None and (self.clear - limit) * wrong > 0:
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


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
