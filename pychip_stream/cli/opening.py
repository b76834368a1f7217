"""Opening: files that a command is given are read, or looked through, in a process of their own."""

import atexit
import functools
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run
    from pychip_stream.domain.frames import Frame
    from pychip_stream.domain.support import SupportSet
    from pychip_stream.guard import Guard


def open_frame(path: Path, index: int) -> "Frame":
    """Read a frame of a file, or of the first file in a folder or anywhere below it."""
    from pychip_stream.formats.reading import GuardedReader

    with GuardedReader() as reader:
        reader.start()
        if path.is_dir():
            from pychip_stream.analysis.classification import Batch  # loads torch

            path = Batch.of([path]).paths[0]
        return reader.read_frame(path, index)


def open_run(path: Path, *, everything: bool = False) -> "Run":
    """Open a run when all its files have been looked through, as `archive.run.open_run` does."""
    look_through_run(path)
    from pychip_stream.archive.run import open_run

    return open_run(path, everything=everything)


def look_through_run(path: Path) -> None:
    """Refuse a run over whose files HDF5 hangs, crashes or takes all memory (ArchiveError)."""
    guard = _guard()
    from pychip_stream.archive import probe

    for file in probe.files_of_run(path):
        probe.check(file, guard)


def read_support(path: Path) -> "tuple[SupportSet, bytes]":
    """Read a support set that has been looked through, and its file."""
    guard = _guard()
    from pychip_stream.archive import probe
    from pychip_stream.archive.support_sets import read_file, support_from_bytes

    probe.check(path, guard)
    data = read_file(path)
    return support_from_bytes(data, str(path)), data


def load_support(path: Path) -> "SupportSet":
    """Read a support set that has been looked through."""
    return read_support(path)[0]


@functools.cache
def _guard() -> "Guard":
    """Make what looks; its process starts while this one goes on loading."""
    from pychip_stream.guard import Guard

    guard = Guard(("pychip_stream.archive.probe",))
    guard.start()
    atexit.register(guard.close)
    return guard
