"""Chips: the grid squares a frame is cut into."""

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pychip_stream.errors import FrameUsageError, UsageError

CELLS = 4
"""Cells per chip edge: a chip is described by CELLS × CELLS cells."""


@dataclass(frozen=True, slots=True)
class ChipSize:
    """Edge lengths of a chip in pixels; width first where it is written "WxH"."""

    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width < CELLS or self.height < CELLS:
            raise UsageError(f"chip size {self}: each edge needs at least {CELLS} pixels")

    @classmethod
    def parse(cls, text: "str | int | ChipSize | tuple[int, int]") -> "ChipSize":
        """Read a chip size from "N", "WxH", a number, or a (width, height) pair."""
        if isinstance(text, ChipSize):
            return text
        if isinstance(text, tuple):
            return cls(int(text[0]), int(text[1]))
        match = re.fullmatch(r"\s*(\d{1,6})(?:\s*[xX×]\s*(\d{1,6}))?\s*", str(text))
        if match is None:
            raise UsageError(
                f"chip size {text!r}: write N or WxH in pixels, for example 64 or 34x35"
            )
        width = int(match.group(1))
        return cls(width, int(match.group(2) or width))

    def __str__(self) -> str:
        return str(self.width) if self.width == self.height else f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows × columns of chips on a frame; the right and bottom remainder is cropped."""

    rows: int
    columns: int
    chip_size: ChipSize

    @classmethod
    def of(cls, shape: tuple[int, int], chip_size: ChipSize) -> "Grid":
        """Lay the grid on a frame of `shape` (height, width)."""
        rows, columns = shape[0] // chip_size.height, shape[1] // chip_size.width
        if rows < 1 or columns < 1:
            raise FrameUsageError(
                f"frame of {shape[1]}x{shape[0]} pixels is smaller than one chip ({chip_size}); "
                "choose a smaller chip size"
            )
        return cls(rows, columns, chip_size)

    def __len__(self) -> int:
        return self.rows * self.columns

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels of the area that the chips cover."""
        return self.rows * self.chip_size.height, self.columns * self.chip_size.width

    def check(self, row: int, column: int) -> None:
        """Refuse a chip outside the grid."""
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise UsageError(
                f"chip {row},{column} is outside the grid of {self.rows} rows x {self.columns} "
                f"columns (both count from 0)"
            )

    def patch(
        self, pixels: npt.NDArray[np.generic], row: int, column: int, margin: tuple[int, int]
    ) -> npt.NDArray[np.generic]:
        """Cut a chip with its surroundings; what lies beyond the frame is mirrored.

        Parameters
        ----------
        pixels
            (H, W) frame that the grid was laid on.
        margin
            Pixels of surroundings above/below and left/right.

        Returns
        -------
        (chip height + 2·margin[0], chip width + 2·margin[1]) copy, dtype of `pixels`.
        """
        self.check(row, column)
        size = self.chip_size
        ys = _mirrored(row * size.height, size.height, margin[0], pixels.shape[0])
        xs = _mirrored(column * size.width, size.width, margin[1], pixels.shape[1])
        return np.ascontiguousarray(pixels[np.ix_(ys, xs)])


def _mirrored(start: int, length: int, margin: int, limit: int) -> npt.NDArray[np.intp]:
    """Pixel coordinates of a span with its margin, reflected at 0 and `limit`."""
    span = np.arange(start - margin, start + length + margin)
    if limit == 1:
        return np.zeros_like(span)
    period = 2 * (limit - 1)
    span = np.abs(span) % period
    return np.where(span >= limit, period - span, span)
