"""Catalog: everything a run holds, over all its files, kept up to date while it grows."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from pychip_stream.archive import layout
from pychip_stream.archive.durable import reason
from pychip_stream.archive.gather import Selection, Source, select
from pychip_stream.archive.hdf import Array, ForeignFileError, UnusableFileError
from pychip_stream.archive.layout import ACQUIRED, Table
from pychip_stream.archive.parts import KINDS, Part, read_full_table, read_part
from pychip_stream.archive.places import RunPlaces, covering
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError, ArchiveUsageError

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

    def full_table(self, names: Sequence[str] = layout.ALL) -> Table:
        """Read columns (default: all, and always the core); the rows are those of `table`.

        Raises
        ------
        FileNotFoundError
            If a file was merged into another meanwhile.
        UnusableFileError
            If one is damaged.
        """
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
