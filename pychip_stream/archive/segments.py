"""Segments: records that can be kept, arranged, and written as the files of a live run."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.blocks import PER_CLASS, VALUES, Put, Rows, RowsWriter, pack, store
from pychip_stream.archive.catalog import Catalog
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import Header, Part, start_file
from pychip_stream.archive.hdf import Array, Checksums, UnusableFileError
from pychip_stream.archive.layout import ACQUIRED, Table
from pychip_stream.domain import quantities
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.domain.support import MAX_CLASSES, UNKNOWN
from pychip_stream.errors import ArchiveError

_MOST_TEXT = 1000
_MOST_PATH = 4096
_INT32, _INT64 = 1 << 31, 1 << 63
_STEP_BYTES = 2 << 20


def nameless(frame: FrameRef) -> str:
    """Tell why the archive cannot even name a frame; empty where it can."""
    path = frame.path
    if not path or "\0" in path or len(path.encode("utf-8", "replace")) > _MOST_PATH:
        return "its path cannot be written down"
    numbers = ((frame.index, _INT32), (frame.size, _INT64), (abs(frame.mtime_ns), _INT64))
    return "" if all(0 <= n < most for n, most in numbers) else "its numbers are out of range"


def flaw(record: FrameRecord, classes: Sequence[str]) -> str:
    """Tell why a record cannot be kept as it is; empty where it can.

    Parameters
    ----------
    classes
        Of the run so far, unknown not counted.
    """
    texts = {"content hash": record.content_hash + record.frame_hash, "unit": record.unit or ""}
    texts |= {"encoder hash": record.encoder_hash, "device": record.device, **record.texts}
    if record.result is not None:
        texts["support set"] = record.result.support_version
    for name, text in texts.items():
        if not _is_text(text):
            return f"its {name} is no text of at most {_MOST_TEXT} characters"
    edges = (*record.shape, *record.chip_size)
    if len(edges) != 4 or not all(isinstance(n, int) and 0 <= n < _INT32 for n in edges):
        return f"its shape {record.shape} or chip size {record.chip_size} is impossible"
    if len(record.measured) > quantities.MOST or not all(map(_is_quantity, record.measured)):
        return "its measured quantities are too many, or their names impossible"
    numbers: dict[str, object] = {"read": record.read, "classified": record.classified}
    numbers |= {**record.measured, "pixel size": record.pixel_size or 0.0}
    numbers |= {"pixel ratio": record.pixel_ratio}
    for name, value in numbers.items():
        if not isinstance(value, (int, float)):
            return f"its {name} is no number"
    return "" if record.result is None else _flaw_of(record.result, classes)


def unkept(record: FrameRecord, why: str) -> FrameRecord:
    """Return what is kept of a record whose values cannot be."""
    reason = f"its result cannot be archived: {why}"
    return FrameRecord.failed(record.frame, reason, read=math.nan)


def _flaw_of(result: FrameResult, classes: Sequence[str]) -> str:
    names = result.names
    if not names or len(set(names)) < len(names) or UNKNOWN in names:
        return "its classes are none, or of one name, or called unknown"
    if not all(_is_text(n) and n.strip() and n.isprintable() for n in names):
        return "the name of a class is empty, too long or not printable"
    if len({*classes, *names}) > MAX_CLASSES:
        return f"the run would have more than {MAX_CLASSES} classes"
    grid, count = result.label_map.shape, len(names)
    wanted = {
        "novelty": grid, "intervals": (count + 1, 3), **dict.fromkeys(PER_CLASS, (*grid, count)),
    }  # fmt: skip
    for name, shape in wanted.items():
        values = getattr(result, name)
        if values.shape != shape or values.dtype.kind != "f":
            return f"its {name} of shape {values.shape} do not fit its {count} classes"
    if len(grid) != 2 or result.label_map.dtype != np.uint8 or result.label_map.max() > count:
        return "its label map is none"
    return ""


def _is_quantity(name: object) -> bool:
    """Whether a name can be that of a measured quantity: no other column is called so."""
    own = {quantity.name for quantity in quantities.of_frames()}
    shown = _is_text(name) and str(name).strip(" .") and str(name).isprintable()
    return bool(shown) and (name in own or name not in layout.ALL)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MOST_TEXT and "\0" not in value


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
    results: Rows | None
    embeddings: tuple[Rows, ...] = ()


def block_of(
    records: Sequence[FrameRecord],
    revisions: Sequence[int],
    first_sequence: int,
    session: int,
    names: tuple[str, ...],
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
    names
        Classes of the run, every class of these records included, then unknown.
    embeddings
        Whether they are kept.
    """
    sequence = range(first_sequence, first_sequence + len(records))
    table = layout.table_of(records, revisions, sequence, session)
    good = [(r, s) for r, s in zip(records, sequence, strict=True) if r.result is not None]
    results = None
    if good:
        results = pack([r.result for r, _ in good if r.result], [s for _, s in good], names)
    found: dict[tuple[str, int], list[tuple[Array, int]]] = {}
    for record, number in good:
        if embeddings and record.embeddings is not None:
            key = (record.encoder_hash, record.embeddings.shape[2])
            found.setdefault(key, []).append((record.embeddings, number))
    return Block(table, results, tuple(_embeddings(key, each) for key, each in found.items()))


