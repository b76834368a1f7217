"""Running: what a start leaves beside the archive, so that others find the run.

NAME.resolved.yaml is the configuration with the ports that were chosen, NAME@run.lock is held
by the supervisor. Where a machine runs some of the services, `@` and the machine's share stand
in both names, since several machines may keep them in one folder. No run's name holds an `@`.
Beside the configuration lies .FILE.running while the run is on, which says where these are.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from pychip_stream import config as configuration
from pychip_stream.archive.disk import Disk, LockedError, RunLock, reason
from pychip_stream.config import Config
from pychip_stream.errors import PychipError, UsageError
from pychip_stream.wire import ports

_RESOLVED = ".resolved.yaml"
_LET_GO_S = 3.0
_VITAL = ("hub", "archiver", "watcher")

Say = Callable[[str, str], None]
"""Takes a service's name and one line that it wrote."""


class Service(NamedTuple):
    """A service of a run on this machine.

    Attributes
    ----------
    name
        In the log.
    instance
        What it calls itself when it says how it is.
    command
        What starts it, without the configuration.
    """

    name: str
    instance: str
    command: tuple[str, ...]


def services(config: Config) -> list[Service]:
    """Every service of this machine, in the order of starting."""
    workers = [config.machine.instance(number) for number in range(config.inference.workers)]
    several = len(workers) > 1
    found = [
        *(Service(name, name, module(f"services.{name}")) for name in ("hub", "archiver")),
        *(
            Service(
                f"inference-{number}" if several else "inference",
                f"worker-{name}",
                (*module("services.inference"), "--instance", name),
            )
            for number, name in enumerate(workers, 1)
        ),
        *(Service(name, name, module(f"services.{name}")) for name in ("watcher", "sentinel")),
        Service("dashboard", "dashboard", module("dashboard.app")),
    ]
    return [one for one in found if _wanted(config, one.name.partition("-")[0])]


def expected(config: Config) -> frozenset[str]:
    """Instances that a listener must hear: those of this machine, and one of each that is vital."""
    return frozenset({*_VITAL, *(one.instance for one in services(config))})


def module(name: str) -> tuple[str, ...]:
    """Command that runs a module of this package; one of that name where it runs is no matter."""
    return (sys.executable, "-P", "-m", f"pychip_stream.{name}")


def _wanted(config: Config, service: str) -> bool:
    shown = config.dashboard.enabled  # where rules are made while the run goes on
    if service == "sentinel" and not (
        shown or config.alerts.rules or config.health.prometheus is not None
    ):
        return False
    if service == "dashboard" and not shown:
        return False
    return config.machine.services is None or service in config.machine.services


def running_config(path: Path) -> Config:
    """Load the configuration of a run that is going on, with the ports that it chose.

    The file may have been edited since: what counts is what the run was started with.
    """
    with contextlib.suppress(OSError, ValueError):
        started = Path(_note_beside(path).read_text(encoding="utf-8"))
        if started.is_file():
            return configuration.load(started)
    config = configuration.load(path)
    if config.wire.requests and config.wire.events:
        return config
    resolved = resolved_path(config)
    if not resolved.exists():
        raise UsageError(f"{path}: no run of this config is going on; start `pychip-stream run`")
    return configuration.load(resolved)


def _note_beside(path: Path) -> Path:
    """File beside a configuration that says where the run lies that was started with it."""
    return path.resolve().with_name(f".{path.name}.running")


def resolved_path(config: Config) -> Path:
    """File that tells the services of this start their ports."""
    share = _share(config)
    return config.archive.folder / f"{config.archive.name}{share and '@' + share}{_RESOLVED}"


def resolved_beside(run: Path) -> Path | None:
    """File that tells the ports of the services that write an archive, if they are here."""
    for path in sorted(run.parent.glob(f"*{_RESOLVED}")):
        if path.name.removesuffix(_RESOLVED).partition("@")[0] == run.stem:
            return path
    return None


class Claim:
    """A run that a supervisor has taken, before anything of it is touched, until `release`.

    Parameters
    ----------
    source
        File of the configuration; a note beside it leads others to this run, whatever becomes
        of the file.

    Attributes
    ----------
    config
        With every port, as it is written for the services and for those who look for the run.
    """

    def __init__(self, config: Config, say: Say, source: Path | None = None) -> None:
        name, folder = config.archive.name, config.archive.folder
        self._note = None if source is None else _note_beside(source)
        self._ports = contextlib.ExitStack()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = RunLock(folder / f"{name}@{_share(config) or 'run'}.lock")
            try:
                config = _with_free_ports(config, say)
                self.config = ports.choose_ports(config, self._ports)
                resolved = resolved_path(self.config)
                data = configuration.dump(self.config).encode()
                Disk().save(resolved, data, private=bool(self.config.alerts.webhooks))
            except BaseException:
                self.release()
                raise
        except LockedError as error:
            raise UsageError(
                f"run {name} in {folder} is going on already ({error.holder}); stop that first, "
                "or choose another archive.name"
            ) from error
        except OSError as error:
            raise PychipError(
                f"{folder}: cannot be written ({reason(error)}); choose another archive.folder"
            ) from error
        if self._note is not None:
            with contextlib.suppress(OSError):  # then the file must stay as it is
                self._note.write_text(str(resolved), encoding="utf-8")

    def release(self) -> None:
        """Let the run go; may be called twice."""
        self._ports.close()
        if self._note is not None:
            with contextlib.suppress(OSError):
                self._note.unlink()
            self._note = None
        self._lock.release()


def _share(config: Config) -> str:
    """Name what this machine runs, where that is not everything."""
    machine = config.machine
    return "-".join(filter(None, (machine.name, *machine.services))) if machine.services else ""


def _with_free_ports(config: Config, say: Say) -> Config:
    """Make sure of the ports that were given; the page takes another one if it must.

    Services of a run that was killed may need a moment to let theirs go.
    """
    deadline = time.monotonic() + _LET_GO_S
    while taken := {
        key: why
        for key, host, number in ports.listened(config)
        if number and (why := ports.why_taken(host, number))
    }:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    page = taken.pop(ports.PAGE, "")
    if taken:
        raise PychipError(
            "; ".join(f"{key}: {why}" for key, why in taken.items())
            + "; stop what uses it, or choose another port"
        )
    if page:
        say("run", f"{ports.PAGE}: {page}; the page takes a free port instead")
        dashboard = config.dashboard.model_copy(update={"port": 0})
        config = config.model_copy(update={"dashboard": dashboard})
    return config
