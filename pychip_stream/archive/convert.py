"""Conversion: a run as the objects of other packages; large ones are imported when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pychip_stream.archive import hdf
from pychip_stream.archive.catalog import Catalog
from pychip_stream.archive.layout import NO_CHIP, Table, frame_keys, own_times, take
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from pychip_stream.archive.run import Run


_FIXED = frozenset(
    {"frame", "index", "path", "time_s", "excluded", "row", "column", "label", "confidence"}
)


def _table(content: Any, **options: Any) -> pd.DataFrame:
    import pandas as pd  # loads slowly, and services have no tables

    return pd.DataFrame(content, **options)


def fraction_table(run: Run, catalog: Catalog, number: npt.NDArray[np.int64]) -> pd.DataFrame:
    """`Run.fractions` for classified frames of these numbers."""
    rows, table, values = catalog.classified[number], catalog.table, run.intervals
    columns: dict[str, object] = {
        "frame": number,
        "index": table["index"][rows].astype(np.int64),
        "path": hdf.strings(table["path"][rows]),
        "time_s": catalog.seconds[rows],
    }
    if run.everything:
        columns["excluded"] = catalog.left_out
    for code, name in enumerate((*run.names, UNKNOWN)):
        column = f"class {name}" if name in _FIXED else name
        for end, suffix in enumerate(("", "_low", "_high")):
            columns[column + suffix] = values[number, code, end]
    return _table(columns, index=number)


def frame_table(catalog: Catalog, table: Table) -> pd.DataFrame:
    """`Run.frames` of every column of everything that was archived."""
    order, count = catalog.order, len(table["sequence"])
    number, excluded = np.full(count, -1, np.int64), np.zeros(count, bool)
    number[catalog.classified] = np.arange(len(catalog.classified))
    excluded[catalog.classified] = catalog.left_out
    columns: dict[str, object] = {"frame": number[order], "time_s": catalog.seconds[order]}
    columns["excluded"] = excluded[order]
    for name, values in table.items():
        ordered = values[order]
        columns[name] = hdf.strings(ordered) if ordered.dtype.kind == "S" else ordered
    return _table(columns)


def exclusion_table(catalog: Catalog) -> pd.DataFrame:
    """`Run.exclusions`."""
    out, known = np.flatnonzero(catalog.left_out), catalog.excluded
    places = frame_keys(take(catalog.table, catalog.classified[out]))
    told = [
        (number, *key, known[key].who, known[key].when)
        for number, key in zip(out.tolist(), places, strict=True)
    ]
    return _table(told, columns=["frame", "path", "index", "who", "when"])


def displaced_table(catalog: Catalog) -> pd.DataFrame:
    """`Run.displaced`."""
    rows, table = catalog.displaced, catalog.table
    columns = {"path": hdf.strings(table["path"][rows]), "index": table["index"][rows]}
    return _table(columns | {"own_time": own_times(table)[rows], "time": table["time"][rows]})


def to_xarray(run: Run) -> Any:
    """Fractions, intervals and label maps as an `xarray.Dataset`."""
    try:
        import xarray
    except ImportError as error:
        raise UsageError("to_xarray needs xarray; `pip install xarray`") from error
    table, names = run.fractions, (*run.names, UNKNOWN)
    number = table["frame"].to_numpy()
    values = np.moveaxis(run.intervals[number], 2, 0)
    stack = label_stack(run)[number]
    return xarray.Dataset(
        {
            **{
                key: (("frame", "class"), one, {"units": "", "long_name": meaning})
                for key, one, meaning in zip(
                    ("fraction", "low", "high"),
                    values,
                    ("phase fraction", "low end of 95 % interval", "high end of 95 % interval"),
                    strict=True,
                )
            },
            "label_map": (
                ("frame", "row", "column"),
                stack,
                {"long_name": f"index into class; {NO_CHIP}: no chip there, or not labelled"},
            ),
        },
        coords={
            "frame": number,
            "class": list(names),
            "time": ("frame", table["time_s"].to_numpy(float), {"units": "s"}),
            "path": ("frame", table["path"].to_numpy(object)),
            "index": ("frame", table["index"].to_numpy()),
        },
        attrs={
            "run_id": run.run_id,
            "scoring": run.scoring,
            "start": run.start,
            "source": str(run.path),
        },
    )


def to_hyperspy(run: Run) -> Any:
    """Label maps as a HyperSpy signal: an image stack over time."""
    try:
        from hyperspy.signals import Signal2D
    except ImportError as error:
        raise UsageError("to_hyperspy needs HyperSpy; `pip install hyperspy`") from error
    table = run.fractions
    number = table["frame"].to_numpy()
    stack = label_stack(run)[number]
    edges, unit = _chip_edges(run)
    time = table["time_s"].to_numpy(float)
    over: dict[str, Any] = {"name": "frame", "size": len(stack), "navigate": True}
    if len(time) > 1 and (np.diff(time) > 0).all():
        over = {"name": "time", "axis": time, "units": "s", "navigate": True}
    axes = [over] + [
        {"name": name, "size": size, "scale": edge, "units": unit, "navigate": False}
        for name, size, edge in zip(("y", "x"), stack.shape[1:], edges, strict=True)
    ]
    names = [*run.names, UNKNOWN]
    signal = Signal2D(stack, axes=axes)
    signal.metadata.General.title = f"{run.path.stem}: label maps"
    signal.metadata.set_item("Pychip_stream.class_names", names)
    signal.metadata.set_item("Pychip_stream.scoring", run.scoring)
    for name, curve in zip(names, run.intervals[number, :, 0].T.copy(), strict=True):
        signal.metadata.set_item(f"Pychip_stream.fractions.{name.replace('.', '_')}", curve)
    return signal


def label_stack(run: Run) -> npt.NDArray[np.uint8]:
    """(count, rows, columns) uint8 index into the names, their number means unknown.

    NO_CHIP stands beyond a frame's grid and in frames that are left out or not covered.
    """
    blocks = list(run.result_blocks(()))
    grid = np.max([(0, 0), *(rows.grid for _, rows in blocks)], axis=0)
    stack = np.full((run.count, *grid), NO_CHIP, np.uint8)
    for numbers, rows in blocks:
        stack[numbers, : rows.label_map.shape[1], : rows.label_map.shape[2]] = rows.label_map
    return stack


def _chip_edges(run: Run) -> tuple[tuple[float, float], str]:
    """Height and width of a chip in the unit of the first frame that has one."""
    columns = run.columns("pixel_size", "pixel_height", "unit", "chip_height", "chip_width")
    known = np.flatnonzero(np.isfinite(columns["pixel_size"]) & (columns["unit"] != b""))
    if not len(known):
        return (1.0, 1.0), "chips"
    first = int(known[0])
    width, height = (float(columns[name][first]) for name in ("pixel_size", "pixel_height"))
    # Archives of before know one edge.
    chip = (int(columns["chip_height"][first]), int(columns["chip_width"][first]))
    edges = (chip[0] * (height if np.isfinite(height) else width), chip[1] * width)
    return edges, columns["unit"][first].decode("utf-8", "replace")
