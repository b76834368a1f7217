"""Joining: the segments of a run become one file at its end."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from pychip_stream import foreign
from pychip_stream.archive import alert_journal, hdf, layout, nexus
from pychip_stream.archive.blocks import RowsWriter
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.damage import harmed, is_hurt, keep_beside, mend_segment, put_aside
from pychip_stream.archive.disk import Disk, RunLock, check_room, reason
from pychip_stream.archive.files import (
    Header,
    RunPlaces,
    Span,
    covering,
    is_whole,
    merged_header,
    read_part,
    start_file,
)
from pychip_stream.archive.hdf import Array, Checksums, UnusableFileError
from pychip_stream.archive.layout import ACQUIRED, Table
from pychip_stream.archive.readings import write_stimulus
from pychip_stream.archive.row_group import write_row_groups
from pychip_stream.archive.run_identity import forget_identity
from pychip_stream.archive.scorings import default_scoring, forget_default
from pychip_stream.archive.selection import Selection
from pychip_stream.archive.support_sets import GROUP, read_support
from pychip_stream.errors import ArchiveError, PychipError

_PIECE_BYTES = 48 << 20
_CLASSES = ("class_names", "class_colors")

logger = logging.getLogger(__name__)


def merge(
    catalog: Catalog,
    target: Path,
    supports: Mapping[str, Path],
    default: str,
    alerts: Sequence[alert_journal.AlertRow] = (),
) -> Header:
    """Write everything that a run holds into one new file and check it.

    Parameters
    ----------
    target
        Temporary name; synced by the caller.
    supports
        Files of support sets that no part holds yet.
    default
        Scoring to show.

    Raises
    ------
    ArchiveError
        If there is too little space, or what was written cannot be read back.
    OSError
        If the disk fails.
    """
    parts = (*catalog.parts, *catalog.scorings.values())
    check_room(target.parent, sum(part.path.stat().st_size for part in parts))
    header = merged_header(catalog.parts)
    catalog.say_displaced(set())
    table = catalog.full_table()
    old = np.setdiff1d(np.arange(len(table["sequence"])), catalog.order)
    current = table["sequence"][catalog.classified]
    replaced = table["sequence"][old[table["status"][old] == b"ok"]]
    ordered = layout.take(table, np.concatenate([catalog.order, old]))
    written = Checksums()
    with hdf.new_file(target, written) as file:
        entry = start_file(file, "run", header)
        nexus.describe_entry(entry, table["time"][catalog.classified])
        frames = entry.create_group(layout.FRAMES)
        layout.write_table(frames, ordered)
        hdf.name_rows(frames, "sequence")
        _copy_supports(entry, catalog, supports)
        _write_scorings(entry, catalog, written, default)
        if len(replaced):
            selection, _ = catalog.results(ACQUIRED, replaced)
            group = entry.create_group(layout.SUPERSEDED)
            _write_rows(group, selection, catalog.class_names(ACQUIRED), written)
        _write_embeddings(entry, catalog, np.concatenate([current, replaced]), written)
        write_row_groups(entry, {alert_journal.GROUP: alerts} | catalog.changes)
        write_stimulus(entry, catalog.stimulus)
        file.flush()
    _verify(target, ordered, written)
    return header


def _write_scorings(entry: h5py.Group, catalog: Catalog, written: Checksums, default: str) -> None:
    group = hdf.collection(entry, layout.SCORINGS)
    group.attrs["default"] = default
    table, rows = catalog.table, catalog.classified
    for name in catalog.scoring_names:
        selection, present = catalog.results(name, table["sequence"][rows])
        if len(selection):
            target, class_names = group.create_group(name), catalog.class_names(name)
            _write_rows(target, selection, class_names, written)
            colors = _colors(entry, table["support_version"][rows][::-1], name)
            values = catalog.intervals(name)[present]
            curve = nexus.Curve(table["time"][rows[present]], values, class_names, colors)
            nexus.write_views(target, curve, target["label_map"])
            target.attrs["default"] = "fractions"
            if provenance := catalog.provenance(name):
                hdf.write_text(target, layout.PROVENANCE, provenance)
    if default in group:
        nexus.show(entry, group[default])


def _colors(entry: h5py.Group, newest_first: Array, scoring: str) -> dict[str, str]:
    """Colours of the classes: those of the newest support set that has them."""
    used = dict.fromkeys(hdf.strings(newest_first))
    colors: dict[str, str] = {}
    supports = entry[layout.SUPPORTS]
    for version in (scoring, *used, *supports):
        if version in supports:
            names, values = (hdf.strings(hdf.read_texts(supports[version], n)) for n in _CLASSES)
            colors = dict(zip(names, values, strict=True)) | colors
    return colors


def _write_rows(
    group: h5py.Group, selection: Selection, names: tuple[str, ...], written: Checksums
) -> None:
    """Copy frames, some at a time; of embeddings there are no names."""
    whole = selection.rows(names)
    writer = RowsWriter(group, whole, whole.grid, written.put)
    per_chip = 4 * len(names) + 4 if names else 2 * max(whole.encoder[1], 1)
    for piece in selection.pieces(max(_PIECE_BYTES // per_chip, 1), whole.grid):
        writer.write(piece.read(names, whole.kept, whole.grid))


def _write_embeddings(
    entry: h5py.Group, catalog: Catalog, sequence: Array, written: Checksums
) -> None:
    group = hdf.collection(entry, layout.EMBEDDINGS)
    for number, encoder in enumerate(catalog.encoders()):
        selection, _ = catalog.embeddings(encoder, sequence)
        if not len(selection):
            continue
        _write_rows(group.create_group(f"encoder_{number}"), selection, (), written)


def _copy_supports(entry: h5py.Group, catalog: Catalog, supports: Mapping[str, Path]) -> None:
    group = hdf.collection(entry, layout.SUPPORTS)
    for version, path in supports.items():
        try:
            with hdf.reading(path) as source:
                _copy(foreign.subgroup(source, GROUP), group, version)
        except UnusableFileError as error:
            logger.error("%s: %s; the run is kept without it", path, error)
    for part in (*catalog.parts, *catalog.scorings.values()):
        missing = [version for version in part.supports if version not in group]
        if missing:
            with hdf.reading(part.path) as source:
                there = foreign.descend(source, f"{layout.ENTRY}/{layout.SUPPORTS}")
                for version in missing:
                    _copy(foreign.subgroup(there, version), group, version)


def _copy(source: h5py.Group, target: h5py.Group, name: str) -> None:
    """Copy a support set as it is; one that is damaged is left out."""
    foreign.check_whole(source)
    try:
        read_support(source)
    except (UnusableFileError, PychipError, OSError, *hdf.DAMAGE) as error:
        logger.error("support set %s: %s; the run is kept without it", name[:8], error)
        return
    source.file.copy(source, target, name)


def _verify(path: Path, table: Table, written: Checksums) -> None:
    try:
        with hdf.reading(path) as file:
            frames = foreign.descend(file, f"{layout.ENTRY}/{layout.FRAMES}")
            found = layout.read_table(frames)
            for name, values in table.items():
                same = found[name] == values
                if values.dtype.kind == "f":
                    same |= np.isnan(found[name]) & np.isnan(values)
                if not np.all(same):
                    raise UnusableFileError(f"column {name} is not what was written")
            written.check(file)
    except UnusableFileError as error:
        raise ArchiveError(
            f"{path}: {error}; the merged archive is not used and the segments stay, look after "
            "the disk"
        ) from error


def superfluous(places: RunPlaces, catalog: Catalog) -> list[Span]:
    """Segments that a wider file or the merged archive stands for."""
    base = next((p for p in catalog.parts if p.kind == "run"), None)
    spans = places.spans()
    chosen = covering(spans, 0 if base is None else base.header.last)
    used = {p.path for p in catalog.parts}
    if any(places.segment(span) not in used for span in chosen):
        return []  # something cannot be read; then nothing goes
    reach = max([0, *(p.header.last for p in catalog.parts)])
    return [span for span in spans if span not in chosen and span.last <= reach]


AGAIN = "{} will be analysed again when the run goes on"


def merge_run(places: RunPlaces, files: FileCatalog, disk: Disk, fate: str = AGAIN) -> None:
    """Merge everything that a run holds into its one file; only then remove the rest.

    What is damaged is put aside, and everything else merged.

    Parameters
    ----------
    fate
        What becomes of so many frames that are lost.
    """
    redo = fate == AGAIN
    catalog = checked(files, disk, redo=redo)
    try:
        _merge_catalog(places, catalog, disk)
    except UnusableFileError:
        hurt = harmed((*catalog.parts, *catalog.scorings.values()), redo=redo)
        if not hurt:
            raise
        for part in hurt:
            if part.kind == "segment":
                mend_segment(places, part, disk, fate)
            elif part.kind == "scoring":
                put_aside(part.path, "is damaged", "score the run again", disk)
            else:
                logger.error("%s: is damaged; %s", part.path, fate.format(len(part.lost)))
                files.adopt(part)
        _merge_catalog(places, files.refresh(), disk)


def _merge_catalog(places: RunPlaces, catalog: Catalog, disk: Disk) -> None:
    default = default_scoring(catalog)
    sidelong = {version: places.scoring(version).stat() for version in catalog.scorings}
    added = bool(sidelong or catalog.beside) or alert_journal.has_journal(places)
    hurt = any(map(is_hurt, catalog.parts))
    if any(p.kind == "segment" for p in catalog.parts) or (catalog.parts and (added or hurt)):
        write_merged(places, catalog, default, disk)
        alert_journal.remove_journal(places, disk)
        for path in catalog.beside:
            disk.remove(path)
    for span in places.spans():
        disk.remove(places.segment(span))
    for version in places.support_versions():
        disk.remove(places.support(version))
    if catalog.parts or not added:
        forget_identity(places, disk)  # what lies beside a run without frames still names it
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
        except UnusableFileError as error:
            raise ArchiveError(f"{places.closed}: cannot be merged (a part {error})") from error
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


def checked(files: FileCatalog, disk: Disk, *, redo: bool = True) -> Catalog:
    """Look at the files of a run; those whose tables are damaged are put aside.

    Parameters
    ----------
    redo
        The archive itself is, too: its frames will be done again.
    """
    catalog = files.refresh()
    for part in catalog.parts:
        try:
            read_part(part.path, check=True)
        except UnusableFileError as error:
            if part.kind == "segment":
                files.damaged[part.path] = str(error)
            elif redo:
                put_aside(part.path, str(error), "its frames will be analysed again", disk)
            else:
                raise
    set_aside(files, disk)
    return files.refresh()


def set_aside(
    files: FileCatalog, disk: Disk, fate: str = "its frames will be analysed again"
) -> bool:
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
        put_aside(path, why, fate, disk)
    return bool(damaged)


def write_merged(
    places: RunPlaces, catalog: Catalog, default: str, disk: Disk, *, aside: bool = False
) -> None:
    """Write the archive anew; the old one gets another name where it (`aside`) is damaged."""
    supports = {version: places.support(version) for version in places.support_versions()}
    with disk.atomic(places.closed) as temporary:
        merge(catalog, temporary, supports, default, alert_journal.read_alerts(places))
        base = next((p for p in catalog.parts if p.kind == "run"), None)
        if base is not None and (aside or is_hurt(base)):
            kept = keep_beside(base.path, disk)
            logger.error("%s: what was damaged of it is kept as %s", base.path, kept.name)
