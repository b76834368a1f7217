"""Stimulus of a run: raw readings with their own times, and what was made of their clocks.

While a run is live its readings are lines of a journal beside the segments; what was added
afterwards is a file of such lines beside the run. Both go into the closed archive (NXlog), and
the values of the frames are derived from them whenever they are asked for.
"""

import json
import logging
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import h5py
import msgspec
import numpy as np

from pychip_stream import foreign, plain_files
from pychip_stream.archive import hdf, layout
from pychip_stream.archive.changes import Changes
from pychip_stream.archive.clock_offsets import OFFSETS, ClockOffset
from pychip_stream.archive.disk import Disk, reason
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.gathered import Gathered, Raw
from pychip_stream.archive.hdf import UnusableFileError
from pychip_stream.archive.journal import append_line
from pychip_stream.archive.row_group import write_rows
from pychip_stream.domain.quantities import OF_FRAMES, declare_stimulus
from pychip_stream.domain.signals import (
    MAX_GAP_S,
    Kind,
    Readings,
    Series,
    Times,
    join,
    quantity_name,
)
from pychip_stream.errors import ArchiveError

logger = logging.getLogger(__name__)

GROUP = "stimulus"
_JOURNAL = "readings.jsonl"
_ADDED = "readings-*.jsonl"
_POSITIONS = "positions"
_MOST_POSITIONS = 1000
_MOST_LINE = 64 << 20


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of the journal; arrays are those of float64, little-endian.

    `origin` and `end`: of which log, and up to which byte of it, everything is here then.
    """

    source: str
    names: list[tuple[str, str, Kind]]
    time: bytes
    values: list[bytes]
    max_gap_s: float = MAX_GAP_S
    rank: int = 0
    origin: str = ""
    end: int = 0
    run: str = ""


Key = tuple[str, str, str]
"""Source, name and unit."""


@dataclass(frozen=True, eq=False)
class Stimulus:
    """What is known of what was done to the specimen of a run.

    Attributes
    ----------
    changes
        Every offset of a clock that was set, in order.
    files
        That hold what is not in the closed archive.
    """

    raw: Mapping[Key, Raw] = field(default_factory=dict, repr=False)
    changes: Sequence[ClockOffset] = ()
    positions: Mapping[str, int] = field(default_factory=dict, repr=False)
    files: tuple[Path, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, those that count first before the others."""
        return tuple(dict.fromkeys(key[0] for key in self._keys))

    @cached_property
    def quantities(self) -> dict[str, str]:
        """Names and units of what readings become, which is declared then."""
        found = {}
        for source, name, unit in self._keys:
            quantity = quantity_name(_free(source, name, unit), unit)
            declare_stimulus(quantity, unit, f"{name}, as {source} tells it")
            found[quantity] = unit
        return found

    @cached_property
    def series(self) -> tuple[Series, ...]:
        """All readings in order of time, on the clock of the frames."""
        found = []
        for source, name, unit in self._keys:
            raw, free = self.raw[source, name, unit], _free(source, name, unit)
            (times, values), offset_s = raw.ordered, self.offset_s(source)
            if offset_s:
                times = times + offset_s
            found.append(Series(source, free, unit, raw.kind, raw.max_gap_s, times, values))
        return tuple(found)

    def offset_s(self, source: str) -> float:
        """Seconds that are added to the clock of a source."""
        return self.offsets[source].offset_s if source in self.offsets else 0.0

    @cached_property
    def offsets(self) -> dict[str, ClockOffset]:
        """Offsets in force, by source."""
        return {row.source: row for row in self.changes}

    def shifted(self, source: str, offset_s: float) -> "Stimulus":
        """Return what this would be with another offset, to look at before it is set."""
        trial = ClockOffset("", source, offset_s, "", 0.0, "")
        return replace(self, changes=(*self.changes, trial))

    def columns(self, times: Times) -> dict[str, Times]:
        """Values of every quantity at the times of frames; see `domain.signals.join`."""
        return join(self.series, times) if self.quantities else {}

    @property
    def _keys(self) -> list[Key]:
        return sorted(self.raw, key=lambda key: self.raw[key].rank)


