"""Run reader: what a run holds, live or closed, read when it is asked for."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pychip_stream.archive import blocks, conversion, hdf, tables
from pychip_stream.archive.alerts import alert_table, read_alerts
from pychip_stream.archive.blocks import BLOCK_CHIPS, EmbeddingBlock
from pychip_stream.archive.catalog import FileCatalog
from pychip_stream.archive.facts import RunFacts
from pychip_stream.archive.finding import flat_grid
from pychip_stream.archive.layout import ACQUIRED, Table
from pychip_stream.archive.places import RunPlaces
from pychip_stream.archive.results import PER_CLASS, Results
from pychip_stream.domain.results import FrameResult
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError, ArchiveUsageError


def open_run(path: str | Path) -> "Run":
    """Open a run, live or closed.

    Parameters
    ----------
    path
        RUN.h5, RUN.live.h5, RUN.segments or RUN.

    Raises
    ------
    ArchiveError
        If there is no such run, or it cannot be read.
    """
    return Run(FileCatalog(RunPlaces.of(Path(path))))


class Run(RunFacts):
    """A run under one of its scorings.

    No file stays open between calls, so a reader never stands in the archiver's way. The
    classified frames are numbered 0, 1, … in order of time, the newest revision of each;
    numbers stay until `refresh`. `len` counts the failed frames too.
    """

    def with_scoring(self, name: str) -> "Run":
        """Return the same run under another scoring.

        Raises
        ------
        ArchiveUsageError
            If there is no such scoring.
        """
        if name not in self.scorings:
            raise ArchiveUsageError(
                f"{self.path}: has no scoring {name!r}; there are {', '.join(self.scorings)}"
            )
        return Run(self._files, name)

    @cached_property
    def fractions(self) -> pd.DataFrame:
        """A row per classified frame in order of time.

        Columns frame, index, path, time_s (seconds since the first frame), then for each class
        and unknown NAME, NAME_low, NAME_high (0…1, 95 % interval); NaN where the scoring lacks
        the frame, or its support set the class. A class called like one of the other columns
        of a table is "class NAME".
        """
        selection, present = self._finder.selection(self._scoring, self.sequence)
        return tables.fraction_table(self._catalog, selection, present, self._class_names)

    @cached_property
    def frames(self) -> pd.DataFrame:
        """A row per frame, also failed ones, in order of time: everything known of it.

        `frame` is the frame number, -1 for failed ones; docs/archive.md describes the others.
        """
        table = self._finder.table(self._catalog.table["sequence"])
        return tables.frame_table(self._catalog, table)

    def columns(self, *names: str) -> Table:
        """Columns of the frame table (see docs/archive.md), of the classified frames.

        Much faster than `frames`, where a few columns are wanted: arrays of `count` values in
        order of time, texts as UTF-8 bytes.

        Raises
        ------
        KeyError
            If there is no such column.
        """
        table = self._finder.table(self.sequence, names)
        return {name: table[name] for name in names}

    @property
    def failed(self) -> pd.DataFrame:
        """Rows of `frames` that could not be analysed, with path, index and reason."""
        frames = self.frames
        return frames[frames["status"] == "failed"].reset_index(drop=True)

    def label_map(self, frame: int) -> npt.NDArray[np.uint8]:
        """(rows, columns) uint8 index into `names`; len(names) means unknown.

        Raises
        ------
        IndexError
            If there is no such frame.
        ArchiveError
            If the scoring does not cover it or it cannot be read.
        """
        return label_grid(self._read(frame, ()), 0)

    def labels(self, frame: int) -> npt.NDArray[np.str_]:
        """(rows, columns) class names or "unknown"; raises as `label_map`."""
        return np.asarray((*self.names, UNKNOWN))[self.label_map(frame)]

    def probabilities(self, frame: int) -> npt.NDArray[np.float16]:
        """(rows, columns, K) float16; NaN for classes that the frame's support set lacks.

        Raises as `label_map`.
        """
        results = self._read(frame, ("probabilities",))
        return flat_grid(results.chips["probabilities"], results.frames, 0)

    def confidence(self, frame: int) -> npt.NDArray[np.float16]:
        """(rows, columns) probability of the most probable class; raises as `label_map`."""
        return np.asarray(np.fmax.reduce(self.probabilities(frame), axis=-1))

    def result(self, frame: int) -> FrameResult:
        """Everything that the scoring says of a frame; raises as `label_map`.

        Drift belongs to the acquisition and is a column of `frames`; here it is NaN.
        """
        results = self._read(frame, (*PER_CLASS, "novelty"))
        probabilities, distances, novelty = (
            flat_grid(results.chips[name], results.frames, 0).astype(np.float32)
            for name in (*PER_CLASS, "novelty")
        )
        return FrameResult(
            names=self.names,
            label_map=label_grid(results, 0),
            probabilities=probabilities,
            distances=distances,
            novelty=novelty,
            intervals=np.roll(results.intervals[0], -1, axis=0),
            support_version=self.support_version(frame),
        )

    def support_version(self, frame: int) -> str:
        """Version of the support set behind the labels of a frame under this scoring."""
        if self._scoring != ACQUIRED:
            return self._scoring
        row = self._catalog.classified[self._checked(frame)]
        return hdf.decode(self._catalog.table["support_version"][row])

    def embeddings(self, frame: int) -> npt.NDArray[np.float16]:
        """(rows, columns, D) float16, not standardised.

        Raises
        ------
        IndexError
            If there is no such frame.
        ArchiveError
            If the run keeps none of it (`archive.embeddings: false`).
        """
        sequence = self.sequence[[self._checked(frame)]]
        for encoder in self._catalog.encoders():
            frames, values = self._finder.embeddings(encoder, sequence)
            if len(frames):
                return flat_grid(values, frames, 0)
        raise ArchiveError(f"{self.path}: keeps no embeddings of frame {frame}")

    @property
    def embedded(self) -> dict[str, npt.NDArray[np.int64]]:
        """Hash of each encoder and the numbers of the frames with embeddings by it."""
        return dict(blocks.embedded(self._finder, self.sequence))

    @property
    def covered(self) -> npt.NDArray[np.int64]:
        """Numbers of the frames that the scoring covers."""
        return np.flatnonzero(self._finder.selection(self._scoring, self.sequence)[1])

    def embedding_blocks(
        self, frames: npt.NDArray[np.int64] | None = None, chips: int = BLOCK_CHIPS
    ) -> Iterator[EmbeddingBlock]:
        """Embeddings of frames (default: all) in order of time, about `chips` at once."""
        wanted = np.arange(self.count) if frames is None else frames
        yield from blocks.embedding_blocks(self._finder, self.sequence, wanted, chips)

    def result_blocks(
        self, kept: tuple[str, ...] = ("probabilities",), chips: int = BLOCK_CHIPS
    ) -> Iterator[tuple[npt.NDArray[np.int64], Results]]:
        """Frame numbers and results of all covered frames in order of time, block by block."""
        yield from blocks.result_blocks(
            self._finder, self._scoring, self.sequence, self._class_names, kept, chips
        )

    def to_xarray(self) -> Any:
        """Fractions with intervals, and label maps, as an `xarray.Dataset`.

        Raises
        ------
        UsageError
            If xarray is not installed.
        """
        return conversion.to_xarray(self)

    def to_hyperspy(self) -> Any:
        """Label maps as a HyperSpy signal, an image stack over time.

        Raises
        ------
        UsageError
            If HyperSpy is not installed.
        """
        return conversion.to_hyperspy(self)

    @property
    def alerts(self) -> pd.DataFrame:
        """A row per firing ("on") and clearing ("off") of an alert rule, with its reason."""
        return alert_table(read_alerts(self._catalog.places))

    def _read(self, frame: int, kept: tuple[str, ...]) -> Results:
        return self._results(self.sequence[[self._checked(frame)]], kept)

    def _results(self, sequence: npt.NDArray[np.int64], kept: tuple[str, ...]) -> Results:
        return self._finder.results(self._scoring, sequence, self._class_names, kept)


def label_grid(results: Results, number: int) -> npt.NDArray[np.uint8]:
    """(rows, columns) index into the class names without unknown; their number means unknown."""
    frames = results.frames
    codes = results.label_map[number, : int(frames.rows[number]), : int(frames.columns[number])]
    # Stored, unknown is 0 and the first class 1.
    return np.where(codes == 0, len(results.class_names) - 1, codes - 1).astype(np.uint8)
