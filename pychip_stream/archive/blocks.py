"""Segments: immutable files of some frames each, built in memory."""

import json
import platform
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.hdf import Array, UnusableFileError
from pychip_stream.archive.layout import NO_CHIP, Table
from pychip_stream.domain.quantities import OF_FRAMES
from pychip_stream.domain.records import MAX_REASON, FrameRecord, FrameResult
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError


class Ledger:
    """Remembers what was written where, to compare it with what can be read."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, slice, int]] = []

    def put(self, dataset: h5py.Dataset, rows: slice, values: Array) -> None:
        """Write rows of a dataset and remember them."""
        if len(values):
            dataset[rows] = values
            self._entries.append((dataset.name, rows, _digest(values)))

    def check(self, file: h5py.File) -> None:
        """Read everything again.

        Raises
        ------
        UnusableFileError
            If something is not what was written.
        """
        for name, rows, digest in self._entries:
            if _digest(file[name][rows]) != digest:
                raise UnusableFileError(f"{name} is not what was written")


def _digest(values: Array) -> int:
    return int(xxhash.xxh3_64_intdigest(np.ascontiguousarray(values).view(np.uint8).data))


PER_CLASS = ("probabilities", "distances")
"""(chips, classes without unknown) float16 each."""
_PACKED: dict[str, Any] = {
    "compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True,
}  # fmt: skip
_CHUNK_BYTES = 1 << 16

Put = Callable[[h5py.Dataset, slice, Array], None]


@dataclass(frozen=True, eq=False)
class FrameRows:
    """Where the chips of m frames lie; common to results and embeddings.

    Attributes
    ----------
    sequence
        (m,) int64, which frame.
    rows, columns
        (m,) int32 grids.
    offset
        (m,) int64 first chip of each frame in the flat arrays.
    """

    sequence: Array
    rows: Array
    columns: Array
    offset: Array

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def chips(self) -> Array:
        """(m,) number of chips of each frame."""
        return np.asarray(self.rows.astype(np.int64) * self.columns)

    @classmethod
    def of(cls, sequence: Sequence[int] | Array, grids: Sequence[tuple[int, int]]) -> "FrameRows":
        """Lay frames one after the other."""
        shape = np.array(grids, np.int32).reshape(-1, 2)
        chips = shape.astype(np.int64).prod(axis=1)
        offset = np.concatenate([[0], np.cumsum(chips)[:-1]]) if len(chips) else chips
        return cls(np.asarray(sequence, np.int64), shape[:, 0], shape[:, 1], offset)

    def write(self, group: h5py.Group) -> None:
        """Write the four columns."""
        meanings = ("frame, by its sequence number", "of chips", "of chips", "first chip")
        for name, meaning in zip(("sequence", "rows", "columns", "offset"), meanings, strict=True):
            group.create_dataset(name, data=getattr(self, name)).attrs["long_name"] = meaning

    @classmethod
    def read(cls, group: h5py.Group) -> "FrameRows":
        """Read the four columns."""
        found = cls(*(hdf.plain(group, n)[:] for n in ("sequence", "rows", "columns", "offset")))
        if len({len(found.sequence), len(found.rows), len(found.columns), len(found.offset)}) > 1:
            raise UnusableFileError(f"has columns of different lengths in {group.name}")
        return found


@dataclass(frozen=True, eq=False)
class Results:
    """Results of m frames with U class names, unknown first.

    Attributes
    ----------
    class_names
        U names; label n of the stack is class_names[n].
    frames
        Which frames, and where their chips are.
    label_map
        (m, R, C) uint8, `NO_CHIP` beyond a frame's grid.
    intervals
        (m, U, 3) float64 fraction, low, high; NaN for classes that the frame's support set
        does not have.
    chips
        probabilities and distances (chips, U - 1), novelty (chips,), all float16; NaN as above.
        May be empty.
    """

    class_names: tuple[str, ...]
    frames: FrameRows
    label_map: Array = field(repr=False)
    intervals: Array = field(repr=False)
    chips: dict[str, Array] = field(repr=False)


def pack(
    results: Sequence[FrameResult],
    sequence: Sequence[int] | Array,
    class_names: tuple[str, ...],
    grid: tuple[int, int] | None = None,
) -> Results:
    """Stack the results of frames.

    Parameters
    ----------
    class_names
        Unknown first, then every class of every result.
    grid
        (R, C) of the label stack; default: of the largest of these frames.
    """
    grids = [r.label_map.shape for r in results]
    frames = FrameRows.of(sequence, [(int(g[0]), int(g[1])) for g in grids])
    grid = grid or (int(frames.rows.max(initial=1)), int(frames.columns.max(initial=1)))
    labels = np.full((len(results), *grid), NO_CHIP, np.uint8)
    intervals = np.full((len(results), len(class_names), 3), np.nan)
    total, classes = int(frames.chips.sum()), len(class_names) - 1
    chips: dict[str, Array] = {
        name: np.full((total, classes), np.nan, np.float16) for name in PER_CLASS
    }
    chips["novelty"] = np.zeros(total, np.float16)
    for number, result in enumerate(results):
        codes = _codes(result.names, class_names)
        rows, columns = result.label_map.shape
        labels[number, :rows, :columns] = codes[result.label_map]
        intervals[number, codes] = result.intervals
        span = slice(int(frames.offset[number]), int(frames.offset[number]) + rows * columns)
        for name in PER_CLASS:
            flat = getattr(result, name).reshape(rows * columns, -1)
            chips[name][span][:, codes[:-1] - 1] = _half(flat)
        chips["novelty"][span] = _half(result.novelty.reshape(-1))
    return Results(class_names, frames, labels, intervals, chips)


def registry(known: Sequence[str], results: Iterable[FrameResult]) -> tuple[str, ...]:
    """Class names in the order in which they first appeared; unknown is the first."""
    names = dict.fromkeys(known or (UNKNOWN,))
    for result in results:
        names.update(dict.fromkeys(result.names))
    return tuple(names)


def _codes(names: Sequence[str], class_names: tuple[str, ...]) -> Array:
    """Return the stored code of each class of a result, and last that of unknown."""
    order = {name: code for code, name in enumerate(class_names)}
    return np.array([*(order[name] for name in names), 0], np.uint8)


def _half(values: Array) -> Array:
    """float16 without overflow to infinity."""
    if values.dtype == np.float16:
        return values
    limit = float(np.finfo(np.float16).max)
    return np.clip(values, -limit, limit).astype(np.float16)


def store(dataset: h5py.Dataset, rows: slice, values: Array) -> None:
    """Write rows of a dataset."""
    if len(values):
        dataset[rows] = values


class ResultsSink:
    """Datasets for the results of a known number of frames, filled piece by piece.

    Parameters
    ----------
    group
        Empty; gets the datasets.
    class_names
        Unknown first.
    frames
        Of everything that will be written.
    grid
        (R, C) of the label stack.
    kept
        Which of the per-chip arrays there will be.
    put
        Writes rows of a dataset.
    """

    def __init__(
        self,
        group: h5py.Group,
        class_names: tuple[str, ...],
        frames: FrameRows,
        grid: tuple[int, int],
        kept: Iterable[str],
        put: Put = store,
    ) -> None:
        self._put = put
        count, total, classes = len(frames), int(frames.chips.sum()), len(class_names)
        hdf.write_texts(group, "class_names", hdf.texts(class_names))
        frames.write(group)
        per_chunk = max(1, min(count, _CHUNK_BYTES // (grid[0] * grid[1])))
        self._labels = group.create_dataset(
            "label_map", (count, *grid), np.uint8, chunks=(per_chunk, *grid), fillvalue=NO_CHIP,
            compression="gzip", compression_opts=1, fletcher32=True,
        )  # fmt: skip
        self._labels.attrs["long_name"] = "index into class_names; 255: no chip there"
        self._intervals = group.create_dataset(
            "intervals", (count, classes, 3), np.float64, fillvalue=np.nan,
            chunks=(min(count, 1024), classes, 3), **_PACKED,
        )  # fmt: skip
        self._intervals.attrs["long_name"] = "fraction, low, high (95 %) of each of class_names"
        self._chips: dict[str, h5py.Dataset] = {}
        for name in kept:
            tail = () if name == "novelty" else (classes - 1,)
            rows = max(1, min(total, _CHUNK_BYTES // (2 * max(int(np.prod(tail)), 1))))
            self._chips[name] = group.create_dataset(
                name, (total, *tail), np.float16, chunks=(rows, *(max(t, 1) for t in tail)),
                fillvalue=np.nan, **_PACKED,
            )  # fmt: skip

    def write(self, piece: Results, frame: int, chip: int) -> None:
        """Write results whose first frame and chip have these numbers in the whole.

        Grid, class names and per-chip arrays are those of the whole.
        """
        frames = slice(frame, frame + len(piece.frames))
        self._put(self._labels, frames, piece.label_map)
        self._put(self._intervals, frames, piece.intervals)
        for name, dataset in self._chips.items():
            self._put(dataset, slice(chip, chip + len(piece.chips[name])), piece.chips[name])


def write_results(group: h5py.Group, results: Results) -> None:
    """Write results into an empty group."""
    sink = ResultsSink(
        group, results.class_names, results.frames, results.label_map.shape[1:], results.chips
    )
    sink.write(results, 0, 0)


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings of m frames by one encoder.

    Attributes
    ----------
    encoder_hash
        Of its weights.
    frames
        Which frames, and where their chips are.
    values
        (chips, D) float16.
    """

    encoder_hash: str
    frames: FrameRows
    values: Array = field(repr=False)

    @property
    def key(self) -> tuple[str, int]:
        """Embeddings of one key may lie in one dataset."""
        return self.encoder_hash, int(self.values.shape[1])


