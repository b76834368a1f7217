"""Supervisor: starts the services of a run, restarts what dies, stops them in order."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pychip_stream import config as configuration
from pychip_stream import lifecycle
from pychip_stream.cli.run_log import RunLog
from pychip_stream.config import Config
from pychip_stream.errors import PychipError

logger = logging.getLogger(__name__)

STOP_ORDER = ("microscope", "watcher", "inference", "archiver", "dashboard", "hub")
_BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_STABLE_S = 30.0
_GIVE_UP_AFTER = 8
_STOP_S = 4.0
_MERGE_S = 120.0

Say = Callable[[str, str], None]
"""Takes a service's name and one line that it wrote."""


@dataclass
class Child:
    """One supervised process."""

    name: str
    command: Sequence[str]
    keep_alive: bool = True
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0
    exit_code: int | None = None
    pump: threading.Thread | None = field(default=None, repr=False)


class Supervisor:
    """The processes of one run.

    Parameters
    ----------
    config
        Ports that are 0 are chosen here; the services read a resolved copy of the
        configuration that lies beside the archive.
    say
        Where the services' lines go.
    """

    def __init__(self, config: Config, say: Say, log_format: str = "text") -> None:
        self.config = _with_ports(config)
        self._say = say
        folder = self.config.archive.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._resolved = folder / f"{self.config.archive.name}.resolved.yaml"
            self._resolved.write_text(configuration.dump(self.config), encoding="utf-8")
        except OSError as error:
            raise PychipError(
                f"{folder}: cannot be written ({error.strerror}); choose another archive.folder"
            ) from error
        self._log = RunLog(folder / f"{self.config.archive.name}.log")
        self.children = [
            Child(name, (*module, str(self._resolved), "--log-format", log_format))
            for name, module in _programs(self.config)
        ]

    def add(self, name: str, command: Sequence[str]) -> Child:
        """Start one more process, which is not restarted when it ends."""
        child = Child(name, command, keep_alive=False)
        self.children.append(child)
        self._start(child)
        return child

    def start(self) -> None:
        """Start every service."""
        for child in self.children:
            self._start(child)

    def step(self) -> None:
        """Restart what has died and is due.

        Raises
        ------
        PychipError
            If a service cannot live: it refused its configuration or died again and again.
        """
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, now)
            if child.process is None and child.keep_alive and now >= child.start_at:
                self._start(child)

    def stop(self) -> None:
        """Stop in order, so that what is in flight is finished; kill what does not end."""
        rank = {name: i for i, name in enumerate(STOP_ORDER)}
        for child in sorted(self.children, key=lambda c: rank.get(c.name.split("-")[0], 0)):
            self._stop(child)

    def _start(self, child: Child) -> None:
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, lifecycle.PARENT_VARIABLE: lifecycle.parent_token()},
            # A Ctrl-C in the terminal must reach the supervisor alone, which stops in order.
            start_new_session=sys.platform != "win32",
            creationflags=flags,
        )
        child.started = time.monotonic()
        child.pump = threading.Thread(target=self._pump, args=(child,), daemon=True)
        child.pump.start()

    def _pump(self, child: Child) -> None:
        stream = child.process.stderr if child.process else None
        if stream is None:
            return
        with stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                self._log.write(child.name, text)
                self._say(child.name, text)

    def _bury(self, child: Child, now: float) -> None:
        if child.process is None:
            return
        code = child.exit_code = child.process.wait()
        child.process = None
        if not child.keep_alive:
            return
        if now - child.started > _STABLE_S:
            child.failures = 0
        child.failures += 1
        if code == 2 or child.failures >= _GIVE_UP_AFTER:
            raise PychipError(
                f"{child.name} cannot run (exit code {code}, {child.failures} in a row); "
                "its last lines above say why"
            )
        pause = _BACK_OFF_S[min(child.failures, len(_BACK_OFF_S)) - 1]
        child.start_at = now + pause
        logger.warning("%s ended with %s; starting it again in %g s", child.name, code, pause)
        self._log.write("run", f"{child.name} ended with {code}; starting it again in {pause:g} s")

    def _stop(self, child: Child) -> None:
        child.keep_alive = False
        process = child.process
        if process is None:
            return
        if process.poll() is None:
            if sys.platform == "win32":
                process.send_signal(signal.CTRL_BREAK_EVENT)
            else:
                process.terminate()
        try:
            process.wait(_MERGE_S if child.name == "archiver" else _STOP_S)
        except subprocess.TimeoutExpired:
            logger.warning("%s does not stop; killing it", child.name)
            process.kill()
            process.wait()
        child.exit_code = process.returncode
        if child.pump is not None:
            child.pump.join(1.0)
        child.process = None


def _programs(config: Config) -> list[tuple[str, tuple[str, ...]]]:
    """Name and command of every service, in the order of starting."""
    workers = config.inference.workers
    programs = [("hub", _module("services.hub")), ("archiver", _module("services.archiver"))]
    programs += [
        (
            "inference" if workers == 1 else f"inference-{i + 1}",
            (*_module("services.inference"), "--instance", str(i + 1)),
        )
        for i in range(workers)
    ]
    programs.append(("watcher", _module("services.watcher")))
    if config.dashboard.enabled:
        programs.append(("dashboard", _module("dashboard.app")))
    return programs


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"pychip_stream.{name}")


def _with_ports(config: Config) -> Config:
    """Choose a free port for everything that has none."""
    held: list[socket.socket] = []

    def free(host: str) -> int:
        held.append(socket.socket())
        held[-1].bind((host, 0))
        return int(held[-1].getsockname()[1])

    wire, dashboard = config.wire, config.dashboard
    try:
        ports = {
            name: getattr(wire, name) or free(wire.host)
            for name in ("tasks", "results", "requests", "events")
        }
        page = dashboard.port or free(dashboard.address)
    except OSError as error:
        raise PychipError(f"{wire.host}: no port can be opened ({error.strerror})") from error
    finally:
        for one in held:
            one.close()
    return config.model_copy(
        update={
            "wire": wire.model_copy(update=ports),
            "dashboard": dashboard.model_copy(update={"port": page}),
        }
    )
