"""Tables: fractions, chips, the summary of a run and its measured quantities, as csv."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
import numpy.typing as npt

from pychip_stream.archive.disk import writing
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.domain.quantities import find
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.export.kinds import ExportKind

if TYPE_CHECKING:
    import pandas as pd

    from pychip_stream.archive.blocks import Rows
    from pychip_stream.archive.hdf import Array
    from pychip_stream.archive.run import Run

_NUMBERED = ("frame", "time_s", "excluded")
"""What a table of frames has beside its columns in the archive."""
_OF_CHIPS = ("frame", "row", "column", "label", "confidence")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def export_csv(
    run: Run, path: str | Path, *, iso_times: bool = False, quantity: str | None = None
) -> None:
    """Write a row per frame of `Run.fractions`: frame, index, path, time_s, then the fractions.

    With `everything`, `excluded` (0 or 1) stands before them. Fractions come as NAME, NAME_low,
    NAME_high for each class and unknown; empty where unknown. Texts that a spreadsheet would run
    as a formula get an apostrophe before them.

    Parameters
    ----------
    iso_times
        Put a column `time` after `time_s`: the moment as ISO 8601, with this computer's zone.
    quantity
        Put a quantity under its name and a column `branch` (rising, falling or held) before the
        fractions; a class of such a name makes it "quantity NAME".
    """
    table = run.fractions
    if quantity is not None:
        from pychip_stream.export.against import BRANCHES, against

        other = against(run, quantity)
        words = [BRANCHES[branch] for branch in other.branches.tolist()]
        table = table.copy()
        for name, texts in (("branch", words), (quantity, list(map(_quantity, other.values)))):
            table.insert(4, f"quantity {name}" if name in table else name, texts)
    _write_frames(path, table, _number, run.start if iso_times else None)


def export_quantities(run: Run, path: str | Path, *, iso_times: bool = False) -> None:
    """Write the same rows: frame, index, path, time_s, then every quantity.

    Quantities stand under their names (CLASS.NAME those of classes), those included whose
    plug-ins are not here any more; empty where not measured.
    """
    from pychip_stream.archive import layout

    frames = run.frames
    names = [n for n in frames.columns if find(n) or n not in (*layout.ALL, *_NUMBERED)]
    if run.everything:
        names.insert(0, "excluded")
    rows = (frames["frame"] >= 0) & (run.everything | ~frames["excluded"])
    table = frames.loc[rows, ["frame", "index", "path", "time_s", *names]]
    _write_frames(path, table, _quantity, run.start if iso_times else None)


def export_events(run: Run, path: str | Path) -> None:
    """Write a row per event: time_s, time (as ISO 8601), kind, text, who, event."""
    from pychip_stream.archive.marks import events_of

    with _writing(path) as (_, writer):
        writer.writerow(["time_s", "time", "kind", "text", "who", "event"])
        for one in events_of(run):
            texts = [one.kind, one.text, one.who, one.event]
            seconds = _number(one.time - run.start, 6)
            writer.writerow([seconds, iso_time(one.time), *map(harmless, texts)])


def iso_time(seconds: float) -> str:
    """Write a moment, in seconds since 1970, as ISO 8601 with the zone of this computer."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().isoformat(timespec="microseconds")


def _write_frames(
    path: str | Path, table: pd.DataFrame, tell: Callable[[float], str], start: float | None
) -> None:
    """Write a table whose first columns are frame, index, path and time_s.

    `start`: of the run, in seconds since 1970, where the moments are to be told as well.
    """
    names = [str(name) for name in table.columns]
    if start is not None:
        names.insert(4, "time")
    with _writing(path) as (_, writer):
        writer.writerow(map(harmless, names))
        for frame, index, name, seconds, *values in table.itertuples(index=False, name=None):
            times = [_number(seconds, 6)]
            if start is not None:
                times.append(iso_time(start + seconds))
            told = (value if isinstance(value, str) else tell(value) for value in values)
            writer.writerow([frame, index, harmless(name), *times, *told])


def export_chips_csv(run: Run, path: str | Path, progress: Progress = no_progress) -> None:
    """Write a row per chip: frame, row, column, label, confidence, then p_NAME per class.

    Parameters
    ----------
    progress
        Called with the number of frames done and their total.
    """
    header = [*_OF_CHIPS, *(f"p_{name}" for name in run.names)]
    _write_chips(run, path, header, lambda rows: rows, progress)


def export_pychip_csv(run: Run, path: str | Path, progress: Progress = no_progress) -> None:
    """Write a row per chip in the layout of the original pyChip's result file.

    The first column, without a name, is the chip: PATH/cropX_COLUMN_Y_ROW.jpg with numbers from
    0, where PATH is that of the frame (and its index where the file holds several); then comes
    the probability of every class, and last the prediction, which may be unknown.
    """
    where = _frame_names(run)

    def as_pychip(rows: pd.DataFrame) -> pd.DataFrame:
        place = "cropX_" + rows["column"].astype(str) + "_Y_" + rows["row"].astype(str)
        chip = where[rows["frame"].to_numpy()] + ("/" + place + ".jpg").to_numpy(object)
        table = rows.drop(columns=list(_OF_CHIPS))
        table.insert(0, "chip", chip)
        table["prediction"] = rows["label"]
        return table

    header = ["", *map(harmless, run.names), "prediction"]
    _write_chips(run, path, header, as_pychip, progress)


