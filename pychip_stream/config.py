"""Configuration: what people edit, checked at once and with every problem named."""

import contextlib
import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pychip_stream.alert_rules import AlertConfig
from pychip_stream.domain.pixel_size import by_hand
from pychip_stream.errors import ConfigError
from pychip_stream.section import Section, problems, resolve
from pychip_stream.stimulus_settings import StimulusConfig

Port = Annotated[int, Field(ge=0, le=65535)]

ServiceName = Literal["hub", "archiver", "inference", "watcher", "sentinel", "dashboard"]


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
    memory_mb: float = Field(
        4096, ge=256, description="hub, watcher or archiver that takes more is started again"
    )


class HealthConfig(Section):
    """Who is told how the run is."""

    prometheus: Port | None = Field(
        None, description="port on 127.0.0.1 where Prometheus can read the counters"
    )


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host == "localhost"


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
    detector: str = Field(
        "", description='which image of files that hold several, such as "HAADF"; empty: a rule'
    )
    pixel_size: str = Field(
        "", description='of every frame, such as "0.5 nm", instead of what files say; empty: theirs'
    )
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

    @field_validator("pixel_size")
    @classmethod
    def _is_pixel_size(cls, text: str) -> str:
        if text:
            by_hand(text)
        return text

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
    match_pixel_size: bool = Field(
        True, description="in frames of another pixel size, cut chips as large as the examples are"
    )


_TAKEN_ENDINGS = (".live", ".segments", ".scorings", ".lock", ".resolved", ".h5", ".tmp")


class ArchiveConfig(Section):
    """The run archive."""

    folder: Path = Field(Path("runs"), description="where run archives are written")
    name: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    embeddings: bool = Field(True, description="keep embeddings, so that runs can be re-scored")
    segment_frames: int = Field(64, ge=1, le=4096)
    segment_s: float = Field(5.0, gt=0, le=600)

    @field_validator("name")
    @classmethod
    def _means_nothing_else(cls, name: str) -> str:
        """Refuse what stands for the live view, the segments, … of another run."""
        for ending in _TAKEN_ENDINGS:
            if name.casefold().endswith(ending):
                raise ValueError(
                    f"{name!r} ends in {ending}, which means a part of the run "
                    f"{name[: -len(ending)]!r}; write - for the dot"
                )
        return name


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
    patience_s: float = Field(
        3600.0, gt=0, le=86400, description="a frame that takes longer is recorded as failed"
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
    frames: tuple[Path, ...] = Field(
        (),
        description="further folders whose images may be shown where others than this machine's "
        "user look: archives name the folders of their frames",
    )
    below: str = Field(
        "",
        description="quantity that Live draws below the fractions until the viewer chooses, "
        "such as temperature_C",
    )
    trusted_network: bool = Field(
        False, description="let everybody on the network look and change, without a login"
    )

    @property
    def shared(self) -> bool:
        """Whether others than the user of this machine are meant to look."""
        return self.users is not None or self.trusted_network

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
    stimulus: tuple[StimulusConfig, ...] = ()

    @model_validator(mode="after")
    def _sources_are_told_apart(self) -> Self:
        names = [one.source for one in self.stimulus]
        if len(set(names)) < len(names):
            raise ValueError("stimulus: two sources have the same name; give each a name")
        return self

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
        raise ConfigError(where, problems(error)) from error
    return resolve(config, base)


def dump(config: Config, *, secrets: bool = True) -> str:
    """Write a configuration as YAML that `load` reads back.

    Parameters
    ----------
    secrets
        Without them, webhook addresses end after their host, since what follows is often a
        password, and settings of foreign actions are left out.
    """
    tree = config.model_dump(mode="json", by_alias=True)
    if not secrets:
        alerts = tree["alerts"]
        alerts["webhooks"] = [_host_only(address) for address in alerts["webhooks"]]
        for rule in alerts["rules"]:
            rule["webhook"] = rule["webhook"] and _host_only(rule["webhook"])
            rule["settings"] = {}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _host_only(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.hostname}/"
