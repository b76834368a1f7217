"""Comparison: two scorings of a run, or two runs, beside each other."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pychip_stream.archive.tables import column_name

from .replay import Replay, Still


@dataclass(frozen=True, slots=True)
class ClassDifference:
    """A class under two scorings.

    Attributes
    ----------
    first, second
        Mean fraction over all frames of each; NaN where one lacks the class.
    mean, largest
        Absolute difference of the fractions over the frames that both have; NaN without any.
    """

    name: str
    first: float
    second: float
    mean: float
    largest: float


def differences(first: Replay, second: Replay) -> tuple[list[ClassDifference], int]:
    """Every class of either, and the number of frames that both have (same path and index)."""
    names = dict.fromkeys([*first.names, *second.names])
    columns = ["path", "index"]
    both = first.table[columns].assign(a=np.arange(first.count)).merge(
        second.table[columns].assign(b=np.arange(second.count)), on=columns
    )  # fmt: skip
    rows = []
    for name in names:
        a, b = _column(first.table, name), _column(second.table, name)
        apart = np.abs(a[both["a"].to_numpy()] - b[both["b"].to_numpy()])
        known = apart[np.isfinite(apart)]
        rows.append(
            ClassDifference(
                name,
                _mean(a),
                _mean(b),
                _mean(known),
                float(known.max()) if len(known) else float("nan"),
            )
        )
    return rows, len(both)


def same_frame(still: Still, other: Replay) -> int | None:
    """Return the number of a frame in another run; None where it has none of this name."""
    table = other.table
    found = np.flatnonzero((table["path"] == still.path) & (table["index"] == still.index))
    return int(found[0]) if len(found) else None


def agreement(first: Still, second: Still) -> float | None:
    """Share of chips with the same name; None on different grids."""
    if first.label_map.shape != second.label_map.shape:
        return None
    a = np.asarray(first.names)[first.label_map]
    b = np.asarray(second.names)[second.label_map]
    return float((a == b).mean())


def _column(table: pd.DataFrame, name: str) -> "np.typing.NDArray[np.float64]":
    column = column_name(name)
    if column not in table:
        return np.full(len(table), np.nan)
    return table[column].to_numpy(np.float64)


def _mean(values: "np.typing.NDArray[np.float64]") -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