def block_of_parts(catalog: Catalog) -> Block:
    """Join the segments of a catalog in memory, in order of time; nothing is left out."""
    table = catalog.full_table()
    order = layout.in_order(table)
    good = table["sequence"][order[table["status"][order] == b"ok"]]
    names = catalog.class_names(ACQUIRED)
    selection, present = catalog.results(ACQUIRED, good)
    if not present.all():
        raise UnusableFileError("lacks results of some of its frames")
    results = selection.read(names) if len(selection) else None
    found = [catalog.embeddings(encoder, good)[0] for encoder in catalog.encoders()]
    embeddings = [one.read() for one in found if len(one)]
    return Block(layout.take(table, order), results, tuple(embeddings))


class Batch(NamedTuple):
    """Frames on their way to the disk; kept as they are until they have arrived."""

    records: list[FrameRecord]
    header: Header
    block: Block
    image: bytes


def write_block(entry: h5py.Group, block: Block, put: Put = store) -> None:
    """Write frames into the entry of a file; `put` writes rows of a dataset."""
    layout.write_table(entry.create_group(layout.FRAMES), block.table)
    scorings = hdf.collection(entry, layout.SCORINGS)
    if block.results is not None:
        group = scorings.create_group(layout.ACQUIRED)
        RowsWriter(group, block.results, block.results.grid, put).write(block.results)
    group = hdf.collection(entry, layout.EMBEDDINGS)
    for number, rows in enumerate(block.embeddings):
        RowsWriter(group.create_group(f"encoder_{number}"), rows, rows.grid, put).write(rows)


def _embeddings(encoder: tuple[str, int], found: list[tuple[Array, int]]) -> Rows:
    flat = [np.asarray(v, np.float16).reshape(-1, encoder[1]) for v, _ in found]
    return Rows.laid(
        [s for _, s in found], [v.shape[:2] for v, _ in found], encoder=encoder, kept=(VALUES,),
        arrays={VALUES: np.concatenate(flat)},
    )  # fmt: skip


def part_of(path: Path, header: Header, block: Block) -> Part:
    """Return what `read_part` would, for a segment that was just written."""
    scorings = {}
    if block.results is not None:
        where = f"/{layout.ENTRY}/{layout.SCORINGS}/{layout.ACQUIRED}"
        scorings[layout.ACQUIRED] = block.results.at(path, where)
    embeddings = tuple(
        rows.at(path, f"/{layout.ENTRY}/{layout.EMBEDDINGS}/encoder_{number}")
        for number, rows in enumerate(block.embeddings)
    )
    table = {name: block.table[name] for name in layout.CORE}
    return Part(path, "segment", header, table, scorings, embeddings=embeddings)


def segment_image(header: Header, block: Block) -> bytes:
    """Bytes of a segment file."""
    with hdf.new_image() as file:
        entry = start_file(file, "segment", header)
        write_block(entry, block)
        return hdf.image(file)


def write_segment(path: Path, header: Header, block: Block) -> None:
    """Write a large segment to a (temporary) file, in steps that stop no other thread for long.

    HDF5 does one thing at a time, and the bytes of a file in memory are copied in one go.
    """
    written = Checksums()

    def put(dataset: h5py.Dataset, rows: slice, values: Array) -> None:
        step = max(_STEP_BYTES // max(values[:1].nbytes, 1), 1)
        step = -(-step // dataset.chunks[0]) * dataset.chunks[0]
        for start in range(0, len(values), step):
            piece = values[start : start + step]
            at = rows.start + start
            written.put(dataset, slice(at, at + len(piece)), piece)

    with hdf.new_file(path, written) as file:
        write_block(start_file(file, "segment", header), block, put)


def publish_segment(disk: Disk, path: Path, image: bytes) -> None:
    """Give a segment its name; whole on disk from then on.

    Raises
    ------
    OSError
        If that fails; it can be tried again with the same bytes.
    ArchiveError
        If another file has the name.
    """
    try:
        with disk.atomic(path, new=True) as temporary:
            disk.write(temporary, image)
    except FileExistsError as error:
        # An earlier attempt may have come this far before something failed.
        if path.read_bytes() != image:
            raise ArchiveError(
                f"{path}: was written by another archiver; stop one of them"
            ) from error
        disk.sync_folder(path.parent)
