"""Supervisor: starts the services of a run, restarts what dies, stops them in order."""

import contextlib
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pychip_stream.config import Config
from pychip_stream.errors import PychipError
from pychip_stream.operation.health import RunHealth
from pychip_stream.operation.running import Claim, Say, resolved_path, services
from pychip_stream.process import LIFELINE_VARIABLE, UNEXPECTED
from pychip_stream.threads import SETTINGS

_MOST_BYTES = 2_000_000
_LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")


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
_BUSY = ("starting", "stopping")
"""States that may last for as long as they take."""
_LOOK_S = 1.0
"""Looks at the services that are further apart than this were not looks: nobody hangs for longer
than somebody has watched."""
_LAST_LINES = 30
_FIRST_PAUSE_S = 0.2
_STABLE_S = 30.0
_STOP_S = 4.0
_MERGE_S = 1800.0
_TELL_S, _LONGEST_TELL_S = 2.0, 60.0
_POLL_S = 0.02
_ASKED = (-signal.SIGTERM, 0xC000013A)
"""Ends of what was asked to stop before it could listen; the second is that of Ctrl-Break."""


@dataclass
class Child:
    """One supervised process.

    Attributes
    ----------
    instance
        By which it says how it is; empty if it never does.
    hangs_s
        For how long it has been seen hanging or silent.
    last, said
        The newest lines that it wrote, and when, on the clock of `time.monotonic`.
    """

    name: str
    command: Sequence[str]
    instance: str = ""
    keep_alive: bool = True
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    start_at: float = 0.0
    exit_code: int | None = None
    hangs_s: float = 0.0
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES), repr=False)
    said: float = 0.0
    pump: threading.Thread | None = field(default=None, repr=False)

    @property
    def rank(self) -> str:
        """Its place in the order of stopping; empty for what is not part of it."""
        name = self.name.partition("-")[0]
        return name if name in STOP_ORDER else ""

    def last_words(self) -> str:
        """Return its last error, or else its last line."""
        if self.pump is not None:
            self.pump.join(1.0)  # so that what is in the pipe is heard
        told = [_read_line(line) for line in self.last if line.strip()]
        errors = [text for level, text in told if level in ("error", "critical")]
        if errors and errors[-1] != UNEXPECTED:
            return errors[-1]
        others = [text for level, text in told if not level]
        return (others or errors or ["it said nothing"])[-1]


