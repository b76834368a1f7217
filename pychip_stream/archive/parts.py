"""Parts: what the files of a run hold, without the large arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.hdf import Array, UnusableFileError
from pychip_stream.archive.layout import Table
from pychip_stream.archive.results import FrameRows
from pychip_stream.archive.segment import Block, Header, Session


@dataclass(frozen=True, eq=False)
class ResultsIndex:
    """Results of one scoring in one file.

    Attributes
    ----------
    where
        Path of their group in the file.
    class_names
        Unknown first.
    frames
        Which frames, and where their chips are.
    intervals
        (m, U, 3) float64.
    kept
        Names of the per-chip arrays.
    provenance
        How the scoring was made, as JSON; empty for what was classified while acquiring, which
        the sessions tell.
    """

    where: str
    class_names: tuple[str, ...]
    frames: FrameRows
    intervals: Array = field(repr=False)
    kept: tuple[str, ...]
    provenance: str = ""


@dataclass(frozen=True, eq=False)
class EmbeddingsIndex:
    """Embeddings of one encoder in one file.

    Attributes
    ----------
    where
        Path of their group in the file.
    dimension
        D.
    """

    where: str
    encoder_hash: str
    frames: FrameRows
    dimension: int


@dataclass(frozen=True, eq=False)
class Part:
    """One file of a run.

    Attributes
    ----------
    path
        The file.
    kind
        "run", "segment" or "scoring".
    header
        What it says about the run.
    table
        Core columns of the frame table; empty for a scoring.
    scorings
        By name.
    superseded
        Results of revisions that a later one replaced (merged archives only).
    embeddings
        One entry per encoder.
    supports
        Versions of the support sets in it.
    default
        Scoring to show, where the file says so.
    """

    path: Path
    kind: str
    header: Header
    table: Table = field(repr=False)
    scorings: dict[str, ResultsIndex] = field(repr=False)
    superseded: ResultsIndex | None = field(default=None, repr=False)
    embeddings: tuple[EmbeddingsIndex, ...] = field(default=(), repr=False)
    supports: tuple[str, ...] = ()
    default: str = ""

    def __len__(self) -> int:
        return len(self.table["sequence"])


KINDS = ("run", "segment")


def read_part(path: Path, kinds: Sequence[str] = KINDS) -> Part:
    """Read the tables of a file.

    Raises
    ------
    UnusableFileError
        If it is not such a file, or damaged.
    OSError
        If the system cannot read it.
    """
    with hdf.reading(path) as file:
        return _read(file, path, kinds)


def is_whole(path: Path) -> bool:
    """Whether the bytes of a segment are a segment, however they were read before.

    Raises
    ------
    OSError
        If the system cannot read them.
    """
    try:
        with hdf.reading_bytes(path.read_bytes()) as file:
            _read(file, path, KINDS)
    except UnusableFileError:
        return False
    return True


def read_full_table(path: Path, names: Sequence[str] = layout.ALL) -> Table:
    """Read columns (default: all) of the frame table of a file; raises as `read_part`."""
    with hdf.reading(path) as file:
        return layout.read_table(file[layout.ENTRY][layout.FRAMES], names)


def part_of(path: Path, header: Header, block: Block) -> Part:
    """Return what `read_part` would, for a segment that was just written."""
    results = block.results
    acquired = f"/{layout.ENTRY}/{layout.SCORINGS}/{layout.ACQUIRED}"
    scorings = {}
    if results is not None:
        scorings[layout.ACQUIRED] = ResultsIndex(
            acquired, results.class_names, results.frames, results.intervals, tuple(results.chips)
        )
    embeddings = tuple(
        EmbeddingsIndex(
            f"/{layout.ENTRY}/{layout.EMBEDDINGS}/encoder_{number}",
            one.encoder_hash, one.frames, one.values.shape[1],
        )
        for number, one in enumerate(block.embeddings)
    )  # fmt: skip
    table = {name: block.table[name] for name in layout.CORE}
    return Part(path, "segment", header, table, scorings, embeddings=embeddings)


def _read(file: h5py.File, path: Path, kinds: Sequence[str]) -> Part:
    kind = hdf.check_mark(file, kinds)
    entry = hdf.subgroup(file, layout.ENTRY)
    group = hdf.subgroup(entry, layout.SCORINGS)
    table = layout.join_tables([], layout.CORE)
    if layout.FRAMES in entry:
        table = layout.read_table(hdf.subgroup(entry, layout.FRAMES), layout.CORE)
    superseded = layout.SUPERSEDED in entry
    return Part(
        path=path,
        kind=kind,
        header=_read_header(entry),
        table=table,
        scorings={name: _read_results(hdf.subgroup(group, name)) for name in group},
        superseded=_read_results(entry[layout.SUPERSEDED]) if superseded else None,
        embeddings=tuple(_read_embeddings(entry)),
        supports=tuple(entry[layout.SUPPORTS]) if layout.SUPPORTS in entry else (),
        default=hdf.attribute_text(group, "default"),
    )


def _read_header(entry: h5py.Group) -> Header:
    sessions = []
    if layout.SESSIONS in entry:
        group = hdf.subgroup(entry, layout.SESSIONS)
        for name in group:
            one = hdf.subgroup(group, name)
            texts = {key: hdf.read_text(one, key) for key in one if key != "started"}
            sessions.append(Session(int(name), float(hdf.plain(one, "started")[()]), texts))
    return Header(
        run_id=hdf.read_text(entry, "run_id"),
        name=hdf.read_text(entry, "title"),
        first=int(entry.attrs["first_segment"]),
        last=int(entry.attrs["last_segment"]),
        sessions=tuple(sessions),
    )


def _read_results(group: h5py.Group) -> ResultsIndex:
    frames = FrameRows.read(group)
    intervals = hdf.plain(group, "intervals")[...]
    names = tuple(hdf.strings(hdf.read_texts(group, "class_names")))
    if intervals.shape != (len(frames), len(names), 3):
        raise UnusableFileError(f"has intervals of shape {intervals.shape} in {group.name}")
    kept = tuple(n for n in ("probabilities", "distances", "novelty") if n in group)
    provenance = hdf.read_text(group, layout.PROVENANCE) if layout.PROVENANCE in group else ""
    return ResultsIndex(group.name, names, frames, intervals, kept, provenance)


def _read_embeddings(entry: h5py.Group) -> list[EmbeddingsIndex]:
    if layout.EMBEDDINGS not in entry:
        return []
    group = hdf.subgroup(entry, layout.EMBEDDINGS)
    found = []
    for name in group:
        one = hdf.subgroup(group, name)
        shape = one["values"].shape
        encoder = hdf.read_text(one, "encoder_hash")
        found.append(EmbeddingsIndex(one.name, encoder, FrameRows.read(one), int(shape[1])))
    return found
