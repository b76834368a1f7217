"""How a service lives: it steps until told to stop; its exit code says how it went."""

import argparse
import logging
import os
import signal
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Protocol

import psutil

from pychip_stream import config as configuration
from pychip_stream import logs
from pychip_stream.config import Config
from pychip_stream.errors import ConfigError, PychipError

logger = logging.getLogger(__name__)

PARENT_VARIABLE = "PYCHIP_STREAM_PARENT"
"""Environment variable "PID:START" of the process without which a service must not live on."""


class Service(Protocol):
    """What `run` drives."""

    def step(self) -> None:
        """Do what is due, within about 100 ms."""

    def close(self) -> None:
        """Finish what was begun and release everything."""


def stop_event() -> threading.Event:
    """Event that Ctrl-C, SIGTERM, Ctrl-Break (Windows) or the parent's death sets.

    Handlers only set the event; the work of stopping happens on the main thread.
    """
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    if hasattr(signal, "SIGBREAK"):
        signal.signal(signal.SIGBREAK, on_signal)
    parent = os.environ.get(PARENT_VARIABLE)
    if parent:
        threading.Thread(
            target=_watch_parent, args=(parent, stop), name="parent watch", daemon=True
        ).start()
    return stop


def parent_token() -> str:
    """Value of `PARENT_VARIABLE` for children of this process.

    The start time is part of it because process numbers are used again.
    """
    return f"{os.getpid()}:{psutil.Process().create_time():.3f}"


def run(make: Callable[[], Service], stop: threading.Event) -> int:
    """Build a service, step it until `stop`, close it; returns the exit code.

    An expected failure (`PychipError`) is one line in the log and the error's exit code; an
    unexpected one is logged with its trace and gives 1, so that a supervisor notices.
    """
    try:
        service = make()
        try:
            while not stop.is_set():
                service.step()
        finally:
            service.close()
    except PychipError as error:
        logger.error("%s", error)
        return error.exit_code
    except Exception:
        logger.exception("stopped by an unexpected error")
        return 1
    return 0


def load(path: Path) -> Config:
    """Read the configuration of a service, and let its log name the run.

    Raises
    ------
    ConfigError
        If it cannot be used, or leaves ports open, which only `pychip-stream run` can choose.
    """
    config = configuration.load(path)
    missing = [f"wire.{name}" for name in configuration.PORTS if not getattr(config.wire, name)]
    if missing:
        problem = f"{', '.join(missing)}: a service started alone needs the port of every other"
        raise ConfigError(str(path), [problem])
    logs.set_run(config.archive.name)
    return config


def main(name: str, make: Callable[[Config], Service], argv: Sequence[str] | None = None) -> int:
    """Run the service `name` of a configuration file named on the command line."""
    parser = argparse.ArgumentParser(prog=f"python -m pychip_stream.services.{name}")
    parser.add_argument("config", type=Path, help="configuration with every port given")
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    options = parser.parse_args(argv)
    logs.configure(name, style=options.log_format)
    stop = stop_event()

    def start() -> Service:
        return make(load(options.config))

    return run(start, stop)


def _watch_parent(token: str, stop: threading.Event) -> None:
    number, _, started = token.partition(":")
    while not stop.wait(0.5):
        try:
            process = psutil.Process(int(number))
            alive = abs(process.create_time() - float(started)) < 1.0
            alive = alive and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, ValueError):
            alive = False
        except psutil.AccessDenied:
            continue
        if not alive:
            logger.warning("the supervising process is gone; stopping")
            stop.set()
