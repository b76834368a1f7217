"""Intensity normalisation: from detector counts to the range the encoder was trained on."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from pychip_stream.errors import UsageError


@dataclass(frozen=True, slots=True)
class Normalization:
    """How pixels become float32 values with 0 and 1 as the ends of the useful range.

    Attributes
    ----------
    mode
        "range": `low`…`high` maps to 0…1 for every frame of a run, so an empty frame stays
        empty. "frame": each frame's own minimum and maximum (the original pyChip's way).
        "depth": the full scale of 8- and 16-bit frames, other types as "frame"; this is how
        pyChip made the 8-bit pictures that its support sets consist of.
    low, high
        Counts that map to 0 and 1 in mode "range"; not used otherwise.
    clahe
        Contrast-limited adaptive histogram equalisation of the whole frame afterwards
        (clip 2.0, 8 × 8 tiles).
    """

    mode: Literal["range", "frame", "depth"] = "range"
    low: float = 0.0
    high: float = 1.0
    clahe: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            raise UsageError("intensity range must be finite numbers")
        if self.mode == "range" and self.high <= self.low:
            raise UsageError(
                f"intensity range {self.low:g},{self.high:g}: the second must be larger"
            )

    @classmethod
    def from_percentiles(
        cls,
        pixels: npt.NDArray[np.generic],
        low: float = 0.1,
        high: float = 99.9,
        clahe: bool = False,
    ) -> "Normalization":
        """Fix the range of a run from percentiles of one frame's finite pixels.

        A frame with a single grey value gives a range of width 1 above it, so that the
        result is zero everywhere instead of a division by zero.
        """
        values = np.asarray(pixels)
        if values.dtype.kind == "f":
            values = values[np.isfinite(values)]
        elif values.dtype.kind == "b":
            values = values.view(np.uint8)
        if values.size == 0:
            return cls("range", 0.0, 1.0, clahe)
        bottom, top = (float(v) for v in np.percentile(values, (low, high)))
        if not top > bottom:
            bottom, top = float(values.min()), float(values.max())
        if not top > bottom:
            top = bottom + max(1.0, abs(bottom))
        return cls("range", bottom, top, clahe)

    def apply(self, pixels: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
        """Normalise pixels to float32; values beyond the range are limited to -0.5…1.5.

        NaN becomes 0 and ±inf the limits, so that one hot pixel spoils one pixel.
        """
        low, high = self.limits(pixels)
        # The subtraction happens in float64 for wide integers and doubles: 2**31 ± 1 counts
        # would otherwise be one value.
        kind = np.float64 if pixels.dtype.itemsize > 2 else np.float32
        values: npt.NDArray[np.floating] = pixels.astype(kind)
        scaled = (values - low) / (high - low)
        out = np.nan_to_num(scaled, nan=0.0, posinf=1.5, neginf=-0.5).astype(np.float32)
        np.clip(out, -0.5, 1.5, out=out)
        return equalize_adaptive(out) if self.clahe else out

    def limits(self, pixels: npt.NDArray[np.generic]) -> tuple[float, float]:
        """Find the counts of this frame that map to 0 and 1."""
        if self.mode == "range":
            return self.low, self.high
        if self.mode == "depth" and pixels.dtype in (np.uint8, np.uint16):
            return 0.0, 255.0 * 256.0 ** (pixels.dtype.itemsize - 1)
        finite = pixels[np.isfinite(pixels)] if pixels.dtype.kind == "f" else pixels
        if not finite.size:
            return 0.0, 1.0
        low, high = float(finite.min()), float(finite.max())
        return low, high if high > low else low + 1.0


def equalize_adaptive(
    image: npt.NDArray[np.float32], clip: float = 2.0, tiles: int = 8
) -> npt.NDArray[np.float32]:
    """Contrast-limited adaptive histogram equalisation on 256 levels.

    Parameters
    ----------
    image
        (H, W) float32, useful range 0…1.
    clip
        Limit of a histogram bin relative to its mean.
    tiles
        Tiles per edge.

    Returns
    -------
    (H, W) float32 in 0…1.

    Notes
    -----
    Zuiderveld, "Contrast Limited Adaptive Histogram Equalization", Graphics Gems IV (1994);
    tile borders, clipping and interpolation as OpenCV does them, so that a support set made
    with pyChip's "preprocess image" stays comparable.
    """
    levels = np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8)
    height, width = levels.shape
    pad_y, pad_x = -height % tiles, -width % tiles
    if pad_y or pad_x:
        mode: Literal["reflect", "edge"] = "reflect" if min(height, width) > tiles else "edge"
        padded = np.pad(levels, ((0, pad_y), (0, pad_x)), mode=mode)
    else:
        padded = levels
    tile_h, tile_w = padded.shape[0] // tiles, padded.shape[1] // tiles
    luts = _tile_tables(padded, tiles, tile_h, tile_w, clip)
    return _interpolate(levels, luts, tile_h, tile_w, tiles)


def _tile_tables(
    padded: npt.NDArray[np.uint8], tiles: int, tile_h: int, tile_w: int, clip: float
) -> npt.NDArray[np.float32]:
    """Grey-level table of every tile: (tiles, tiles, 256) float32 of 0…255."""
    area = tile_h * tile_w
    limit = max(int(clip * area / 256), 1)
    tables = np.empty((tiles, tiles, 256), np.float32)
    for y in range(tiles):
        for x in range(tiles):
            tile = padded[y * tile_h : (y + 1) * tile_h, x * tile_w : (x + 1) * tile_w]
            counts = np.bincount(tile.ravel(), minlength=256)
            excess = int(np.maximum(counts - limit, 0).sum())
            counts = np.minimum(counts, limit) + excess // 256
            residual = excess % 256
            if residual:
                step = max(256 // residual, 1)
                counts[np.arange(0, 256, step)[:residual]] += 1
            tables[y, x] = np.clip(np.rint(np.cumsum(counts) * (255.0 / area)), 0, 255)
    return tables


def _interpolate(
    levels: npt.NDArray[np.uint8],
    luts: npt.NDArray[np.float32],
    tile_h: int,
    tile_w: int,
    tiles: int,
) -> npt.NDArray[np.float32]:
    """Blend the tables of the four nearest tiles at every pixel."""
    height, width = levels.shape

    def weights(
        n: int, tile: int
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        position = np.arange(n, dtype=np.float32) / tile - 0.5
        first = np.floor(position).astype(np.intp)
        fraction = (position - first).astype(np.float32)
        return first.clip(0, tiles - 1), (first + 1).clip(0, tiles - 1), fraction

    y0, y1, fy = weights(height, tile_h)
    x0, x1, fx = weights(width, tile_w)
    top = luts[y0[:, None], x0, levels] * (1 - fx) + luts[y0[:, None], x1, levels] * fx
    bottom = luts[y1[:, None], x0, levels] * (1 - fx) + luts[y1[:, None], x1, levels] * fx
    blended = top * (1 - fy)[:, None] + bottom * fy[:, None]
    return np.rint(blended).astype(np.float32) / np.float32(255.0)
