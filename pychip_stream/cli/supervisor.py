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
from pychip_stream import lifecycle, threads
from pychip_stream.cli.run_log import RunLog
from pychip_stream.config import PORTS, Config
from pychip_stream.errors import ConfigError, PychipError

logger = logging.getLogger(__name__)

STOP_ORDER = ("microscope", "watcher", "inference", "archiver", "dashboard", "sentinel", "hub")
_FIRST_PAUSE_S = 0.2
_STABLE_S = 30.0
_STOP_S = 4.0
_MERGE_S = 1800.0
_TELL_S = 2.0
_POLL_S = 0.02

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
        self._supervision = config.supervision
        self._progress = 0.0
        self._environment = _environment(config.inference.workers)
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
            Child(name, (*program, str(self._resolved), "--log-format", log_format))
            for name, program in _programs(self.config)
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

    def step(self, progress: float = 0.0) -> None:
        """Restart what has died and is due.

        Parameters
        ----------
        progress
            Frames archived so far; a run that gets on is not given up.

        Raises
        ------
        PychipError
            If a service cannot live: it refused its configuration or died again and again.
        """
        now = time.monotonic()
        if progress > self._progress:
            self._progress = progress
            for child in self.children:
                child.failures = 0
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                self._bury(child, now)
            if child.process is None and child.keep_alive and now >= child.start_at:
                self._start(child)

    def stop(self, hurry: threading.Event | None = None) -> list[str]:
        """Stop in order, so that what is in flight is finished; kill what does not end.

        The archiver may take its time to merge a long run; everything is on disk before that.

        Parameters
        ----------
        hurry
            When it is set, the archiver is not waited for any longer.

        Returns
        -------
        What went wrong, one line each.
        """
        wrong = []
        for rank in ("", *STOP_ORDER):
            group = [c for c in self.children if _rank(c) == rank]
            for child in group:
                self._ask_to_stop(child)
            deadline = time.monotonic() + _STOP_S
            for child in group:
                if rank == "archiver":
                    self._await_merge(child, hurry or threading.Event())
                wrong += self._await_end(child, deadline)
        return wrong

    def _start(self, child: Child) -> None:
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
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
        if code == 2 or child.failures >= self._supervision.give_up_after:
            raise PychipError(
                f"{child.name} cannot run (exit code {code}, {child.failures} in a row); "
                "its last lines above say why"
            )
        pause = min(_FIRST_PAUSE_S * 2 ** (child.failures - 1), self._supervision.longest_pause_s)
        child.start_at = now + pause
        logger.warning("%s ended with %s; starting it again in %g s", child.name, code, pause)
        self._log.write("run", f"{child.name} ended with {code}; starting it again in {pause:g} s")

    def _ask_to_stop(self, child: Child) -> None:
        child.keep_alive = False
        if child.process is None or child.process.poll() is not None:
            return
        if sys.platform == "win32":
            child.process.send_signal(signal.CTRL_BREAK_EVENT)
        else:
            child.process.terminate()

    def _await_merge(self, child: Child, hurry: threading.Event) -> None:
        """Wait for the archiver for as long as it takes, saying so, or until `hurry`."""
        if child.process is None:
            return
        start = time.monotonic()
        tell_at, end = start + _TELL_S, start + _MERGE_S
        while child.process.poll() is None and not hurry.is_set() and time.monotonic() < end:
            hurry.wait(_POLL_S)
            if time.monotonic() >= tell_at:
                tell_at = time.monotonic() + _TELL_S
                self._say(
                    "run",
                    f"merging the run into one file for {time.monotonic() - start:.0f} s; all its "
                    "frames are on disk, stopping again leaves them as they are",
                )
        if child.process.poll() is None:
            child.process.kill()
            child.process.wait()
            self._say("run", "not merged; the run can be read, and continued, as it is")

    def _await_end(self, child: Child, deadline: float) -> list[str]:
        process = child.process
        if process is None:
            return []
        killed = False
        try:
            process.wait(max(deadline - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            logger.warning("%s does not stop; killing it", child.name)
            process.kill()
            process.wait()
            killed = True
        code = child.exit_code = process.returncode
        if child.pump is not None:
            child.pump.join(1.0)
        child.process = None
        if code > 0 and not killed:
            return [f"{child.name} ended with {code} while stopping; its last lines say why"]
        return []


def _environment(workers: int) -> dict[str, str]:
    """Environment of the services; what the user has set stays."""
    share = max((os.cpu_count() or 1) // workers, 1)
    return {
        **threads.SETTINGS,
        **({"OMP_NUM_THREADS": str(share)} if workers > 1 else {}),
        **os.environ,
        lifecycle.PARENT_VARIABLE: lifecycle.parent_token(),
    }


def _rank(child: Child) -> str:
    name = child.name.split("-")[0]
    return name if name in STOP_ORDER else ""


def _programs(config: Config) -> list[tuple[str, tuple[str, ...]]]:
    """Name and command of every service of this machine, in the order of starting."""
    programs = [(name, module(f"services.{name}")) for name in ("hub", "archiver")]
    workers = config.inference.workers
    programs += [
        (
            "inference" if workers == 1 else f"inference-{i + 1}",
            (*module("services.inference"), "--instance", config.machine.instance(i)),
        )
        for i in range(workers)
    ]
    programs.append(("watcher", module("services.watcher")))
    programs.append(("sentinel", module("services.sentinel")))
    programs.append(("dashboard", module("dashboard.app")))
    return [(name, command) for name, command in programs if _wanted(config, name.split("-")[0])]


def _wanted(config: Config, service: str) -> bool:
    if service == "sentinel" and not (config.alerts.rules or config.health.prometheus is not None):
        return False
    if service == "dashboard" and not config.dashboard.enabled:
        return False
    return config.machine.services is None or service in config.machine.services


def module(name: str) -> tuple[str, ...]:
    """Command that runs a module of this package; one of that name where it runs is no matter."""
    return (sys.executable, "-P", "-m", f"pychip_stream.{name}")


def _with_ports(config: Config) -> Config:
    """Choose a free port for everything that has none."""
    open_ports = [name for name in PORTS if not getattr(config.wire, name)]
    if config.machine.services is not None and open_ports:
        raise ConfigError(
            "machine.services",
            [f"wire.{name}: give a port, the same on every machine" for name in open_ports],
        )
    held: list[socket.socket] = []

    def free(host: str) -> int:
        held.append(socket.socket())
        held[-1].bind((host, 0))
        return int(held[-1].getsockname()[1])

    wire, dashboard = config.wire, config.dashboard
    try:
        ports: dict[str, int] = {
            name: getattr(wire, name) or free(wire.host_of(name)) for name in PORTS
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
