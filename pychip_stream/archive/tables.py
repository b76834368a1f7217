"""Tables: the curve and the provenance of a run as data frames."""

import numpy as np
import pandas as pd

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.catalog import Catalog
from pychip_stream.archive.gather import Selection, translation
from pychip_stream.archive.hdf import Array
from pychip_stream.archive.layout import NO_CHIP, Table
from pychip_stream.archive.parts import ResultsIndex

_FIXED = frozenset({"frame", "index", "path", "time_s", "row", "column", "label", "confidence"})


def column_name(class_name: str) -> str:
    """Name of a class's column; one that is called like another column gets a prefix."""
    return f"class {class_name}" if class_name in _FIXED else class_name


def seconds(catalog: Catalog) -> Array:
    """(table rows,) float64 seconds since the first classified frame."""
    times = catalog.table["time"]
    rows = catalog.classified if len(catalog.classified) else catalog.order
    return np.asarray(times - (times[rows[0]] if len(rows) else 0.0))


def intervals(selection: Selection, class_names: tuple[str, ...]) -> Array:
    """(m, U, 3) fraction, low, high of the frames of a selection; reads nothing."""
    values = np.full((len(selection), len(class_names), 3), np.nan)
    for number in np.unique(selection.source).tolist():
        held = selection.sources[number].held
        assert isinstance(held, ResultsIndex)
        codes = translation(held.class_names, class_names)[: len(held.class_names)]
        known = codes != NO_CHIP
        mine = np.flatnonzero(selection.source == number)
        values[mine[:, None], codes[known]] = held.intervals[selection.row[mine]][:, known]
    return values


def fraction_table(
    catalog: Catalog, selection: Selection, present: Array, class_names: tuple[str, ...]
) -> pd.DataFrame:
    """Fractions of the classified frames in order of time.

    Parameters
    ----------
    selection, present
        Results of the frames, and which of them have any.
    class_names
        Unknown first.
    """
    rows, table = catalog.classified, catalog.table
    values = np.full((len(rows), len(class_names), 3), np.nan)
    values[present] = intervals(selection, class_names)
    columns: dict[str, object] = {
        "frame": np.arange(len(rows)),
        "index": table["index"][rows].astype(np.int64),
        "path": hdf.strings(table["path"][rows]),
        "time_s": seconds(catalog)[rows],
    }
    for code in (*range(1, len(class_names)), 0):
        name = column_name(class_names[code])
        for number, suffix in enumerate(("", "_low", "_high")):
            columns[name + suffix] = values[:, code, number]
    return pd.DataFrame(columns)


def frame_table(catalog: Catalog, table: Table) -> pd.DataFrame:
    """Tell everything that is known of each frame, also of failed ones, in order of time.

    Parameters
    ----------
    table
        All columns of the rows of the catalog.
    """
    order = catalog.order
    number = np.full(len(table["sequence"]), -1, np.int64)
    number[catalog.classified] = np.arange(len(catalog.classified))
    columns: dict[str, object] = {"frame": number[order], "time_s": seconds(catalog)[order]}
    for column in layout.COLUMNS:
        values = table[column.name][order]
        columns[column.name] = hdf.strings(values) if column.dtype == "S" else values
    return pd.DataFrame(columns)
