"""How a service lives: it steps until told to stop; its exit code says how it went."""

import argparse
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, Protocol

import psutil

from pychip_stream import config as configuration
from pychip_stream import logs
from pychip_stream.config import Config
from pychip_stream.errors import ConfigError, PychipError

logger = logging.getLogger(__name__)

LIFELINE_VARIABLE = "PYCHIP_STREAM_LIFELINE"
"""Environment variable that whoever starts a service sets when it holds the service's standard
input open: writing to it, closing it, or dying, stops the service. It needs neither signals nor a
console."""
UNEXPECTED = "stopped by an unexpected error"
_LISTENING = ("hub", "watcher", "archiver")
"""Whoever sends them a message that never ends swells them: libzmq collects it whole."""
_LOOK_S = 0.2

if sys.platform == "win32":
    import _winapi
    import msvcrt

    def _heard() -> bytes | None:
        # A thread that waited in a read would block DLLs that look at the standard handles.
        try:
            waiting, _ = _winapi.PeekNamedPipe(msvcrt.get_osfhandle(0), 0)
        except OSError:
            return None
        return os.read(0, waiting)
else:
    import select

    def _heard() -> bytes | None:
        """Return what came by the lifeline since the last look; None: it was let go."""
        lifeline = select.poll()
        lifeline.register(0, select.POLLIN)
        return (os.read(0, 64) or None) if lifeline.poll(0) else b""


class Service(Protocol):
    """What `run` drives."""

    def step(self) -> None:
        """Do what is due, within about 100 ms."""

    def close(self) -> None:
        """Finish what was begun and release everything."""


def stop_event() -> threading.Event:
    """Event that Ctrl-C, SIGTERM, Ctrl-Break (Windows) or the lifeline sets, each time.

    Handlers only set the event; the work of stopping happens on the main thread.
    """
    stop = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGTERM, on_signal)
    if hasattr(signal, "SIGBREAK"):
        signal.signal(signal.SIGBREAK, on_signal)
    if os.environ.pop(LIFELINE_VARIABLE, ""):  # it is not for the processes started from here
        threading.Thread(target=_watch_lifeline, args=(stop,), name="lifeline", daemon=True).start()
    return stop


def run(make: Callable[[], Service], stop: threading.Event) -> int:
    """Build a service, step it until `stop`, close it; returns the exit code.

    An expected failure (`PychipError`) is one line in the log and the error's exit code; an
    unexpected one is logged with its trace and gives 1, so that a supervisor notices. While the
    service closes, `stop` is set only if it shall hurry.
    """
    try:
        service = make()
        # What stands now stands to the end: looking through it again and again for garbage would
        # stop everything for a tenth of a second each time.
        gc.freeze()
        try:
            while not stop.is_set():
                service.step()
            stop.clear()  # set again, it means: hurry
        except BaseException:
            stop.set()
            raise
        finally:
            service.close()
            gc.unfreeze()
    except PychipError as error:
        logger.error("%s", error)
        return error.exit_code
    except Exception:
        logger.exception(UNEXPECTED)
        return 1
    return 0


def leave(code: int) -> NoReturn:
    """End this process without waiting for its threads: what they still work on, nobody wants.

    For programs whose `close` has finished and removed everything; nothing is done "at exit".
    """
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)


def load(path: Path) -> Config:
    """Read the configuration of a service, and let its log name the run."""
    config = configuration.load(path)
    missing = [f"wire.{name}" for name in configuration.PORTS if not getattr(config.wire, name)]
    if missing:
        problem = f"{', '.join(missing)}: a service started alone needs the port of every other"
        raise ConfigError(str(path), [problem])
    logs.set_run(config.archive.name)
    return config


def main(
    name: str,
    make: Callable[..., Service],
    argv: Sequence[str] | None = None,
    stop: threading.Event | None = None,
    **options: str,
) -> int:
    """Run the service `name` of a configuration file named on the command line.

    Parameters
    ----------
    make
        Of (config, **options).
    stop
        Where `make` needs it: of `stop_event`.
    options
        What more may be said on the command line, with what it is otherwise.
    """
    parser = argparse.ArgumentParser(prog=f"python -m pychip_stream.services.{name}")
    parser.add_argument("config", type=Path, help="configuration with every port given")
    for option, otherwise in options.items():
        parser.add_argument(f"--{option}", default=otherwise)
    parser.add_argument("--log-format", choices=("text", "json"), default="text")
    said = vars(parser.parse_args(argv))
    logs.configure(name, style=said.pop("log_format"))
    use_all_handles()
    path = said.pop("config")

    def begin() -> Service:
        config = load(path)
        if name in _LISTENING:
            _limit_memory(config.supervision.memory_mb)
        service: Service = make(config, **said)
        return service

    return run(begin, stop or stop_event())


def use_all_handles() -> None:
    """Allow this process, and what it starts, as many open files and sockets as there may be."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.suppress(OSError, ValueError):  # macOS says more than it allows
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _limit_memory(most_mb: float) -> None:
    """End this process when it takes more, before the machine would be next.

    At once, since closing takes time in which it goes on growing: what was acknowledged is on disk.
    """

    def watch() -> None:
        this, taken = psutil.Process(), 0
        while taken <= most_mb * 2**20:
            time.sleep(_LOOK_S)
            with contextlib.suppress(psutil.Error, OSError):  # without handles for a moment, say
                taken = this.memory_info().rss
        logger.error("takes more than %g MB (supervision.memory_mb); ending", most_mb)
        os._exit(1)

    threading.Thread(target=watch, name="memory", daemon=True).start()


def _watch_lifeline(stop: threading.Event) -> None:
    while True:
        time.sleep(_LOOK_S)
        try:
            heard = _heard()
        except Exception as error:  # a watch that ends would let this process outlive its run
            logger.warning("the lifeline cannot be looked at: %s", error)
            continue
        if heard is None:
            logger.warning("the supervising process has let go; stopping")
            stop.set()
            return
        if heard:
            stop.set()
