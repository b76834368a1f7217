"""Blocks: rows of frames, in memory and in a file.

In memory unknown is the last class of all. Files say it first: there 0 is unknown and n the n-th
class, so that labels stay what they are when classes are added; only this module knows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import xxhash

from pychip_stream import foreign
from pychip_stream.archive import hdf, layout
from pychip_stream.archive.hdf import Array, UnusableFileError
from pychip_stream.archive.layout import NO_CHIP
from pychip_stream.domain.records import FrameResult, half
from pychip_stream.domain.support import UNKNOWN

PER_CLASS = ("probabilities", "distances")
"""(chips, K) float16 each."""
OF_RESULTS = (*PER_CLASS, "novelty")
VALUES = "values"
"""(chips, D) float16, the embeddings."""

_PLACES = {
    "sequence": "frame, by its sequence number", "rows": "of chips", "columns": "of chips",
    "offset": "first chip",
}  # fmt: skip
_PACKED: dict[str, Any] = {
    "compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True,
}  # fmt: skip
_CHUNK_BYTES = 1 << 16
_STACK_BYTES = 64 << 20
_MOST = (1 << 31) - 1
"""Largest grid, and largest number of a chip, that a file may name."""

_T = TypeVar("_T")
Put = Callable[[h5py.Dataset, slice, Array], None]


def _nothing() -> Array:
    return np.zeros(0)


def places_digest(rows: "Rows") -> str:
    """Hash of what is small of results or embeddings; the arrays have checksums of HDF5."""
    numbers = [np.asarray(getattr(rows, name), "<i8").tobytes() for name in _PLACES]
    words = "\0".join((*rows.names, rows.encoder[0])).encode("utf-8", "surrogateescape")
    return xxhash.xxh3_128_hexdigest(b"".join([*numbers, words]))


@dataclass(frozen=True, eq=False)
class Rows:
    """Chips of m frames: results under K classes, or embeddings by one encoder.

    Rows that lie in a file hold only what is small; `label_map` and `arrays` are read when they
    are needed (`read_into`).

    Attributes
    ----------
    sequence
        (m,) int64, which frame.
    rows, columns
        (m,) int32 grids.
    offset
        (m,) int64 first chip of each frame in the flat arrays.
    names
        Of the K classes, then unknown; empty for embeddings.
    encoder
        Hash of its weights, and D; for embeddings.
    kept
        Names of the per-chip arrays that there are.
    intervals
        (m, K + 1, 3) float64 fraction, low, high; NaN for classes that the frame's support set
        does not have.
    label_map
        (m, R, C) uint8 index into `names`, `NO_CHIP` beyond a frame's grid.
    arrays
        Per-chip arrays by name, flat, frame after frame; NaN as above.
    path, where
        File, and group in it.
    damaged
        (m,) bool, frames whose arrays cannot be read; empty where that is not known.
    provenance
        How results were made, as JSON; empty for what was classified while acquiring, which the
        sessions tell.
    """

    sequence: Array
    rows: Array
    columns: Array
    offset: Array
    names: tuple[str, ...] = ()
    encoder: tuple[str, int] = ("", 0)
    kept: tuple[str, ...] = ()
    intervals: Array = field(default_factory=_nothing, repr=False)
    label_map: Array = field(default_factory=_nothing, repr=False)
    arrays: Mapping[str, Array] = field(default_factory=dict, repr=False)
    path: Path = Path()
    where: str = ""
    damaged: Array = field(default_factory=_nothing, repr=False)
    provenance: str = ""

    @classmethod
    def laid(
        cls, sequence: Sequence[int] | Array, grids: Sequence[Any] | Array, **facts: Any
    ) -> "Rows":
        """Lay frames one after the other; `grids` are their rows and columns."""
        shape = np.asarray(grids, np.int32).reshape(-1, 2)
        chips = shape.astype(np.int64).prod(axis=1)
        offset = np.concatenate([[0], np.cumsum(chips)[:-1]]) if len(chips) else chips
        return cls(np.asarray(sequence, np.int64), shape[:, 0], shape[:, 1], offset, **facts)

    def __len__(self) -> int:
        return len(self.sequence)

    @property
    def counts(self) -> Array:
        """(m,) number of chips of each frame."""
        return np.asarray(self.rows.astype(np.int64) * self.columns)

    @property
    def unread(self) -> Array:
        """(m,) bool, `damaged`, where that is known."""
        return self.damaged if len(self.damaged) else np.zeros(len(self), bool)

    @property
    def grids(self) -> Array:
        """(m, 2) rows and columns of each frame."""
        return np.stack([self.rows, self.columns], axis=1)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns that hold every frame."""
        return int(self.rows.max(initial=1)), int(self.columns.max(initial=1))

    def span(self, first: int, last: int | None = None) -> slice:
        """Place of the chips of a frame (or of all up to another) in the flat arrays."""
        last = first if last is None else last
        end = int(self.offset[last]) + int(self.rows[last]) * int(self.columns[last])
        return slice(int(self.offset[first]), end)

    def labels(self, number: int) -> Array:
        """(rows, columns) labels of a frame."""
        return self.label_map[number, : int(self.rows[number]), : int(self.columns[number])]

    def array(self, name: str, number: int) -> Array:
        """(rows, columns, …) per-chip array of a frame."""
        values = self.arrays[name]
        grid = int(self.rows[number]), int(self.columns[number])
        return np.asarray(values[self.span(number)].reshape(*grid, *values.shape[1:]))

    def take(self, chosen: Array) -> "Rows":
        """Return the frames of an (m,) bool array."""
        chip = np.repeat(chosen, self.counts)
        return Rows.laid(
            self.sequence[chosen], self.grids[chosen], names=self.names, kept=self.kept,
            intervals=self.intervals[chosen], label_map=self.label_map[chosen],
            arrays={name: values[chip] for name, values in self.arrays.items()},
        )  # fmt: skip

    def allocated(self, grid: tuple[int, int] | None = None) -> "Rows":
        """Return the same rows with arrays to fill; label maps as large as `grid`."""
        total, classes = int(self.counts.sum()), max(len(self.names) - 1, 0)
        if not self.names:
            values = np.empty((total, self.encoder[1]), np.float16)
            return replace(self, arrays={VALUES: values})
        return replace(
            self,
            intervals=np.full((len(self), len(self.names), 3), np.nan),
            label_map=np.full((len(self), *(grid or self.grid)), NO_CHIP, np.uint8),
            arrays={
                name: np.full((total, classes) if name in PER_CLASS else total, np.nan, np.float16)
                for name in self.kept
            },
        )

    def at(self, path: Path, where: str) -> "Rows":
        """Return the rows as they lie in a file, without the large arrays."""
        return replace(self, label_map=_nothing(), arrays={}, path=path, where=where)


