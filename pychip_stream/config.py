"""Configuration: what people edit, checked at once and with every problem named."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, Self, TypeVar

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from pychip_stream.domain import quantities
from pychip_stream.errors import ConfigError
from pychip_stream.plugins import Named, Registry

Port = Annotated[int, Field(ge=0, le=65535)]
_INSIDE = 0.1
"""Share of its limit by which a value must be inside for an alarm to clear, unless a rule says."""

ServiceName = Literal["hub", "archiver", "inference", "watcher", "sentinel", "dashboard"]


class Section(BaseModel):
    """A part of the configuration: unknown keys are errors, nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True)


SectionT = TypeVar("SectionT", bound=Section)


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
    patience_s: float = Field(
        120.0, ge=5, le=86400, description="a service that hangs or is silent so long is killed"
    )


class HealthConfig(Section):
    """Who is told how the run is."""

    prometheus: Port | None = Field(
        None, description="port on 127.0.0.1 where Prometheus can read the counters"
    )


class FurtherAction(Named, Protocol):
    """What a rule must know of an action of another package; see `operation.actions`."""

    @property
    def settings(self) -> type[BaseModel]:
        """Model of what a rule says of it."""


TELLING = ("banner", "log")
FURTHER_ACTIONS = Registry[FurtherAction]("pychip_stream.actions", ())


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

    @field_validator("actions")
    @classmethod
    def _known(cls, actions: tuple[str, ...]) -> tuple[str, ...]:
        for name in actions:
            if name not in TELLING and name not in FURTHER_ACTIONS:
                known = ", ".join((*TELLING, *FURTHER_ACTIONS.names))
                raise ValueError(f"there is no action {name!r}; choose among {known}")
        return actions

    @model_validator(mode="after")
    def _fit_their_actions(self) -> Self:
        strange = self.settings.keys() - set(self.actions) | self.settings.keys() & set(TELLING)
        if strange:
            raise ValueError(f"settings of {', '.join(sorted(strange))}, which takes none here")
        for name in set(self.actions) - set(TELLING):
            try:
                FURTHER_ACTIONS[name].settings.model_validate(self.settings.get(name, {}))
            except ValidationError as error:
                raise ValueError(f"settings of {name}: {'; '.join(_problems(error))}") from error
        return self

    @model_validator(mode="after")
    def _make_sense(self) -> Self:
        if self.quantity not in quantities.watched():
            raise ValueError(
                f"quantity {self.quantity!r}: choose {', '.join(quantities.watched())}"
            )
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


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


PortName = Literal["tasks", "results", "requests", "events"]
PORTS: tuple[PortName, ...] = ("tasks", "results", "requests", "events")


class WatchConfig(Section):
    """The acquisition folder and how it is watched."""

    root: Path = Field(description="acquisition folder; frames are found anywhere below it")
    mode: Literal["auto", "poll"] = Field(
        "auto", description='"poll" for network folders, which deliver no events'
    )
    quiet_s: float = Field(
        1.0, ge=0, le=3600, description="unchanged for this long counts as finished, in seconds"
    )
    scan_s: float = Field(
        0.15, gt=0, le=60, description="pause between looks at the newest folders"
    )
    reconcile_s: float = Field(
        5.0, gt=0, le=3600, description="pause between looks at the whole tree"
    )
    incomplete_s: float = Field(
        120.0, gt=0, description="report a file that stays incomplete for this long"
    )
    max_frame_mb: float = Field(2048, gt=0, description="refuse frames that would need more memory")
    include: tuple[str, ...] = Field(
        (), description='patterns of names or paths of frames, such as "*.dm4"; none: all'
    )
    exclude: tuple[str, ...] = Field(
        (), description='patterns of what is never a frame, such as "*_preview.*", "focus/*"'
    )
    patience_s: float = Field(
        30.0, gt=0, le=3600,
        description="give up a look at a file after so long, and a second more for each 4 MiB",
    )  # fmt: skip

    @property
    def max_frame_bytes(self) -> int:
        """Memory one frame may need."""
        return int(self.max_frame_mb * 2**20)


class SupportConfig(Section):
    """The support sets of this experiment."""

    folder: Path = Field(Path("support"), description="where versions are kept")
    initial: Path | None = Field(None, description="support set to start with")


class EncoderConfig(Section):
    """The network that turns chips into embeddings."""

    name: str = Field("bundled", description='"bundled" or a torchvision ResNet such as "resnet18"')
    weights: Path | None = Field(None, description="state dict on disk; none: the encoder's own")
    device: str | None = Field(None, description='"cpu", "cuda", "mps"; none: the fastest found')


class ClassifyConfig(Section):
    """How chips are labelled."""

    method: Literal["auto", "lda", "euclidean"] = Field(
        "auto", description='"euclidean": plain distances, pyChip\'s way; "auto": cross-validated'
    )
    reject: bool = Field(True, description='label chips unlike every example "unknown"')
    sensitivity: float = Field(1.0, gt=0, le=10, description="larger rejects more chips as unknown")


class ArchiveConfig(Section):
    """The run archive."""

    folder: Path = Field(Path("runs"), description="where run archives are written")
    name: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    embeddings: bool = Field(True, description="keep embeddings, so that runs can be re-scored")
    segment_frames: int = Field(64, ge=1, le=4096)
    segment_s: float = Field(5.0, gt=0, le=600)


MOST_CREDIT = 64
"""Frames that a worker may hold at once."""


