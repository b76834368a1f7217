"""Files: which a run has, and what each says."""

import json
import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import yaml

from pychip_stream import foreign
from pychip_stream.archive import hdf, layout
from pychip_stream.archive.blocks import Rows, places_digest, read_rows
from pychip_stream.archive.hdf import Array, UnusableFileError
from pychip_stream.archive.layout import Table

_SEGMENT = re.compile(r"seg-(\d{8})-(\d{8})\.h5")
_SUPPORT = re.compile(r"support-([0-9a-f]{8,64})\.h5")
_SCORING = re.compile(r"([0-9a-f]{8,64})\.h5")
IDENTITY = r"^[!-~]{1,200}\Z"
"""What the identity of a run is like; messages take no other."""
TEMPORARY = ".tmp"
_MOST_SEGMENTS = 10**8


class Span(NamedTuple):
    """Numbers of the published segments that a file holds, from `first` to `last`."""

    first: int
    last: int

    @property
    def name(self) -> str:
        """File name of a segment."""
        return f"seg-{self.first:08d}-{self.last:08d}.h5"

    @classmethod
    def parse(cls, name: str) -> "Span | None":
        """Read a file name; None for other files."""
        match = _SEGMENT.fullmatch(name)
        return cls(int(match[1]), int(match[2])) if match else None

    @property
    def width(self) -> int:
        """How many published segments it stands for."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class RunPlaces:
    """Where the parts of a run lie.

    Attributes
    ----------
    folder, name
        Of the run.
    renamed
        The closed archive where it does not end in .h5.
    """

    folder: Path
    name: str
    renamed: Path | None = None

    @classmethod
    def of(cls, path: Path) -> "RunPlaces":
        """Find the run that RUN.h5, RUN.live.h5, RUN.segments or RUN stands for."""
        if path.name in ("", ".."):
            path = path.resolve()
        name = path.name
        for suffix in (".live.h5", ".segments", ".h5"):
            if name.endswith(suffix) and name != suffix:
                return cls(path.parent, name[: -len(suffix)])
        return cls(path.parent, path.stem, path) if path.is_file() else cls(path.parent, name)

    @property
    def closed(self) -> Path:
        """The merged archive."""
        return self.renamed or self.folder / f"{self.name}.h5"

    @property
    def live(self) -> Path:
        """View of a live run with virtual datasets, for other programs."""
        return self.folder / f"{self.name}.live.h5"

    @property
    def segments(self) -> Path:
        """Folder of the segments and support sets of a live run."""
        return self.folder / f"{self.name}.segments"

    @property
    def lock(self) -> Path:
        """File that the archiver holds locked."""
        return self.folder / f"{self.name}.lock"

    @property
    def scorings(self) -> Path:
        """Folder of scorings that are not merged yet."""
        return self.folder / f"{self.name}.scorings"

    def scoring(self, version: str) -> Path:
        """File of a scoring that is not merged yet."""
        return self.scorings / f"{version}.h5"

    def segment(self, span: Span) -> Path:
        """File of a segment."""
        return self.segments / span.name

    def support(self, version: str) -> Path:
        """File of a support set of a live run."""
        return self.segments / f"support-{version}.h5"

    def spans(self) -> list[Span]:
        """Every segment file there is, also superfluous ones, in order."""
        return sorted(s for s in map(Span.parse, _names(self.segments)) if s is not None)

    def support_versions(self) -> list[str]:
        """Versions of the support sets that lie beside the segments."""
        return [m[1] for m in map(_SUPPORT.fullmatch, _names(self.segments)) if m]

    def scoring_versions(self) -> list[str]:
        """Versions of the scorings that are not merged yet."""
        return [m[1] for m in map(_SCORING.fullmatch, _names(self.scorings)) if m]

    def temporaries(self) -> list[Path]:
        """Files that a killed archiver left unfinished."""
        found = [p for p in self.segments.glob(f"*{TEMPORARY}") if p.is_file()]
        for final in (self.closed, self.live):
            found += self.folder.glob(f"{_literal(final.name)}.*{TEMPORARY}")
        return found


def covering(spans: Iterable[Span], after: int = 0) -> list[Span]:
    """Segments that count: compacted files stand for the narrower ones they were made of.

    Parameters
    ----------
    after
        Segments up to this number are in the merged archive.
    """
    chosen: list[Span] = []
    reach = after
    for span in sorted(spans, key=lambda s: (s.first, -s.last)):
        if span.last > reach:
            chosen.append(span)
            reach = span.last
    return chosen


def _names(folder: Path) -> list[str]:
    """Names of the files in a folder; of none that is not there."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _literal(name: str) -> str:
    """Name as a glob pattern that matches only itself."""
    return re.sub(r"([*?\[])", r"[\1]", name)


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

    @property
    def config(self) -> dict[str, Any]:
        """The configuration among what the writer was told; empty where there is none."""
        try:
            tree = yaml.safe_load(self.metadata.get("config", ""))
        except yaml.YAMLError:
            return {}
        return tree if isinstance(tree, dict) else {}


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
    lost
        Sequence numbers of frames in the file that do not count, since they are damaged.
    blank
        Columns of the frame table that are damaged: their values count as not known.
    """

    path: Path
    kind: str
    header: Header
    table: Table = field(repr=False)
    scorings: dict[str, Rows] = field(repr=False)
    superseded: Rows | None = field(default=None, repr=False)
    embeddings: tuple[Rows, ...] = field(default=(), repr=False)
    supports: tuple[str, ...] = ()
    default: str = ""
    lost: Array = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)
    blank: tuple[str, ...] = ()

    @property
    def groups(self) -> tuple[Rows, ...]:
        """Every group with arrays of frames."""
        superseded = () if self.superseded is None else (self.superseded,)
        return (*self.scorings.values(), *superseded, *self.embeddings)

    @cached_property
    def marks(self) -> Array:
        """(n,) what tells the content of frames: the hash of their own bytes, else of the file."""
        table = read_full_table(self, ("content_hash", "frame_hash"))
        return np.where(table["frame_hash"] == b"", table["content_hash"], table["frame_hash"])

    def __len__(self) -> int:
        return len(self.table["sequence"])


KINDS = ("run", "segment")


def merged_header(parts: Sequence[Part]) -> Header:
    """Header of what is made of several parts."""
    first, last = parts[0].header, parts[-1].header
    sessions = {s.number: s for part in parts for s in part.header.sessions}
    return Header(
        run_id=last.run_id,
        name=last.name,
        first=first.first,
        last=last.last,
        sessions=tuple(sessions[number] for number in sorted(sessions)),
    )


def read_part(path: Path, kinds: Sequence[str] = KINDS, *, check: bool = False) -> Part:
    """Read the tables of a file; `check`: and make sure that they are what was written."""
    with hdf.reading(path) as file:
        part = _read(file, path, kinds)
        if check:
            check_tables(file, part)
        return part


def advised(path: Path, error: UnusableFileError) -> str:
    """Tell that a file is damaged, and what can be done."""
    text = f"{path}: {error}"
    if str(error).startswith("is damaged"):
        text += "; `pychip-stream verify RUN --repair` keeps what is whole"
    return text


def run_ids(paths: list[Path]) -> set[str]:
    """Tell which runs files belong to, as far as they can be read."""
    found = set()
    for path in paths:
        with suppress(OSError, UnusableFileError):
            found.add(read_part(path).header.run_id)
    return found


def is_whole(path: Path) -> bool:
    """Whether the bytes of a segment are a segment, however they were read before."""
    try:
        with hdf.reading_bytes(path.read_bytes()) as file:
            check_tables(file, _read(file, path, KINDS))
    except UnusableFileError:
        return False
    return True


def read_full_table(part: Part, names: Sequence[str] | None = None) -> Table:
    """Read columns (default: all) of the frame table of a file; raises as `read_part`."""
    with hdf.reading(part.path) as file:
        frames = foreign.descend(file, f"{layout.ENTRY}/{layout.FRAMES}")
        table = layout.read_table(frames, names, part.blank)
    if not len(part.lost):
        return table
    return layout.take(table, ~np.isin(table["sequence"], part.lost))


def check_tables(file: h5py.File, part: Part) -> None:
    """Refuse a file in which something small is not what was written, checksum or not."""
    columns, groups = changed_tables(file, part)
    if columns:
        raise UnusableFileError(f"is damaged (column {', '.join(columns)} of its frames)")
    if groups:
        raise UnusableFileError(f"is damaged ({groups[0]})")


def changed_tables(file: h5py.File, part: Part) -> tuple[list[str], list[str]]:
    """Columns, and places of groups, whose small things are not what was written."""
    entry = foreign.subgroup(file, layout.ENTRY)
    there = foreign.has(entry, layout.FRAMES)
    columns = layout.changed_columns(foreign.subgroup(entry, layout.FRAMES)) if there else []
    groups = []
    for rows in part.groups:
        digest = hdf.attribute_text(foreign.descend(file, rows.where), layout.DIGEST)
        if digest and digest != places_digest(rows):
            groups.append(rows.where)
    return columns, groups


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
    sessions = hdf.collection(entry, layout.SESSIONS)
    for session in header.sessions:
        group = hdf.collection(sessions, f"{session.number:04d}")
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


def _read(file: h5py.File, path: Path, kinds: Sequence[str]) -> Part:
    kind = hdf.check_mark(file, kinds)
    entry = foreign.subgroup(file, layout.ENTRY)
    group = foreign.subgroup(entry, layout.SCORINGS)
    table = layout.join_tables([], layout.CORE)
    if foreign.has(entry, layout.FRAMES):
        table = layout.read_table(foreign.subgroup(entry, layout.FRAMES), layout.CORE)
    superseded = None
    if foreign.has(entry, layout.SUPERSEDED):
        superseded = read_rows(foreign.subgroup(entry, layout.SUPERSEDED), path)
    return Part(
        path=path,
        kind=kind,
        header=_read_header(entry),
        table=table,
        scorings={name: read_rows(foreign.subgroup(group, name), path) for name in group},
        superseded=superseded,
        embeddings=tuple(read_rows(group, path) for group in _members(entry, layout.EMBEDDINGS)),
        supports=tuple(group.name.rpartition("/")[2] for group in _members(entry, layout.SUPPORTS)),
        default=hdf.attribute_text(group, "default"),
    )


def _members(entry: h5py.Group, name: str) -> list[h5py.Group]:
    """Find the groups in a collection, which a file may lack."""
    if not foreign.has(entry, name):
        return []
    group = foreign.subgroup(entry, name)
    return [foreign.subgroup(group, one) for one in group]


def _read_header(entry: h5py.Group) -> Header:
    sessions = []
    for one in _members(entry, layout.SESSIONS):
        texts = {key: hdf.read_text(one, key) for key in one if key != "started"}
        started = float(foreign.plain(one, "started", "fiu")[()])
        sessions.append(Session(int(one.name.rpartition("/")[2]), started, texts))
    first, last = int(entry.attrs["first_segment"]), int(entry.attrs["last_segment"])
    if not 0 <= first <= last < _MOST_SEGMENTS:
        raise UnusableFileError(f"says that it holds the segments {first} to {last}")
    run_id = hdf.read_text(entry, "run_id")
    if not re.search(IDENTITY, run_id):
        raise UnusableFileError("is damaged (it names no run)")
    return Header(run_id, hdf.read_text(entry, "title"), first, last, tuple(sessions))
