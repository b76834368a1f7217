"""Results: the labels of a frame's chips and the fractions that follow from them."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.support import UNKNOWN


class Fraction(NamedTuple):
    """Share of a frame's chips in a class, with its 95 % interval; all within 0…1."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class FrameResult:
    """A frame under one support set.

    Attributes
    ----------
    names
        The K class names of the support set, without "unknown".
    label_map
        (rows, columns) uint8 index into `names`; K means unknown.
    probabilities
        (rows, columns, K) float32, calibrated, summing to 1 over the classes.
    distances
        (rows, columns, K) float32 distance to each class in units of its spread.
    novelty
        (rows, columns) float32, how unlike the examples; above 1 the chip is rejected.
    intervals
        (K + 1, 3) float64 rows of fraction, low, high; the last row is unknown.
    support_version
        Version of the support set.
    drift
        How far the class that moved most has gone from where the support frame showed it: at
        1 its typical chip stands on the border to another class; NaN where it was not measured.
    """

    names: tuple[str, ...]
    label_map: npt.NDArray[np.uint8] = field(repr=False)
    probabilities: npt.NDArray[np.float32] = field(repr=False)
    distances: npt.NDArray[np.float32] = field(repr=False)
    novelty: npt.NDArray[np.float32] = field(repr=False)
    intervals: npt.NDArray[np.float64] = field(repr=False)
    support_version: str = ""
    drift: float = float("nan")

    @property
    def labels(self) -> npt.NDArray[np.str_]:
        """(rows, columns) class names, or "unknown"."""
        return np.asarray((*self.names, UNKNOWN))[self.label_map]

    @property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(rows, columns) probability of the most probable class."""
        return np.asarray(self.probabilities.max(axis=-1), dtype=np.float32)

    @property
    def fractions(self) -> dict[str, Fraction]:
        """Fraction and interval of every class and of "unknown"."""
        return {
            name: Fraction(*(float(v) for v in row))
            for name, row in zip((*self.names, UNKNOWN), self.intervals, strict=True)
        }
