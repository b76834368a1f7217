"""Damage: what of a file can still be read; the file is put aside, what is whole is kept."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from pychip_stream.archive import alert_journal, exclusions, hdf, layout
from pychip_stream.archive.blocks import Rows
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.clock_offsets import OFFSETS, ClockOffset
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import Part, RunPlaces, read_part
from pychip_stream.archive.hdf import Array, ForeignFileError, NewerFileError, UnusableFileError
from pychip_stream.archive.marks import EVENTS, EventRow
from pychip_stream.archive.probe import files_of_run
from pychip_stream.archive.readings import GROUP as STIMULUS
from pychip_stream.archive.readings import whole_stimulus
from pychip_stream.archive.row_group import whole_rows
from pychip_stream.archive.segments import block_of_parts, publish_segment, segment_image
from pychip_stream.archive.selection import Selection
from pychip_stream.archive.support_sets import (
    SupportFolder,
    load_support,
    read_file,
    support_from_bytes,
)
from pychip_stream.errors import ArchiveError, SupportError

logger = logging.getLogger(__name__)

_CHIPS = 1 << 17
_ROW_GROUPS = {
    alert_journal.GROUP: alert_journal.AlertRow,
    exclusions.GROUP: exclusions.Exclusion,
    OFFSETS.group: ClockOffset,
    EVENTS.group: EventRow,
}


def aside_name(path: Path) -> Path:
    """Name under which a damaged file is kept: its own with .damaged, and a number if taken."""
    number, chosen = 1, path.with_name(f"{path.name}.damaged")
    while chosen.exists():
        number += 1
        chosen = path.with_name(f"{path.name}.damaged-{number}")
    return chosen


def put_aside(path: Path, why: str, consequence: str, disk: Disk) -> None:
    """Rename a damaged file, and say so."""
    chosen = aside_name(path)
    disk.replace(path, chosen)
    logger.error("%s: %s; set aside as %s, %s", path, why, chosen.name, consequence)


def keep_beside(path: Path, disk: Disk) -> Path:
    """Give a damaged file, in whose place another one is about to come, a second name."""
    chosen = aside_name(path)
    try:
        os.link(path, chosen)
    except OSError:  # no hard links here; for a moment there is neither
        disk.replace(path, chosen)
    return chosen


def unreadable(rows: Rows) -> Array:
    """(m,) bool, frames whose arrays cannot be read; every other one was."""
    everything = Selection((rows,), np.zeros(len(rows), np.int64), np.arange(len(rows)))
    bad = np.zeros(len(rows), bool)
    start, waiting = 0, []
    for piece in everything.pieces(_CHIPS):
        waiting.append((start, start + len(piece)))
        start += len(piece)
    while waiting:
        start, stop = waiting.pop()
        try:
            everything[start:stop].read(rows.names, rows.kept)
        except UnusableFileError:
            middle = (start + stop) // 2
            if middle == start:
                bad[start] = True
            else:
                waiting += [(start, middle), (middle, stop)]
    return bad


def examined(part: Part, *, redo: bool) -> Part:
    """Read all arrays of a file; returns it without the frames that are damaged.

    Parameters
    ----------
    redo
        Frames whose embeddings alone are damaged do not count either: they will be done again.

    Returns
    -------
    The very same part where nothing is damaged.
    """
    masks = {rows.where: unreadable(rows) for rows in part.groups}
    if not any(mask.any() for mask in masks.values()):
        return part

    def marked(rows: Rows) -> Rows:
        return replace(rows, damaged=masks[rows.where])

    own = [part.scorings[layout.ACQUIRED]] if layout.ACQUIRED in part.scorings else []
    own += [part.superseded] if part.superseded is not None else []
    own += part.embeddings if redo else ()
    none = np.zeros(0, np.int64)  # a scoring alone holds no frames
    lost = np.unique(np.concatenate([none, *(rows.sequence[masks[rows.where]] for rows in own)]))
    return replace(
        part,
        table=layout.take(part.table, ~np.isin(part.table["sequence"], lost)),
        scorings={name: marked(rows) for name, rows in part.scorings.items()},
        superseded=None if part.superseded is None else marked(part.superseded),
        embeddings=tuple(map(marked, part.embeddings)),
        lost=lost,
    )


def lost_rows(path: Path) -> list[str]:
    """Names of what a closed archive holds beside frames (alerts, readings, …) that is damaged."""
    lost = []
    for name, kind in _ROW_GROUPS.items():
        try:
            whole_rows(path, name, kind)
        except UnusableFileError:
            lost.append(name)
    try:
        whole_stimulus(path)
    except UnusableFileError:
        lost.append(STIMULUS)
    return lost


def is_hurt(part: Part) -> bool:
    """Whether something of a file, as `examined`, counts no more."""
    marked = any(len(rows.damaged) for rows in part.groups)
    return marked or (part.kind == "run" and bool(lost_rows(part.path)))


def mend_segment(places: RunPlaces, part: Part, disk: Disk, consequence: str) -> None:
    """Put a damaged segment aside and what is whole in it in its place.

    Parameters
    ----------
    part
        As `examined`.
    consequence
        What becomes of the frames that are lost, for the log.
    """
    told = f"{len(part)} of its frames are kept, {consequence.format(len(part.lost))}"
    image = b""
    if len(part):
        image = segment_image(part.header, block_of_parts(Catalog(places, [part])))
    put_aside(part.path, "is damaged", told, disk)
    if image:
        publish_segment(disk, part.path, image)


def harmed(parts: Sequence[Part], *, redo: bool) -> list[Part]:
    """Examine files; returns those that are damaged, without what is lost of them."""
    found = [(part, examined(part, redo=redo)) for part in parts]
    return [after for before, after in found if after is not before]


def mend_segments(places: RunPlaces, parts: Sequence[Part], disk: Disk, consequence: str) -> bool:
    """Read segments whole, and mend those that are damaged; whether there were any."""
    hurt = harmed([part for part in parts if part.kind == "segment"], redo=True)
    for part in hurt:
        mend_segment(places, part, disk, consequence)
    return bool(hurt)


def put_destructive_aside(places: RunPlaces, destroys: Callable[[Path], str], disk: Disk) -> None:
    """Put files of a run aside that would end the process which opens them.

    Parameters
    ----------
    destroys
        Says how one does; empty where it does not.
    """
    for path in files_of_run(places.closed):
        if why := destroys(path):
            put_aside(path, f"its reader {why}", "what was in it will be made again", disk)


def put_base_aside(places: RunPlaces, disk: Disk) -> None:
    """Put an archive aside that cannot be opened any more."""
    try:
        read_part(places.closed, ("run",))
    except (FileNotFoundError, ForeignFileError, NewerFileError):
        return  # whoever reads it says so
    except UnusableFileError as error:
        put_aside(places.closed, str(error), "its frames will be analysed again", disk)


def check_supports(places: RunPlaces, disk: Disk) -> None:
    """Put damaged support sets aside; they are announced again, or found elsewhere."""
    for version in places.support_versions():
        path = places.support(version)
        try:
            load_support(path)
        except SupportError as error:
            why = str(error).removeprefix(f"{path}: ")
            put_aside(path, why, "and looked for elsewhere", disk)


def find_supports(
    places: RunPlaces,
    files: FileCatalog,
    held: Mapping[str, bytes],
    folder: Path | None,
    disk: Disk,
) -> None:
    """Write support sets beside the segments that are in use and lie nowhere else whole.

    Parameters
    ----------
    held
        Bytes of versions that were announced.
    folder
        Of VERSION.h5 files, where there is one.
    """
    check_supports(places, disk)
    catalog = files.refresh()
    for version in {*hdf.strings(catalog.table["support_version"])} - {""}:
        try:
            catalog.support(version)
        except (ArchiveError, UnusableFileError):
            if data := held.get(version) or _bytes_in(folder, version):
                disk.save(places.support(version), data)
            else:
                logger.error("%s: support set %s is lost", places.closed, version[:8])


def _bytes_in(folder: Path | None, version: str) -> bytes:
    """Bytes of a support set in a folder of them; empty where it is not there, or not whole."""
    if folder is None:
        return b""
    try:
        data = read_file(SupportFolder(folder).path(version))
        return data if support_from_bytes(data).version == version else b""
    except SupportError:
        return b""
