"""Truth: the true fractions that a simulation writes beside its frames, read as they grow."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.errors import ArchiveError, UsageError
from pychip_stream.plain_files import open_file

if TYPE_CHECKING:
    import pandas as pd


def class_shares(
    truth: npt.NDArray[np.uint8], classes: int, chip_size: ChipSize
) -> npt.NDArray[np.float64]:
    """Share of every class in every chip: (rows, columns, classes) float64.

    Raises
    ------
    FrameError
        If not even one chip fits on the frame.
    """
    grid = Grid.of((truth.shape[0], truth.shape[1]), chip_size)
    height, width = grid.shape
    chips = truth[:height, :width].reshape(
        grid.rows, chip_size.height, grid.columns, chip_size.width
    )
    counts = [np.count_nonzero(chips == number, axis=(1, 3)) for number in range(classes)]
    pixels = chip_size.height * chip_size.width
    return np.asarray(np.stack(counts, axis=-1) / pixels, np.float64)


def majority_labels(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """(rows, columns) uint8 class with the largest share; of equal ones the first."""
    return np.asarray(np.argmax(shares, axis=-1), np.uint8)


def clean_chips(share: npt.NDArray[np.float64], coverage: float) -> list[tuple[int, int]]:
    """(row, column) of the chips in which a class has at least this share."""
    return [(int(row), int(column)) for row, column in np.argwhere(share >= coverage)]


def spread_out(
    places: list[tuple[int, int]], number: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Draw places at random, preferring those far from the ones already drawn.

    Notes
    -----
    The seeding of k-means++ (Arthur & Vassilvitskii 2007): each next place with a
    probability that grows with the squared distance to its nearest drawn neighbour.
    """
    points = np.array(places, dtype=np.float64)
    chosen = [int(rng.integers(len(points)))]
    while len(chosen) < min(number, len(points)):
        gaps = np.sum((points[:, None] - points[chosen][None]) ** 2, axis=-1).min(axis=1)
        chosen.append(int(rng.choice(len(points), p=gaps / gaps.sum())))
    return [places[index] for index in chosen]


@dataclass(frozen=True, slots=True)
class TruthRow:
    """What is true of one frame.

    Attributes
    ----------
    frame
        Number of the frame in its run, from 0.
    index
        Position within its file, from 0.
    path
        Of its file, relative to the acquisition folder, with forward slashes.
    time_s
        Seconds since the start of the run.
    fractions
        Share of every class among the pixels that the chips cover, in order of the names.
    """

    frame: int
    index: int
    path: str
    time_s: float
    fractions: tuple[float, ...]


class TruthLog:
    """A table of the truth that grows row by row while somebody reads it.

    Parameters
    ----------
    path
        CSV file: frame, index, path, time_s, and a column per class. An existing one with
        the same columns is continued.

    Raises
    ------
    UsageError
        If it exists with other columns.

    Notes
    -----
    Every row is one unbuffered write at the end of the file, so a reader never sees half a row
    followed by another; the file is closed in between, so that its folder can be moved.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path = path
        header = _csv_line(["frame", "index", "path", "time_s", *names])
        try:
            with path.open("rb") as file:
                found = file.readline()
        except FileNotFoundError:
            found = b""
        if found and found != header:
            raise UsageError(
                f"{path}: holds the truth of another kind of run; choose another folder"
            )
        if not found:
            self._append(header)

    def add(self, row: TruthRow) -> None:
        """Append the truth of one frame; readers see it at once."""
        numbers = [f"{share:.8f}" for share in row.fractions]
        self._append(
            _csv_line([str(row.frame), str(row.index), row.path, f"{row.time_s:.6f}", *numbers])
        )

    def _append(self, line: bytes) -> None:
        with self._path.open("ab", buffering=0) as file:
            file.write(line)


def _csv_line(cells: Sequence[str]) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(cells)
    return buffer.getvalue().encode()


NAME = "truth.csv"
_NOT_CLASSES = ("frame", "index", "path", "time_s")
_PIECE, _MOST_ROWS, _MOST_COLUMNS = 1 << 20, 2_000_000, 256

Row = tuple[tuple[str, int], dict[str, float]]
"""(path, index) of a frame, and the true fraction of every class."""


class TruthFile:
    """Reader of a growing table; real experiments have none, and then it stays empty.

    Whatever else goes by its name in the folder is left alone: only a file is read, a piece at a
    time, and not for ever.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._at = self._rows = 0
        self._header: list[str] = []

    def read_new(self) -> list[Row]:
        """Rows that were added since, as many as one piece holds."""
        try:
            return self.read_piece() or []
        except OSError:
            return []

    def read_piece(self) -> list[Row] | None:
        """Read the rows of the next piece; None where there is nothing new.

        Raises
        ------
        OSError
            If it cannot be read, or is no file.
        """
        if self._rows > _MOST_ROWS:
            return None
        with open_file(self._path) as file:
            file.seek(self._at)
            data = file.read(_PIECE)
        whole = data[: data.rfind(b"\n") + 1]  # a row that is being written comes next time
        if not whole:
            if len(data) == _PIECE:
                self._rows = _MOST_ROWS + 1  # no table has such a row
            return None
        self._at += len(whole)
        try:
            rows = list(csv.reader(whole.decode("utf-8", "replace").splitlines()))
        except csv.Error:
            return []
        self._rows += len(rows)
        if rows and not self._header:
            self._header = rows.pop(0)[:_MOST_COLUMNS]
        found = (self._row(cells) for cells in rows)
        return [row for row in found if row is not None]

    def _row(self, cells: list[str]) -> Row | None:
        row = dict(zip(self._header, cells, strict=False))
        try:
            key = (row["path"], int(row["index"]))
            values = {n: float(v) for n, v in row.items() if n not in _NOT_CLASSES}
        except (KeyError, ValueError):
            return None
        return (key, values) if all(0 <= v <= 1 for v in values.values()) else None


def mean_absolute_error(fractions: "pd.DataFrame", folder: Path) -> float:
    """Mean of |measured - true| over all frames and true classes; NaN without a common frame.

    Parameters
    ----------
    fractions
        As `Run.fractions`: a row per frame with "path", "index" and a column per class.
    folder
        Acquisition folder with the table of the truth.

    Raises
    ------
    ArchiveError
        If the truth cannot be read.
    """
    file, truth = TruthFile(folder), dict[tuple[str, int], dict[str, float]]()
    try:
        while (rows := file.read_piece()) is not None:
            truth.update(rows)
    except OSError as error:
        place = folder / NAME
        raise ArchiveError(f"{place}: the true fractions cannot be read ({error})") from error
    errors = [
        abs(row[name] - value)
        for row in fractions.to_dict("records")
        for name, value in truth.get((row["path"], row["index"]), {}).items()
        if name in row
    ]
    return float(np.nanmean(errors)) if errors else float("nan")