class Supervisor:
    """The processes of one run.

    Parameters
    ----------
    config
        Ports that are 0 are chosen here; the services read a resolved copy of the
        configuration that lies beside the archive.
    say
        Where the services' lines go.
    source
        File of the configuration.
    """

    def __init__(
        self, config: Config, say: Say, log_format: str = "text", source: Path | None = None
    ) -> None:
        self._supervision = config.supervision
        self._progress = 0.0
        self._looked = time.monotonic()
        self._environment = _environment(config.inference.workers)
        self._say = say
        self._claim = Claim(config, say, source)
        self.config = self._claim.config
        resolved = resolved_path(self.config)
        self._log = RunLog(config.archive.folder / f"{config.archive.name}.log")
        self.children = [
            Child(one.name, (*one.command, str(resolved), "--log-format", log_format), one.instance)
            for one in services(self.config)
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

    def step(self, progress: float = 0.0, health: RunHealth | None = None) -> None:
        """Restart what has died and is due, and what hangs.

        Parameters
        ----------
        progress
            Frames archived so far; a run that gets on is not given up.
        health
            What the services say of themselves.

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
        if health is not None:
            self._end_hanging(health, now)

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
            group = [child for child in self.children if child.rank == rank]
            for child in group:
                self._ask_to_stop(child)
            deadline = time.monotonic() + _STOP_S
            for child in group:
                killed = rank == "archiver" and self._await_merge(child, hurry or threading.Event())
                wrong += self._await_end(child, deadline, killed=killed)
        self._claim.release()
        return wrong

    def _start(self, child: Child) -> None:
        flags = 0
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP
        try:
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
        except OSError as error:  # no handles, no memory: that may pass
            self._tell(f"{child.name} cannot be started now ({error}); trying again")
            child.start_at = time.monotonic() + _LOOK_S
            return
        child.started, child.hangs_s = time.monotonic(), 0.0
        child.last.clear()
        child.pump = threading.Thread(target=self._pump, args=(child,), daemon=True)
        child.pump.start()

    def _pump(self, child: Child) -> None:
        stream = child.process.stderr if child.process else None
        if stream is None:
            return
        with stream:
            for line in stream:
                text = line.decode(errors="replace").rstrip()
                child.last.append(text)
                child.said = time.monotonic()
                self._log.write(child.name, text)
                with contextlib.suppress(OSError):  # a console that is gone, or on a full disk
                    self._say(child.name, text)

    def _end_hanging(self, health: RunHealth, now: float) -> None:
        """Kill what hangs or is silent beyond the patience, so that it is started again."""
        passed, self._looked = min(now - self._looked, _LOOK_S), now
        patience_s = self._supervision.patience_s
        for child in self.children:
            if child.process is None or not self._hangs(child, health):
                child.hangs_s = 0.0
                continue
            child.hangs_s += passed
            if child.hangs_s > patience_s:
                self._tell(f"{child.name} hangs or is silent for {patience_s:g} s; killing it")
                child.process.kill()
                child.hangs_s = 0.0

    def _hangs(self, child: Child, health: RunHealth) -> bool:
        """Whether a service that was well in this life of its process is so no more."""
        status, heard = health.statuses.get(child.instance), health.heard.get(child.instance, 0.0)
        if status is None or heard < child.started or status.state in _BUSY:
            return False  # it starts, or does what takes as long as it takes
        if child.instance != "hub" and health.silent("hub"):
            return False  # nobody can be heard
        return health.state(child.instance) == "stalled"

    def _tell(self, line: str) -> None:
        logger.warning("%s", line)
        self._log.write("run", line)

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
                f"{child.name} cannot run ({_end(code)}, {child.failures} in a row): "
                f"{child.last_words()}"
            )
        longest = self._supervision.longest_pause_s
        pause = longest if hopeless else min(_FIRST_PAUSE_S * 2 ** (child.failures - 1), longest)
        child.start_at = now + pause
        self._tell(f"{child.name} ended with {_end(code)}; starting it again in {pause:g} s")

    def _ask_to_stop(self, child: Child) -> None:
        child.keep_alive = False
        if child.process is None or child.process.poll() is not None:
            return
        with contextlib.suppress(OSError):  # it has just ended
            _interrupt(child.process)

    def _spared(self, child: Child) -> bool:
        """Whether the run goes on without a service that cannot live."""
        return child.name in _SPARED and any(c.name not in _SPARED for c in self.children)

    def _await_merge(self, child: Child, hurry: threading.Event) -> bool:
        """Wait for the archiver for as long as it takes, saying so; whether `hurry` killed it.

        One that waits for the disk says that now and then.
        """
        if child.process is None:
            return False
        start = child.said = time.monotonic()
        pause_s, tell_at = _TELL_S, start + _TELL_S
        while child.process.poll() is None and not hurry.wait(_POLL_S):
            now = time.monotonic()
            if now - child.said > _MERGE_S:
                break
            if now >= tell_at:
                self._say(
                    "run",
                    f"waiting for {now - start:.0f} s until the run is merged into one file; all "
                    "its frames are on disk, stopping again leaves them as they are",
                )
                pause_s = min(2 * pause_s, _LONGEST_TELL_S)
                tell_at = now + pause_s
        if child.process.poll() is not None:
            return False
        child.process.kill()
        child.process.wait()
        self._say("run", "not merged; the run can be read, and continued, as it is")
        return True

    def _await_end(self, child: Child, deadline: float, *, killed: bool) -> list[str]:
        process = child.process
        if process is None:
            return []
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
        if code in (0, *_ASKED) or killed or self._spared(child):
            return []
        return [f"{child.name} ended with {_end(code)} while stopping: {child.last_words()}"]


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    if sys.platform == "win32":  # a signal may need a console
        _ask_by_lifeline(process)
    else:
        process.terminate()


def _ask_by_lifeline(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.write(b"stop\n")
        process.stdin.flush()


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
        "PYTHONSAFEPATH": "1",  # for what the services start
        "PYTHONIOENCODING": "utf-8:backslashreplace",
    }


def _end(code: int) -> str:
    """Say how a process ended."""
    with contextlib.suppress(ValueError):
        if code < 0:
            return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _read_line(line: str) -> tuple[str, str]:
    """Level and message of a line of a log; what is no record has no level."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
            message = entry.get("trace", "").rpartition("\n")[2] or entry["message"]
            return str(entry["level"]), str(message)
        except (ValueError, KeyError, TypeError, AttributeError):
            return "", line
    if found := _LINE.match(line):
        return found[1].lower(), line[found.end() :]
    return "", line.strip()
