"""Gathering: rows out of several files into one array, read in as long stretches as possible."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import h5py
import numpy as np

from pychip_stream.archive import hdf
from pychip_stream.archive.hdf import Array
from pychip_stream.archive.layout import NO_CHIP
from pychip_stream.archive.parts import EmbeddingsIndex, Part, ResultsIndex
from pychip_stream.archive.results import FrameRows, Results


class Source(NamedTuple):
    """One group of results or embeddings in one file."""

    part: Part
    held: ResultsIndex | EmbeddingsIndex


class Stretch(NamedTuple):
    """Rows `start`…`stop` of a source, wanted from position `at` on."""

    source: int
    start: int
    stop: int
    at: int


@dataclass(frozen=True, eq=False)
class Selection:
    """Rows of sources in the order in which they are wanted.

    Attributes
    ----------
    sources
        Where rows may come from.
    source, row
        (m,) int64 each.
    """

    sources: tuple[Source, ...]
    source: Array
    row: Array

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, rows: slice) -> "Selection":
        return Selection(self.sources, self.source[rows], self.row[rows])

    @property
    def frames(self) -> FrameRows:
        """Which frames, laid one after the other."""
        columns = [np.zeros(len(self), np.int64) for _ in range(3)]
        for number in np.unique(self.source).tolist():
            frames = self.sources[number].held.frames
            mine = self.source == number
            rows = self.row[mine]
            for column, values in zip(
                columns, (frames.sequence, frames.rows, frames.columns), strict=True
            ):
                column[mine] = values[rows]
        return FrameRows.of(columns[0], np.stack(columns[1:], axis=1))  # type: ignore[arg-type]

    def stretches(self) -> Iterator[Stretch]:
        """Consecutive rows of one source, together."""
        if not len(self):
            return
        broken = (np.diff(self.source) != 0) | (np.diff(self.row) != 1)
        edges = [0, *(np.flatnonzero(broken) + 1).tolist(), len(self)]
        for at, end in pairwise(edges):
            start = int(self.row[at])
            yield Stretch(int(self.source[at]), start, start + end - at, at)

    def pieces(self, chips: int) -> Iterator["Selection"]:
        """Cut into selections of at most about that many chips (at least one frame each)."""
        ends = np.cumsum(self.frames.chips)
        start = 0
        while start < len(self):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + chips, side="right")))
            yield self[start:stop]
            start = stop


def select(
    sources: Sequence[Source], wanted: Array, keep: Sequence[Array | None] | None = None
) -> tuple[Selection, Array]:
    """Find frames in sources; where several have one, the last of them.

    Parameters
    ----------
    wanted
        (n,) sequence numbers in the order they are wanted.
    keep
        For each source which of its rows count; None means all.

    Returns
    -------
    What was found, and (n,) which of `wanted` that is.
    """
    sequences, numbers, rows = [], [], []
    for number, source in enumerate(sources):
        mine = source.held.frames.sequence
        counting = np.arange(len(mine))
        kept = keep[number] if keep is not None else None
        if kept is not None:
            counting = counting[kept]
        sequences.append(mine[counting])
        numbers.append(np.full(len(counting), number))
        rows.append(counting)
    if not sequences or not sum(map(len, sequences)):
        nothing = np.zeros(0, np.int64)
        return Selection(tuple(sources), nothing, nothing), np.zeros(len(wanted), bool)
    sequence = np.concatenate(sequences)
    order = np.argsort(sequence, kind="stable")
    found = sequence[order]
    # The last of equal sequence numbers stands just before the insertion point on the right.
    at = np.searchsorted(found, wanted, side="right") - 1
    present = (at >= 0) & (found[np.maximum(at, 0)] == wanted)
    chosen = order[at[present]]
    numbered, row = np.concatenate(numbers), np.concatenate(rows)
    return Selection(tuple(sources), numbered[chosen], row[chosen]), present


def gather_results(
    selection: Selection,
    class_names: tuple[str, ...],
    grid: tuple[int, int] | None = None,
    kept: Sequence[str] = (),
) -> Results:
    """Read results.

    Parameters
    ----------
    class_names
        To translate the labels of every source into.
    grid
        (R, C) of the label stack; default: of the largest frame selected.
    kept
        Per-chip arrays to read.
    """
    frames = selection.frames
    grid = grid or (int(frames.rows.max(initial=1)), int(frames.columns.max(initial=1)))
    count, classes, total = len(selection), len(class_names), int(frames.chips.sum())
    labels = np.full((count, *grid), NO_CHIP, np.uint8)
    intervals = np.full((count, classes, 3), np.nan)
    chips = {
        name: np.full((total,) if name == "novelty" else (total, classes - 1), np.nan, np.float16)
        for name in kept
    }
    with _Opened(selection.sources) as files:
        for stretch in selection.stretches():
            held = selection.sources[stretch.source].held
            assert isinstance(held, ResultsIndex)
            group = files.group(stretch.source)
            codes = translation(held.class_names, class_names)
            span = slice(stretch.at, stretch.at + stretch.stop - stretch.start)
            found = group["label_map"][stretch.start : stretch.stop]
            height, width = (min(a, b) for a, b in zip(found.shape[1:], grid, strict=True))
            labels[span, :height, :width] = codes[found[:, :height, :width]]
            known = codes[: len(held.class_names)] != NO_CHIP
            targets = codes[: len(held.class_names)][known]
            intervals[span, targets] = held.intervals[stretch.start : stretch.stop, known]
            flat, first = _chip_span(held.frames, stretch), int(frames.offset[stretch.at])
            for name, values in chips.items():
                if name not in held.kept:
                    continue
                piece = group[name][flat]
                into = values[first : first + len(piece)]
                if name == "novelty":
                    into[:] = piece
                else:
                    into[:, targets[1:].astype(int) - 1] = piece[:, known[1:]]
    return Results(class_names, frames, labels, intervals, chips)


def gather_embeddings(selection: Selection, dimension: int) -> tuple[FrameRows, Array]:
    """Read embeddings: which frames, and (chips, D) float16."""
    frames = selection.frames
    values = np.empty((int(frames.chips.sum()), dimension), np.float16)
    with _Opened(selection.sources) as files:
        for stretch in selection.stretches():
            flat = _chip_span(selection.sources[stretch.source].held.frames, stretch)
            first = int(frames.offset[stretch.at])
            target = values[first : first + flat.stop - flat.start]
            files.group(stretch.source)["values"].read_direct(target, flat)
    return frames, values


def translation(names: Sequence[str], target: Sequence[str]) -> Array:
    """(256,) uint8 from a label of one list of names to that of another; else `NO_CHIP`."""
    order = {name: code for code, name in enumerate(target)}
    codes = np.full(256, NO_CHIP, np.uint8)
    codes[: len(names)] = [order.get(name, NO_CHIP) for name in names]
    return codes


def _chip_span(frames: FrameRows, stretch: Stretch) -> slice:
    last = stretch.stop - 1
    end = int(frames.offset[last]) + int(frames.rows[last]) * int(frames.columns[last])
    return slice(int(frames.offset[stretch.start]), end)


class _Opened:
    """Files of sources, opened when they are first needed and closed together."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._stack = ExitStack()
        self._groups: dict[int, h5py.Group] = {}

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)  # damage that came up while reading is named as such

    def group(self, number: int) -> h5py.Group:
        if number not in self._groups:
            if len(self._groups) > 64:
                self._stack.close()
                self._groups.clear()
            source = self._sources[number]
            file = self._stack.enter_context(hdf.reading(source.part.path))
            self._groups[number] = hdf.subgroup(file, source.held.where)
        return self._groups[number]
