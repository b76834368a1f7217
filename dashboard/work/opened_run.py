"""Replay: an opened run, frame by frame; every method may take long and belongs on a thread."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from pychip_stream.archive.run import Run, open_run
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import PychipError
from pychip_stream.export.kinds import PixelReader

from .frame_pictures import to_jpeg
from .history import Curves, History
from .runs import pixel_reader

BINS = 20
"""Of the histogram of confidence, from 0 to 1."""
_FRAMES_KEPT = 48
_SAMPLED = 200
POINTS = 800
"""Most moments of a curve."""

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Still:
    """One frame of an opened run, ready for viewers.

    Attributes
    ----------
    number
        Of the frame, from 0 in order of time.
    time
        Seconds since 1970.
    time_s
        Seconds since the first frame.
    names, colors
        Classes, then unknown.
    label_map
        (rows, columns) uint8 index into `names`.
    intervals
        (K + 1, 3) fraction, low, high.
    confidence
        (BINS,) number of chips by confidence.
    shape, chip
        (height, width) of the frame and (width, height) of a chip, in pixels.
    jpeg
        The picture; empty where the frame's file is out of reach.
    """

    number: int
    path: str
    index: int
    time: float
    time_s: float
    names: tuple[str, ...]
    colors: tuple[str, ...]
    label_map: npt.NDArray[np.uint8] = field(repr=False)
    intervals: npt.NDArray[np.float64] = field(repr=False)
    confidence: Counts = field(repr=False)
    shape: tuple[int, int]
    chip: tuple[int, int]
    pixel_size: float | None
    unit: str | None
    jpeg: bytes = field(repr=False)


class Replay:
    """A run under one of its scorings.

    Parameters
    ----------
    path
        As for `open_run`.
    root
        Acquisition folder where the run does not know its own.
    scoring
        None: the one that the run shows.

    Raises
    ------
    ArchiveError
        If the run cannot be read or has no such scoring.
    """

    def __init__(self, path: Path, root: Path, scoring: str | None = None) -> None:
        run = open_run(path)
        self.run: Run = run if scoring is None else run.with_scoring(scoring)
        self._root = root
        self._lock = threading.RLock()
        self._kept: OrderedDict[int, Still] = OrderedDict()
        self._scales: dict[str, Normalization | None] = {}
        self._take()

    def _take(self) -> None:
        run = self.run
        self.names = (*run.names, UNKNOWN)
        self.colors = dict(run.colors)
        self.table: pd.DataFrame = run.fractions
        self.intervals = run.intervals
        self._read_pixels: PixelReader = pixel_reader(run, self._root)
        frames = run.frames
        self._geometry = frames[frames["frame"] >= 0][
            ["height", "width", "chip_height", "chip_width", "pixel_size", "unit"]
        ].reset_index(drop=True)
        self.history = self._history(0.0)
        self._kept.clear()

    @property
    def count(self) -> int:
        """Number of frames that can be shown."""
        return len(self.table)

    @property
    def label(self) -> str:
        """Name of run and scoring."""
        return f"{self.run.path.stem} ({self.run.scoring[:8]})"

    def refresh(self) -> bool:
        """Take in what a live run has got since; whether there was anything."""
        with self._lock:
            if not self.run.refresh():
                return False
            self._take()
            return True

    def curves(self, since: float | None = None, until: float | None = None) -> Curves:
        """Fractions over time in at most 800 moments."""
        with self._lock:
            return self.history.curves(POINTS, since, until)

    def curves_from(self, start: float) -> Curves:
        """Return the same curves as if the run had begun at `start`, in seconds since 1970."""
        with self._lock:
            if not self.count:
                return self.curves()
            return self._history(start - self.run.start).curves(POINTS)

    def nearest(self, moment: float) -> int | None:
        """Frame whose time is nearest to this one, in seconds since 1970."""
        with self._lock:
            if not self.count:
                return None
            times = self.table["time_s"].to_numpy(np.float64)
            return int(np.abs(times - (moment - self.run.start)).argmin())

    def still(self, number: int) -> Still:
        """Return a frame; the last few dozen are remembered.

        Raises
        ------
        ArchiveError
            If the scoring does not cover it, or it cannot be read.
        """
        with self._lock:
            known = self._kept.pop(number, None)
            still = known or self._make(number)
            self._kept[number] = still
            while len(self._kept) > _FRAMES_KEPT:
                self._kept.popitem(last=False)
            return still

    def _make(self, number: int) -> Still:
        row = self.table.iloc[number]
        known = self._geometry.iloc[number]
        path, index = str(row["path"]), int(row["index"])
        labels = self.run.label_map(number)
        pixels = self._read_pixels(path, index)
        jpeg = b"" if pixels is None else to_jpeg(pixels, self._scale(number))[0]
        chip = (int(known["chip_width"]), int(known["chip_height"]))
        shape = (int(known["height"]), int(known["width"]))
        if min(*shape, *chip) < 1:  # not known
            chip, shape = (1, 1), (labels.shape[0], labels.shape[1])
        size = float(known["pixel_size"])
        return Still(
            number,
            path,
            index,
            self.run.start + float(row["time_s"]),
            float(row["time_s"]),
            self.names,
            tuple(self.colors[n] for n in self.names),
            labels,
            self.intervals[number],
            histogram(self.run.confidence(number)),
            shape,
            chip,
            size if np.isfinite(size) else None,
            str(known["unit"]) or None,
            jpeg,
        )

    def crop(self, number: int, rect: tuple[int, int, int, int]) -> bytes:
        """JPEG of a part of a frame (left, top, right, bottom) as it was recorded."""
        row = self.table.iloc[number]
        pixels = self._read_pixels(str(row["path"]), int(row["index"]))
        if pixels is None:
            return b""
        left, top, right, bottom = rect
        scale = self._scale(number) or Normalization.from_percentiles(pixels)
        return to_jpeg(pixels[top:bottom, left:right], scale)[0]

    def confidence(self) -> tuple[Counts, int]:
        """Chips by confidence over up to 200 evenly spaced frames, and how many frames."""
        numbers = np.unique(np.linspace(0, max(self.count - 1, 0), _SAMPLED).astype(int))
        total = np.zeros(BINS, np.int64)
        used = 0
        for number in numbers[: self.count].tolist():
            try:
                with self._lock:
                    total += histogram(self.run.confidence(number))
                used += 1
            except PychipError:
                continue  # not covered by this scoring
        return total, used

    def _scale(self, number: int) -> Normalization | None:
        version = self.run.support_version(number)
        if version not in self._scales:
            try:
                self._scales[version] = self.run.support_set(version).normalization
            except PychipError:
                self._scales[version] = None
        return self._scales[version]

    def _history(self, shift: float) -> History:
        history = History()
        table = self.table
        if len(table):
            keys = list(zip(table["path"].tolist(), table["index"].tolist(), strict=True))
            times = self.run.start + shift + table["time_s"].to_numpy(np.float64)
            curves = {name: self.intervals[:, code] for code, name in enumerate(self.names)}
            history.extend(keys, times, curves)
        return history


def histogram(confidence: npt.NDArray[np.floating]) -> Counts:
    """(BINS,) number of chips by confidence; NaN is left out."""
    values = confidence[np.isfinite(confidence)].astype(np.float64)
    return np.histogram(np.clip(values, 0, 1), BINS, (0.0, 1.0))[0].astype(np.int64)
