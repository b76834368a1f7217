"""Probe: HDF5 files of somebody else, looked through or read where a crash costs little.

It runs in a `guard.Guard`: HDF5's own code can hang, crash or take all memory over a damaged or
crafted file, and the process that then opens the file here must not.
"""

from collections.abc import Iterator
from pathlib import Path

import h5py

from pychip_stream.archive import hdf, support_sets
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import ArchiveError, GuardError, SupportError
from pychip_stream.foreign import check_texts
from pychip_stream.guard import Guard, Limits

_LIMITS = Limits(seconds=30.0, memory=1 << 30)
_SLOWEST = 4 << 20
"""Bytes a second of a share."""
_WHOLE = 8 << 20
_MOST_NODES, _MOST_BYTES = 200_000, 1 << 30
_OF_SET = Limits(seconds=10.0, memory=1 << 30)


def check(path: Path, guard: Guard) -> None:
    """Probe a file in a guard; what only its reader can say of it is left to him.

    Raises
    ------
    ArchiveError
        If reading it hangs, crashes or takes all memory.
    """
    try:
        reading_s = min(path.stat().st_size, _MOST_BYTES) / _SLOWEST if path.exists() else 0.0
        guard.call(_LIMITS._replace(seconds=_LIMITS.seconds + reading_s), probe, path)
    except GuardError as error:
        raise ArchiveError(
            f"{path}: {error} while it was looked at; it is damaged, and is not opened"
        ) from error
    except ArchiveError:
        pass


def destroys(path: Path, guard: Guard) -> str:
    """Say how reading a file crashes or takes all memory; empty where it does not.

    Raises
    ------
    ArchiveError
        If it took too long, which a share that is slow today may explain.
    """
    try:
        check(path, guard)
    except ArchiveError as error:
        cause = error.__cause__
        if not (isinstance(cause, GuardError) and cause.kind in ("crash", "memory")):
            raise
        return str(cause)
    return ""


def read_support(data: bytes, where: str, guard: Guard) -> SupportSet:
    """Read the bytes of a support set in a guard; they are never opened here.

    Raises
    ------
    SupportError
        As `support_from_bytes`, and if reading it hangs, crashes or takes all memory.
    """
    seconds = _OF_SET.seconds + len(data) / _SLOWEST
    limits = Limits(seconds, _OF_SET.memory + 8 * len(data))
    try:
        return guard.call(limits, support_sets.support_from_bytes, data, where)
    except GuardError as error:
        raise SupportError(
            f"{where}: {error} while it was read; it is damaged, and is not used"
        ) from error


def files_of_run(path: Path) -> Iterator[Path]:
    """Every file of a run that is there, whichever of them is named."""
    from pychip_stream.archive.files import RunPlaces  # is not for the guard's process

    places = RunPlaces.of(path)
    for file in (places.closed, *places.segments.glob("*.h5"), *places.scorings.glob("*.h5")):
        if file.exists():
            yield file


def probe(path: Path) -> None:
    """Read every attribute, small datasets whole, and beginning and end of large ones.

    Raises
    ------
    ArchiveError
        If it cannot be read, or holds more things than any run.
    """
    try:
        with hdf.reading(path) as file:
            check_texts(file)
            _walk(file)
    except (OSError, hdf.UnusableFileError) as error:
        raise ArchiveError(f"{path}: {error}") from error


def _walk(file: h5py.File) -> None:
    waiting: list[h5py.Group | h5py.Dataset] = [file]
    seen: set[int] = set()
    left = _MOST_BYTES
    while waiting:
        node = waiting.pop()
        for name in node.attrs:
            node.attrs.get(name)
        if isinstance(node, h5py.Dataset):
            left -= _read(node) if left > 0 else 0
            continue
        for name in node:
            link = node.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                continue  # the readers refuse what leads elsewhere
            found = node[name]
            address = h5py.h5o.get_info(found.id).addr
            if address not in seen:
                seen.add(address)
                waiting.append(found)
        if len(seen) > _MOST_NODES:
            raise hdf.UnusableFileError("holds more things than any run")


def _read(dataset: h5py.Dataset) -> int:
    """Read of a dataset what its readers may; how many bytes."""
    if dataset.external or dataset.is_virtual or not dataset.shape:
        return 0
    rows = max(_WHOLE // max(dataset.nbytes // max(len(dataset), 1), 1), 1)
    read = int(dataset[:rows].nbytes)
    return read + int(dataset[-rows:].nbytes) if len(dataset) > rows else read
