"""Run reader: what a run holds, live or closed, read when it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pychip_stream.archive import convert, hdf, layout
from pychip_stream.archive.alert_journal import alert_table, read_alerts
from pychip_stream.archive.blocks import OF_RESULTS, VALUES, Rows
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.exclusions import Exclusion, FrameKey
from pychip_stream.archive.files import RunPlaces, Session
from pychip_stream.archive.layout import ACQUIRED, Table
from pychip_stream.archive.readings import Stimulus
from pychip_stream.archive.scorings import default_scoring
from pychip_stream.domain.colors import UNKNOWN_COLOR, color_of, shown_color
from pychip_stream.domain.quantities import find
from pychip_stream.domain.records import FrameResult
from pychip_stream.domain.support import UNKNOWN, SupportSet
from pychip_stream.errors import ArchiveError, ArchiveUsageError

if TYPE_CHECKING:
    import pandas as pd

BLOCK_CHIPS = 1 << 17


def open_run(path: str | Path, *, everything: bool = False) -> Run:
    """Open a run, live or closed.

    Parameters
    ----------
    path
        RUN.h5, RUN.live.h5, RUN.segments or RUN.
    everything
        Frames that were left out (`exclude`) count like any other.

    Raises
    ------
    ArchiveError
        If there is no such run, or it cannot be read.
    """
    return Run(FileCatalog(RunPlaces.of(Path(path))), everything=everything)


class Run(AbstractContextManager["Run"]):
    """A run under one of its scorings; no file of it stays open between calls.

    The classified frames are numbered 0, 1, … in order of time, the newest revision of each;
    numbers stay until `refresh`. `len` counts the failed frames too, `archived` earlier revisions.
    Frames that were left out keep their numbers; what goes over the frames is without them.
    """

    def __init__(
        self, files: FileCatalog, scoring: str | None = None, *, everything: bool = False
    ) -> None:
        self._files = files
        self._asked = scoring
        self.everything = everything
        self._take()

    def __len__(self) -> int:
        return len(self._catalog.order)

    def refresh(self) -> bool:
        """Take in what was archived since; whether there was anything."""
        before = self._catalog.told, self._scoring
        self._take()
        return before != (self._catalog.told, self._scoring)

    def _take(self) -> None:
        """Give numbers to the frames that there are now."""
        self._catalog: Catalog = self._files.refresh()
        self._scoring = self._asked or default_scoring(self._catalog)
        self.archived = len(self._catalog.table["sequence"])
        for name in ("intervals", "fractions", "frames", "names", "colors"):
            self.__dict__.pop(name, None)

    def close(self) -> None:
        """Nothing stays open between calls; for those who close what they opened."""

    def __exit__(self, *_error: object) -> None: ...

    def with_scoring(self, name: str, *, everything: bool | None = None) -> Run:
        """Return the same run under another scoring; `everything` as in `open_run`."""
        if name not in self.scorings:
            raise ArchiveUsageError(
                f"{self.path}: has no scoring {name!r}; there are {', '.join(self.scorings)}"
            )
        chosen = self.everything if everything is None else everything
        return Run(self._files, name, everything=chosen)

    @property
    def path(self) -> Path:
        """The archive, which a live run does not have yet."""
        return self._catalog.places.closed

    @property
    def live(self) -> bool:
        """Whether the run is not closed, or is continued."""
        return any(p.kind == "segment" for p in self._catalog.parts) or not self._catalog.parts

    @property
    def run_id(self) -> str:
        """Identifies the run; empty where nothing was ever archived."""
        return self._catalog.run_id

    @property
    def count(self) -> int:
        """Number of classified frames; they are numbered 0 … count - 1."""
        return len(self._catalog.classified)

    @property
    def start(self) -> float:
        """Time of the first frame that was not left out in seconds since 1970; NaN without one."""
        return self._catalog.start

    @property
    def scoring(self) -> str:
        """Scoring that is shown: "acquired" or the version of a support set."""
        return self._scoring

    @property
    def scorings(self) -> tuple[str, ...]:
        """Names of all scorings."""
        return tuple(self._catalog.scoring_names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The K class names, without unknown."""
        return self._catalog.class_names(self._scoring)[:-1]

    @cached_property
    def colors(self) -> dict[str, str]:
        """Colour (#rrggbb) of each class and of unknown, from the newest support set with it."""
        colors: dict[str, str] = {}
        for version in self._versions_by_use():
            for one in self.support_set(version).classes:
                colors.setdefault(one.name, one.color)
            if colors.keys() >= set(self.names):
                break
        plain = {n: color_of(i) for i, n in enumerate(self.names)} | {UNKNOWN: UNKNOWN_COLOR}
        return {n: shown_color(colors.get(n, c)) for n, c in plain.items()}

    def support_set(self, version: str | None = None) -> SupportSet:
        """Support set of the newest frame under this scoring, or another that was in use.

        Raises
        ------
        ArchiveError
            If the run does not hold it.
        """
        if version is None:
            versions = self._versions_by_use()
            if not versions:
                raise ArchiveError(f"{self.path}: holds no support set")
            version = versions[0]
        return self._files.read(lambda catalog: catalog.support(version))

    @property
    def support_versions(self) -> tuple[str, ...]:
        """Versions of the support sets that the run holds."""
        return tuple(self._catalog.support_versions)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Starts of the archiver, with the config and versions that each was told."""
        found = {s.number: s for p in self._catalog.parts for s in p.header.sessions}
        return tuple(found[number] for number in sorted(found))

    @property
    def metadata(self) -> dict[str, str]:
        """What the newest start of the archiver was told."""
        return dict(self.sessions[-1].metadata) if self.sessions else {}

    @property
    def config(self) -> dict[str, Any]:
        """Configuration of the newest start of the archiver, as far as it was told."""
        return self.sessions[-1].config if self.sessions else {}

    @property
    def watch(self) -> dict[str, Any]:
        """Its section on the acquisition folder; empty where it was not told."""
        watch = self.config.get("watch")
        return watch if isinstance(watch, dict) else {}

    @property
    def scoring_provenance(self) -> dict[str, Any]:
        """How the scoring that is shown was made; empty for "acquired", see `sessions`."""
        return dict(json.loads(self._catalog.provenance(self._scoring) or "{}"))

    @property
    def root(self) -> Path | None:
        """Acquisition folder that the frames' paths are relative to, where it is known."""
        if "root" in self.metadata:
            return Path(self.metadata["root"])
        return Path(named) if isinstance(named := self.watch.get("root"), str) else None

    @property
    def sequence(self) -> npt.NDArray[np.int64]:
        """(count,) numbers in order of archiving of the classified frames, in order of time."""
        return np.asarray(self._catalog.table["sequence"][self._catalog.classified])

    @cached_property
    def intervals(self) -> npt.NDArray[np.float64]:
        """(count, K + 1, 3) fraction, low, high (0…1, 95 %) of `names`, then unknown.

        NaN where the scoring lacks the frame, or its support set the class, or it was left out.
        """
        return self._catalog.intervals(self._scoring, everything=self.everything)

    @cached_property
    def fractions(self) -> pd.DataFrame:
        """A row per classified frame that was not left out, in order of time.

        Columns frame, index, path, time_s (seconds since the first frame), then for each class
        and unknown NAME, NAME_low, NAME_high, as in `intervals`. A class called like one of the
        other columns of a table is "class NAME". The index is the frame number, too. With
        `everything` a column excluded says which were left out.
        """
        return convert.fraction_table(self, self._catalog, np.flatnonzero(self._counts))

    @cached_property
    def frames(self) -> pd.DataFrame:
        """A row per frame, also failed ones, in order of time: everything known of it.

        `frame` is the frame number, -1 for failed ones; `excluded` whether it was left out;
        docs/archive.md describes the others.
        """
        return convert.frame_table(self._catalog, self._table(self._catalog.table["sequence"]))

    def columns(self, *names: str) -> Table:
        """Columns of the frame table (see docs/archive.md), of the classified frames.

        Much faster than `frames`, where a few columns are wanted: arrays of `count` values in
        order of time, texts as UTF-8 bytes; NaN for quantities that were not measured.

        Raises
        ------
        KeyError
            If there is no such column.
        """
        table = self._table(self.sequence, names)
        unknown = np.full(self.count, np.nan)
        return {name: table[name] if name in table or not find(name) else unknown for name in names}

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
        return self._read(frame, ()).labels(0)

    def labels(self, frame: int) -> npt.NDArray[np.str_]:
        """(rows, columns) class names or "unknown"; raises as `label_map`."""
        return np.asarray(self._every)[self.label_map(frame)]

    def probabilities(self, frame: int) -> npt.NDArray[np.float16]:
        """(rows, columns, K) float16; NaN for classes that the frame's support set lacks.

        Raises as `label_map`.
        """
        return self._read(frame, ("probabilities",)).array("probabilities", 0)

    def confidence(self, frame: int) -> npt.NDArray[np.float16]:
        """(rows, columns) probability of the most probable class; raises as `label_map`."""
        return np.asarray(np.fmax.reduce(self.probabilities(frame), axis=-1))

    def result(self, frame: int) -> FrameResult:
        """Everything that the scoring says of a frame; raises as `label_map`.

        Drift belongs to the acquisition and is a column of `frames`; here it is NaN.
        """
        rows = self._read(frame, OF_RESULTS)
        arrays = (rows.array(name, 0).astype(np.float32) for name in OF_RESULTS)
        probabilities, distances, novelty = arrays
        return FrameResult(
            names=self.names,
            label_map=rows.labels(0),
            probabilities=probabilities,
            distances=distances,
            novelty=novelty,
            intervals=rows.intervals[0],
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
            rows = self._embeddings(encoder, sequence)
            if len(rows):
                return rows.array(VALUES, 0)
        raise ArchiveError(f"{self.path}: keeps no embeddings of frame {frame}")

    @property
    def embedded(self) -> dict[str, npt.NDArray[np.int64]]:
        """Hash of each encoder and the numbers of the frames with embeddings by it."""
        return {
            encoder[0]: np.flatnonzero(self._catalog.embeddings(encoder, self.sequence)[1])
            for encoder in self._catalog.encoders()
        }

    @property
    def covered(self) -> npt.NDArray[np.int64]:
        """Numbers of the frames that the scoring covers and that were not left out."""
        return np.flatnonzero(self._catalog.results(self._scoring, self.sequence)[1] & self._counts)

    def embedding_blocks(
        self, frames: npt.NDArray[np.int64] | None = None, chips: int = BLOCK_CHIPS
    ) -> Iterator[tuple[npt.NDArray[np.int64], Rows]]:
        """Numbers and embeddings of frames (default: all), encoder by encoder, block by block.

        Parameters
        ----------
        frames
            In the order in which they are wanted.
        chips
            About as many are read at once.
        """
        wanted = np.arange(self.count) if frames is None else frames
        for encoder in self._catalog.encoders():
            selection, present = self._catalog.embeddings(encoder, self.sequence[wanted])
            numbers = wanted[present]
            for piece in selection.pieces(chips):
                mine, numbers = np.split(numbers, [len(piece)])
                yield mine, self._embeddings(encoder, self.sequence[mine])

    def result_blocks(
        self, kept: tuple[str, ...] = ("probabilities",), chips: int = BLOCK_CHIPS
    ) -> Iterator[tuple[npt.NDArray[np.int64], Rows]]:
        """Numbers and results of all covered frames in order of time, block by block."""
        numbers = self.covered
        selection, _ = self._catalog.results(self._scoring, self.sequence[numbers])
        for piece in selection.pieces(chips):
            mine, numbers = np.split(numbers, [len(piece)])
            yield mine, self._results(self.sequence[mine], kept)

    to_xarray = convert.to_xarray
    to_hyperspy = convert.to_hyperspy

    @property
    def left_out(self) -> dict[FrameKey, Exclusion]:
        """What is left out by path and index, whether it is archived yet or not."""
        return self._catalog.excluded

    @property
    def exclusions(self) -> pd.DataFrame:
        """A row per frame that is left out: frame, path, index, who, when (s since 1970)."""
        return convert.exclusion_table(self._catalog)

    @property
    def stimulus(self) -> Stimulus:
        """Readings of what was done to the specimen; they are columns by `Stimulus.quantities`."""
        return self._catalog.stimulus

    @property
    def displaced(self) -> pd.DataFrame:
        """A row per frame whose own_time is not of this run: path, index, time it was given."""
        return convert.displaced_table(self._catalog)

    @property
    def alerts(self) -> pd.DataFrame:
        """A row per firing ("on") and clearing ("off") of an alert rule, with its reason."""
        return alert_table(read_alerts(self._catalog.places))

    @property
    def _every(self) -> tuple[str, ...]:
        return (*self.names, UNKNOWN)

    @property
    def _counts(self) -> npt.NDArray[np.bool_]:
        """(count,) which of the classified frames the tables tell of."""
        return self.everything | ~self._catalog.left_out

    def _checked(self, frame: int) -> int:
        if not -self.count <= frame < self.count:
            raise IndexError(f"frame {frame} of a run with {self.count} classified frames")
        return frame % self.count

    def _versions_by_use(self) -> list[str]:
        """Versions of support sets, those of the newest frames first."""
        if self._scoring != ACQUIRED:
            return [self._scoring]
        used = self._catalog.table["support_version"][self._catalog.classified[::-1]]
        held = self.support_versions
        return [v for v in dict.fromkeys([*hdf.strings(used), *reversed(held)]) if v in held]

    def _table(
        self, sequence: npt.NDArray[np.int64], names: tuple[str, ...] | None = None
    ) -> Table:
        def read(catalog: Catalog) -> Table:
            table = catalog.full_table(names)
            return layout.take(table, np.searchsorted(table["sequence"], sequence))

        return self._files.read(read)

    def _read(self, frame: int, kept: tuple[str, ...]) -> Rows:
        return self._results(self.sequence[[self._checked(frame)]], kept)

    def _results(self, sequence: npt.NDArray[np.int64], kept: tuple[str, ...]) -> Rows:
        def read(catalog: Catalog) -> Rows:
            selection, present = catalog.results(self._scoring, sequence)
            if not present.all():
                raise ArchiveError(
                    f"{self.path}: scoring {self._scoring[:8]} does not cover every frame that "
                    "was asked for"
                )
            return selection.read(self._every, kept)

        return self._files.read(read)

    def _embeddings(self, encoder: tuple[str, int], sequence: npt.NDArray[np.int64]) -> Rows:
        """Embeddings of those of the frames that have any by this encoder."""
        return self._files.read(lambda catalog: catalog.embeddings(encoder, sequence)[0].read())