def _write_chips(
    run: Run,
    path: str | Path,
    header: list[str],
    arrange: Callable[[pd.DataFrame], pd.DataFrame],
    progress: Progress,
) -> None:
    """Write a row per chip, block by block; `arrange` makes its columns of those of a chip."""
    names = [harmless(name) for name in (*run.names, UNKNOWN)]
    with _writing(path) as (file, writer):
        writer.writerow(header)
        for numbers, results in run.result_blocks(("probabilities",)):
            arrange(_chip_rows(numbers, results, names)).to_csv(
                file, header=False, index=False, float_format="%.5g", lineterminator="\n"
            )
            progress(int(numbers[-1]) + 1, run.count)


def harmless(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _chip_rows(numbers: Array, results: Rows, names: list[str]) -> pd.DataFrame:
    """Rows of the chips csv; `names` are the classes, then unknown."""
    counts = results.counts
    frame = np.repeat(np.arange(len(results)), counts)
    place = np.arange(int(counts.sum())) - results.offset[frame]
    row, column = np.divmod(place, results.columns[frame])
    labels = np.array(names, object)[results.label_map[frame, row, column]]
    probabilities = results.arrays["probabilities"].astype(np.float32)
    columns: dict[str, Any] = {"frame": numbers[frame], "row": row, "column": column}
    columns |= {"label": labels, "confidence": np.fmax.reduce(probabilities, axis=1)}
    columns |= {f"p{k}": probabilities[:, k] for k in range(probabilities.shape[1])}
    import pandas as pd

    return pd.DataFrame(columns)


def _frame_names(run: Run) -> npt.NDArray[np.object_]:
    """(count,) path of each frame, with its index where the file holds several."""
    from pychip_stream.archive import hdf

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


def _quantity(value: float) -> str:
    return f"{value:.9g}" if np.isfinite(value) else ""


@contextmanager
def _writing(path: str | Path) -> Iterator[tuple[TextIO, Any]]:
    """Open a csv file, and what writes its rows; it gets its name only once it is whole."""
    with (
        writing(Path(path)) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        yield file, csv.writer(file, lineterminator="\n")


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
    from pychip_stream.model.intervals import field_interval, series_interval

    out: list[dict[str, object]] = []
    for name, curve in zip((*run.names, UNKNOWN), run.intervals[..., 0].T, strict=True):
        values = curve[np.isfinite(curve)]
        entry: dict[str, object] = {"class": name, "frames": len(values), "mean": None}
        entry |= {"series": None, "fields": None}
        if len(values):
            series, fields = series_interval(values), field_interval(values)
            entry["mean"] = series.value
            entry["series"] = [series.low, series.high]
            entry["fields"] = [fields.low, fields.high]
        out.append(entry)
    return out


def write_summary(run: Run, path: str | Path) -> None:
    """Write the summary as csv, a row per class."""
    with _writing(path) as (_, writer):
        writer.writerow(COLUMNS)
        for entry in summarise(run):
            bounds: list[object] = []
            for kind in ("series", "fields"):
                interval = entry[kind]
                bounds += interval if isinstance(interval, list) else ["", ""]
            mean = "" if entry["mean"] is None else entry["mean"]
            writer.writerow([harmless(str(entry["class"])), entry["frames"], mean, *bounds])


FRACTIONS = ExportKind(
    "csv", "fractions, a row per frame", ".csv", "text/csv",
    lambda source, path, _: export_csv(
        source.run, path, iso_times=source.iso_times, quantity=source.against
    ),
    label="csv", against=True, place=0,
)  # fmt: skip
CHIPS = ExportKind(
    "chips_csv", "a row per chip", "-chips.csv", "text/csv",
    lambda source, path, told: export_chips_csv(source.run, path, told),
    label="chips csv", place=1,
)  # fmt: skip
PYCHIP = ExportKind(
    "pychip_csv", "a row per chip as the original pyChip writes it", "-pychip.csv", "text/csv",
    lambda source, path, told: export_pychip_csv(source.run, path, told),
    label="pyChip csv", place=2,
)  # fmt: skip
SUMMARY = ExportKind(
    "summary", "mean fraction of each class, as csv", "-summary.csv", "text/csv",
    lambda source, path, _: write_summary(source.run, path), place=9,
)  # fmt: skip
EVENTS = ExportKind(
    "events", "marks, change points, support sets and alerts, as csv", "-events.csv", "text/csv",
    lambda source, path, _: export_events(source.run, path), label="events csv", place=11,
)  # fmt: skip
QUANTITIES = ExportKind(
    "quantities", "measured quantities, a row per frame, as csv", "-quantities.csv", "text/csv",
    lambda source, path, _: export_quantities(source.run, path, iso_times=source.iso_times),
    label="quantities csv", place=10,
)  # fmt: skip
