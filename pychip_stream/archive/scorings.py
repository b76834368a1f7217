"""Scorings: the labels of a run under other support sets, and which of them are shown."""

import json
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from pychip_stream.archive import hdf, layout, nexus
from pychip_stream.archive.blocks import OF_RESULTS, Rows, RowsWriter
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.disk import Disk, reason
from pychip_stream.archive.files import TEMPORARY, Header, RunPlaces, start_file
from pychip_stream.archive.hdf import Array, Checksums, UnusableFileError
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.archive.support_sets import Derived, write_support
from pychip_stream.domain.colors import UNKNOWN_COLOR
from pychip_stream.domain.support import UNKNOWN, SupportSet
from pychip_stream.errors import ArchiveError
from pychip_stream.plain_files import read_small

_STALE_S = 86400.0


def add_scoring(
    run_path: str | Path,
    support: SupportSet,
    sequence: npt.NDArray[np.int64],
    results: Iterable[Rows],
    *,
    derived: Derived | None = None,
    provenance: Mapping[str, object] | None = None,
    default: bool = True,
    disk: Disk | None = None,
) -> str:
    """Add the labels of frames under another support set to a run, live or closed.

    It stands in a file of its own, whole from the moment it is there, until the archiver
    merges the run. Frames that the run classified with this support set itself belong to the
    scoring without being given.

    Parameters
    ----------
    run_path
        As for `open_run`.
    support
        Its version becomes the name of the scoring; one of that name is replaced.
    sequence
        (m,) sequence numbers of the frames (see `Run.embedding_blocks`).
    results
        Of the m frames in the same order, in pieces (see `blocks.pack`) whose names are those
        of the support set's classes, then unknown; consumed one after the other.
    derived
        The classifier's numbers, kept beside the support set.
    provenance
        How the results were made; kept as JSON.
    default
        Whether the run shows this scoring from now on.

    Returns
    -------
    The name of the scoring.

    Raises
    ------
    ArchiveError
        If the run does not have these frames, the results do not fit them, or nothing can be
        written.
    """
    disk = disk or Disk()
    places = RunPlaces.of(Path(run_path))
    catalog = FileCatalog(places).refresh()
    frames = _frames(catalog, np.asarray(sequence, np.int64))
    version = support.version
    final = places.scoring(version)
    try:
        places.scorings.mkdir(exist_ok=True)
        _sweep(places, disk)
        content = _Content(support, derived, json.dumps(dict(provenance or {}), default=str))
        with disk.atomic(final) as temporary:
            _write(temporary, catalog, content, frames, results)
        if default:
            disk.save(_pointer(places), version.encode())
    except OSError as error:
        raise ArchiveError(
            f"{final}: cannot be written ({reason(error)}); look at the rights and the space of "
            "this folder, or copy the run to another"
        ) from error
    return version


def set_default_scoring(run_path: str | Path, name: str) -> None:
    """Choose which scoring a run shows: "acquired" or the version of a support set."""
    places = RunPlaces.of(Path(run_path))
    names = FileCatalog(places).refresh().scoring_names
    if name not in names:
        raise ArchiveError(
            f"{places.closed}: has no scoring {name!r}; there are {', '.join(names)}"
        )
    try:
        Disk().save(_pointer(places), name.encode())
    except OSError as error:
        raise ArchiveError(f"{_pointer(places)}: cannot be written ({reason(error)})") from error


def default_scoring(catalog: Catalog) -> str:
    """Name of the scoring that a run shows when none is asked for."""
    try:
        text = read_small(_pointer(catalog.places))
        chosen = text.decode("ascii", "replace").strip()
    except OSError:
        chosen = next((p.default for p in catalog.parts if p.default), "")
    return chosen if chosen in catalog.scoring_names else ACQUIRED


def default_stamp(run_path: Path) -> tuple[int, int] | None:
    """Tell by a cheap look whether the choice of a scoring has changed; None: there is none."""
    try:
        found = _pointer(RunPlaces.of(run_path)).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def forget_default(places: RunPlaces, merged: str, disk: Disk) -> None:
    """Remove the choice of a scoring that the merged archive makes itself."""
    pointer = _pointer(places)
    try:
        if read_small(pointer).decode("ascii", "replace").strip() == merged:
            disk.remove(pointer)
    except OSError:
        return