def class_codes(names: Sequence[str], target: Sequence[str]) -> Array:
    """(n,) uint8 place of each of `names` in `target`; `NO_CHIP` where it lacks one."""
    order = {name: code for code, name in enumerate(target)}
    return np.array([order.get(name, NO_CHIP) for name in names], np.uint8)


def pack(
    results: Sequence[FrameResult],
    sequence: Sequence[int] | Array,
    names: tuple[str, ...],
    grid: tuple[int, int] | None = None,
) -> Rows:
    """Stack the results of frames.

    Parameters
    ----------
    names
        Every class of every result, then unknown.
    grid
        (R, C) of the label stack; default: of the largest of these frames.
    """
    grids = [r.label_map.shape for r in results]
    rows = Rows.laid(sequence, grids, names=names, kept=OF_RESULTS).allocated(grid)
    for number, result in enumerate(results):
        codes = class_codes((*result.names, UNKNOWN), names)
        height, width = result.label_map.shape
        rows.label_map[number, :height, :width] = codes[result.label_map]
        rows.intervals[number, codes] = result.intervals
        mine = rows.span(number)
        for name in PER_CLASS:
            flat = getattr(result, name).reshape(height * width, -1)
            rows.arrays[name][mine][:, codes[:-1]] = half(flat)
        rows.arrays["novelty"][mine] = half(result.novelty.reshape(-1))
    return rows


def stackable(grids: Sequence[Any] | Array) -> int:
    """Tell how many frames, at least one, fit into one stack of labels of bounded size.

    A stack is as high and wide as its highest and its widest frame: those of 1 x n and n x 1
    chips make one of n x n.
    """
    highest = np.maximum.accumulate(np.asarray(grids, np.int64).reshape(-1, 2), axis=0)
    cells = highest.prod(axis=1) * np.arange(1, len(highest) + 1)
    return max(int(np.searchsorted(cells, _STACK_BYTES, "right")), 1)


