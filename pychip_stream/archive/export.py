"""Export: what a run holds as csv, png and svg."""

import csv
import io
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pychip_stream.archive import figures
from pychip_stream.archive.durable import Disk, reason, temporary_name
from pychip_stream.archive.hdf import Array
from pychip_stream.archive.reader import Run
from pychip_stream.archive.results import Results
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError, PychipError

PixelReader = Callable[[str, int], npt.NDArray[np.generic] | None]
Progress = Callable[[int, int], None]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def export_csv(run: Run, path: str | Path) -> None:
    """Write a row per classified frame: frame, index, path, time_s, then the fractions.

    Fractions come as NAME, NAME_low, NAME_high for each class and unknown; empty where
    unknown. Texts that a spreadsheet would run as a formula get an apostrophe before them.

    Raises
    ------
    ArchiveError
        If the run cannot be read or the file cannot be written.
    """
    table = run.fractions
    with _writing(Path(path)) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([harmless(str(name)) for name in table.columns])
        for row in table.itertuples(index=False, name=None):
            frame, index, name, seconds, *values = row
            writer.writerow(
                [frame, index, harmless(name), _number(seconds, 6), *(_number(v) for v in values)]
            )


def export_chips_csv(
    run: Run, path: str | Path, progress: Progress = lambda _done, _total: None
) -> None:
    """Write a row per chip: frame, row, column, label, confidence, then p_NAME per class.

    Parameters
    ----------
    progress
        Called with the number of frames done and their total.

    Raises
    ------
    ArchiveError
        If the run cannot be read or the file cannot be written.
    """
    names = [harmless(name) for name in (*run.names, UNKNOWN)]
    with _writing(Path(path)) as file:
        header = ["frame", "row", "column", "label", "confidence"]
        csv.writer(file, lineterminator="\n").writerow(
            [*header, *(f"p_{name}" for name in run.names)]
        )
        for numbers, results in run.result_blocks(("probabilities",)):
            _chip_rows(numbers, results, names).to_csv(
                file, header=False, index=False, float_format="%.5g", lineterminator="\n"
            )
            progress(int(numbers[-1]) + 1, run.count)


def export_png(
    run: Run,
    folder: str | Path,
    read_pixels: PixelReader,
    frames: Sequence[int] | None = None,
    progress: Progress = lambda _done, _total: None,
) -> list[Path]:
    """Write label maps as pictures at frame resolution, with scale bar and legend.

    Parameters
    ----------
    folder
        Gets NNNNNN_map.png, and NNNNNN_overlay.png where the frame's pixels are at hand.
    read_pixels
        (path, index) → (H, W) counts, or None where they are gone.
    frames
        Frame numbers; default: all.

    Returns
    -------
    The files.

    Raises
    ------
    ArchiveError
        If the run cannot be read or a file cannot be written.
    """
    folder = Path(folder)
    chosen = range(run.count) if frames is None else frames
    table, frames_table = run.fractions, run.frames
    provenance = frames_table[frames_table["frame"] >= 0].set_index("frame").to_dict("index")
    scales: dict[str, Normalization | None] = {}
    written: list[Path] = []
    for done, number in enumerate(chosen):
        painter = _Painter(run, number, table.iloc[number], provenance[number])
        version = run.support_version(number)
        if version not in scales:
            scales[version] = _normalization(run, version)
        pixels = read_pixels(painter.path, painter.index)
        for name, picture in painter.pictures(pixels, scales[version]):
            target = folder / f"{number:06d}_{name}.png"
            _save(target, _png(picture))
            written.append(target)
        progress(done + 1, len(chosen))
    return written


def export_svg(run: Run, path: str | Path) -> None:
    """Draw the fractions over time with their bands, and the newest frame as bars.

    Raises
    ------
    ArchiveError
        If no frame was classified, the run cannot be read, or the file cannot be written.
    """
    if run.count == 0:
        raise ArchiveError(f"{run.path}: has no classified frame to draw")
    figure = figures.curves(run.fractions, (*run.names, UNKNOWN), run.colors)
    _save(Path(path), figures.svg_bytes(figure))


def harmless(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


class _Painter:
    """Pictures of one frame."""

    def __init__(self, run: Run, number: int, row: pd.Series, known: dict[Hashable, Any]) -> None:
        self.path, self.index = str(known["path"]), int(known["index"])
        self._labels = run.label_map(number)
        size = (int(known["chip_width"]), int(known["chip_height"]))
        self._chip_size = ChipSize(*size) if min(size) >= 4 else ChipSize(16, 16)
        rows, columns = self._labels.shape
        self._covered = (rows * self._chip_size.height, columns * self._chip_size.width)
        self._shape = (int(known["height"]), int(known["width"]))
        if self._shape[0] < self._covered[0] or self._shape[1] < self._covered[1]:
            self._shape = self._covered
        self._colors = [run.colors[name] for name in (*run.names, UNKNOWN)]
        pixel_size = float(known["pixel_size"])
        self._legend = figures.Legend(
            entries=figures.fraction_entries(run.names, run.colors, row),
            pixel_size=pixel_size if np.isfinite(pixel_size) else None,
            unit=str(known["unit"]) or None,
            title=f"frame {number}, {float(row['time_s']):.2f} s",
        )

    def pictures(
        self, pixels: npt.NDArray[np.generic] | None, scale: Normalization | None
    ) -> Iterator[tuple[str, Any]]:
        """Name and picture of each file."""
        painted = figures.color_labels(self._labels, self._colors, self._chip_size, self._shape)
        yield "map", figures.with_legend(painted, self._legend)
        if pixels is not None and pixels.shape == self._shape:
            grey = (scale or Normalization.from_percentiles(pixels)).apply(pixels)
            mixed = figures.overlay(grey, painted, self._covered)
            yield "overlay", figures.with_legend(mixed, self._legend)


def _normalization(run: Run, version: str) -> Normalization | None:
    """Return how the frames were normalised, where the run knows."""
    try:
        return run.support_set(version).normalization
    except PychipError:
        return None


def _chip_rows(numbers: Array, results: Results, names: list[str]) -> pd.DataFrame:
    """Rows of the chips csv; `names` are the classes, then unknown."""
    frames = results.frames
    chips = frames.chips
    frame = np.repeat(np.arange(len(frames)), chips)
    place = np.arange(int(chips.sum())) - frames.offset[frame]
    row, column = np.divmod(place, frames.columns[frame])
    codes = results.label_map[frame, row, column]
    probabilities = results.chips["probabilities"].astype(np.float32)
    labels = np.array([names[-1], *names[:-1]], object)[codes]
    columns: dict[str, Any] = {"frame": numbers[frame], "row": row, "column": column}
    columns |= {"label": labels, "confidence": np.fmax.reduce(probabilities, axis=1)}
    columns |= {f"p{k}": probabilities[:, k] for k in range(probabilities.shape[1])}
    return pd.DataFrame(columns)


def _number(value: float, digits: int = 8) -> str:
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if np.isfinite(value) else ""


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _save(path: Path, data: bytes) -> None:
    try:
        Disk().save(path, data)
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be written ({reason(error)})") from error


@contextmanager
def _writing(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a text file that gets its name only once it is whole."""
    temporary = temporary_name(path)
    disk = Disk()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            yield file
        disk.replace(temporary, path)
    except OSError as error:
        disk.remove(temporary)
        raise ArchiveError(f"{path}: cannot be written ({reason(error)})") from error
    except BaseException:
        disk.remove(temporary)
        raise
