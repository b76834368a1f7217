"""Selection: frames of several groups of a run, in the order in which they are wanted."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise

import h5py
import numpy as np

from pychip_stream import foreign
from pychip_stream.archive import hdf
from pychip_stream.archive.blocks import Rows, class_codes, read_into, stackable
from pychip_stream.archive.hdf import Array
from pychip_stream.archive.layout import NO_CHIP

_MOST_OPEN = 64


@dataclass(frozen=True, eq=False)
class Selection:
    """Frames of several groups in the order in which they are wanted; nothing is read yet.

    Attributes
    ----------
    sources
        Groups that frames may come from.
    source, row
        (m,) int64 each, where a frame is.
    """

    sources: tuple[Rows, ...]
    source: Array
    row: Array

    @classmethod
    def of(
        cls, sources: Sequence[Rows], wanted: Array, keep: Sequence[Array | None] | None = None
    ) -> "tuple[Selection, Array]":
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
            kept = ~source.unread
            if keep is not None and keep[number] is not None:
                kept &= keep[number]
            counting = np.flatnonzero(kept)
            sequences.append(source.sequence[counting])
            numbers.append(np.full(len(counting), number))
            rows.append(counting)
        if not sequences or not sum(map(len, sequences)):
            nothing = np.zeros(0, np.int64)
            return cls(tuple(sources), nothing, nothing), np.zeros(len(wanted), bool)
        sequence = np.concatenate(sequences)
        order = np.argsort(sequence, kind="stable")
        found = sequence[order]
        # The last of equal sequence numbers stands just before the insertion point on the right.
        at = np.searchsorted(found, wanted, side="right") - 1
        present = (at >= 0) & (found[np.maximum(at, 0)] == wanted)
        chosen = order[at[present]]
        numbered, row = np.concatenate(numbers), np.concatenate(rows)
        return cls(tuple(sources), numbered[chosen], row[chosen]), present

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, rows: slice) -> "Selection":
        return Selection(self.sources, self.source[rows], self.row[rows])

    def rows(self, names: tuple[str, ...] = ()) -> Rows:
        """Lay the frames one after the other, with every array that a source has.

        Parameters
        ----------
        names
            Classes, then unknown; of embeddings none.
        """
        places = np.zeros((3, len(self)), np.int64)
        kept: dict[str, None] = {}
        for number in np.unique(self.source).tolist():
            source, mine = self.sources[number], self.source == number
            for column, values in zip(
                places, (source.sequence, source.rows, source.columns), strict=True
            ):
                column[mine] = values[self.row[mine]]
            kept.update(dict.fromkeys(source.kept))
        encoder = self.sources[0].encoder if self.sources else ("", 0)
        return Rows.laid(places[0], places[1:].T, names=names, encoder=encoder, kept=tuple(kept))

    def intervals(self, names: tuple[str, ...]) -> Array:
        """(m, K + 1, 3) fraction, low, high under these classes, unknown last; reads nothing."""
        values = np.full((len(self), len(names), 3), np.nan)
        for number in np.unique(self.source).tolist():
            source = self.sources[number]
            codes = class_codes(source.names, names)
            known = codes != NO_CHIP
            mine = np.flatnonzero(self.source == number)
            values[mine[:, None], codes[known]] = source.intervals[self.row[mine]][:, known]
        return values

    def stretches(self) -> Iterator[tuple[int, int, int, int]]:
        """Consecutive rows of one source: its number, start and stop in it, place in here."""
        if not len(self):
            return
        broken = (np.diff(self.source) != 0) | (np.diff(self.row) != 1)
        edges = [0, *(np.flatnonzero(broken) + 1).tolist(), len(self)]
        for at, end in pairwise(edges):
            start = int(self.row[at])
            yield int(self.source[at]), start, start + end - at, at

    def pieces(self, chips: int, grid: tuple[int, int] | None = None) -> "Iterator[Selection]":
        """Cut into selections of at most about that many chips (at least one frame each).

        Parameters
        ----------
        grid
            (R, C) of the label stack of each; default: of the largest frame in it.
        """
        whole = self.rows()
        ends = np.cumsum(whole.counts)
        grids = whole.grids if grid is None else np.tile(grid, (len(self), 1))
        start = 0
        while start < len(self):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + chips, side="right")))
            stop = min(stop, start + stackable(grids[start:stop]))
            yield self[start:stop]
            start = stop

    def read(
        self,
        names: tuple[str, ...] = (),
        kept: Sequence[str] | None = None,
        grid: tuple[int, int] | None = None,
    ) -> Rows:
        """Read the frames.

        Parameters
        ----------
        names
            Classes to translate labels into, then unknown; of embeddings none.
        kept
            Per-chip arrays to read; default: every one that a source has.
        grid
            (R, C) of the label stack; default: of the largest frame.
        """
        rows = self.rows(names)
        rows = (rows if kept is None else replace(rows, kept=tuple(kept))).allocated(grid)
        groups: dict[int, h5py.Group] = {}
        with ExitStack() as stack:
            for number, start, stop, at in self.stretches():
                source = self.sources[number]
                if number not in groups:
                    if len(groups) > _MOST_OPEN:
                        stack.close()
                        groups.clear()
                    file = stack.enter_context(hdf.reading(source.path))
                    groups[number] = foreign.descend(file, source.where)
                read_into(rows, at, groups[number], source, start, stop)
        return rows
