"""Summary of a run: the mean fraction of each class, with the interval that fits the frames."""

import csv
from pathlib import Path

from pychip_stream.archive.export import harmless
from pychip_stream.archive.reader import Run
from pychip_stream.archive.tables import column_name
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError
from pychip_stream.model.averages import field_interval, series_interval

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
