"""Opening: files that a command is given are read, or looked through, in a process of their own."""

import atexit
import functools
import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pychip_stream.cli.options import matching
from pychip_stream.errors import ArchiveError, UsageError

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run
    from pychip_stream.domain.frames import Frame
    from pychip_stream.domain.support import SupportSet
    from pychip_stream.guard import Guard


def open_frame(path: Path, index: int) -> "Frame":
    """Read a frame of a file, or of the first file in a folder or anywhere below it."""
    from pychip_stream.formats.guarded import GuardedReader

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


def runs_at(paths: Sequence[Path]) -> list[tuple[Path, str]]:
    """Find the runs that are meant by archives, folders of archives, and patterns.

    Support sets that lie among them are left out.

    Returns
    -------
    Each once, with the reason why it cannot be opened where there is one.

    Raises
    ------
    UsageError
        If a folder holds no run, or nothing fits a pattern.
    """
    from pychip_stream.archive.files import RunPlaces
    from pychip_stream.archive.listing import is_support_set, run_stamps

    found: dict[Path, str] = {}
    for given in paths:
        among: list[Path] = []
        for path in [given] if names_one_run(given) else matching([given]):
            among += [RunPlaces.of(path).closed] if names_one_run(path) else run_stamps(path)
        for path in among:
            try:
                look_through_run(path)
            except ArchiveError as error:
                found.setdefault(path, str(error))
            else:
                if not is_support_set(path):
                    found.setdefault(path, "")
        if not found.keys() & {*among}:
            raise UsageError(f"{given}: holds no run archive")
    return list(found.items())


def names_one_run(path: Path) -> bool:
    """Whether this is neither a folder of archives nor a pattern."""
    from pychip_stream.archive.probe import files_of_run

    return any(files_of_run(path)) or not (path.is_dir() or glob.has_magic(str(path)))


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
