"""Repair of archives of the past: what is whole is kept, and what was lost is told exactly."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.changes import Changes
from pychip_stream.archive.damage import examined, lost_rows, mend_segment, put_aside
from pychip_stream.archive.disk import Disk, RunLock, reason
from pychip_stream.archive.exclusions import EXCLUSIONS
from pychip_stream.archive.files import Part, RunPlaces, changed_tables
from pychip_stream.archive.hdf import Array, UnusableFileError
from pychip_stream.archive.joining import set_aside, write_merged
from pychip_stream.archive.layout import ACQUIRED, Table
from pychip_stream.archive.marks import EVENTS
from pychip_stream.archive.readings import StimulusFiles
from pychip_stream.archive.scorings import default_scoring
from pychip_stream.errors import ArchiveError, PychipError

logger = logging.getLogger(__name__)

_NEEDED = {"sequence", "path", "index", "revision", "status"}
_FATE = "{} are lost"


@dataclass
class Repaired:
    """What became of a run.

    Attributes
    ----------
    kept
        Frames, failed ones too, that it holds now.
    lost
        Path and index of the frames whose labels are lost.
    unembedded
        The same of those whose embeddings alone are lost.
    scorings
        How many frames each other scoring lost.
    columns
        Columns of the frame table whose values are not known any more.
    supports
        Versions of support sets that are lost.
    tables
        Small tables, alerts or exclusions, that are lost.
    files
        What was damaged.
    """

    kept: int = 0
    lost: list[tuple[str, int]] = field(default_factory=list)
    unembedded: list[tuple[str, int]] = field(default_factory=list)
    scorings: dict[str, int] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    supports: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def repair_run(path: str | Path, disk: Disk | None = None) -> Repaired:
    """Keep what is whole of a run; damaged files stay under the names that `.damaged` ends.

    Raises
    ------
    ArchiveError
        If it is being written, or nothing of it can be kept; it stays as it is.
    """
    places, disk = RunPlaces.of(Path(path)), disk or Disk()
    files, found = FileCatalog(places), Repaired()
    catalog = files.refresh()
    with RunLock(places.lock):
        try:
            for segment in files.damaged:
                found.files.append(segment.name)
            set_aside(files, disk, _FATE.format("its frames"))
            for part in (*catalog.parts, *catalog.scorings.values()):
                _repair(places, part, found, disk)
            after = files.refresh()
        except UnusableFileError as error:
            where = error.path or places.closed
            raise ArchiveError(
                f"{where}: {error}; nothing of it can be kept, bring back a copy of it, or "
                "analyse its frames again"
            ) from error
        except OSError as error:
            raise ArchiveError(f"{places.closed}: cannot be repaired ({reason(error)})") from error
    found.kept = len(after.order)
    return found


def damage(path: str | Path) -> list[str]:
    """Tell what of the small things in a run's files is not what was written, file by file.

    Labels and embeddings have checksums of their own, which stop whoever reads them.
    """
    return FileCatalog(RunPlaces.of(Path(path))).read(_damage)


def _damage(catalog: Catalog) -> list[str]:
    found = []
    for part in (*catalog.parts, *catalog.scorings.values()):
        with hdf.reading(part.path) as file:
            columns, groups = changed_tables(file, part)
        groups += lost_rows(part.path) if part.kind == "run" else []
        named = [f"column {name} of its frames" for name in columns] + groups
        found += [f"{part.path.name}: {name}" for name in named]
    return found


def _repair(places: RunPlaces, part: Part, found: Repaired, disk: Disk) -> None:
    with hdf.reading(part.path) as file:
        changed, wrong = changed_tables(file, part)
    acquired = part.scorings.get(ACQUIRED)
    hopeless = bool(_NEEDED & set(changed)) or (acquired is not None and acquired.where in wrong)
    if hopeless and part.kind == "run":
        raise UnusableFileError("is damaged in the table that says which frames it holds")
    if hopeless:
        found.files.append(part.path.name)
        found.lost += _names(part.table, part.table["sequence"])
        put_aside(part.path, "is damaged", "its frames are lost", disk)
        return
    kept = examined(
        replace(
            part,
            table=layout.blanked(part.table, changed),
            scorings={n: rows for n, rows in part.scorings.items() if rows.where not in wrong},
            embeddings=tuple(rows for rows in part.embeddings if rows.where not in wrong),
            blank=tuple(changed),
        ),
        redo=False,
    )
    supports = [version for version in part.supports if not _reads(places, part, version)]
    tables = lost_rows(part.path) if part.kind == "run" else []
    if changed or wrong or supports or tables or any(rows.unread.any() for rows in kept.groups):
        found.columns += changed
        found.supports += supports
        found.tables += tables
        _tell(part, kept, found)
        _put_in_place(places, kept, disk)


def _tell(part: Part, kept: Part, found: Repaired) -> None:
    """Note what is lost of a file."""
    found.files.append(part.path.name)
    found.lost += _names(part.table, kept.lost)
    left = {rows.where: rows for rows in kept.groups}
    for rows in part.embeddings:
        after = left.get(rows.where)
        gone = rows.sequence if after is None else rows.sequence[after.unread]
        found.unembedded += _names(part.table, np.setdiff1d(gone, kept.lost))
    for name, rows in part.scorings.items():
        after = left.get(rows.where)
        count = len(rows) if after is None else int(after.unread.sum())
        if count and name != ACQUIRED:
            found.scorings[name] = found.scorings.get(name, 0) + count


def _put_in_place(places: RunPlaces, kept: Part, disk: Disk) -> None:
    if kept.kind == "segment":
        mend_segment(places, kept, disk, _FATE)
    elif kept.kind == "scoring":
        put_aside(kept.path, "is damaged", "score the run again", disk)
    else:
        run_id = kept.header.run_id
        excluded = Changes(places, EXCLUSIONS).read(run_id)
        stimulus = StimulusFiles(places).read(run_id)
        events = Changes(places, EVENTS).read(run_id)
        catalog = Catalog(places, [kept], {}, excluded, stimulus, events, one_clock=True)
        write_merged(places, catalog, default_scoring(catalog), disk, aside=True)


def _reads(places: RunPlaces, part: Part, version: str) -> bool:
    try:
        Catalog(places, [part]).support(version)
    except (PychipError, UnusableFileError):
        return False
    return True


def _names(table: Table, sequence: Array) -> list[tuple[str, int]]:
    """Path and index of frames."""
    rows = np.flatnonzero(np.isin(table["sequence"], sequence))
    paths = hdf.strings(table["path"][rows])
    return list(zip(paths, table["index"][rows].tolist(), strict=True))
