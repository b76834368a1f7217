"""Ports: which of them this machine listens on, whether they are free, and who has them."""

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import psutil

from pychip_stream.config import PORTS, Config, PortName
from pychip_stream.errors import ConfigError, PychipError

PAGE = "dashboard.port"
_OWNERS: dict[PortName, str] = {"tasks": "watcher", "results": "archiver"}


def listened(config: Config) -> Iterator[tuple[str, str, int]]:
    """Give the key, address and number (0: a free one) of every port of this machine."""
    here = config.machine.services
    for port in PORTS:
        if here is None or _OWNERS.get(port, "hub") in here:
            yield f"wire.{port}", config.wire.host_of(port), getattr(config.wire, port)
    if config.dashboard.enabled and (here is None or "dashboard" in here):
        yield PAGE, config.dashboard.address, config.dashboard.port
    if config.health.prometheus and (here is None or "sentinel" in here):
        yield "health.prometheus", "127.0.0.1", config.health.prometheus


def why_taken(host: str, number: int) -> str:
    """Say why a port cannot be listened on, and who has it as far as that is known."""
    try:
        with socket.socket() as probe:
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, number))
    except OSError as error:
        why = error.strerror or str(error)
        return f"{host}:{number} cannot be had ({why}{_holder(number)})"
    return ""


def choose_ports(config: Config, held: ExitStack) -> Config:
    """Choose a free port for everything that has none, where no other machine must know it.

    Parameters
    ----------
    held
        Keeps the chosen ports, so that no program that asks for a free one is given them before
        or between two lives of a service.
    """
    open_ports = [name for name in PORTS if not getattr(config.wire, name)]
    if config.machine.services is not None and open_ports:
        raise ConfigError(
            "machine.services",
            [f"wire.{name}: give a port, the same on every machine" for name in open_ports],
        )
    wire, dashboard = config.wire, config.dashboard
    try:
        numbers: dict[str, int] = {
            name: getattr(wire, name) or _hold_free(wire.host_of(name), held) for name in PORTS
        }
        page = dashboard.port or _hold_free(dashboard.address, held)
        if sys.platform == "win32":
            held.close()
    except OSError as error:
        hosts = " or ".join(sorted({*map(wire.host_of, PORTS), dashboard.address}))
        raise PychipError(
            f"no port can be opened on {hosts} ({error.strerror}); correct wire.host or "
            "dashboard.address, which must be of this machine"
        ) from error
    return config.model_copy(
        update={
            "wire": wire.model_copy(update=numbers),
            "dashboard": dashboard.model_copy(update={"port": page}),
        }
    )


def _hold_free(host: str, held: ExitStack) -> int:
    """Bind a free port without listening on it; whoever comes to listen on it may share it."""
    one = held.enter_context(socket.socket())
    if sys.platform != "win32":
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((host, 0))
    return int(one.getsockname()[1])


def _holder(number: int) -> str:
    """Name the program that listens on a port, where the system tells."""
    try:
        for one in psutil.net_connections("tcp"):
            if one.status == psutil.CONN_LISTEN and one.laddr[1:] == (number,) and one.pid:
                return f", {psutil.Process(one.pid).name()} has it, process {one.pid}"
    except (psutil.Error, OSError):
        pass  # not everybody may ask
    return ""
