"""Merging: several files of a run into one, in order of time, checked before it counts."""

import logging
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from pychip_stream.archive import hdf, layout, nexus
from pychip_stream.archive.catalog import Catalog
from pychip_stream.archive.gather import Selection, gather_embeddings, gather_results
from pychip_stream.archive.hdf import Array, UnusableFileError
from pychip_stream.archive.layout import ACQUIRED, Table
from pychip_stream.archive.ledger import Ledger
from pychip_stream.archive.parts import Part, ResultsIndex
from pychip_stream.archive.results import (
    Embeddings,
    FrameRows,
    ResultsSink,
    create_embeddings,
)
from pychip_stream.archive.segment import Block, Header, start_file
from pychip_stream.archive.supports import GROUP
from pychip_stream.archive.tables import intervals
from pychip_stream.errors import ArchiveError

_PIECE_BYTES = 48 << 20
_SPARE_BYTES = 8 << 20
_CLASSES = ("class_names", "class_colors")

logger = logging.getLogger(__name__)


def block_of_parts(catalog: Catalog) -> Block:
    """Join the segments of a catalog in memory, in order of time; nothing is left out."""
    table = catalog.full_table()
    order = layout.in_order(table)
    good = table["sequence"][order[table["status"][order] == b"ok"]]
    names = catalog.class_names(ACQUIRED)
    selection, present = catalog.results(ACQUIRED, good)
    if not present.all():
        raise UnusableFileError("lacks results of some of its frames")
    results = None
    if len(selection):
        results = gather_results(selection, names, kept=_kept(selection))
    embeddings = []
    for encoder in catalog.encoders():
        chosen, _ = catalog.embeddings(encoder, good)
        frames, values = gather_embeddings(chosen, encoder[1])
        embeddings.append(Embeddings(encoder[0], frames, values))
    return Block(layout.take(table, order), results, tuple(embeddings))


def merge(catalog: Catalog, target: Path, supports: Mapping[str, Path], default: str) -> Header:
    """Write everything that a run holds into one new file and check it.

    Parameters
    ----------
    target
        Temporary name; synced by the caller.
    supports
        Files of support sets that no part holds yet.
    default
        Scoring to show.

    Raises
    ------
    ArchiveError
        If there is too little space, or what was written cannot be read back.
    OSError
        If the disk fails.
    """
    _check_space(catalog, target)
    header = merged_header(catalog.parts)
    table = catalog.full_table()
    old = np.setdiff1d(np.arange(len(table["sequence"])), catalog.order)
    current = table["sequence"][catalog.classified]
    replaced = table["sequence"][old[table["status"][old] == b"ok"]]
    ordered = layout.take(table, np.concatenate([catalog.order, old]))
    ledger = Ledger()
    with hdf.new_file(target) as file:
        entry = start_file(file, "run", header)
        nexus.describe_entry(entry, table["time"][catalog.classified])
        frames = entry.create_group(layout.FRAMES)
        layout.write_table(frames, ordered)
        hdf.name_rows(frames, "sequence")
        _copy_supports(entry, catalog, supports)
        _write_scorings(entry, catalog, ledger, default)
        if len(replaced):
            selection, _ = catalog.results(ACQUIRED, replaced)
            group = _collection(entry, layout.SUPERSEDED)
            _write_results(group, selection, catalog.class_names(ACQUIRED), ledger)
        _write_embeddings(entry, catalog, np.concatenate([current, replaced]), ledger)
        file.flush()
    _verify(target, ordered, ledger)
    return header


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


def _write_scorings(entry: h5py.Group, catalog: Catalog, ledger: Ledger, default: str) -> None:
    group = _collection(entry, layout.SCORINGS)
    group.attrs["default"] = default
    table, rows = catalog.table, catalog.classified
    for name in catalog.scoring_names:
        selection, present = catalog.results(name, table["sequence"][rows])
        if len(selection):
            target, class_names = _collection(group, name), catalog.class_names(name)
            _write_results(target, selection, class_names, ledger)
            colors = _colors(entry, table["support_version"][rows][::-1], name)
            curve = nexus.Curve(
                table["time"][rows[present]], intervals(selection, class_names), class_names, colors
            )
            fractions = target.create_group(layout.FRACTIONS)
            nexus.write_curve(fractions, curve)
            nexus.write_label_view(
                target.create_group(layout.LABEL_MAPS), target["label_map"], fractions["time"],
                class_names,
            )  # fmt: skip
            target.attrs["default"] = layout.FRACTIONS
            if provenance := catalog.provenance(name):
                hdf.write_text(target, layout.PROVENANCE, provenance)
    if default in group:
        nexus.show(entry, group[default])


