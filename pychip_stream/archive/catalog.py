"""Catalog: which rows of a run's files are wanted, and reading them wherever they are now."""

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pychip_stream import foreign
from pychip_stream.archive import hdf, layout
from pychip_stream.archive.blocks import Rows
from pychip_stream.archive.changes import Changes
from pychip_stream.archive.clock_offsets import OFFSETS
from pychip_stream.archive.disk import reason
from pychip_stream.archive.exclusions import EXCLUSIONS, Exclusion, FrameKey, in_force
from pychip_stream.archive.files import (
    KINDS,
    Part,
    RunPlaces,
    advised,
    covering,
    read_full_table,
    read_part,
)
from pychip_stream.archive.hdf import Array, ForeignFileError, UnusableFileError
from pychip_stream.archive.layout import ACQUIRED, Table
from pychip_stream.archive.marks import EVENTS, EventRow
from pychip_stream.archive.readings import Stimulus, StimulusFiles
from pychip_stream.archive.run_identity import kept_identity
from pychip_stream.archive.selection import Selection
from pychip_stream.archive.support_sets import GROUP, read_support
from pychip_stream.domain.clock import told
from pychip_stream.domain.support import UNKNOWN, SupportSet
from pychip_stream.errors import ArchiveError, ArchiveUsageError, PychipError

logger = logging.getLogger(__name__)

_ATTEMPTS = 10
_SAME_S = 1e-3
_TOLD = 5
_T = TypeVar("_T")


class _VanishedError(Exception):
    """A file that was listed is gone: the archiver merged it meanwhile."""