def _pointer(places: RunPlaces) -> Path:
    return places.scorings / "default"


def _frames(catalog: Catalog, sequence: Array) -> Rows:
    """Grids of the frames that a scoring covers."""
    if not len(sequence):
        raise ArchiveError(f"{catalog.places.closed}: a scoring needs at least one frame")
    selection, present = catalog.results(ACQUIRED, sequence)
    if not present.all():
        raise ArchiveError(
            f"{catalog.places.closed}: has no classified frames of some of these numbers; open it "
            "again and take them from there"
        )
    return selection.rows()


def _sweep(places: RunPlaces, disk: Disk) -> None:
    """Remove what a killed process left unfinished; a living one takes minutes, not days."""
    for path in places.scorings.glob(f"*{TEMPORARY}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_S:
                disk.remove(path)


class _Content(NamedTuple):
    """What a scoring file says beside its results."""

    support: SupportSet
    derived: Derived | None
    provenance: str


def _write(
    path: Path,
    catalog: Catalog,
    content: _Content,
    frames: Rows,
    results: Iterable[Rows],
) -> None:
    header = catalog.parts[-1].header
    support = content.support
    written = Checksums()
    whole = replace(frames, names=(*support.names, UNKNOWN), kept=OF_RESULTS)
    with hdf.new_file(path, written) as file:
        entry = start_file(file, "scoring", Header(header.run_id, header.name, 0, 0, ()))
        group = hdf.collection(entry, layout.SCORINGS).create_group(support.version)
        intervals = _fill(RowsWriter(group, whole, whole.grid, written.put), whole, results)
        hdf.write_text(group, layout.PROVENANCE, content.provenance)
        supports = hdf.collection(entry, layout.SUPPORTS)
        write_support(supports.create_group(support.version), support, content.derived)
        _write_views(entry, group, catalog, frames.sequence, intervals, support)
        file.flush()
    try:
        with hdf.reading(path) as file:
            written.check(file)
    except UnusableFileError as error:
        raise ArchiveError(f"{path}: {error}; look after the disk") from error


def _write_views(
    entry: h5py.Group,
    group: h5py.Group,
    catalog: Catalog,
    sequence: Array,
    intervals: Array,
    support: SupportSet,
) -> None:
    """Let NeXus viewers draw the scoring, too."""
    table = catalog.table
    time = table["time"][np.searchsorted(table["sequence"], sequence)]
    nexus.describe_entry(entry, time)
    if (np.diff(time) < 0).any():
        return  # kept in another order; the merged archive shows it
    colors = {one.name: one.color for one in support.classes} | {UNKNOWN: UNKNOWN_COLOR}
    names = (*support.names, UNKNOWN)
    left_out = table["sequence"][catalog.classified[catalog.left_out]]
    intervals = np.where(np.isin(sequence, left_out)[:, None, None], np.nan, intervals)
    nexus.write_views(group, nexus.Curve(time, intervals, names, colors), group["label_map"])
    nexus.show(entry, group)


def _fill(writer: RowsWriter, whole: Rows, results: Iterable[Rows]) -> Array:
    """Write all results; returns the (m, K + 1, 3) intervals."""
    done = 0
    intervals = [np.zeros((0, len(whole.names), 3))]
    for piece in results:
        if not np.array_equal(piece.grids, whole.grids[done : done + len(piece)]):
            raise ArchiveError(
                "the results of a scoring do not have the grids of their frames; was the chip "
                "size of the support set another one?"
            )
        if piece.names != whole.names:
            raise ArchiveError("the results of a scoring are of another support set")
        writer.write(piece)
        intervals.append(piece.intervals)
        done += len(piece)
    if done != len(whole):
        raise ArchiveError(f"{done} results for the {len(whole)} frames of a scoring")
    return np.concatenate(intervals)
