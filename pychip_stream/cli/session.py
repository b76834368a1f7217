"""Session: a supervised run in this terminal, with one live status line."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.live import Live
from rich.text import Text

from pychip_stream import logs, process
from pychip_stream.cli.output import console, failed_frames, say
from pychip_stream.config import Config
from pychip_stream.errors import ArchiveError, PychipError
from pychip_stream.operation.health import Monitor
from pychip_stream.operation.supervisor import Supervisor

_LINE_EVERY_S = 2.0


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

    def summary(self) -> dict[str, object]:
        """Return what the archive holds now: {"run", "frames", "failed", "behind"}.

        "run" is the file, or the folder of the segments that are not merged into one; None where
        there is nothing. "error" says what is wrong with it, if anything is.
        """
        found: dict[str, object] = {
            "run": None, "frames": 0, "failed": [], "behind": int(self.monitor.counter("behind"))
        }  # fmt: skip
        if "archiver" not in (self.config.machine.services or ("archiver",)):
            return found  # it is on another machine
        from pychip_stream.archive.files import RunPlaces
        from pychip_stream.archive.run import open_run

        places, archived = RunPlaces.of(self.config.run_path), int(self.monitor.counter("archived"))
        path = places.closed if places.closed.exists() else places.segments
        try:
            with open_run(path) as run:
                count, failed = len(run), failed_frames(run)
        except ArchiveError as error:
            return {**found, "error": str(error)} if archived else found
        # The watcher's last word may be older than the archive's.
        found["behind"] = max(int(self.monitor.counter("seen")) - count, 0)
        if count:
            found |= {"run": str(path), "frames": count, "failed": failed}
        if count < archived:
            found["error"] = (
                f"{path}: holds {count} of {archived} frames that were archived; start the run "
                "again, and those whose files are still there are analysed anew"
            )
        return found

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
