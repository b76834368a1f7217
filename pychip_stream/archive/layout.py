"""Layout of run archives: names, types and units (docs/archive.md tells it to people)."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import unquote

import h5py
import numpy as np
import xxhash

from pychip_stream import foreign
from pychip_stream.archive import hdf
from pychip_stream.archive.hdf import Array, UnusableFileError
from pychip_stream.domain.clock import Stamps, on_one_clock
from pychip_stream.domain.frames import TEXTS, natural
from pychip_stream.domain.quantities import Quantity, find, of_frames
from pychip_stream.domain.records import MAX_REASON, FrameRecord

ENTRY = "entry"
FRAMES = "frames"
SCORINGS = "scorings"
SUPERSEDED = "superseded"
EMBEDDINGS = "embeddings"
SUPPORTS = "support_sets"
SESSIONS = "sessions"
PROVENANCE = "provenance"
ACQUIRED = "acquired"
"""Scoring that was made while the run went on."""

DIGEST = "digest"
"""Attribute of a group: hash of what is small in it; of a frame table a JSON of each column's."""

NO_CHIP = 255
"""In label maps: beyond this frame's grid. 0 is unknown, n the n-th class."""

Table = dict[str, Array]


class Column(NamedTuple):
    """A column of the frame table.

    Attributes
    ----------
    dtype
        NumPy type; "S" means UTF-8 text as wide as its longest value.
    unit, meaning
        For people; written as attributes.
    """

    name: str
    dtype: str
    unit: str
    meaning: str


COLUMNS = (
    Column("sequence", "i8", "", "number in order of archiving; identifies the frame in its run"),
    Column("path", "S", "", "file, relative to the acquisition folder"),
    Column("index", "i4", "", "position within the file, from 0"),
    Column("revision", "i4", "", "1, or higher where the file was changed and analysed again"),
    Column("size", "i8", "byte", "size of the file when it was read"),
    Column("mtime_ns", "i8", "ns", "modification time of the file since 1970"),
    Column("content_hash", "S", "", "hash of the file that was read"),
    Column("frame_hash", "S", "", "hash of the frame's own bytes, in formats that can grow"),
    Column("time", "f8", "s", "when the frame was taken, as well as is known, since 1970"),
    Column(
        "exposed", "f8", "s", "time of exposure since 1970 by file or series, whichever is finer"
    ),
    Column("seen", "f8", "s", "when the file was first seen, since 1970"),
    Column("read", "f8", "s", "when it was read, since 1970"),
    Column("classified", "f8", "s", "when it was classified, since 1970"),
    Column("archived", "f8", "s", "when it was written here, since 1970"),
    Column("pixel_size", "f8", "", "edge of a pixel in the unit of the column unit; NaN unknown"),
    Column("unit", "S", "", "unit of pixel_size"),
    Column("pixel_height", "f8", "", "height of a pixel; pixel_size is its width"),
    *(Column(name, "S", "", meaning) for name, meaning in TEXTS.items()),
    Column("height", "i4", "pixel", "of the frame"),
    Column("width", "i4", "pixel", "of the frame"),
    Column("chip_height", "i4", "pixel", "of a chip"),
    Column("chip_width", "i4", "pixel", "of a chip"),
    Column("rows", "i4", "", "of chips"),
    Column("columns", "i4", "", "of chips"),
    Column(
        "status", "S", "", "ok, failed, or moved: archived under the path that its file has now"
    ),
    Column("reason", "S", "", "why it failed"),
    Column("support_version", "S", "", "support set it was classified with while acquiring"),
    Column("encoder_hash", "S", "", "hash of the encoder's weights"),
    Column("device", "S", "", "where the encoder ran and in which precision"),
    *(Column(q.name, "f8", q.unit, q.meaning) for q in of_frames()),
    Column("session", "i4", "", "which start of the archiver wrote it; see sessions"),
)


CORE = (
    "sequence", "path", "index", "revision", "status", "time", "support_version",
    "exposed", "mtime_ns", "seen",
)  # fmt: skip
"""Columns that everything needs; the others are read when they are asked for."""
ALL = tuple(column.name for column in COLUMNS)
_STRANGE = Quantity("", "", "a quantity that no package declared when this was written")


