"""Running: what a start leaves beside the archive, so that others find the run.

NAME.resolved.yaml is the configuration with the ports that were chosen, NAME@run.lock is held
by the supervisor. Where a machine runs some of the services, `@` and the machine's share stand
in both names, since several machines may keep them in one folder. No run's name holds an `@`.
"""

import time
from collections.abc import Callable
from pathlib import Path

from pychip_stream import config as configuration
from pychip_stream.archive.disk import Disk, LockedError, RunLock, reason
from pychip_stream.config import Config
from pychip_stream.errors import PychipError, UsageError
from pychip_stream.wire import ports

_RESOLVED = ".resolved.yaml"
_LET_GO_S = 3.0

Say = Callable[[str, str], None]
"""Takes a service's name and one line that it wrote."""


def running_config(path: Path) -> Config:
    """Load the configuration of a run that is going on, with the ports that it chose.

    Raises
    ------
    UsageError
        If ports are chosen at the start and no run has been started.
    """
    config = configuration.load(path)
    if config.wire.requests and config.wire.events:
        return config
    resolved = resolved_path(config)
    if not resolved.exists():
        raise UsageError(f"{path}: no run of this config is going on; start `pychip-stream run`")
    return configuration.load(resolved)


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


def claim(config: Config, say: Say) -> tuple[RunLock, Config]:
    """Take a run for a supervisor, before anything of it is touched.

    Returns
    -------
    The lock that keeps others away, and the configuration with every port, which is written
    for the services and for those who look for the run.

    Raises
    ------
    UsageError
        If this run is going on already.
    PychipError
        If its folder cannot be written, or a port cannot be had.
    """
    name, folder = config.archive.name, config.archive.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = RunLock(folder / f"{name}@{_share(config) or 'run'}.lock")
        try:
            config = ports.choose_ports(_with_free_ports(config, say))
            data = configuration.dump(config).encode()
            Disk().save(resolved_path(config), data, private=bool(config.alerts.webhooks))
        except BaseException:
            lock.release()
            raise
    except LockedError as error:
        raise UsageError(
            f"run {name} in {folder} is going on already ({error.holder}); stop that first, or "
            "choose another archive.name"
        ) from error
    except OSError as error:
        raise PychipError(
            f"{folder}: cannot be written ({reason(error)}); choose another archive.folder"
        ) from error
    return lock, config


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
