"""From what is stored to grey values as they are looked at: colours, palettes, turned pictures."""

from typing import Any

import numpy as np
import numpy.typing as npt

_WEIGHTS = (0.299, 0.587, 0.114)


def from_rgb(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Luminance of red, green and blue, in the dtype that they had.

    Parameters
    ----------
    pixels
        (H, W, 3 or more) of any real dtype; further samples (alpha) are ignored.

    Returns
    -------
    (H, W), weighted as in ITU-R BT.601; exactly the common value where all three are equal.
    """
    red, green, blue = (pixels[..., i] for i in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return np.ascontiguousarray(red)
    kind = np.float64 if pixels.dtype.itemsize > 2 else np.float32
    grey = red * kind(_WEIGHTS[0]) + green * kind(_WEIGHTS[1]) + blue * kind(_WEIGHTS[2])
    return _back(grey, pixels.dtype)


def from_palette(indices: npt.NDArray[Any], colormap: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Look palette indices up and turn the colours grey.

    Parameters
    ----------
    indices
        (H, W) unsigned integers.
    colormap
        (3, N) uint16, as TIFF keeps it.

    Returns
    -------
    (H, W) uint16; uint8 where the palette has only 256 levels.
    """
    table: npt.NDArray[Any] = np.asarray(colormap, np.uint16)
    if not (table & 0xFF).any():  # 8-bit colours moved up
        table = table >> 8
    elif np.array_equal(table >> 8, table & 0xFF):  # 8-bit colours times 257
        table = table & 0xFF
    if table.max(initial=0) < 256:
        table = table.astype(np.uint8)
    levels = from_rgb(table.T[np.newaxis])[0]
    return np.asarray(levels[np.minimum(indices, levels.size - 1)])


def from_cmyk(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Luminance of cyan, magenta, yellow and black: (H, W, 4) to (H, W), same dtype."""
    full = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    ink = pixels.astype(np.float64) / full
    rgb = (1.0 - ink[..., :3]) * (1.0 - ink[..., 3:4])
    return _back((rgb @ np.asarray(_WEIGHTS)) * full, pixels.dtype)


def inverted(pixels: npt.NDArray[Any], bits: int) -> npt.NDArray[Any]:
    """Turn "white is zero" around, within the `bits` that the file uses."""
    if pixels.dtype.kind == "b":
        return np.asarray(np.logical_not(pixels))
    if pixels.dtype.kind == "u":
        top = pixels.dtype.type((1 << min(bits, 8 * pixels.dtype.itemsize)) - 1)
        return np.asarray(top - pixels)
    if pixels.dtype.kind == "i":
        return np.asarray(~pixels)
    return np.asarray(-pixels)


def is_turned(orientation: int) -> bool:
    """Whether rows of a stored picture are columns of the one that is shown."""
    return 5 <= orientation <= 8


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn a picture as TIFF's and EXIF's tag 274 asks for, as every viewer shows it.

    Parameters
    ----------
    pixels
        (H, W) as stored.
    orientation
        1 to 8; anything else counts as 1.

    Returns
    -------
    (H, W), or (W, H) where `is_turned`; contiguous.
    """
    if is_turned(orientation):
        pixels = pixels.T
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _back(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Round to the dtype the colours came in."""
    if dtype.kind == "f":
        return np.asarray(values.astype(dtype))
    limits = np.iinfo(dtype)
    top = float(limits.max)
    rounded = np.clip(np.rint(values), float(limits.min), top)
    if dtype.itemsize == 8:  # 2**63 - 1 is no float64
        rounded = np.minimum(rounded, np.nextafter(top, 0.0))
    return np.asarray(rounded.astype(dtype))
