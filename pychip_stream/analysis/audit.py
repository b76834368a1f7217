"""Audit of a run: chips drawn into a folder, labelled by an operator, that correct the fractions.

The folder holds a picture of every chip with its surroundings and `audit.csv` with an empty
column `true_label`. What the classifier said is not in it, so that it cannot lead the eye; it is
looked up in the run when the labels come back.

Chips are drawn at random within each predicted class (stratified), so that rare classes get their
share of attention; the labels then estimate the true fractions whatever the classifier's mistakes:
Olofsson et al., "Making better use of accuracy data in land change studies", Remote Sensing of
Environment 129 (2013) 122, and "Good practices for estimating area and assessing accuracy of land
change", RSE 148 (2014) 42, equation 9. The intervals are made to hold with few chips and without
a mistake among them, where the normal ones of that paper do not.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy.special import betaincinv, ndtri, stdtrit

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.run import Run
from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.domain.records import Fraction
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError, FrameError, UsageError
from pychip_stream.export.kinds import PixelReader
from pychip_stream.export.pictures import to_grey
from pychip_stream.formats.raster import own_mark

LEVEL = 0.95
FEWEST = 5
"""Chips drawn of every predicted class, where it has as many."""
TABLE = "audit.csv"
COLUMNS = ("number", "picture", "path", "index", "row", "column", "true_label")
_SMALLEST_PICTURE = 288

Float = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Audit:
    """What the labelled chips say about the fractions.

    Attributes
    ----------
    fractions
        Corrected fraction and its 95 % interval for each true class.
    mapped
        Fraction that the classifier gave to each class.
    accuracy
        Share of all chips that are labelled rightly, with its interval.
    chips
        Number of labelled chips.
    confusion
        (strata, classes) labelled chips by predicted and true class.
    warnings
        What makes the interval less certain than it looks.
    """

    fractions: dict[str, Fraction]
    mapped: dict[str, float]
    accuracy: Fraction
    chips: int
    confusion: npt.NDArray[np.int64]
    warnings: tuple[str, ...] = ()


def allocate(sizes: Sequence[int], count: int) -> list[int]:
    """How many of `count` chips to draw from each stratum (predicted class) of these sizes.

    In proportion, but at least a few of each, and so perhaps more than `count`.
    """
    population = np.asarray(sizes, dtype=np.int64)
    if count < 1:
        raise UsageError(f"{count} chips: an audit needs at least one")
    if not population.sum() > 0:
        raise UsageError("there is no chip to draw")
    fewest = np.minimum(population, FEWEST)
    free = max(min(count, int(population.sum())) - int(fewest.sum()), 0)
    room = population - fewest
    share = free * room / max(int(room.sum()), 1)
    drawn = np.floor(share).astype(np.int64)
    for stratum in np.argsort(drawn - share, kind="stable")[: free - int(drawn.sum())]:
        drawn[stratum] += 1
    return [int(n) for n in fewest + drawn]


def draw(sizes: Sequence[int], count: int, rng: np.random.Generator) -> list[Index]:
    """Draw chips at random within each stratum: the sorted numbers, from 0, among its chips."""
    return [
        np.sort(rng.choice(size, wanted, replace=False)).astype(np.intp)
        for size, wanted in zip(sizes, allocate(sizes, count), strict=True)
    ]


def estimate(
    names: Sequence[str],
    sizes: Sequence[int],
    predicted: Sequence[str],
    labelled: Sequence[str],
) -> Audit:
    """Correct the fractions by labelled chips.

    Parameters
    ----------
    names
        Of the strata: the predicted classes, "unknown" among them.
    sizes
        Chips of the run in each stratum.
    predicted, labelled
        Of every labelled chip: what the classifier and what the operator says. The operator may
        name classes that the classifier does not know. Each stratum with chips needs a labelled
        one.
    """
    if len(predicted) != len(labelled) or not predicted:
        raise UsageError("no chip is labelled; fill in the column true_label")
    stray = sorted(set(predicted) - set(names))
    if stray:
        raise UsageError(f"chips are labelled of {stray[0]!r}, a class that the run does not have")
    classes = list(dict.fromkeys([*names, *labelled]))
    counts = np.zeros((len(names), len(classes)), np.int64)
    rows = {name: i for i, name in enumerate(names)}
    columns = {name: i for i, name in enumerate(classes)}
    np.add.at(counts, ([rows[p] for p in predicted], [columns[t] for t in labelled]), 1)
    population = np.asarray(sizes, dtype=np.float64)
    weight = population / population.sum()
    sampled = counts.sum(axis=1)
    bare = [name for name, w, n in zip(names, weight, sampled, strict=True) if w > 0 and n == 0]
    if bare:
        raise UsageError(f"no labelled chip of predicted class {bare[0]!r}; label a few of each")
    right = np.array([counts[i, columns[name]] for i, name in enumerate(names)])
    there = population > 0
    strata = (weight[there], population[there], sampled[there])
    return Audit(
        fractions={
            name: _interval(*strata, hits)
            for name, hits in zip(classes, counts[there].T, strict=True)
        },
        mapped={name: float(w) for name, w in zip(names, weight, strict=True)},
        accuracy=_interval(*strata, right[there]),
        chips=int(counts.sum()),
        confusion=counts,
        warnings=tuple(_warnings(names, weight, sampled, right)),
    )


def _interval(
    weight: Float, population: Float, sampled: npt.NDArray[np.int64], hits: npt.NDArray[np.int64]
) -> Fraction:
    """Share of all chips that are hits, from those found in a sample of each stratum.

    Jeffreys' interval of every stratum, which is not 0 wide where all chips or none are hits
    (Brown, Cai & DasGupta 2001), put together as Zou & Donner do ("Construction of confidence
    limits about effect measures", Statistics in Medicine 27, 2008), widened as Student's t for so
    few chips. Chips that were labelled are known.
    """
    share = hits / sampled
    tails = np.array([[0.5 - LEVEL / 2], [0.5 + LEVEL / 2]])
    low, high = betaincinv(hits + 0.5, sampled - hits + 0.5, tails)
    reach = np.stack(
        [np.where(hits == 0, 0, share - low), np.where(hits == sampled, 0, high - share)]
    )
    tail = stdtrit(max(int((sampled - 1).sum()), 1), tails[1, 0]) / ndtri(tails[1, 0])
    open_part = tail * weight * np.sqrt(1 - sampled / population)
    below, above = np.sqrt(np.square(open_part * reach).sum(axis=1))
    value = float(weight @ share)
    return Fraction(value, max(value - float(below), 0.0), min(value + float(above), 1.0))


def _warnings(
    names: Sequence[str],
    weight: Float,
    sampled: npt.NDArray[np.int64],
    right: npt.NDArray[np.int64],
) -> list[str]:
    few = [name for name, w, n in zip(names, weight, sampled, strict=True) if w > 0 and n < FEWEST]
    out = []
    if few:
        out.append(
            f"fewer than {FEWEST} labelled chips of {', '.join(map(repr, few))}: the interval "
            "rests on little"
        )
    if (right == sampled).all():
        out.append(
            "no mistake among the labelled chips: how many hide among the others, their number "
            "alone tells; label more chips to see rare ones"
        )
    return out


@dataclass(frozen=True)
class AuditChip:
    """A chip to label: its frame in the run and its place on the grid, from 0."""

    frame: int
    path: str
    index: int
    row: int
    column: int


def draw_chips(run: Run, count: int, seed: int = 0) -> list[AuditChip]:
    """Draw chips of a run at random, stratified by predicted class, in mixed order."""
    rng = np.random.default_rng(seed)
    sizes = chips_per_class(run)
    ranks = draw(sizes, count, rng)
    where = run.columns("path", "index")
    passed = np.zeros(len(sizes), np.int64)
    found = []
    for frame, codes in _codes(run):
        flat = codes.ravel()
        for stratum, wanted in enumerate(ranks):
            places = np.flatnonzero(flat == stratum)
            mine = wanted[(wanted >= passed[stratum]) & (wanted < passed[stratum] + len(places))]
            for place in places[mine - passed[stratum]].tolist():
                row, column = divmod(place, codes.shape[1])
                path, index = hdf.decode(where["path"][frame]), int(where["index"][frame])
                found.append(AuditChip(frame, path, index, row, column))
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

    Rows without a label do not count (an empty label is none), nor do frames that are left out.

    Raises
    ------
    UsageError
        If the table cannot be read, a chip is not in the run, or the labels do not suffice.
    """
    keys = layout.frame_keys(run.columns("path", "index"))
    frames = {key: number for number, key in enumerate(keys)}
    left_out = set(run.exclusions["frame"])
    names = [*run.names, UNKNOWN]
    grids: dict[int, npt.NDArray[np.uint8]] = {}
    predicted, labelled = [], []
    for line, row in _rows(table):
        label = (row.get("true_label") or "").strip()
        if not label:
            continue
        try:
            frame = frames[row["path"], int(row["index"])]
            if frame in left_out:
                continue
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
    return estimate(names, chips_per_class(run), predicted, labelled)


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
    sizes = run.columns("chip_width", "chip_height").values()
    try:
        size = ChipSize(*(int(values[chip.frame]) for values in sizes))
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
