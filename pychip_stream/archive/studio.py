"""Studio: frames of a run as pictures, the label map alone and over the frame."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pychip_stream.archive import figures, hdf
from pychip_stream.archive.figures import Legend, Rgb
from pychip_stream.archive.reader import Run
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import PychipError

PixelReader = Callable[[str, int], npt.NDArray[np.generic] | None]
"""(path, index) → (H, W) counts, or None where they are gone."""

_COLUMNS = (
    "path", "index", "chip_width", "chip_height", "height", "width", "pixel_size", "unit",
)  # fmt: skip
_SOME_SIZE = ChipSize(16, 16)
"""For archives that do not know the size of their chips."""


@dataclass(frozen=True, eq=False)
class View:
    """Pictures of a frame, at its resolution.

    Attributes
    ----------
    painted
        (H, W, 3) label map.
    overlay
        (H, W, 3) label map over the frame; None where its pixels are gone.
    """

    number: int
    painted: Rgb = field(repr=False)
    overlay: Rgb | None = field(repr=False)

    @property
    def best(self) -> Rgb:
        """The overlay, or the label map alone."""
        return self.painted if self.overlay is None else self.overlay


class Studio:
    """Makes pictures of the frames of a run under its scoring."""

    def __init__(self, run: Run, read_pixels: PixelReader) -> None:
        self._run = run
        self._read = read_pixels
        self._columns = run.columns(*_COLUMNS)
        self._table = run.fractions
        self._colors = [run.colors[name] for name in (*run.names, UNKNOWN)]
        self._scales: dict[str, Normalization | None] = {}

    def view(self, number: int) -> View:
        """Paint a frame.

        Raises
        ------
        ArchiveError
            If the scoring does not cover it or it cannot be read.
        """
        labels = self._run.label_map(number)
        known = {name: values[number] for name, values in self._columns.items()}
        size = (int(known["chip_width"]), int(known["chip_height"]))
        chip_size = ChipSize(*size) if min(size) >= 4 else _SOME_SIZE
        covered = (labels.shape[0] * chip_size.height, labels.shape[1] * chip_size.width)
        shape = (int(known["height"]), int(known["width"]))
        if shape[0] < covered[0] or shape[1] < covered[1]:
            shape = covered
        painted = figures.color_labels(labels, self._colors, chip_size, shape)
        pixels = self._read(hdf.decode(known["path"]), int(known["index"]))
        if pixels is None or pixels.shape != shape:
            return View(number, painted, None)
        scale = self._scale(number) or Normalization.from_percentiles(pixels)
        return View(number, painted, figures.overlay(scale.apply(pixels), painted, covered))

    def legend(self, view: View) -> Legend:
        """Text below the pictures of a frame."""
        row = self._table.iloc[view.number]
        entries = figures.fraction_entries(self._run.names, self._run.colors, row)
        return Legend(entries, *self.pixel_size(view), self.title(view))

    def title(self, view: View) -> str:
        """Name a frame by its number and time."""
        return f"frame {view.number}, {float(self._table['time_s'].iloc[view.number]):.2f} s"

    def pixel_size(self, view: View) -> tuple[float | None, str | None]:
        """Edge of a pixel and its unit, where known."""
        size = float(self._columns["pixel_size"][view.number])
        unit = hdf.decode(self._columns["unit"][view.number])
        return (size if np.isfinite(size) else None), unit or None

    def _scale(self, number: int) -> Normalization | None:
        """Find how the frame was normalised, where the run knows."""
        version = self._run.support_version(number)
        if version not in self._scales:
            try:
                self._scales[version] = self._run.support_set(version).normalization
            except PychipError:
                self._scales[version] = None
        return self._scales[version]
