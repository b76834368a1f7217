"""Supervisor: starts the services of a run, restarts what dies, stops them in order."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pychip_stream.config import Config
from pychip_stream.errors import PychipError
from pychip_stream.operation.running import Say, claim, resolved_path
from pychip_stream.process import LIFELINE_VARIABLE
from pychip_stream.threads import SETTINGS

_MOST_BYTES = 2_000_000


class RunLog:
    """A text file that takes one line at a time and keeps the newest few megabytes.

    It is open only while it is written, so that readers never stand in its way; a disk that is
    full or gone costs lines, never the run.

    Parameters
    ----------
    path
        The file; what is older moves to PATH.1.
    most_bytes
        When to move it.
    """

    def __init__(self, path: Path, most_bytes: int = _MOST_BYTES) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._lock = threading.Lock()

    def write(self, service: str, line: str) -> None:
        """Add a line of a service."""
        data = f"{service:<10} {line}\n".encode(errors="replace")
        with self._lock:
            try:
                with self.path.open("ab") as file:
                    file.write(data)
                    full = file.tell() > self._most_bytes
                if full:
                    # Windows refuses while somebody reads; then the next line tries again.
                    self.path.replace(self.path.with_name(f"{self.path.name}.1"))
            except OSError:
                return


logger = logging.getLogger(__name__)

STOP_ORDER = ("microscope", "watcher", "inference", "archiver", "dashboard", "sentinel", "hub")
_SPARED = ("dashboard", "sentinel")
"""Frames are archived without them, so they never end a run."""
_FIRST_PAUSE_S = 0.2
_STABLE_S = 30.0
_STOP_S = 4.0
_MERGE_S = 1800.0
_TELL_S = 2.0
_POLL_S = 0.02


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
        self._supervision = config.supervision
        self._progress = 0.0
        self._environment = _environment(config.inference.workers)
        self._say = say
        self._lock, self.config = claim(config, say)
        resolved = resolved_path(self.config)
        self._log = RunLog(config.archive.folder / f"{config.archive.name}.log")
        self.children = [
            Child(name, (*program, str(resolved), "--log-format", log_format))
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
        self._lock.release()
        return wrong

    def _start(self, child: Child) -> None:
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        child.process = subprocess.Popen(
            child.command,
            stdin=subprocess.PIPE,  # its lifeline
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
        _let_go(child)
        if not child.keep_alive:
            return
        if now - child.started > _STABLE_S:
            child.failures = 0
        child.failures += 1
        hopeless = code == 2 or child.failures >= self._supervision.give_up_after
        if hopeless and not self._spared(child):
            raise PychipError(
                f"{child.name} cannot run (exit code {code}, {child.failures} in a row); "
                "its last lines above say why"
            )
        longest = self._supervision.longest_pause_s
        pause = longest if hopeless else min(_FIRST_PAUSE_S * 2 ** (child.failures - 1), longest)
        child.start_at = now + pause
        logger.warning("%s ended with %s; starting it again in %g s", child.name, code, pause)
        self._log.write("run", f"{child.name} ended with {code}; starting it again in {pause:g} s")

    def _ask_to_stop(self, child: Child) -> None:
        child.keep_alive = False
        if child.process is None or child.process.poll() is not None:
            return
        with contextlib.suppress(OSError):  # Windows without a console: the lifeline has to do
            _interrupt(child.process)
        if child.process.stdin is not None:
            child.process.stdin.close()

    def _spared(self, child: Child) -> bool:
        """Whether the run goes on without a service that cannot live."""
        return child.name in _SPARED and any(c.name not in _SPARED for c in self.children)

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
        _let_go(child)
        if code > 0 and not killed:
            return [f"{child.name} ended with {code} while stopping; its last lines say why"]
        return []


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":
        process.send_signal(signal.CTRL_BREAK_EVENT)
    else:
        process.terminate()


def _let_go(child: Child) -> None:
    if child.process is not None and child.process.stdin is not None:
        child.process.stdin.close()
    child.process = None


def _environment(workers: int) -> dict[str, str]:
    """Environment of the services; what the user has set stays."""
    share = max((os.cpu_count() or 1) // workers, 1)
    return {
        **SETTINGS,
        **({"OMP_NUM_THREADS": str(share)} if workers > 1 else {}),
        **os.environ,
        LIFELINE_VARIABLE: "stdin",
        "PYTHONIOENCODING": "utf-8:backslashreplace",
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