class ReadingJournal:
    """Keeps the readings of a live run; written by the archiver alone."""

    def __init__(self, places: RunPlaces, disk: Disk | None = None) -> None:
        self._path = journal(places)
        self._disk = disk or Disk()
        self._positions = dict(StimulusFiles(places).read("").positions)

    @property
    def positions(self) -> Mapping[str, int]:
        """By log: up to which byte its readings are here."""
        return self._positions

    def position(self, origin: str) -> int:
        """Up to which byte of a log its readings are here."""
        return self._positions.get(origin, 0)

    def add(self, readings: Readings, rank: int = 0, origin: str = "", end: int = 0) -> None:
        """Write readings; they are on disk when this returns.

        Raises
        ------
        ArchiveError
            If that cannot be written.
        """
        try:
            append_line(self._path, _encode(readings, rank, origin, end), self._disk)
        except OSError as error:
            raise ArchiveError(f"{self._path}: cannot be written ({reason(error)})") from error
        if origin:
            self._positions[origin] = end


def add_readings(
    places: RunPlaces,
    run_id: str,
    readings: Iterable[Readings],
    rank: int = 0,
    disk: Disk | None = None,
) -> int:
    """Add readings to a run that is there, live or closed; all of them or none.

    Returns
    -------
    How many.

    Raises
    ------
    ArchiveError
        If that cannot be written.
    """
    if not run_id:
        raise ArchiveError(f"{places.closed}: holds nothing yet; try again in a moment")
    name = _ADDED.replace("*", f"{time.time_ns():019d}-{secrets.token_hex(4)}")
    disk, count = disk or Disk(), 0
    try:
        places.scorings.mkdir(parents=True, exist_ok=True)
        with disk.atomic(places.scorings / name) as temporary, temporary.open("wb") as file:
            for one in readings:
                file.write(_encode(one, rank, run=run_id) + b"\n")
                count += len(one)
    except OSError as error:
        raise ArchiveError(f"{places.scorings}: cannot be written ({reason(error)})") from error
    return count


def journal(places: RunPlaces) -> Path:
    """Journal of the readings of a live run."""
    return places.segments / _JOURNAL


def added_files(places: RunPlaces) -> list[Path]:
    """Files of readings that were added afterwards and are not in the closed archive."""
    return sorted(places.scorings.glob(_ADDED))


class StimulusFiles:
    """Reads the stimulus of a run; of a journal that has grown only what is new."""

    def __init__(self, places: RunPlaces) -> None:
        self._places = places
        self._offsets = Changes(places, OFFSETS)
        self._stamp: object = None
        self._end = 0
        self._raw: dict[Key, Gathered] = {}
        self._positions: dict[str, int] = {}
        self._newest = Stimulus()

    def read(self, run_id: str) -> Stimulus:
        """Everything that is known now; the same object while there is nothing new."""
        changes = self._offsets.read(run_id)
        added = added_files(self._places)
        stamp: list[object] = [run_id, *added]
        with suppress(OSError):
            closed = self._places.closed.stat()
            stamp += [closed.st_mtime_ns, closed.st_size, closed.st_ino]
        grown = _size(journal(self._places))
        anew, end = stamp != self._stamp or grown < self._end, self._end
        if anew:
            self._start(run_id, added)
            self._stamp = stamp
        if grown > self._end:
            self._end = self._take(journal(self._places), "", self._end)
        if not anew and self._end == end and changes is self._newest.changes:
            return self._newest
        files = (*added, journal(self._places)) if grown else tuple(added)
        raw = {key: one.raw for key, one in self._raw.items()}
        self._newest = Stimulus(raw, changes, dict(self._positions), files)
        return self._newest

    def _start(self, run_id: str, added: list[Path]) -> None:
        self._raw, self._positions, self._end = {}, {}, 0
        try:
            self._raw, self._positions = whole_stimulus(self._places.closed)
        except FileNotFoundError:
            pass
        except UnusableFileError as error:
            logger.error("%s: its %s cannot be read (%s)", self._places.closed, GROUP, error)
        for path in added:
            self._take(path, run_id, 0)

    def _take(self, path: Path, run_id: str, start: int) -> int:
        """Take in whole lines from a byte on; returns where the next begins."""
        try:
            with plain_files.open_file(path) as file:
                file.seek(start)
                for data in iter(lambda: file.readline(_MOST_LINE), b""):
                    if not data.endswith(b"\n"):
                        break
                    start += len(data)
                    self._take_line(data, run_id, path)
        except OSError as error:
            logger.error("%s: cannot be read (%s)", path, reason(error))
        return start

    def _take_line(self, data: bytes, run_id: str, path: Path) -> None:
        if not data.strip():
            return
        try:
            line = msgspec.json.decode(data, type=_Line)
            times = np.frombuffer(line.time, "<f8")
            columns = [np.frombuffer(one, "<f8") for one in line.values]
            if len(columns) != len(line.names) or any(len(c) != len(times) for c in columns):
                raise ValueError("columns that do not fit")
        except (msgspec.MsgspecError, ValueError) as error:
            logger.debug("%s: a line was cut short (%s)", path, error)
            return
        if line.run != run_id:
            return
        for (name, unit, kind), values in zip(line.names, columns, strict=True):
            key = (line.source, name, unit)
            fresh = Gathered(kind, line.max_gap_s, line.rank)
            self._raw.setdefault(key, fresh).put(times, values)
        if line.origin:
            self._positions[line.origin] = line.end


