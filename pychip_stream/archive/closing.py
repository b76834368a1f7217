"""Closing: a run becomes one file, and what it was made of goes."""

import logging
from contextlib import suppress
from pathlib import Path

from pychip_stream.archive import alerts
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.durable import Disk, reason, temporary_name
from pychip_stream.archive.lock import RunLock
from pychip_stream.archive.merge import merge
from pychip_stream.archive.parts import is_whole
from pychip_stream.archive.places import RunPlaces, Span
from pychip_stream.archive.scorings import default_scoring, forget_default
from pychip_stream.errors import ArchiveError

logger = logging.getLogger(__name__)


def merge_run(places: RunPlaces, files: FileCatalog, disk: Disk) -> None:
    """Merge everything that a run holds into its one file; only then remove the rest.

    Raises
    ------
    ArchiveError
        If the merged file is not what it should be; everything stays.
    OSError
        If the disk fails; everything stays.
    """
    catalog = files.refresh()
    if set_aside(files, disk):
        catalog = files.refresh()
    default = default_scoring(catalog)
    sidelong = {version: places.scoring(version).stat() for version in catalog.scorings}
    added = bool(sidelong) or alerts.has_journal(places)
    if any(p.kind == "segment" for p in catalog.parts) or (catalog.parts and added):
        _write_merged(places, catalog, default, disk)
        alerts.remove_journal(places, disk)
    for span in places.spans():
        disk.remove(places.segment(span))
    for version in places.support_versions():
        disk.remove(places.support(version))
    with suppress(OSError):
        places.segments.rmdir()  # stays if something was set aside
    disk.remove(places.live)
    for version, before in sidelong.items():
        # One that came meanwhile is not in the archive yet and stays.
        if places.scoring(version).stat() == before:
            disk.remove(places.scoring(version))
    forget_default(places, default, disk)
    with suppress(OSError):
        places.scorings.rmdir()


def merge_scorings(path: str | Path, disk: Disk | None = None) -> Path:
    """Write the scorings that lie beside a closed run into its one file.

    Returns
    -------
    The file.

    Raises
    ------
    ArchiveError
        If the run is not there, is being written, or cannot be merged; it stays as it is.
    """
    places = RunPlaces.of(Path(path))
    files = FileCatalog(places)
    files.refresh()
    with RunLock(places.lock):
        try:
            merge_run(places, files, disk or Disk())
        except OSError as error:
            raise ArchiveError(f"{places.closed}: cannot be merged ({reason(error)})") from error
    return places.closed


def remove_run(path: str | Path, disk: Disk | None = None) -> None:
    """Remove a run with everything that belongs to it; nothing, where there is none.

    Raises
    ------
    ArchiveError
        If it is being written, cannot be removed, or is something else.
    """
    places, disk = RunPlaces.of(Path(path)), disk or Disk()
    if not (places.closed.exists() or places.segments.exists()):
        return
    FileCatalog(places).refresh()
    with RunLock(places.lock):
        for part in (places.live, places.scorings, places.segments, places.closed):
            if part.exists() and not disk.remove(part):
                raise ArchiveError(f"{part}: cannot be removed now; close what has it open")


def set_aside(files: FileCatalog, disk: Disk) -> bool:
    """Rename damaged segments; their frames are to be done again.

    Returns
    -------
    Whether there were any.

    Raises
    ------
    ArchiveError
        If one is whole after all: then the disk, or the way to it, is at fault.
    OSError
        If one cannot be renamed.
    """
    damaged = [path for path in files.damaged if Span.parse(path.name) is not None]
    for path in damaged:
        why = files.damaged.pop(path)
        if is_whole(path):
            raise ArchiveError(f"{path}: cannot be read now ({why}); look after the disk")
        logger.error(
            "%s: %s; set aside as %s.damaged, its frames will be analysed again",
            path, why, path.name,
        )  # fmt: skip
        disk.replace(path, path.with_name(path.name + ".damaged"))
    return bool(damaged)


def _write_merged(places: RunPlaces, catalog: Catalog, default: str, disk: Disk) -> None:
    temporary = temporary_name(places.closed)
    supports = {version: places.support(version) for version in places.support_versions()}
    try:
        merge(catalog, temporary, supports, default)
        alerts.merge_alerts(temporary, alerts.read_alerts(places))
        disk.sync_file(temporary)
        disk.replace(temporary, places.closed)
    except BaseException:
        disk.remove(temporary)
        raise
