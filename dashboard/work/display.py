"""Display: how a frame is shown, whatever the range is in which it is analysed.

A frame is shown as it is analysed, so that an empty one looks empty. Only where nothing of it could
be seen that way, because of another exposure or bit depth, it is shown in its own contrast.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.normalization import Normalization
from pychip_stream.export.pictures import Rect, reduced, to_jpeg

from .frame_pictures import FramePicture

Pixels = npt.NDArray[np.generic]

_CLIPPED = 0.25
"""Share of pixels beyond the analysed range that is too much; 0.002 are so in the frame itself."""
_SPAN = 0.05
"""Share of the analysed range that a frame has to fill; the noise of an empty one fills a tenth."""
_CROP_PX = 2048


def with_pixels(
    picture: FramePicture, pixels: Pixels, analysed: Normalization | None
) -> FramePicture:
    """Give a picture its JPEG, and say where its grey levels are not those of the analysis.

    Parameters
    ----------
    pixels
        (H, W) counts of the whole frame.
    analysed
        Range of the frame's support set; None: its own percentiles.
    """
    small = reduced(pixels)
    scale = display_range(small, analysed)
    found = replace(picture, jpeg=to_jpeg(small, scale), contrast=None, warning="")
    if analysed is None or scale is analysed:
        return found
    low, high = analysed.limits(small)
    span = scale.high - scale.low
    return replace(
        found,
        contrast=((low - scale.low) / span, (high - scale.low) / span),
        warning=(
            f"Counts of {scale.low:.4g} to {scale.high:.4g}, but those of the examples are "
            f"{low:.4g} to {high:.4g}: another exposure or bit depth. The frame is shown in its "
            "own contrast; its labels mean little. Set the camera as it was, or make a support "
            "set with examples of such frames alone."
        ),
    )


def crop(
    picture: FramePicture, pixels: Pixels, analysed: Normalization | None, rect: Rect
) -> bytes:
    """JPEG of a part of a frame as it was recorded, in the grey levels of its `with_pixels`."""
    left, top, right, bottom = rect
    scale = analysed if picture.contrast is None else None
    if scale is None:
        scale = Normalization.from_percentiles(reduced(pixels))
    return to_jpeg(pixels[top:bottom, left:right], scale, _CROP_PX)


def display_range(pixels: Pixels, analysed: Normalization | None) -> Normalization:
    """Range to show a frame in: `analysed` where it fits, otherwise its own percentiles."""
    if analysed is not None and fits(pixels, analysed):
        return analysed
    return Normalization.from_percentiles(pixels)


def fits(pixels: Pixels, scale: Normalization) -> bool:
    """Whether a frame can be told from black and white in a range."""
    values = replace(scale, clahe=False).apply(pixels)
    low, high = np.percentile(values.ravel()[::5], (0.1, 99.9))
    clipped = ((values < 0) | (values > 1)).mean()
    return bool(clipped <= _CLIPPED and high - low >= _SPAN)