def write_stimulus(entry: h5py.Group, stimulus: Stimulus) -> None:
    """Write readings, positions and offsets into a new archive: an NXlog for each thing."""
    write_rows(entry, OFFSETS.group, stimulus.changes)
    if not stimulus.raw:
        return
    group = hdf.collection(entry, GROUP)
    kept = list(stimulus.positions.items())[-_MOST_POSITIONS:]
    hdf.write_text(group, _POSITIONS, json.dumps(dict(kept)))
    for number, (key, raw) in enumerate(stimulus.raw.items()):
        source, name, unit = key
        sensor = group.create_group(f"{number:03d}_{quantity_name(name, unit)}")
        sensor.attrs["NX_class"] = "NXsensor"
        hdf.write_text(sensor, "name", name)
        hdf.write_text(sensor, "source", source)
        hdf.write_text(sensor, "kind", raw.kind)
        hdf.write_text(sensor, "unit", unit)
        log = sensor.create_group("value_log")
        log.attrs["NX_class"] = "NXlog"
        log.attrs["max_gap_s"] = raw.max_gap_s
        log.attrs["rank"] = raw.rank
        log.attrs["clock_offset_s"] = stimulus.offset_s(source)
        for data, (which, units) in zip(raw.came, (("time", "s"), ("value", unit)), strict=True):
            log.create_dataset(which, data=data, fletcher32=True, chunks=(_chunk(len(data)),))
            log[which].attrs["units"] = units
        log["time"].attrs["start"] = "1970-01-01T00:00:00+00:00"
        digests = [layout.column_digest(data) for data in raw.came]
        log.attrs[layout.DIGEST] = np.bytes_(json.dumps(digests))


def whole_stimulus(path: Path) -> tuple[dict[Key, Gathered], dict[str, int]]:
    """Read the readings and positions of a closed archive; none where it has none.

    Raises
    ------
    FileNotFoundError
        If the archive is not there.
    UnusableFileError
        If they are not what was written.
    """
    found: dict[Key, Gathered] = {}
    with hdf.reading(path) as file:
        entry = foreign.subgroup(file, layout.ENTRY)
        if not foreign.has(entry, GROUP):
            return {}, {}
        group = foreign.subgroup(entry, GROUP)
        positions = json.loads(hdf.read_text(group, _POSITIONS))
        for stored in group:
            if stored == _POSITIONS:
                continue
            sensor = foreign.subgroup(group, stored)
            texts = [hdf.read_text(sensor, one) for one in ("source", "name", "unit", "kind")]
            log = foreign.subgroup(sensor, "value_log")
            columns = [foreign.plain(log, one, "f")[:] for one in ("time", "value")]
            digests = [layout.column_digest(one) for one in columns]
            if json.loads(hdf.attribute_text(log, layout.DIGEST)) != digests:
                raise UnusableFileError(f"is damaged ({GROUP} {stored})")
            source, name, unit, told = texts
            kind: Kind = "state" if told == "state" else "number"
            gap, rank = float(log.attrs["max_gap_s"]), int(log.attrs["rank"])
            found[source, name, unit] = Gathered(kind, gap, rank)
            found[source, name, unit].put(columns[0], columns[1])
    return found, {str(origin): int(end) for origin, end in positions.items()}


def _free(source: str, name: str, unit: str) -> str:
    """Name that no column of frames has yet: where one has, that of the source stands first."""
    taken = quantity_name(name, unit)
    return f"{source} {name}" if taken in layout.ALL or taken in OF_FRAMES else name


def _chunk(count: int) -> int:
    return max(min(count, 1 << 16), 1)


def _encode(
    readings: Readings, rank: int = 0, origin: str = "", end: int = 0, run: str = ""
) -> bytes:
    return msgspec.json.encode(
        _Line(
            source=readings.source,
            names=[(one.name, one.unit, one.kind) for one in readings.signals],
            time=_bytes(readings.time),
            values=[_bytes(one.values) for one in readings.signals],
            max_gap_s=readings.max_gap_s,
            rank=rank,
            origin=origin,
            end=end,
            run=run,
        )
    )


def _bytes(values: Times) -> bytes:
    return np.ascontiguousarray(values, "<f8").tobytes()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
