"""Audit of a run: chips drawn into a folder, labelled by an operator, read back.

The folder holds a picture of every chip with its surroundings and `audit.csv` with an empty
column `true_label`. What the classifier said is not in it, so that it cannot lead the eye; it is
looked up in the run when the labels come back.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from pychip_stream.archive.run import Run
from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError, FrameError, UsageError
from pychip_stream.export.kinds import PixelReader
from pychip_stream.export.pictures import to_grey
from pychip_stream.formats.raster import own_mark
from pychip_stream.model import audited
from pychip_stream.model.audited import Audit

TABLE = "audit.csv"
COLUMNS = ("number", "picture", "path", "index", "row", "column", "true_label")
_SMALLEST_PICTURE = 288


@dataclass(frozen=True)
class AuditChip:
    """A chip to label: its frame in the run and its place on the grid, from 0."""

    frame: int
    path: str
    index: int
    row: int
    column: int


def draw_chips(run: Run, count: int, seed: int = 0) -> list[AuditChip]:
    """Draw chips of a run at random, stratified by predicted class, in mixed order.

    Raises
    ------
    UsageError
        If the run has no classified chip or `count` is below 1.
    """
    rng = np.random.default_rng(seed)
    sizes = chips_per_class(run)
    ranks = audited.draw(sizes, count, rng)
    table = run.fractions
    passed = np.zeros(len(sizes), np.int64)
    found = []
    for frame, codes in _codes(run):
        flat = codes.ravel()
        for stratum, wanted in enumerate(ranks):
            places = np.flatnonzero(flat == stratum)
            mine = wanted[(wanted >= passed[stratum]) & (wanted < passed[stratum] + len(places))]
            for place in places[mine - passed[stratum]].tolist():
                row, column = divmod(place, codes.shape[1])
                path, index = table["path"].iloc[frame], int(table["index"].iloc[frame])
                found.append(AuditChip(frame, str(path), index, row, column))
            passed[stratum] += len(places)
    return [found[i] for i in rng.permutation(len(found))]


def chips_per_class(run: Run) -> list[int]:
    """Chips of the run in each predicted class: those of `run.names`, then unknown."""
    sizes = np.zeros(len(run.names) + 1, np.int64)
    for _, codes in _codes(run):
        sizes += np.bincount(codes.ravel(), minlength=len(sizes))
    return [int(n) for n in sizes]


def write_audit(run: Run, folder: Path, chips: list[AuditChip], pixels: PixelReader) -> int:
    """Write the pictures and the table to fill in.

    Parameters
    ----------
    pixels
        (path, index) → (H, W) counts, or None where the frame is gone.

    Returns
    -------
    Number of chips with a picture.

    Raises
    ------
    UsageError
        If the table is there already: labels of an operator are not overwritten.
    ArchiveError
        If the folder cannot be written.
    """
    target = folder / TABLE
    if target.exists():
        raise UsageError(f"{target}: is there already; choose another folder")
    painted = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with target.open("x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for number, chip in enumerate(chips):
                name = f"{number:04d}.png"
                there = _paint(run, chip, pixels(chip.path, chip.index), folder / name)
                painted += there
                place = (chip.path, chip.index, chip.row, chip.column)
                writer.writerow([number, name if there else "", *place, ""])
    except OSError as error:
        raise ArchiveError(f"{folder}: cannot be written ({error.strerror or error})") from error
    return painted


def read_audit(run: Run, table: Path) -> Audit:
    """Estimate the fractions of a run from a table with labels filled in.

    Rows without a label are left out; an empty label is no label.

    Raises
    ------
    UsageError
        If the table cannot be read, a chip is not in the run, or the labels do not suffice.
    """
    frames = {
        (str(row["path"]), int(row["index"])): int(row["frame"])
        for row in run.fractions[["path", "index", "frame"]].to_dict("records")
    }
    names = [*run.names, UNKNOWN]
    grids: dict[int, npt.NDArray[np.uint8]] = {}
    predicted, labelled = [], []
    for line, row in _rows(table):
        label = (row.get("true_label") or "").strip()
        if not label:
            continue
        try:
            frame = frames[row["path"], int(row["index"])]
            place = int(row["row"]), int(row["column"])
            if frame not in grids:
                grids[frame] = run.label_map(frame)
            code = int(grids[frame][place]) if min(place) >= 0 else -1
        except (KeyError, ValueError, IndexError, TypeError) as error:
            raise UsageError(f"{table}, line {line}: is not a chip of this run") from error
        if code < 0:
            raise UsageError(f"{table}, line {line}: is not a chip of this run")
        predicted.append(names[code])
        labelled.append(label)
    return audited.estimate(names, chips_per_class(run), predicted, labelled)


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {*COLUMNS[2:]} - {*(reader.fieldnames or ())}
            if missing:
                raise UsageError(f"{table}: lacks the column {sorted(missing)[0]!r}")
            yield from enumerate(reader, start=2)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{table}: cannot be read ({error})") from error


def _codes(run: Run) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Frame number and (rows, columns) position in `run.names`, unknown last."""
    for numbers, results in run.result_blocks(()):
        for place, number in enumerate(numbers.tolist()):
            yield number, results.labels(place)


def _paint(run: Run, chip: AuditChip, pixels: npt.NDArray[np.generic] | None, target: Path) -> bool:
    """Save a chip with one chip of surroundings, framed; whether the pixels were there."""
    if pixels is None:
        return False
    support = run.support_set(run.support_version(chip.frame))
    size: ChipSize = support.chip_size
    try:
        grid = Grid.of((pixels.shape[0], pixels.shape[1]), size)
        grid.check(chip.row, chip.column)
    except (FrameError, UsageError):
        return False
    values = support.normalization.apply(pixels)
    grey = to_grey(grid.patch(values, chip.row, chip.column, (size.height, size.width)))
    zoom = -(-_SMALLEST_PICTURE // min(grey.shape))
    picture = Image.fromarray(grey).convert("RGB")
    picture = picture.resize((grey.shape[1] * zoom, grey.shape[0] * zoom), Image.Resampling.NEAREST)
    box = [n * zoom for n in (size.width, size.height, 2 * size.width, 2 * size.height)]
    ImageDraw.Draw(picture).rectangle(
        (box[0] - 1, box[1] - 1, box[2], box[3]), outline="#ffd400", width=2
    )
    picture.save(target, "PNG", pnginfo=own_mark())
    return True