def table_of(
    records: Sequence[FrameRecord], revisions: Sequence[int], sequence: range, session: int
) -> Table:
    """Put records into the columns of a frame table.

    Parameters
    ----------
    revisions, sequence
        Of each record.
    session
        Number of the archiver's start.
    """
    now = time.time()
    grids = [r.result.label_map.shape if r.result else (0, 0) for r in records]
    columns: dict[str, list[object]] = {
        name: [getattr(r, name) for r in records] for name in ("time", "read", "classified")
    }
    for name in ("index", "size", "mtime_ns", "seen"):
        columns[name] = [getattr(r.frame, name) for r in records]
    columns |= {
        "sequence": list(sequence),
        "revision": list(revisions),
        "exposed": [r.frame.time or np.nan for r in records],
        "archived": [now] * len(records),
        "pixel_size": [np.nan if r.pixel_size is None else r.pixel_size for r in records],
        "pixel_height": [(r.pixel_size or np.nan) * r.pixel_ratio for r in records],
        "height": [r.shape[0] for r in records],
        "width": [r.shape[1] for r in records],
        "chip_width": [r.chip_size[0] for r in records],
        "chip_height": [r.chip_size[1] for r in records],
        "rows": [g[0] for g in grids],
        "columns": [g[1] for g in grids],
        "session": [session] * len(records),
    }
    measured = dict.fromkeys(
        (*(quantity.name for quantity in of_frames()), *(n for r in records for n in r.measured))
    )
    for name in measured:
        columns[name] = [r.measured.get(name, np.nan) for r in records]
    words: dict[str, list[str]] = {
        "path": [r.frame.path for r in records],
        "content_hash": [r.content_hash for r in records],
        "frame_hash": [r.frame_hash for r in records],
        "unit": [r.unit or "" for r in records],
        "status": [r.status for r in records],
        "reason": [" ".join(r.reason.split())[:MAX_REASON] for r in records],
        "support_version": [r.result.support_version if r.result else "" for r in records],
        "encoder_hash": [r.encoder_hash for r in records],
        "device": [r.device for r in records],
        **{name: [r.texts.get(name, "") for r in records] for name in TEXTS},
    }
    table: Table = {}
    for column in COLUMNS:
        if column.dtype == "S":
            table[column.name] = hdf.texts(words[column.name])
        else:
            table[column.name] = np.array(columns[column.name], column.dtype)
    further = (name for name in measured if name not in table)
    return table | {name: np.array(columns[name], "f8") for name in further}


def write_table(group: h5py.Group, table: Table) -> None:
    """Write the columns of a frame table, each a dataset of n values."""
    group.attrs["NX_class"] = "NXcollection"
    count = len(table["sequence"])
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    packed = options if count >= 1024 else {}
    for column in (*COLUMNS, *(_column(name) for name in table if name not in ALL)):
        values = table[column.name]
        # Names of classes may hold a slash, which would be a group.
        name = column.name.replace("%", "%25").replace("/", "%2F")
        if column.dtype == "S":
            dataset = hdf.write_texts(group, name, values, **packed)
        else:
            dataset = group.create_dataset(name, data=values, **packed)
        dataset.attrs["long_name"] = column.meaning
        if column.unit:
            dataset.attrs["units"] = column.unit
    digests = {name: column_digest(values) for name, values in table.items()}
    group.attrs[DIGEST] = np.bytes_(json.dumps(digests))


def column_digest(values: Array) -> str:
    """Hash of the values of a column, however wide its texts are stored."""
    if values.dtype.kind == "S":
        return xxhash.xxh3_128_hexdigest(b"\0".join(values.tolist()))
    wide = values.astype("<i8" if values.dtype.kind in "iu" else "<f8")
    return xxhash.xxh3_128_hexdigest(wide.tobytes())


def changed_columns(group: h5py.Group) -> list[str]:
    """Names of the columns of a frame table that are not what was written.

    Empty for tables of before, which have no hashes.
    """
    text = hdf.attribute_text(group, DIGEST)
    if not text:
        return []
    wanted = json.loads(text)
    table = _readable(group, list(wanted))
    return [
        name
        for name, digest in wanted.items()
        if name not in table or column_digest(table[name]) != digest
    ]


def _readable(group: h5py.Group, names: Sequence[str]) -> Table:
    """Read those columns that can be read."""
    try:
        return read_table(group, names)
    except (UnusableFileError, KeyError, OSError):
        if len(names) < 2:
            return {}
    return {name: values for one in names for name, values in _readable(group, [one]).items()}


def read_table(
    group: h5py.Group, names: Sequence[str] | None = None, blank: Sequence[str] = ()
) -> Table:
    """Read columns (default: all) of a frame table.

    Those that an older layout lacks, and those of `blank`, get empty values; those of quantities
    that nothing here declares are read, too.
    """
    count = foreign.stored(group, "sequence").size
    table: Table = {}
    for column in COLUMNS:
        if names is not None and column.name not in names:
            continue
        if foreign.has(group, column.name) and column.name not in blank:
            if column.dtype == "S":
                values = hdf.read_texts(group, column.name)
            else:
                kinds = "iu" if column.dtype.startswith("i") else "iuf"
                values = foreign.plain(group, column.name, kinds)[...]
                values = values.astype(column.dtype, copy=False)
            if values.shape != (count,):
                raise UnusableFileError(f"has a frame table with {len(values)} {column.name}")
        else:
            values = _absent(column, count)
            foreign.charge(foreign.stored(group, "sequence"), values.nbytes)
        table[column.name] = values
    for stored, name in _others(group, count):
        if (names is None or name in names) and name not in blank:
            table[name] = foreign.plain(group, stored)[:]
    return table


