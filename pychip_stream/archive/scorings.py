"""Scorings: the labels of a run under other support sets, and which of them are shown."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.durable import Disk, reason, temporary_name
from pychip_stream.archive.hdf import Array, UnusableFileError
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.archive.ledger import Ledger
from pychip_stream.archive.places import RunPlaces
from pychip_stream.archive.results import PER_CLASS, FrameRows, ResultsSink, pack
from pychip_stream.archive.segment import Header, start_file
from pychip_stream.archive.support_group import Derived, write_support
from pychip_stream.domain.results import FrameResult
from pychip_stream.domain.support import UNKNOWN, SupportSet
from pychip_stream.errors import ArchiveError

_BATCH = 512


def add_scoring(
    run_path: str | Path,
    support: SupportSet,
    sequence: npt.NDArray[np.int64],
    results: Iterable[FrameResult],
    *,
    derived: Derived | None = None,
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
        m results in the same order; consumed one after the other.
    derived
        The classifier's numbers, kept beside the support set.
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
    temporary = temporary_name(final)
    try:
        places.scorings.mkdir(exist_ok=True)
        _write(temporary, catalog, support, derived, frames, results)
        disk.sync_file(temporary)
        disk.replace(temporary, final)
        if default:
            disk.save(_pointer(places), version.encode())
    except OSError as error:
        disk.remove(temporary)
        raise ArchiveError(f"{final}: cannot be written ({reason(error)})") from error
    except BaseException:
        disk.remove(temporary)
        raise
    return version


def set_default_scoring(run_path: str | Path, name: str) -> None:
    """Choose which scoring a run shows: "acquired" or the version of a support set.

    Raises
    ------
    ArchiveError
        If there is no such scoring or the choice cannot be written.
    """
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
        text = _pointer(catalog.places).read_text(encoding="ascii", errors="replace")
        chosen = text.strip()
    except OSError:
        chosen = next((p.default for p in catalog.parts if p.default), "")
    return chosen if chosen in catalog.scoring_names else ACQUIRED


def forget_default(places: RunPlaces, merged: str, disk: Disk) -> None:
    """Remove the choice of a scoring that the merged archive makes itself."""
    pointer = _pointer(places)
    try:
        if pointer.read_text(encoding="ascii", errors="replace").strip() == merged:
            disk.remove(pointer)
    except OSError:
        return


def _pointer(places: RunPlaces) -> Path:
    return places.scorings / "default"


def _frames(catalog: Catalog, sequence: Array) -> FrameRows:
    """Grids of the frames that a scoring covers."""
    if not len(sequence):
        raise ArchiveError(f"{catalog.places.closed}: a scoring needs at least one frame")
    selection, present = catalog.results(ACQUIRED, sequence)
    if not present.all():
        raise ArchiveError(
            f"{catalog.places.closed}: has no classified frames of some of these numbers; open it "
            "again and take them from there"
        )
    return selection.frames


def _write(
    path: Path,
    catalog: Catalog,
    support: SupportSet,
    derived: Derived | None,
    frames: FrameRows,
    results: Iterable[FrameResult],
) -> None:
    header = catalog.parts[-1].header
    ledger = Ledger()
    with hdf.new_file(path) as file:
        entry = start_file(file, "scoring", Header(header.run_id, header.name, 0, 0, ()))
        scorings = entry.create_group(layout.SCORINGS)
        group = scorings.create_group(support.version)
        for one in (scorings, group):
            one.attrs["NX_class"] = "NXcollection"
        names = (UNKNOWN, *support.names)
        grid = (int(frames.rows.max()), int(frames.columns.max()))
        sink = ResultsSink(group, names, frames, grid, (*PER_CLASS, "novelty"), ledger.put)
        _fill(sink, frames, names, grid, iter(results))
        supports = entry.create_group(layout.SUPPORTS)
        write_support(supports.create_group(support.version), support, derived)
        file.flush()
    try:
        with hdf.reading(path) as file:
            ledger.check(file)
    except UnusableFileError as error:
        raise ArchiveError(f"{path}: {error}; look after the disk") from error


def _fill(
    sink: ResultsSink,
    frames: FrameRows,
    names: tuple[str, ...],
    grid: tuple[int, int],
    results: Iterable[FrameResult],
) -> None:
    done = chips = 0
    results = iter(results)
    while batch := list(islice(results, _BATCH)):
        mine = slice(done, done + len(batch))
        shapes = np.array([r.label_map.shape for r in batch]).reshape(-1, 2)
        expected = np.stack([frames.rows[mine], frames.columns[mine]], axis=1)
        if shapes.shape != expected.shape or (shapes != expected).any():
            raise ArchiveError(
                "the results of a scoring do not have the grids of their frames; was the chip "
                "size of the support set another one?"
            )
        if any(not set(r.names) < set(names) for r in batch):
            raise ArchiveError("the results of a scoring are of another support set")
        piece = pack(batch, frames.sequence[mine], names, grid)
        sink.write(piece, done, chips)
        done += len(batch)
        chips += int(piece.frames.chips.sum())
    if done != len(frames):
        raise ArchiveError(f"{done} results for the {len(frames)} frames of a scoring")
