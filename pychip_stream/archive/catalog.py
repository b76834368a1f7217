"""Finding: arrays of given frames, wherever the archiver has moved them meanwhile."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import h5py
import numpy as np
import pandas as pd

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.blocks import FrameRows, Results
from pychip_stream.archive.disk import reason
from pychip_stream.archive.files import (
    KINDS,
    EmbeddingsIndex,
    Part,
    ResultsIndex,
    RunPlaces,
    covering,
    read_full_table,
    read_part,
)
from pychip_stream.archive.hdf import Array, ForeignFileError, UnusableFileError
from pychip_stream.archive.layout import ACQUIRED, NO_CHIP, Table
from pychip_stream.archive.support_sets import GROUP, read_support
from pychip_stream.domain.support import UNKNOWN, SupportSet
from pychip_stream.errors import ArchiveError, ArchiveUsageError, PychipError


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


logger = logging.getLogger(__name__)

_ATTEMPTS = 10


class _VanishedError(Exception):
    """A file that was listed is gone: the archiver merged it meanwhile."""


class FileCatalog:
    """Files of a run, read again only where they changed."""

    def __init__(self, places: RunPlaces) -> None:
        self._places = places
        self._known: dict[Path, tuple[tuple[int, int, int], Part]] = {}
        self.damaged: dict[Path, str] = {}

    def refresh(self) -> "Catalog":
        """Look which files there are now and read the new ones.

        Raises
        ------
        ArchiveError
            If there is no such run, or it cannot be read.
        """
        for _ in range(_ATTEMPTS):
            try:
                return self._look()
            except _VanishedError:
                continue
            except OSError as error:
                where = error.filename or self._places.segments
                raise ArchiveError(f"{where}: cannot be read ({reason(error)})") from error
        raise ArchiveError(f"{self._places.closed}: changes faster than it can be read; try again")

    def adopt(self, part: Part) -> None:
        """Take over a file that this process has just written."""
        self._known[part.path] = (_stamp(part.path), part)

    def _look(self) -> "Catalog":
        places = self._places
        # Segments first: one that is missing because it was merged is then surely in the base.
        spans = places.spans()
        base = self._read_base()
        after = base.header.last if base else 0
        parts = [base] if base else []
        for span in covering(spans, after):
            part = self._read_segment(places.segment(span))
            if part is not None:
                parts.append(part)
        if not parts and not places.segments.is_dir():
            if (folder := places.folder / places.name).is_dir():
                raise ArchiveUsageError(f"{folder}: is a folder; name the run archive in it")
            raise ArchiveUsageError(f"{places.closed}: there is no such run archive")
        scorings = {}
        for version in places.scoring_versions():
            part = self._read_segment(places.scoring(version), ("scoring",))
            if part is not None:
                scorings[version] = part
        used = {p.path for p in (*parts, *scorings.values())}
        self._known = {path: v for path, v in self._known.items() if path in used}
        return Catalog(places, parts, scorings)

    def _read_base(self) -> Part | None:
        path = self._places.closed
        try:
            return self._read(path, ("run",))
        except _VanishedError:
            return None
        except ForeignFileError as error:
            raise ArchiveUsageError(f"{path}: {error}") from error
        except UnusableFileError as error:
            raise ArchiveError(f"{path}: {error}") from error

    def _read_segment(self, path: Path, kinds: tuple[str, ...] = KINDS) -> Part | None:
        if path in self.damaged:
            return None
        try:
            return self._read(path, kinds)
        except UnusableFileError as error:
            # One bad file must not hide the rest of the run.
            self.damaged[path] = str(error)
            logger.error("%s: %s; its frames are left out", path, error)
            return None

    def _read(self, path: Path, kinds: tuple[str, ...]) -> Part:
        try:
            stamp = _stamp(path)
            if path in self._known and self._known[path][0] == stamp:
                return self._known[path][1]
            part = read_part(path, kinds)
        except FileNotFoundError:
            raise _VanishedError from None
        self._known[path] = (stamp, part)
        return part


class Catalog:
    """What the files of a run hold at one moment.

    Attributes
    ----------
    places
        Of the run.
    parts
        Files with frames, in order.
    scorings
        Files of scorings that are not merged yet.
    """

    def __init__(
        self, places: RunPlaces, parts: list[Part], scorings: dict[str, Part] | None = None
    ) -> None:
        self.places = places
        self.parts = parts
        self.scorings = scorings or {}

    @cached_property
    def table(self) -> Table:
        """Core columns of everything that was archived, in order of archiving."""
        return layout.join_tables([p.table for p in self.parts], layout.CORE)

    def full_table(self, names: Sequence[str] | None = None) -> Table:
        """Read columns (default: all, and always the core); the rows are those of `table`.

        Raises
        ------
        FileNotFoundError
            If a file was merged into another meanwhile.
        UnusableFileError
            If one is damaged.
        """
        if names is not None:
            names = tuple(dict.fromkeys((*layout.CORE, *names)))
        return layout.join_tables([read_full_table(p.path, names) for p in self.parts], names)

    @cached_property
    def order(self) -> Array:
        """Rows of the table in order of time, superseded revisions left out."""
        table = self.table
        rows = np.flatnonzero(~superseded(table))
        return rows[layout.in_order(layout.take(table, rows))]

    @cached_property
    def classified(self) -> Array:
        """Rows of the table with a result, in order of time, numbered from 0."""
        return np.asarray(self.order[self.table["status"][self.order] == b"ok"])

    @property
    def scoring_names(self) -> list[str]:
        """Names of all scorings; the one of the acquisition is the first."""
        names = dict.fromkeys([ACQUIRED])
        for part in self.parts:
            names.update(dict.fromkeys(part.scorings))
        names.update(dict.fromkeys(self.scorings))
        return list(names)

    def class_names(self, scoring: str) -> tuple[str, ...]:
        """Class names of a scoring, unknown first."""
        if scoring != ACQUIRED:
            return next(
                s.held.class_names  # type: ignore[union-attr]
                for s, _ in reversed(self._sources(scoring))
                if s.held.where.endswith(scoring)
            )
        names = dict.fromkeys([UNKNOWN])
        for part in self.parts:
            if ACQUIRED in part.scorings:
                names.update(dict.fromkeys(part.scorings[ACQUIRED].class_names))
        return tuple(names)

    def provenance(self, scoring: str) -> str:
        """Tell how a scoring was made, as JSON; empty where that is not known."""
        found = [
            part.scorings[scoring].provenance
            for part in (*self.parts, *self.scorings.values())
            if scoring in part.scorings
        ]
        return found[-1] if found else ""

    def results(self, scoring: str, sequence: Array) -> tuple[Selection, Array]:
        """Find the results of frames: what there is, and for which of `sequence`."""
        sources = self._sources(scoring)
        return select([s for s, _ in sources], sequence, [k for _, k in sources])

    def encoders(self) -> list[tuple[str, int]]:
        """Hash and dimension of each encoder whose embeddings are kept."""
        return list(dict.fromkeys(
            (e.encoder_hash, e.dimension) for p in self.parts for e in p.embeddings
        ))  # fmt: skip

    def embeddings(self, encoder: tuple[str, int], sequence: Array) -> tuple[Selection, Array]:
        """Find the embeddings of frames by one encoder, likewise."""
        sources = [
            Source(part, one)
            for part in self.parts
            for one in part.embeddings
            if (one.encoder_hash, one.dimension) == encoder
        ]
        return select(sources, sequence)

    def _sources(self, scoring: str) -> list[tuple[Source, Array | None]]:
        """Where results of a scoring may be; a later place prevails.

        Frames that were classified with the support set of a scoring while acquiring belong
        to it: once it is in use, the future follows the past.
        """
        sources: list[tuple[Source, Array | None]] = []
        for part in self.parts:
            for index in (part.scorings.get(ACQUIRED), part.superseded):
                if index is None:
                    continue
                keep = None
                if scoring != ACQUIRED:
                    keep = self._classified_with(scoring, index.frames.sequence)
                if keep is None or keep.any():
                    sources.append((Source(part, index), keep))
        if scoring != ACQUIRED:
            sources.extend(
                (Source(part, part.scorings[scoring]), None)
                for part in (*self.parts, *self.scorings.values())
                if scoring in part.scorings
            )
        return sources

    def _classified_with(self, version: str, sequence: Array) -> Array:
        table = self.table
        rows = np.searchsorted(table["sequence"], sequence)
        return np.asarray(table["support_version"][rows] == version.encode())


def superseded(table: Table) -> Array:
    """(n,) whether a later revision of the same frame was archived."""
    if not len(table["revision"]) or table["revision"].max() <= 1:
        return np.zeros(len(table["revision"]), bool)
    keys = pd.DataFrame({"path": table["path"].astype(object), "index": table["index"]})
    return np.asarray(keys.duplicated(keep="last"))


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


_FIXED = frozenset({"frame", "index", "path", "time_s", "row", "column", "label", "confidence"})


def column_name(class_name: str) -> str:
    """Name of a class's column; one that is called like another column gets a prefix."""
    return f"class {class_name}" if class_name in _FIXED else class_name