def _others(group: h5py.Group, count: int) -> Iterator[tuple[str, str]]:
    """Columns besides the common ones, under the names that they have there and here."""
    for stored in group:
        if stored not in ALL and foreign.has(group, stored):
            found = foreign.stored(group, stored)
            if (found.dtype, found.shape) == ("f8", (count,)):
                yield stored, unquote(stored)


def _column(name: str) -> Column:
    """Describe a column of a class, or of a quantity whose plug-in is not here."""
    quantity = find(name) or _STRANGE
    return Column(name, "f8", quantity.unit, quantity.meaning)


def _values(table: Table, name: str) -> Array:
    """Values of a column; not known where only other tables have it."""
    if name in table or name in ALL:
        return table[name]
    return np.full(len(table["sequence"]), np.nan)


def _absent(column: Column, count: int) -> Array:
    """Values of a column that a file does not have."""
    if column.dtype == "S":
        return np.zeros(count, "S1")
    return np.full(count, np.nan if column.dtype.startswith("f") else 0, column.dtype)


def blanked(table: Table, names: Sequence[str]) -> Table:
    """Return a table in which the values of some columns are not known."""
    count = len(table["sequence"])
    empty = {c.name: _absent(c, count) for c in COLUMNS if c.name in names and c.name in table}
    return table | empty


def join_tables(tables: Sequence[Table], names: Sequence[str] | None = None) -> Table:
    """Put columns (default: all) of tables under each other, in order of archiving."""
    empty = {c.name: np.zeros(0, "S1" if c.dtype == "S" else c.dtype) for c in COLUMNS}
    there = dict.fromkeys((*ALL, *(name for one in tables for name in one)))
    table = {
        name: np.concatenate([_values(one, name) for one in tables]) if tables else empty[name]
        for name in there
        if names is None or name in names
    }
    order = np.argsort(table["sequence"], kind="stable")
    return table if (np.diff(order) == 1).all() else take(table, order)


def in_order(table: Table) -> Array:
    """(n,) rows in order of time; where it is the same, of name (numbers by value) and index."""
    time, paths, index = table["time"], table["path"], table["index"]
    order = np.lexsort((index, paths, time))
    tied = np.diff(time[order]) == 0
    if not tied.any():
        return order
    # Names with digits at the same places stand in order already: only others cost time.
    letters = np.ascontiguousarray(paths[order]).view(np.uint8).reshape(len(order), -1)
    digits = (letters >= ord("0")) & (letters <= ord("9"))
    mixed = tied & (digits[1:] != digits[:-1]).any(axis=1)
    bounds = np.flatnonzero(np.concatenate([[True], ~tied, [True]]))
    for group in np.unique(np.searchsorted(bounds, np.flatnonzero(mixed), "right")).tolist():
        part = slice(bounds[group - 1], bounds[group])
        names = [natural(name) for name in hdf.strings(paths[order[part]])]
        keys = list(zip(names, index[order[part]].tolist(), order[part].tolist(), strict=True))
        order[part] = [row for _, _, row in sorted(keys)]
    return order


def own_times(table: Table) -> Array:
    """(n,) when frames were taken by themselves; where nothing tells it, as is assumed."""
    return np.where(np.nan_to_num(table["exposed"]) != 0, table["exposed"], table["time"])


def one_clock(table: Table) -> Array:
    """(n,) times of the frames of a whole run, none of which stretches its axis alone."""
    own = own_times(table)
    placed = on_one_clock(Stamps(own, table["mtime_ns"] / 1e9, table["seen"], table["path"]))
    return np.where((placed == own) & (own <= 0), table["time"], placed)


def take(table: Table, rows: Array) -> Table:
    """Return rows of a table."""
    return {name: values[rows] for name, values in table.items()}


def frame_keys(table: Table) -> list[tuple[str, int]]:
    """Path and index of every row."""
    return list(zip(hdf.strings(table["path"]), table["index"].tolist(), strict=True))


def superseded(table: Table) -> Array:
    """(n,) whether a later revision of the same frame was archived, or it was moved."""
    if not len(table["revision"]) or table["revision"].max() <= 1:
        return np.zeros(len(table["revision"]), bool)
    import pandas as pd  # most runs have none, and services start without it

    keys = pd.DataFrame({"path": table["path"].astype(object), "index": table["index"]})
    return np.asarray(keys.duplicated(keep="last") | (table["status"] == b"moved"))