def create_embeddings(
    group: h5py.Group, encoder_hash: str, frames: FrameRows, dimension: int
) -> h5py.Dataset:
    """Make the (chips, D) dataset of one encoder in an empty group.

    Not compressed: half-precision noise hardly shrinks (benchmarks/archive.py).
    """
    group.attrs["NX_class"] = "NXcollection"
    hdf.write_text(group, "encoder_hash", encoder_hash)
    frames.write(group)
    total = int(frames.chips.sum())
    rows = max(1, min(total, 4 * _CHUNK_BYTES // (2 * max(dimension, 1))))
    values = group.create_dataset(
        "values", (total, dimension), np.float16, chunks=(rows, max(dimension, 1)),
        fletcher32=True,
    )  # fmt: skip
    values.attrs["long_name"] = "one embedding per chip, frame after frame in row order"
    return values


@dataclass(frozen=True)
class Session:
    """One start of the archiver.

    Attributes
    ----------
    number
        From 1.
    started
        Seconds since 1970.
    metadata
        What the writer was told: config, versions, …
    """

    number: int
    started: float
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Header:
    """What every file of a run says about the run.

    Attributes
    ----------
    run_id
        The same for the whole run.
    name
        Of the run.
    first, last
        Numbers of the published segments that the file holds.
    sessions
        Starts of the archiver that its frames come from.
    """

    run_id: str
    name: str
    first: int
    last: int
    sessions: tuple[Session, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """Frames in memory, as a segment holds them.

    Attributes
    ----------
    table
        Frame table, n rows.
    results
        Of the frames that did not fail; None where all failed.
    embeddings
        One entry per encoder.
    """

    table: Table
    results: Results | None
    embeddings: tuple[Embeddings, ...] = ()


def block_of(
    records: Sequence[FrameRecord],
    revisions: Sequence[int],
    first_sequence: int,
    session: int,
    class_names: tuple[str, ...],
    *,
    embeddings: bool,
) -> Block:
    """Arrange records for writing.

    Parameters
    ----------
    revisions
        Of each record.
    first_sequence
        Sequence number of the first record.
    class_names
        Of the run: unknown first, every class of these records included.
    embeddings
        Whether they are kept.
    """
    sequence = range(first_sequence, first_sequence + len(records))
    table = _table(records, revisions, sequence, session)
    good = [(r, s) for r, s in zip(records, sequence, strict=True) if r.result is not None]
    results = None
    if good:
        results = pack([r.result for r, _ in good if r.result], [s for _, s in good], class_names)
    found: dict[tuple[str, int], list[tuple[FrameRecord, int]]] = {}
    for record, number in good:
        if embeddings and record.embeddings is not None:
            key = (record.encoder_hash, record.embeddings.shape[2])
            found.setdefault(key, []).append((record, number))
    return Block(table, results, tuple(_embeddings(k[0], v) for k, v in found.items()))


def write_block(entry: h5py.Group, block: Block) -> None:
    """Write frames into the entry of a file."""
    layout.write_table(entry.create_group(layout.FRAMES), block.table)
    scorings = entry.create_group(layout.SCORINGS)
    scorings.attrs["NX_class"] = "NXcollection"
    if block.results is not None:
        group = scorings.create_group(layout.ACQUIRED)
        group.attrs["NX_class"] = "NXcollection"
        write_results(group, block.results)
    group = entry.create_group(layout.EMBEDDINGS)
    group.attrs["NX_class"] = "NXcollection"
    for number, one in enumerate(block.embeddings):
        target = group.create_group(f"encoder_{number}")
        dataset = create_embeddings(target, one.encoder_hash, one.frames, one.values.shape[1])
        if len(one.values):
            dataset[...] = one.values


def segment_image(header: Header, block: Block) -> bytes:
    """Bytes of a segment file."""
    with hdf.new_image() as file:
        entry = start_file(file, "segment", header)
        write_block(entry, block)
        return hdf.image(file)


def publish_segment(disk: Disk, path: Path, image: bytes) -> None:
    """Give a segment its name; whole on disk from then on.

    Raises
    ------
    OSError
        If that fails; it can be tried again with the same bytes.
    ArchiveError
        If another file has the name.
    """
    try:
        with disk.atomic(path, new=True) as temporary:
            disk.write(temporary, image)
    except FileExistsError as error:
        # An earlier attempt may have come this far before something failed.
        if path.read_bytes() != image:
            raise ArchiveError(
                f"{path}: was written by another archiver; stop one of them"
            ) from error
        disk.sync_folder(path.parent)


def start_file(file: h5py.File, kind: str, header: Header) -> h5py.Group:
    """Write what every file of a run begins with; returns its entry."""
    hdf.mark(file, kind)
    file.attrs["NX_class"] = "NXroot"
    file.attrs["default"] = layout.ENTRY
    entry = file.create_group(layout.ENTRY)
    entry.attrs["NX_class"] = "NXentry"
    entry.attrs["first_segment"] = header.first
    entry.attrs["last_segment"] = header.last
    hdf.write_text(entry, "run_id", header.run_id)
    hdf.write_text(entry, "title", header.name)
    sessions = entry.create_group(layout.SESSIONS)
    sessions.attrs["NX_class"] = "NXcollection"
    for session in header.sessions:
        group = sessions.create_group(f"{session.number:04d}")
        group.attrs["NX_class"] = "NXcollection"
        group.create_dataset("started", data=float(session.started)).attrs["units"] = "s"
        for key, text in session.metadata.items():
            hdf.write_text(group, _plain_name(key), text)
    return entry


@lru_cache(maxsize=1)
def installed_versions() -> str:
    """Versions of this package and of everything it needs, as JSON."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    try:
        required = metadata.requires("pychip-stream") or []
    except metadata.PackageNotFoundError:
        required = []
    for line in ("pychip-stream", *required):
        name = re.match(r"[A-Za-z0-9._-]+", line)
        if name is not None and "extra ==" not in line:
            with suppress(metadata.PackageNotFoundError):
                found[name[0]] = metadata.version(name[0])
    return json.dumps(found)


def _plain_name(key: str) -> str:
    name = key.replace("/", "_").strip(". ")
    return f"_{name}" if not name or name == "started" else name


def _embeddings(encoder_hash: str, found: list[tuple[FrameRecord, int]]) -> Embeddings:
    values = [r.embeddings for r, _ in found if r.embeddings is not None]
    frames = FrameRows.of([s for _, s in found], [v.shape[:2] for v in values])
    flat = [np.asarray(v, np.float16).reshape(-1, v.shape[2]) for v in values]
    return Embeddings(encoder_hash, frames, np.concatenate(flat))


def _table(
    records: Sequence[FrameRecord], revisions: Sequence[int], sequence: range, session: int
) -> Table:
    now = time.time()
    grids = [r.result.label_map.shape if r.result else (0, 0) for r in records]
    columns: dict[str, list[object]] = {
        name: [getattr(r, name) for r in records] for name in ("time", "read", "classified")
    }
    for name in ("index", "size", "mtime_ns", "seen"):
        columns[name] = [getattr(r.frame, name) for r in records]
    columns |= {
        "sequence": list(sequence),
        "revision": list(revisions),
        "exposed": [r.frame.time or np.nan for r in records],
        "archived": [now] * len(records),
        "pixel_size": [np.nan if r.pixel_size is None else r.pixel_size for r in records],
        "height": [r.shape[0] for r in records],
        "width": [r.shape[1] for r in records],
        "chip_width": [r.chip_size[0] for r in records],
        "chip_height": [r.chip_size[1] for r in records],
        "rows": [g[0] for g in grids],
        "columns": [g[1] for g in grids],
        "session": [session] * len(records),
    }
    for name in OF_FRAMES.names:
        columns[name] = [r.measured.get(name, np.nan) for r in records]
    words: dict[str, list[str]] = {
        "path": [r.frame.path for r in records],
        "content_hash": [r.content_hash for r in records],
        "unit": [r.unit or "" for r in records],
        "status": [r.status for r in records],
        "reason": [" ".join(r.reason.split())[:MAX_REASON] for r in records],
        "support_version": [r.result.support_version if r.result else "" for r in records],
        "encoder_hash": [r.encoder_hash for r in records],
        "device": [r.device for r in records],
    }
    table: Table = {}
    for column in layout.COLUMNS:
        if column.dtype == "S":
            table[column.name] = hdf.texts(words[column.name])
        else:
            table[column.name] = np.array(columns[column.name], column.dtype)
    return table
