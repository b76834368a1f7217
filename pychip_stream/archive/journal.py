"""Journal: a file of lines that is only ever appended to, beside the segments of a live run.

A line that was cut short is for its reader to ignore.
"""

import os
from pathlib import Path

from pychip_stream.archive.disk import Disk


def append_line(path: Path, line: bytes, disk: Disk) -> None:
    """Write a line, which is on disk when this returns."""
    new = not path.exists()
    # A line break first ends a line that an earlier attempt left unfinished.
    data = memoryview(line + b"\n" if new else b"\n" + line + b"\n")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _BINARY, 0o644)
    try:
        while data:
            data = data[disk.write_some(descriptor, data) :]
        disk.sync(descriptor)
    finally:
        os.close(descriptor)
    if new:
        disk.sync_folder(path.parent)


_BINARY = getattr(os, "O_BINARY", 0)
