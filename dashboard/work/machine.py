"""Machine: disk, memory, processor, GPU and the run's log, looked at on a thread."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psutil

LOG_LINES = 300
_TAIL_BYTES = 64_000
_GPU_QUERY = "name,utilization.gpu,memory.used,memory.total,temperature.gpu"
_GPU_S = 5.0
_CPU_S = 0.2


@dataclass(frozen=True, slots=True)
class Machine:
    """How the machine of the dashboard is.

    Attributes
    ----------
    disk_free, disk_total
        Bytes of the disk with the archive folder; None where it is out of reach.
    archive_bytes
        Of the archive folder's files.
    gpus
        What each NVIDIA card is and does.
    log
        Last lines of the run's log.
    """

    disk_free: int | None
    disk_total: int | None
    archive_bytes: int
    cpu_percent: float
    memory_percent: float
    gpus: tuple[str, ...]
    log: tuple[str, ...]


def look(folder: Path, log: Path) -> Machine:
    """Look at the machine, the folder of the archives and the log of the run."""
    free, total = _disk(folder)
    return Machine(
        free,
        total,
        _bytes(folder),
        psutil.cpu_percent(_CPU_S),  # without a time the first answer is 0
        psutil.virtual_memory().percent,
        gpus(),
        tail(log),
    )


def tail(path: Path, lines: int = LOG_LINES) -> tuple[str, ...]:
    """Last lines of a text file; none where there is no such file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            start = max(size - _TAIL_BYTES, 0)
            file.seek(start)
            data = file.read()
    except OSError:
        return ()
    found = data.decode("utf-8", "replace").splitlines()
    if start:
        found = found[1:]  # its beginning is cut off
    return tuple(found[-lines:])


def gpus() -> tuple[str, ...]:
    """Say what each NVIDIA card does, as the driver's own tool reports it; none without it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    command = [tool, f"--query-gpu={_GPU_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GPU_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> tuple[str, ...]:
    """Read what the driver's tool printed, a card a line; memory in MiB, temperature in °C."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return tuple(
        f"{row[0]}: {row[1]} % busy, {row[2]} of {row[3]} MiB, {row[4]} °C"
        for row in rows
        if len(row) == 5
    )


def _disk(folder: Path) -> tuple[int | None, int | None]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None, None
    return usage.free, usage.total


def _bytes(folder: Path) -> int:
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            try:
                total += Path(directory, name).stat().st_size
            except OSError:
                continue
    return total