def registry(known: Sequence[str], results: Iterable[FrameResult]) -> tuple[str, ...]:
    """Class names in the order in which they first appeared, then unknown."""
    names = dict.fromkeys(known)
    names.pop(UNKNOWN, None)
    for result in results:
        names.update(dict.fromkeys(result.names))
    return (*names, UNKNOWN)


def stored_order(classes: Sequence[_T]) -> tuple[_T, ...]:
    """Put the classes, unknown last, into the order of the labels that files hold."""
    return (*classes[-1:], *classes[:-1])


def read_rows(group: h5py.Group, path: Path) -> Rows:
    """Read what is small of the results or embeddings in a group."""
    places = [foreign.plain(group, name, "iu")[...].astype(np.int64) for name in _PLACES]
    sequence, rows, columns, offset = places
    if len({v.shape for v in places}) > 1 or sequence.ndim != 1:
        raise UnusableFileError(f"has columns of different lengths in {group.name}")
    if any(v.min(initial=0) < 0 or v.max(initial=0) > _MOST for v in (rows, columns, offset)):
        raise UnusableFileError(f"has impossible grids in {group.name}")
    small = rows.astype(np.int32), columns.astype(np.int32)
    found = Rows(sequence, *small, offset, path=path, where=group.name)
    chips = int((offset + found.counts).max(initial=0))
    if foreign.has(group, "encoder_hash"):
        _, width = _sized(group, VALUES, "f", (chips, -1))
        return replace(found, encoder=(hdf.read_text(group, "encoder_hash"), width), kept=(VALUES,))
    names = hdf.strings(hdf.read_texts(group, "class_names"))
    if not 0 < len(names) <= NO_CHIP:
        raise UnusableFileError(f"has {len(names)} class names in {group.name}")
    intervals = foreign.plain(group, "intervals", "f")[...]
    if intervals.shape != (len(found), len(names), 3):
        raise UnusableFileError(f"has intervals of shape {intervals.shape} in {group.name}")
    kept = tuple(name for name in OF_RESULTS if foreign.has(group, name))
    for name in kept:
        _sized(group, name, "f", (chips, len(names) - 1) if name in PER_CLASS else (chips,))
    if len(found):
        _sized(group, "label_map", "u", (len(found), *found.grid))
    return replace(
        found,
        names=(*names[1:], *names[:1]),
        kept=kept,
        intervals=np.concatenate([intervals[:, 1:], intervals[:, :1]], axis=1),
        provenance=hdf.read_text(group, layout.PROVENANCE)
        if foreign.has(group, layout.PROVENANCE)
        else "",
    )


