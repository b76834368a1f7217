"""Pictures: from a frame's counts to the JPEG that every viewer of it gets."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from pychip_stream.domain.normalization import Normalization

VIEW_PX = 1024
"""Longest edge of a picture sent to a browser."""
_QUALITY = 85


def to_jpeg(
    pixels: npt.NDArray[np.generic], normalization: Normalization | None, edge: int = VIEW_PX
) -> tuple[bytes, tuple[int, int]]:
    """Encode a frame, or a part of it, for the screen.

    Parameters
    ----------
    pixels
        (H, W) counts.
    normalization
        Of the run, so that an empty frame looks empty; None: the frame's own percentiles.
    edge
        Longest edge of the picture in pixels; larger frames are averaged down.

    Returns
    -------
    The JPEG, and its height and width.
    """
    factor = max(max(pixels.shape) // edge, 1)
    if factor > 1:
        pixels = _averaged(pixels, factor)
    scale = normalization or Normalization.from_percentiles(pixels)
    values = scale.apply(pixels)
    grey = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    picture = Image.fromarray(grey)
    longest = max(picture.size)
    if longest > edge:
        size = (
            max(round(picture.width * edge / longest), 1),
            max(round(picture.height * edge / longest), 1),
        )
        picture = picture.resize(size, Image.Resampling.BOX)
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=_QUALITY)
    return target.getvalue(), (picture.height, picture.width)


def crop_jpeg(
    pixels: npt.NDArray[np.generic],
    normalization: Normalization | None,
    rect: tuple[int, int, int, int],
) -> bytes:
    """Encode the part (left, top, right, bottom) of a frame as it was recorded.

    The grey values are those of the whole frame's picture.
    """
    left, top, right, bottom = rect
    scale = normalization or Normalization.from_percentiles(pixels)
    return to_jpeg(pixels[top:bottom, left:right], scale, edge=2 * VIEW_PX)[0]


def checked_rect(rect: object, shape: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """Whole pixels of a part of a frame that a browser asks for; None where that is nonsense."""
    if not isinstance(rect, list) or len(rect) != 4:
        return None
    try:
        left, top, right, bottom = (int(v) for v in rect)
    except (TypeError, ValueError, OverflowError):
        return None
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, shape[1]), min(bottom, shape[0])
    return (left, top, right, bottom) if right > left and bottom > top else None


def _averaged(pixels: npt.NDArray[np.generic], factor: int) -> npt.NDArray[np.float32]:
    """(H/factor, W/factor) mean of squares; a remainder at the edges is left out."""
    height, width = (n // factor * factor for n in pixels.shape)
    squares = pixels[:height, :width].reshape(height // factor, factor, width // factor, factor)
    return np.asarray(squares.mean(axis=(1, 3), dtype=np.float32))
