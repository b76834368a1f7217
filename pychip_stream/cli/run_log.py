"""Run log: what the services of a run wrote, in a file beside the archive."""

import threading
from pathlib import Path

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