class InferenceConfig(Section):
    """The inference workers."""

    workers: int = Field(1, ge=1, le=64)
    credit: int = Field(2, ge=1, le=MOST_CREDIT, description="frames a worker holds at once")
    frames: Literal["path", "pixels"] = Field(
        "path", description='"pixels" for workers that do not see the acquisition folder'
    )
    attempts: int = Field(
        3, ge=1, le=100, description="a frame over which so many workers died is recorded as failed"
    )


class WireConfig(Section):
    """Addresses of the services; port 0 lets `run` choose a free one."""

    host: str = Field("127.0.0.1", description="address of the machine that the services are on")
    watcher_host: str | None = Field(None, description="where the watcher is, if not on `host`")
    archiver_host: str | None = Field(None, description="where the archiver is, if not on `host`")
    hub_host: str | None = Field(None, description="where the hub is, if not on `host`")
    tasks: Port = Field(0, description="watcher: hands out frames")
    results: Port = Field(0, description="archiver: takes results")
    requests: Port = Field(0, description="hub: takes support sets and status")
    events: Port = Field(0, description="hub: publishes support sets, status, live results")
    keys: Path | None = Field(
        None, description="folder made by `pychip-stream keys`; without it only this machine"
    )

    @model_validator(mode="after")
    def _need_keys_beyond_loopback(self) -> Self:
        open_hosts = sorted({h for h in map(self.host_of, PORTS) if not is_loopback(h)})
        if self.keys is None and open_hosts:
            raise ValueError(
                f"{', '.join(open_hosts)} can be reached from other machines, which needs keys; "
                "make them with `pychip-stream keys DIR` and set wire.keys"
            )
        return self

    def host_of(self, port: PortName) -> str:
        """Address of the machine that listens on a port."""
        own = {"tasks": self.watcher_host, "results": self.archiver_host}.get(port, self.hub_host)
        return own or self.host

    def endpoint(self, port: PortName) -> str:
        """Address of a service, for example tcp://127.0.0.1:5601."""
        return f"tcp://{self.host_of(port)}:{getattr(self, port)}"


class DashboardConfig(Section):
    """The web page."""

    enabled: bool = True
    address: str = Field("127.0.0.1", description="interface to listen on")
    port: Port = Field(0, description="0: a free one")
    users: Path | None = Field(
        None, description='JSON file of {"name": "password"}; with it viewers must log in'
    )
    operators: tuple[str, ...] = Field(
        (), description="users who may change support sets; none named: all who may look"
    )
    origins: tuple[str, ...] = Field(
        (), description="further HOST:PORT under which browsers reach the page (a proxy, a tunnel)"
    )
    trusted_network: bool = Field(
        False, description="let everybody on the network look and change, without a login"
    )

    @model_validator(mode="after")
    def _need_login_beyond_this_machine(self) -> Self:
        if not (self.users or self.trusted_network or is_loopback(self.address)):
            raise ValueError(
                f"{self.address} can be reached from other machines, which needs a login; set "
                "dashboard.users, or dashboard.trusted_network if everybody there may change "
                "the run"
            )
        return self


class Config(Section):
    """One experiment; `pychip-stream init` writes every key with its meaning."""

    watch: WatchConfig
    support: SupportConfig = SupportConfig()
    encoder: EncoderConfig = EncoderConfig()
    classify: ClassifyConfig = ClassifyConfig()
    inference: InferenceConfig = InferenceConfig()
    archive: ArchiveConfig = ArchiveConfig()
    wire: WireConfig = WireConfig()
    dashboard: DashboardConfig = DashboardConfig()
    machine: MachineConfig = MachineConfig()
    supervision: SupervisionConfig = SupervisionConfig()
    health: HealthConfig = HealthConfig()
    alerts: AlertConfig = AlertConfig()

    @property
    def sees_frames(self) -> bool:
        """Whether a service of this machine reads the acquisition folder."""
        here = self.machine.services
        if here is None or "watcher" in here:
            return True
        return "inference" in here and self.inference.frames == "path"

    @property
    def run_path(self) -> Path:
        """The archive of this run once it is closed."""
        return self.archive.folder / f"{self.archive.name}.h5"


def load(path: Path) -> Config:
    """Read a configuration file; relative paths in it are relative to the file."""
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(str(path), [f"cannot be read ({error.strerror or error})"]) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        if "escape character" in detail:
            detail += "; write paths with / or in 'single quotes'"
        raise ConfigError(str(path), [f"is not valid YAML: {detail}"]) from error
    if not isinstance(tree, dict):
        raise ConfigError(
            str(path), ["is empty or not a table of sections; see `pychip-stream init`"]
        )
    return parse(tree, where=str(path), base=path.resolve().parent)


def parse(tree: dict[str, Any], where: str, base: Path) -> Config:
    """Check a configuration and resolve its paths against `base`."""
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(where, _problems(error)) from error
    return _resolve(config, base)


def dump(config: Config) -> str:
    """Write a configuration as YAML that `load` reads back."""
    return yaml.safe_dump(
        config.model_dump(mode="json", by_alias=True), sort_keys=False, allow_unicode=True
    )


def _problems(error: ValidationError) -> list[str]:
    return [f"{'.'.join(str(p) for p in e['loc'])}: {_plain(e)}" for e in error.errors()]


def _plain(error: Any) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key (misspelt?)"
    if error["type"] == "missing":
        return "is missing"
    return f"{error['msg'][0].lower()}{error['msg'][1:]}, got {error['input']!r}"


def _resolve(section: SectionT, base: Path) -> SectionT:
    """Resolve every path of a section and of those in it."""

    def resolved(value: object) -> object:
        if isinstance(value, Section):
            return _resolve(value, base)
        return Path(base, value.expanduser()) if isinstance(value, Path) else value

    return section.model_copy(update={name: resolved(value) for name, value in section})
