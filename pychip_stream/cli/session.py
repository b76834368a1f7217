"""Session: a supervised run in this terminal, with one live status line."""

import json
import threading
import time
from collections.abc import Callable

from rich.live import Live
from rich.text import Text

from pychip_stream import lifecycle, logs
from pychip_stream.archive.reader import open_run
from pychip_stream.cli.monitor import Monitor
from pychip_stream.cli.output import console, say
from pychip_stream.cli.summary import failed_frames
from pychip_stream.cli.supervisor import Supervisor
from pychip_stream.config import Config

_LINE_EVERY_S = 2.0


class Session:
    """Starts the services of a configuration and follows them until told to stop.

    Parameters
    ----------
    log_format
        "text": one console with the service's name before each line. "json": one JSON object
        a line, the status line included.
    """

    def __init__(self, config: Config, log_format: logs.LogFormat = "text") -> None:
        self._json_logs = log_format == "json"
        logs.configure("run", style=log_format)
        self.stop = lifecycle.stop_event()
        self.supervisor = Supervisor(config, self._service_line, log_format)
        self.config = self.supervisor.config
        self.monitor = Monitor(self.config)
        self._print_lock = threading.Lock()
        self._printed = ("", 0.0)

    @property
    def address(self) -> str:
        """Address of the dashboard."""
        return f"http://{self.config.dashboard.address}:{self.config.dashboard.port}/"

    def run(self, step: Callable[[Monitor], bool] | None = None) -> None:
        """Supervise until Ctrl-C, or until `step` returns True; then stop in order.

        Raises
        ------
        PychipError
            If a service cannot live.
        """
        live = console.is_terminal and not self._json_logs
        try:
            self.supervisor.start()
            with Live(console=console, refresh_per_second=4, transient=False) as display:
                while not self.stop.is_set():
                    self.supervisor.step()
                    self.monitor.listen(0.1)
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
            self.supervisor.stop()
            self.monitor.close()

    def summary(self) -> dict[str, object]:
        """Return what the closed archive holds: {"run", "frames", "failed"}."""
        path = self.config.run_path
        if not path.exists():
            return {"run": None, "frames": 0, "failed": []}
        with open_run(path) as run:
            return {"run": str(path), "frames": len(run), "failed": failed_frames(run)}

    def _service_line(self, name: str, line: str) -> None:
        with self._print_lock:
            if self._json_logs and not line.startswith("{"):
                line = json.dumps({"service": name, "message": line})
            say(line if self._json_logs else f"{name:<10} {line}")

    def _print_changed(self, line: str, *, force: bool = False) -> None:
        text, at = self._printed
        if line == text or (not force and time.monotonic() - at < _LINE_EVERY_S):
            return
        self._printed = (line, time.monotonic())
        self._service_line("run", line)
