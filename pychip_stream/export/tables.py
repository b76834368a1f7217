"""Summary of a run: the mean fraction of each class, with the interval that fits the frames."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pychip_stream.archive import hdf
from pychip_stream.archive.blocks import Results
from pychip_stream.archive.catalog import column_name
from pychip_stream.archive.disk import Disk, reason, temporary_name
from pychip_stream.archive.hdf import Array
from pychip_stream.archive.run import Run
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError
from pychip_stream.export import curves, pictures
from pychip_stream.export.pictures import PixelReader, Studio
from pychip_stream.model.averages import field_interval, series_interval

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


def export_pychip_csv(
    run: Run, path: str | Path, progress: Progress = lambda _done, _total: None
) -> None:
    """Write a row per chip in the layout of the original pyChip's result file.

    The first column, without a name, is the chip: PATH/cropX_COLUMN_Y_ROW.jpg with numbers from
    0, where PATH is that of the frame (and its index where the file holds several); then comes
    the probability of every class, and last the prediction, which may be unknown.

    Raises
    ------
    ArchiveError
        If the run cannot be read or the file cannot be written.
    """
    names = [harmless(name) for name in (*run.names, UNKNOWN)]
    where = _frame_names(run)
    with _writing(Path(path)) as file:
        header = ["", *names[:-1], "prediction"]
        csv.writer(file, lineterminator="\n").writerow(header)
        for numbers, results in run.result_blocks(("probabilities",)):
            rows = _chip_rows(numbers, results, names)
            place = "cropX_" + rows["column"].astype(str) + "_Y_" + rows["row"].astype(str)
            chip = where[rows["frame"].to_numpy()] + ("/" + place + ".jpg").to_numpy(object)
            table = rows.drop(columns=["frame", "row", "column", "label", "confidence"])
            table.insert(0, "chip", chip)
            table["prediction"] = rows["label"]
            table.to_csv(file, header=False, index=False, float_format="%.5g", lineterminator="\n")
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
        Frame numbers; default: all that the scoring covers.

    Returns
    -------
    The files.

    Raises
    ------
    ArchiveError
        If the run cannot be read or a file cannot be written.
    """
    folder = Path(folder)
    chosen = run.covered.tolist() if frames is None else frames
    studio = Studio(run, read_pixels)
    written: list[Path] = []
    for done, number in enumerate(chosen):
        view = studio.view(number)
        legend = studio.legend(view)
        for name, picture in (("map", view.painted), ("overlay", view.overlay)):
            if picture is not None:
                target = folder / f"{number:06d}_{name}.png"
                _save(target, _png(pictures.with_legend(picture, legend)))
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
    figure = curves.curves(run.fractions, (*run.names, UNKNOWN), run.colors)
    _save(Path(path), curves.svg_bytes(figure))


def harmless(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


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


def _frame_names(run: Run) -> npt.NDArray[np.object_]:
    """(count,) path of each frame, with its index where the file holds several."""
    columns = run.columns("path", "index")
    paths = hdf.strings(columns["path"])
    many = {path for path, index in zip(paths, columns["index"], strict=True) if index}
    return np.array(
        [
            harmless(f"{path}/{index}" if path in many else path)
            for path, index in zip(paths, columns["index"].tolist(), strict=True)
        ],
        object,
    )


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


COLUMNS = (
    "class", "frames", "mean", "series_low", "series_high", "fields_low", "fields_high",
)  # fmt: skip


def summarise(run: Run) -> list[dict[str, object]]:
    """Mean fraction of each class and of unknown over the frames of a run.

    Returns
    -------
    One entry per class: "class", "frames" (that have its fraction), "mean" and two 95 %
    intervals of it: "series" for frames of one field in time (block bootstrap), "fields" for
    frames that are independent fields of a specimen (ASTM E562). None where no frame has it.
    """
    table = run.fractions
    out: list[dict[str, object]] = []
    for name in (*run.names, UNKNOWN):
        values = table[column_name(name)].dropna()
        entry: dict[str, object] = {"class": name, "frames": len(values), "mean": None}
        entry |= {"series": None, "fields": None}
        if len(values):
            series, fields = series_interval(values), field_interval(values)
            entry["mean"] = series.value
            entry["series"] = [series.low, series.high]
            entry["fields"] = [fields.low, fields.high]
        out.append(entry)
    return out


def write_summary(run: Run, path: Path) -> None:
    """Write the summary as csv, a row per class.

    Raises
    ------
    ArchiveError
        If the run cannot be read or the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for entry in summarise(run):
                bounds: list[object] = []
                for kind in ("series", "fields"):
                    interval = entry[kind]
                    bounds += interval if isinstance(interval, list) else ["", ""]
                mean = "" if entry["mean"] is None else entry["mean"]
                writer.writerow([harmless(str(entry["class"])), entry["frames"], mean, *bounds])
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be written ({error.strerror or error})") from error