def seconds(catalog: Catalog) -> Array:
    """(table rows,) float64 seconds since the first classified frame."""
    times = catalog.table["time"]
    rows = catalog.classified if len(catalog.classified) else catalog.order
    return np.asarray(times - (times[rows[0]] if len(rows) else 0.0))


def intervals(selection: Selection, class_names: tuple[str, ...]) -> Array:
    """(m, U, 3) fraction, low, high of the frames of a selection; reads nothing."""
    values = np.full((len(selection), len(class_names), 3), np.nan)
    for number in np.unique(selection.source).tolist():
        held = selection.sources[number].held
        assert isinstance(held, ResultsIndex)
        codes = translation(held.class_names, class_names)[: len(held.class_names)]
        known = codes != NO_CHIP
        mine = np.flatnonzero(selection.source == number)
        values[mine[:, None], codes[known]] = held.intervals[selection.row[mine]][:, known]
    return values


def fraction_table(
    catalog: Catalog, selection: Selection, present: Array, class_names: tuple[str, ...]
) -> pd.DataFrame:
    """Fractions of the classified frames in order of time.

    Parameters
    ----------
    selection, present
        Results of the frames, and which of them have any.
    class_names
        Unknown first.
    """
    rows, table = catalog.classified, catalog.table
    values = np.full((len(rows), len(class_names), 3), np.nan)
    values[present] = intervals(selection, class_names)
    columns: dict[str, object] = {
        "frame": np.arange(len(rows)),
        "index": table["index"][rows].astype(np.int64),
        "path": hdf.strings(table["path"][rows]),
        "time_s": seconds(catalog)[rows],
    }
    for code in (*range(1, len(class_names)), 0):
        name = column_name(class_names[code])
        for number, suffix in enumerate(("", "_low", "_high")):
            columns[name + suffix] = values[:, code, number]
    return pd.DataFrame(columns)


