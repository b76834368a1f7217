"""Segments: immutable files of some frames each, built in memory."""

import json
import platform
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import h5py
import numpy as np

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.durable import Disk, temporary_name
from pychip_stream.archive.layout import Table
from pychip_stream.archive.records import MAX_REASON, FrameRecord
from pychip_stream.archive.results import (
    Embeddings,
    FrameRows,
    Results,
    create_embeddings,
    pack,
    write_results,
)
from pychip_stream.errors import ArchiveError


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
class Block:
    """Frames in memory, as a segment holds them.

    Attributes
    ----------
    table
        Frame table, n rows.
    results
        Of the frames that did not fail; None where all failed.
    embeddings
        One entry per encoder.
    """

    table: Table
    results: Results | None
    embeddings: tuple[Embeddings, ...] = ()


def block_of(
    records: Sequence[FrameRecord],
    revisions: Sequence[int],
    first_sequence: int,
    session: int,
    class_names: tuple[str, ...],
    *,
    embeddings: bool,
) -> Block:
    """Arrange records for writing.

    Parameters
    ----------
    revisions
        Of each record.
    first_sequence
        Sequence number of the first record.
    class_names
        Of the run: unknown first, every class of these records included.
    embeddings
        Whether they are kept.
    """
    sequence = range(first_sequence, first_sequence + len(records))
    table = _table(records, revisions, sequence, session)
    good = [(r, s) for r, s in zip(records, sequence, strict=True) if r.result is not None]
    results = None
    if good:
        results = pack([r.result for r, _ in good if r.result], [s for _, s in good], class_names)
    found: dict[tuple[str, int], list[tuple[FrameRecord, int]]] = {}
    for record, number in good:
        if embeddings and record.embeddings is not None:
            key = (record.encoder_hash, record.embeddings.shape[2])
            found.setdefault(key, []).append((record, number))
    return Block(table, results, tuple(_embeddings(k[0], v) for k, v in found.items()))


def write_block(entry: h5py.Group, block: Block) -> None:
    """Write frames into the entry of a file."""
    layout.write_table(entry.create_group(layout.FRAMES), block.table)
    scorings = entry.create_group(layout.SCORINGS)
    scorings.attrs["NX_class"] = "NXcollection"
    if block.results is not None:
        group = scorings.create_group(layout.ACQUIRED)
        group.attrs["NX_class"] = "NXcollection"
        write_results(group, block.results)
    group = entry.create_group(layout.EMBEDDINGS)
    group.attrs["NX_class"] = "NXcollection"
    for number, one in enumerate(block.embeddings):
        target = group.create_group(f"encoder_{number}")
        dataset = create_embeddings(target, one.encoder_hash, one.frames, one.values.shape[1])
        if len(one.values):
            dataset[...] = one.values


def segment_image(header: Header, block: Block) -> bytes:
    """Bytes of a segment file."""
    with hdf.new_image() as file:
        entry = start_file(file, "segment", header)
        write_block(entry, block)
        return hdf.image(file)


def publish_segment(disk: Disk, path: Path, image: bytes) -> None:
    """Give a segment its name; whole on disk from then on.

    Raises
    ------
    OSError
        If that fails; it can be tried again with the same bytes.
    ArchiveError
        If another file has the name.
    """
    temporary = temporary_name(path)
    disk.write(temporary, image)
    try:
        disk.publish(temporary, path)
    except FileExistsError as error:
        disk.remove(temporary)
        # An earlier attempt may have come this far before something failed.
        if path.read_bytes() != image:
            raise ArchiveError(
                f"{path}: was written by another archiver; stop one of them"
            ) from error
        disk.sync_folder(path.parent)
    except OSError:
        disk.remove(temporary)
        raise


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
    sessions = entry.create_group(layout.SESSIONS)
    sessions.attrs["NX_class"] = "NXcollection"
    for session in header.sessions:
        group = sessions.create_group(f"{session.number:04d}")
        group.attrs["NX_class"] = "NXcollection"
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


def _embeddings(encoder_hash: str, found: list[tuple[FrameRecord, int]]) -> Embeddings:
    values = [r.embeddings for r, _ in found if r.embeddings is not None]
    frames = FrameRows.of([s for _, s in found], [v.shape[:2] for v in values])
    flat = [np.asarray(v, np.float16).reshape(-1, v.shape[2]) for v in values]
    return Embeddings(encoder_hash, frames, np.concatenate(flat))


def _table(
    records: Sequence[FrameRecord], revisions: Sequence[int], sequence: range, session: int
) -> Table:
    now = time.time()
    grids = [r.result.label_map.shape if r.result else (0, 0) for r in records]
    columns: dict[str, list[object]] = {
        name: [getattr(r, name) for r in records]
        for name in ("index", "size", "mtime_ns", "time", "exposed", "seen", "read", "classified")
    }
    columns |= {
        "sequence": list(sequence),
        "revision": list(revisions),
        "archived": [now] * len(records),
        "pixel_size": [np.nan if r.pixel_size is None else r.pixel_size for r in records],
        "height": [r.shape[0] for r in records],
        "width": [r.shape[1] for r in records],
        "chip_width": [r.chip_size[0] for r in records],
        "chip_height": [r.chip_size[1] for r in records],
        "rows": [g[0] for g in grids],
        "columns": [g[1] for g in grids],
        "session": [session] * len(records),
    }
    columns["drift"] = [np.nan if r.result is None else r.result.drift for r in records]
    for number, name in enumerate(("intensity_mean", "intensity_p1", "intensity_p99")):
        columns[name] = [r.intensity[number] for r in records]
    words: dict[str, list[str]] = {
        "path": [r.path for r in records],
        "content_hash": [r.content_hash for r in records],
        "unit": [r.unit or "" for r in records],
        "status": [r.status for r in records],
        "reason": [" ".join(r.reason.split())[:MAX_REASON] for r in records],
        "support_version": [r.result.support_version if r.result else "" for r in records],
        "encoder_hash": [r.encoder_hash for r in records],
        "device": [r.device for r in records],
    }
    table: Table = {}
    for column in layout.COLUMNS:
        if column.dtype == "S":
            table[column.name] = hdf.texts(words[column.name])
        else:
            table[column.name] = np.array(columns[column.name], column.dtype)
    return table