class FileCatalog:
    """Files of a run, read again only where they changed."""

    def __init__(self, places: RunPlaces) -> None:
        self._places = places
        self._known: dict[Path, tuple[tuple[int, int, int], Part]] = {}
        self._newest: Catalog | None = None
        self._exclusions = Changes(places, EXCLUSIONS)
        self._stimulus = StimulusFiles(places)
        self._events = Changes(places, EVENTS)
        self.damaged: dict[Path, str] = {}

    def read(self, action: "Callable[[Catalog], _T]") -> _T:
        """Read from the files; where one is gone that was merged meanwhile, look again."""
        where = self._places.closed
        for _ in range(_ATTEMPTS):
            try:
                return action(self._newest or self.refresh())
            except FileNotFoundError:
                self.refresh()
            except UnusableFileError as error:
                raise ArchiveError(advised(error.path or where, error)) from error
            except OSError as error:
                raise ArchiveError(
                    f"{error.filename or where}: cannot be read ({reason(error)})"
                ) from error
        raise ArchiveError(f"{where}: changes faster than it can be read; try again")

    def refresh(self) -> "Catalog":
        """Look which files there are now and read the new ones."""
        for _ in range(_ATTEMPTS):
            try:
                self._newest = self._look()
                return self._newest
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
        after = 0 if base is None else base.header.last
        parts = [] if base is None else [base]
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
        run_id = parts[-1].header.run_id if parts else kept_identity(places)
        excluded = self._exclusions.read(run_id) if run_id else []
        stimulus = self._stimulus.read(run_id)
        events = self._events.read(run_id) if run_id else []
        found = Catalog(
            places, parts, scorings, excluded, stimulus, events, run_id=run_id, one_clock=True
        )
        known = self._newest
        return known if known and known.same(found) else found

    def _read_base(self) -> Part | None:
        path = self._places.closed
        try:
            return self._read(path, ("run",))
        except _VanishedError:
            return None
        except ForeignFileError as error:
            raise ArchiveUsageError(f"{path}: {error}") from error
        except UnusableFileError as error:
            raise ArchiveError(advised(path, error)) from error

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
    exclusions
        Every frame that was left out or taken back, in order.
    stimulus
        Readings of what was done to the specimen.
    events
        Every mark that was made, changed or removed, in order.
    run_id
        Identifies the run; empty while nothing says it.
    one_clock
        The parts are the whole run, whose frames stand on one clock (`domain.clock`).
    """

    def __init__(
        self,
        places: RunPlaces,
        parts: list[Part],
        scorings: dict[str, Part] | None = None,
        exclusions: Sequence[Exclusion] = (),
        stimulus: Stimulus | None = None,
        events: Sequence[EventRow] = (),
        *,
        run_id: str = "",
        one_clock: bool = False,
    ) -> None:
        self.places = places
        self.parts = parts
        self.scorings = scorings or {}
        self.exclusions = exclusions
        self.stimulus = stimulus or Stimulus()
        self.events = events
        self.run_id = run_id
        self._one_clock = one_clock

    def same(self, other: "Catalog") -> bool:
        """Whether another holds the same."""
        return self._held == other._held

    @property
    def _held(self) -> tuple[object, ...]:
        beside = self.exclusions, self.stimulus, self.events
        return self.run_id, self.parts, self.scorings, *beside

    @cached_property
    def table(self) -> Table:
        """Core columns of everything that was archived, in order of archiving."""
        table = layout.join_tables([p.table for p in self.parts], layout.CORE)
        return table | {"time": layout.one_clock(table)} if self._one_clock else table

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
        table = layout.join_tables([read_full_table(p, names) for p in self.parts], names)
        joined = self._joined if names is None or not set(names) <= set(layout.ALL) else {}
        wanted = {n: v for n, v in joined.items() if names is None or n in names}
        return table | {"time": self.table["time"]} | wanted

    @cached_property
    def _joined(self) -> Table:
        """Columns of the stimulus, derived from its readings and the clocks of their sources."""
        return self.stimulus.columns(self.table["time"])

    @cached_property
    def displaced(self) -> Array:
        """Rows of the table, in order, whose own time is not of this run; see `domain.clock`."""
        own, order = layout.own_times(self.table), self.order
        return np.asarray(order[np.abs(own - self.table["time"])[order] > _SAME_S])

    def say_displaced(self, said: set[str]) -> None:
        """Log the first few of the displaced frames whose files are not among those of `said`."""
        rows = self.displaced[:_TOLD]
        paths, own = hdf.strings(self.table["path"][rows]), layout.own_times(self.table)[rows]
        for path, *times in zip(
            paths, own.tolist(), self.table["time"][rows].tolist(), strict=True
        ):
            if path not in said:
                said.add(path)
                logger.warning("%s", told(path, *times), extra={"frame": path})

    @cached_property
    def order(self) -> Array:
        """Rows of the table in order of time, superseded revisions left out."""
        table = self.table
        rows = np.flatnonzero(~layout.superseded(table))
        return rows[layout.in_order(layout.take(table, rows))]

    @cached_property
    def classified(self) -> Array:
        """Rows of the table with a result, in order of time, numbered from 0."""
        return np.asarray(self.order[self.table["status"][self.order] == b"ok"])

    @property
    def told(self) -> tuple[object, ...]:
        """What is other where there is something new."""
        last, scorings = [p.header.last for p in self.parts], list(self.scorings.values())
        changed = self.exclusions, self.stimulus, self.events
        return last, scorings, self.scoring_names, changed

    @property
    def changes(self) -> dict[str, Sequence[Any]]:
        """What people changed, by the name of its table."""
        return {EXCLUSIONS.group: self.exclusions, EVENTS.group: self.events}

    @property
    def beside(self) -> list[Path]:
        """Files of changes and readings beside the frames that this holds, as they come."""
        held = {row.change for rows in self.changes.values() for row in rows}
        held |= {row.change for row in self.stimulus.changes}
        files = [*EXCLUSIONS.files(self.places), *OFFSETS.files(self.places)]
        files += EVENTS.files(self.places)
        return [*(path for path in files if path.stem in held), *self.stimulus.files]

    @cached_property
    def excluded(self) -> dict[FrameKey, Exclusion]:
        """What is left out by path and index, whether it is archived yet or not."""
        return in_force(self.exclusions, self._renamed) if self.exclusions else {}

    @property
    def _renamed(self) -> dict[FrameKey, FrameKey]:
        """Names of frames that were left out and renamed since → those under which they count."""
        table, counting = self.table, self.classified
        if not (table["status"] == b"moved").any():
            return {}
        named = np.isin(table["path"], hdf.texts([row.path for row in self.exclusions]))
        then = np.flatnonzero(named & (table["status"] == b"ok"))
        order = np.argsort(np.concatenate([p.table["sequence"] for p in self.parts]), kind="stable")
        marks = np.concatenate([part.marks for part in self.parts])[order]

        def keys(rows: Array) -> list[FrameKey]:
            return layout.frame_keys({name: table[name][rows] for name in ("path", "index")})

        same = counting[np.isin(marks[counting], marks[then])]
        now = {(marks[row], key[1]): key for row, key in zip(same, keys(same), strict=True)}
        found = {k: now.get((marks[row], k[1])) for row, k in zip(then, keys(then), strict=True)}
        kept = set(keys(counting[named[counting]]))
        return {old: new for old, new in found.items() if new and old not in kept}

    @cached_property
    def left_out(self) -> Array:
        """(m,) bool, which of the classified frames count in no curve, mean and export."""
        out, excluded = np.zeros(len(self.classified), bool), self.excluded
        if excluded:
            table, rows = self.table, self.classified
            named = np.isin(table["path"][rows], hdf.texts([path for path, _ in excluded]))
            for at in np.flatnonzero(named).tolist():
                key = hdf.decode(table["path"][rows[at]]), int(table["index"][rows[at]])
                out[at] = key in excluded
        return out

    @property
    def start(self) -> float:
        """Time of the first classified frame that is not left out; NaN without one."""
        if not len(self.classified):
            return float("nan")
        first = self.classified[self.left_out.argmin()]  # where all are: the first of them
        return float(self.table["time"][first])

    @property
    def seconds(self) -> Array:
        """Seconds since `start`, or the first of the failed frames, of every row of the table."""
        times = self.table["time"]
        start = self.start if len(self.classified) else times[self.order[:1]].sum()
        return np.asarray(times - start)

    def intervals(self, scoring: str, *, everything: bool = False) -> Array:
        """(m, K + 1, 3) fraction, low, high of the classified frames; reads nothing.

        NaN where the scoring lacks the frame, or (unless `everything`) it is left out.
        """
        names = self.class_names(scoring)
        selection, present = self.results(scoring, self.table["sequence"][self.classified])
        values = np.full((len(present), len(names), 3), np.nan)
        values[present] = selection.intervals(names)
        if not everything:
            values[self.left_out] = np.nan
        return values

    @property
    def scoring_names(self) -> list[str]:
        """Names of all scorings; the one of the acquisition is the first."""
        names = dict.fromkeys([ACQUIRED])
        for part in self.parts:
            names.update(dict.fromkeys(part.scorings))
        names.update(dict.fromkeys(self.scorings))
        return list(names)

    def class_names(self, scoring: str) -> tuple[str, ...]:
        """Class names of a scoring, then unknown."""
        found = [part.scorings[scoring].names for part in self._files if scoring in part.scorings]
        if scoring != ACQUIRED:
            return found[-1]
        names = dict.fromkeys(name for each in found for name in each[:-1])
        return (*names, UNKNOWN)

    def provenance(self, scoring: str) -> str:
        """Tell how a scoring was made, as JSON; empty where that is not known."""
        found = [
            part.scorings[scoring].provenance for part in self._files if scoring in part.scorings
        ]
        return found[-1] if found else ""

    def encoders(self) -> list[tuple[str, int]]:
        """Hash and dimension of each encoder whose embeddings are kept."""
        return list(dict.fromkeys(rows.encoder for part in self.parts for rows in part.embeddings))

    def embeddings(self, encoder: tuple[str, int], sequence: Array) -> tuple[Selection, Array]:
        """Find the embeddings of frames by one encoder, and for which of `sequence` there are."""
        every = [rows for part in self.parts for rows in part.embeddings]
        return Selection.of([rows for rows in every if rows.encoder == encoder], sequence)

    def results(self, scoring: str, sequence: Array) -> tuple[Selection, Array]:
        """Find the results of frames, likewise; a later place prevails.

        Frames that were classified with the support set of a scoring while acquiring belong
        to it: once it is in use, the future follows the past.
        """
        sources: list[Rows] = []
        keeps: list[Array | None] = []
        for part in self.parts:
            for rows in (part.scorings.get(ACQUIRED), part.superseded):
                if rows is None:
                    continue
                keep = None
                if scoring != ACQUIRED:
                    keep = self._classified_with(scoring, rows.sequence)
                if keep is None or keep.any():
                    sources.append(rows)
                    keeps.append(keep)
        if scoring != ACQUIRED:
            own = [part.scorings[scoring] for part in self._files if scoring in part.scorings]
            sources += own
            keeps += [None] * len(own)
        return Selection.of(sources, sequence, keeps)

    def support(self, version: str) -> SupportSet:
        """Read a support set."""
        inside = f"{layout.ENTRY}/{layout.SUPPORTS}/{version}"
        places = [(part.path, inside) for part in self._files if version in part.supports]
        if version in self.places.support_versions():
            places.append((self.places.support(version), GROUP))
        for path, group in places:
            with hdf.reading(path) as file:
                try:
                    return read_support(foreign.descend(file, group))
                except PychipError as error:
                    raise ArchiveError(f"{path}: {group} {error}") from error
        raise ArchiveError(f"{self.places.closed}: does not hold support set {version[:8]}")

    @property
    def support_versions(self) -> list[str]:
        """Versions of the support sets that the run holds."""
        inside = [version for part in self._files for version in part.supports]
        return list(dict.fromkeys([*inside, *self.places.support_versions()]))

    @property
    def _files(self) -> tuple[Part, ...]:
        return (*self.parts, *self.scorings.values())

    def _classified_with(self, version: str, sequence: Array) -> Array:
        table = self.table
        rows = np.searchsorted(table["sequence"], sequence).clip(0, max(len(table["time"]) - 1, 0))
        if not len(table["time"]):
            return np.zeros(len(sequence), bool)
        same = table["support_version"][rows] == version.encode()
        return np.asarray(same & (table["sequence"][rows] == sequence))


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