def frame_table(catalog: Catalog, table: Table) -> pd.DataFrame:
    """Tell everything that is known of each frame, also of failed ones, in order of time.

    Parameters
    ----------
    table
        All columns of the rows of the catalog.
    """
    order = catalog.order
    number = np.full(len(table["sequence"]), -1, np.int64)
    number[catalog.classified] = np.arange(len(catalog.classified))
    columns: dict[str, object] = {"frame": number[order], "time_s": seconds(catalog)[order]}
    for name, values in table.items():
        ordered = values[order]
        columns[name] = hdf.strings(ordered) if ordered.dtype.kind == "S" else ordered
    return pd.DataFrame(columns)


_T = TypeVar("_T")


class Finder:
    """Reads arrays of frames by sequence number.

    Segments are merged into others while a run is read; a file that is gone makes it look
    again.
    """

    def __init__(self, files: FileCatalog) -> None:
        self._files = files
        self.catalog = files.refresh()

    def refresh(self) -> Catalog:
        """Look which files there are now."""
        self.catalog = self._files.refresh()
        return self.catalog

    def selection(self, scoring: str, sequence: Array) -> tuple[Selection, Array]:
        """Where the results of frames are, and for which of `sequence` there are any."""
        return self.catalog.results(scoring, sequence)

    def table(self, sequence: Array, names: Sequence[str] | None = None) -> Table:
        """Read columns (default: all) of the frame table, of these frames."""

        def read() -> Table:
            table = self.catalog.full_table(names)
            return layout.take(table, np.searchsorted(table["sequence"], sequence))

        return self._reading(read)

    def results(
        self, scoring: str, sequence: Array, class_names: tuple[str, ...], kept: Sequence[str]
    ) -> Results:
        """Read the results of frames, all of which must be covered."""

        def read() -> Results:
            selection, present = self.selection(scoring, sequence)
            if not present.all():
                raise ArchiveError(
                    f"{self.catalog.places.closed}: scoring {scoring[:8]} does not cover every "
                    "frame that was asked for"
                )
            return gather_results(selection, class_names, kept=kept)

        return self._reading(read)

    def embeddings(self, encoder: tuple[str, int], sequence: Array) -> tuple[FrameRows, Array]:
        """Read embeddings of frames, of those that have any by this encoder."""

        def read() -> tuple[FrameRows, Array]:
            selection, _ = self.catalog.embeddings(encoder, sequence)
            return gather_embeddings(selection, encoder[1])

        return self._reading(read)

    def support(self, version: str) -> SupportSet:
        """Read a support set.

        Raises
        ------
        ArchiveError
            If the run does not hold it.
        """

        def read() -> SupportSet:
            for path, group in self._support_places(version):
                with hdf.reading(path) as file:
                    if group in file:
                        return _checked_support(file, group, path)
            raise ArchiveError(
                f"{self.catalog.places.closed}: does not hold support set {version[:8]}"
            )

        return self._reading(read)

    def support_versions(self) -> list[str]:
        """Versions of the support sets that the run holds."""
        parts = (*self.catalog.parts, *self.catalog.scorings.values())
        inside = [version for part in parts for version in part.supports]
        return list(dict.fromkeys([*inside, *self.catalog.places.support_versions()]))

    def _support_places(self, version: str) -> list[tuple[Path, str]]:
        parts = (*self.catalog.parts, *self.catalog.scorings.values())
        inside = f"{layout.ENTRY}/{layout.SUPPORTS}/{version}"
        places = [(part.path, inside) for part in parts if version in part.supports]
        if version in self.catalog.places.support_versions():
            places.append((self.catalog.places.support(version), GROUP))
        return places

    def _reading(self, read: Callable[[], _T]) -> _T:
        for attempt in range(_ATTEMPTS):
            try:
                return read()
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise ArchiveError(
                        f"{self.catalog.places.closed}: changes faster than it can be read"
                    ) from None
                self.refresh()
            except UnusableFileError as error:
                raise ArchiveError(f"{self.catalog.places.closed}: {error}") from error
            except OSError as error:
                where = error.filename or self.catalog.places.closed
                raise ArchiveError(f"{where}: cannot be read ({reason(error)})") from error
        raise AssertionError("unreachable")


def _checked_support(file: h5py.File, group: str, path: Path) -> SupportSet:
    try:
        return read_support(file[group])
    except PychipError as error:
        raise ArchiveError(f"{path}: {group} {error}") from error


def flat_grid(values: Array, frames: FrameRows, number: int) -> Array:
    """(rows, columns, …) of one frame out of a flat per-chip array."""
    rows, columns = int(frames.rows[number]), int(frames.columns[number])
    start = int(frames.offset[number])
    return np.asarray(
        values[start : start + rows * columns].reshape(rows, columns, *values.shape[1:])
    )