def _sized(group: h5py.Group, name: str, kind: str, least: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of a large array, which must hold at least so much; -1 where any width will do."""
    dataset = foreign.stored(group, name)
    shape: tuple[int, ...] = dataset.shape
    enough = len(shape) == len(least) and all(a >= b for a, b in zip(shape, least, strict=True))
    if dataset.dtype.kind != kind or not enough:
        raise UnusableFileError(
            f"has a {dataset.name} of {shape} {dataset.dtype}, which its frames do not fit"
        )
    return shape


def read_into(
    target: Rows, at: int, group: h5py.Group, source: Rows, start: int, stop: int
) -> None:
    """Read frames `start`…`stop` of a group, whose rows are `source`, into allocated rows.

    Parameters
    ----------
    at
        Where the first of them goes; labels are translated into the classes of the target.
    """
    codes = class_codes(source.names, target.names)
    known = codes != NO_CHIP
    if target.names:
        frames = slice(at, at + stop - start)
        table = np.full(256, NO_CHIP, np.uint8)
        table[: len(codes)] = stored_order(codes.tolist())
        found = foreign.stored(group, "label_map")[start:stop]
        if ((found < len(codes)).sum(axis=(1, 2)) != source.counts[start:stop]).any():
            raise UnusableFileError(f"has labels without a class in {group.name}")
        height, width = np.minimum(found.shape[1:], target.label_map.shape[1:])
        target.label_map[frames, :height, :width] = table[found[:, :height, :width]]
        target.intervals[frames, codes[known]] = source.intervals[start:stop, known]
    chips, first = source.span(start, stop - 1), int(target.offset[at])
    for name, values in target.arrays.items():
        if name not in source.kept:
            continue
        into = values[first : first + chips.stop - chips.start]
        if name in PER_CLASS and source.names != target.names:
            into[:, codes[:-1][known[:-1]]] = foreign.stored(group, name)[chips][:, known[:-1]]
        else:
            foreign.stored(group, name).read_direct(into, chips)


def store(dataset: h5py.Dataset, rows: slice, values: Array) -> None:
    """Write rows of a dataset."""
    if len(values):
        dataset[rows] = values


class RowsWriter:
    """Fills an empty group with results or embeddings, piece by piece.

    Parameters
    ----------
    whole
        Everything that will be written, without its arrays.
    grid
        (R, C) of the label stack.
    put
        Writes rows of a dataset.
    """

    def __init__(
        self, group: h5py.Group, whole: Rows, grid: tuple[int, int], put: Put = store
    ) -> None:
        self._put = put
        self._frame = self._chip = 0
        count, total, classes = len(whole), int(whole.counts.sum()), len(whole.names)
        group.attrs["NX_class"] = "NXcollection"
        group.attrs[layout.DIGEST] = np.bytes_(places_digest(whole))
        if whole.names:
            hdf.write_texts(group, "class_names", hdf.texts(stored_order(whole.names)))
        else:
            hdf.write_text(group, "encoder_hash", whole.encoder[0])
        for name, meaning in _PLACES.items():
            group.create_dataset(name, data=getattr(whole, name)).attrs["long_name"] = meaning
        self._arrays: dict[str, h5py.Dataset] = {}
        if not whole.names:
            # Not compressed: half-precision noise hardly shrinks (benchmarks/archive.py).
            width = whole.encoder[1]
            chunk = (_chunk(total, 2 * width, 4 * _CHUNK_BYTES), max(width, 1))
            values = group.create_dataset(
                VALUES, (total, width), np.float16, chunks=chunk, fletcher32=True
            )
            values.attrs["long_name"] = "one embedding per chip, frame after frame in row order"
            self._arrays[VALUES] = values
            return
        self._labels = group.create_dataset(
            "label_map", (count, *grid), np.uint8, fillvalue=NO_CHIP,
            chunks=(_chunk(count, grid[0] * grid[1]), *grid),
            compression="gzip", compression_opts=1, fletcher32=True,
        )  # fmt: skip
        self._labels.attrs["long_name"] = "index into class_names; 255: no chip there"
        self._intervals = group.create_dataset(
            "intervals", (count, classes, 3), np.float64, fillvalue=np.nan,
            chunks=(min(count, 1024), classes, 3), **_PACKED,
        )  # fmt: skip
        self._intervals.attrs["long_name"] = (
            "estimated fraction (prevalence), low, high (95 %) of each of class_names"
        )
        for name in whole.kept:
            tail = (classes - 1,) if name in PER_CLASS else ()
            rows = _chunk(total, 2 * int(np.prod(tail)))
            self._arrays[name] = group.create_dataset(
                name, (total, *tail), np.float16, chunks=(rows, *(max(t, 1) for t in tail)),
                fillvalue=np.nan, **_PACKED,
            )  # fmt: skip

    def write(self, piece: Rows) -> None:
        """Write the next rows; label stack, class names and arrays are those of the whole."""
        if piece.names:
            frames = slice(self._frame, self._frame + len(piece))
            known = np.arange(len(piece.names), dtype=np.uint8)
            table = np.full(256, NO_CHIP, np.uint8)
            table[list(stored_order(known.tolist()))] = known
            self._put(self._labels, frames, table[piece.label_map])
            self._put(self._intervals, frames, np.roll(piece.intervals, 1, axis=1))
        chips = slice(self._chip, self._chip + int(piece.counts.sum()))
        for name, dataset in self._arrays.items():
            self._put(dataset, chips, piece.arrays[name])
        self._frame += len(piece)
        self._chip = chips.stop


def _chunk(count: int, row_bytes: int, limit: int = _CHUNK_BYTES) -> int:
    """Rows of a chunk."""
    return max(1, min(count, limit // max(row_bytes, 1)))