def _colors(entry: h5py.Group, newest_first: Array, scoring: str) -> dict[str, str]:
    """Colours of the classes: those of the newest support set that has them."""
    used = hdf.strings(pd.unique(newest_first.astype(object)))
    colors: dict[str, str] = {}
    supports = entry[layout.SUPPORTS]
    for version in (scoring, *used, *supports):
        if version in supports:
            names, values = (hdf.strings(hdf.read_texts(supports[version], n)) for n in _CLASSES)
            colors = dict(zip(names, values, strict=True)) | colors
    return colors


def _write_results(
    group: h5py.Group, selection: Selection, names: tuple[str, ...], ledger: Ledger
) -> None:
    frames = selection.frames
    grid = (int(frames.rows.max()), int(frames.columns.max()))
    kept = _kept(selection)
    sink = ResultsSink(group, names, frames, grid, kept, ledger.put)
    per_chip = 4 * len(names) + 4
    frame = chip = 0
    for piece in selection.pieces(max(_PIECE_BYTES // per_chip, 1)):
        results = gather_results(piece, names, grid, kept)
        sink.write(results, frame, chip)
        frame += len(piece)
        chip += int(results.frames.chips.sum())


def _write_embeddings(entry: h5py.Group, catalog: Catalog, sequence: Array, ledger: Ledger) -> None:
    group = _collection(entry, layout.EMBEDDINGS)
    for number, encoder in enumerate(catalog.encoders()):
        selection, _ = catalog.embeddings(encoder, sequence)
        frames: FrameRows = selection.frames
        target = group.create_group(f"encoder_{number}")
        dataset = create_embeddings(target, encoder[0], frames, encoder[1])
        chip = 0
        for piece in selection.pieces(max(_PIECE_BYTES // (2 * max(encoder[1], 1)), 1)):
            _, values = gather_embeddings(piece, encoder[1])
            ledger.put(dataset, slice(chip, chip + len(values)), values)
            chip += len(values)


def _copy_supports(entry: h5py.Group, catalog: Catalog, supports: Mapping[str, Path]) -> None:
    group = _collection(entry, layout.SUPPORTS)
    for version, path in supports.items():
        try:
            with hdf.reading(path) as source:
                source.copy(source[GROUP], group, version)
        except UnusableFileError as error:
            logger.error("%s: %s; the run is kept without it", path, error)
    for part in (*catalog.parts, *catalog.scorings.values()):
        missing = [version for version in part.supports if version not in group]
        if missing:
            with hdf.reading(part.path) as source:
                for version in missing:
                    found = source[layout.ENTRY][layout.SUPPORTS][version]
                    source.copy(found, group, version)


def _kept(selection: Selection) -> tuple[str, ...]:
    """Per-chip arrays that any of the sources has (the others give NaN)."""
    used = set(np.unique(selection.source).tolist())
    names: dict[str, None] = {}
    for number in sorted(used):
        held = selection.sources[number].held
        assert isinstance(held, ResultsIndex)
        names.update(dict.fromkeys(held.kept))
    return tuple(names)


def _collection(parent: h5py.Group, name: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["NX_class"] = "NXcollection"
    return group


def _check_space(catalog: Catalog, target: Path) -> None:
    needed = sum(p.path.stat().st_size for p in (*catalog.parts, *catalog.scorings.values()))
    free = shutil.disk_usage(target.parent).free
    if free < needed + needed // 20 + _SPARE_BYTES:
        raise ArchiveError(
            f"{target.parent}: {needed / 1e6:.0f} MB are needed to merge the run, "
            f"{free / 1e6:.0f} MB are free; its frames are safe in the segments, make space and "
            "start and stop the run again"
        )


def _verify(path: Path, table: Table, ledger: Ledger) -> None:
    try:
        with hdf.reading(path) as file:
            found = layout.read_table(file[layout.ENTRY][layout.FRAMES])
            for name, values in table.items():
                same = found[name] == values
                if values.dtype.kind == "f":
                    same |= np.isnan(found[name]) & np.isnan(values)
                if not np.all(same):
                    raise UnusableFileError(f"column {name} is not what was written")
            ledger.check(file)
    except UnusableFileError as error:
        raise ArchiveError(
            f"{path}: {error}; the merged archive is not used and the segments stay, look after "
            "the disk"
        ) from error
