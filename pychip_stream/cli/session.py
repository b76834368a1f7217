"""Session: a supervised run in this terminal, with one live status line."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.text import Text

from pychip_stream import logs, process
from pychip_stream.cli.output import console, run_holds, say
from pychip_stream.config import Config
from pychip_stream.errors import PychipError
from pychip_stream.operation.monitor import Monitor
from pychip_stream.operation.running import module, resolved_path
from pychip_stream.operation.supervisor import Supervisor

_LINE_EVERY_S = 2.0
_LOOK_S = 0.2


class Session:
    """Starts the services of a configuration and follows them until told to stop.

    Parameters
    ----------
    log_format
        "text": one console with the service's name before each line. "json": one JSON object
        a line, the status line included.
    source
        File of the configuration.
    """

    def __init__(
        self, config: Config, log_format: logs.LogFormat = "text", source: Path | None = None
    ) -> None:
        self._log_format = log_format
        self._json_logs = log_format == "json"
        logs.configure("run", style=log_format)
        logs.set_run(config.archive.name)
        process.use_all_handles()
        self.stop = process.stop_event()
        self.config = config
        self._print_lock = threading.Lock()
        self._printed = ("", 0.0)
        self.supervisor = Supervisor(config, self._service_line, log_format, source)
        self.config = self.supervisor.config
        self.monitor = Monitor(self.config)

    @property
    def address(self) -> str:
        """Address of the dashboard."""
        return f"http://{self.config.dashboard.address}:{self.config.dashboard.port}/"

    def run(self, step: Callable[[Monitor], bool] | None = None) -> None:
        """Supervise until Ctrl-C, or until `step` returns True; then stop in order."""
        live, told = console.is_terminal and not self._json_logs, False
        try:
            self.supervisor.start()
            with Live(console=console, refresh_per_second=4, transient=False) as display:
                while not self.stop.is_set():
                    self.monitor.listen(0.1)
                    self.supervisor.step(self.monitor.counter("archived"), self.monitor)
                    told = told or self._tell_page()
                    line = self.monitor.line()
                    if live:
                        display.update(Text(line))
                    else:
                        self._print_changed(line)
                    if step is not None and step(self.monitor):
                        break
                if not live:
                    self._print_changed(self.monitor.line(), force=True)
        finally:
            self.stop.clear()  # a second signal means: hurry
            wrong = self.supervisor.stop(self.stop)
            self.monitor.close()
        if wrong:
            raise PychipError("; ".join(wrong))

    def review(self) -> None:
        """Keep the page of the run that has ended for review, where it was, until Ctrl-C."""
        if self.stop.is_set() or not self.config.dashboard.enabled:
            return
        folder, resolved = self.config.archive.folder, resolved_path(self.config)
        words = (str(folder), "--config", str(resolved), "--log-format", self._log_format)
        child = self.supervisor.add("review", (*module("dashboard.review"), *words))
        while child.process is not None and child.process.poll() is None:
            if self.stop.wait(_LOOK_S):
                break
        if wrong := self.supervisor.stop():
            raise PychipError("; ".join(wrong))

    def summary(self) -> dict[str, Any]:
        """Return what the archive holds now; see `output.run_holds`. "behind" is what is left."""
        found = run_holds(self.config, int(self.monitor.counter("archived")))
        behind = int(self.monitor.counter("behind"))
        if found["run"] is not None:  # the watcher's last word may be older than the archive's
            behind = max(int(self.monitor.counter("seen")) - found["frames"], 0)
        return {**found, "behind": behind}

    def _tell_page(self) -> bool:
        """Once every service has started, end the start with the page's address alone."""
        services = [child for child in self.supervisor.children if child.keep_alive]
        if self.monitor.state("dashboard") != "running":
            return not any(child.name == "dashboard" for child in services)
        heard = self.monitor.statuses.values()
        if len(heard) < len(services) or any(one.state == "starting" for one in heard):
            return False
        say(json.dumps(self._entry("run", self.address)) if self._json_logs else self.address)
        return True

    def _service_line(self, name: str, line: str) -> None:
        with self._print_lock:
            if self._json_logs and not line.startswith("{"):
                line = json.dumps(self._entry(name, line), ensure_ascii=False)
            with contextlib.suppress(OSError):  # a terminal that is gone, or on a full disk
                say(line if self._json_logs else f"{name:<10} {line}")

    def _entry(self, name: str, line: str) -> dict[str, object]:
        """Dress a line that is no record (a crash's last words, the status line)."""
        run = self.config.archive.name
        return {
            "time": round(time.time(), 3),
            "level": "info" if name == "run" else "error",
            "service": name,
            "run": run,
            "frame": None,
            "message": line,
        }

    def _print_changed(self, line: str, *, force: bool = False) -> None:
        text, at = self._printed
        if line == text or (not force and time.monotonic() - at < _LINE_EVERY_S):
            return
        self._printed = (line, time.monotonic())
        self._service_line("run", line)
