"""Display: how a frame is shown, whatever the range is in which it is analysed.

A frame is shown as it is analysed, so that an empty one looks empty. Only where nothing of it could
be seen that way, because of another exposure or bit depth, it is shown in its own contrast. A
viewer may choose another one, which changes nothing but what that viewer sees.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.normalization import Normalization
from pychip_stream.export.pictures import Rect, reduced, to_jpeg

from .frame_pictures import FramePicture, Grey

Pixels = npt.NDArray[np.generic]

_CLIPPED = 0.25
"""Share of pixels beyond the analysed range that is too much; 0.002 are so in the frame itself."""
_SPAN = 0.05
"""Share of the analysed range that a frame has to fill; the noise of an empty one fills a tenth."""
_CROP_PX = 2048
_STEPS = 64
_EVERY = 7
"""Of so many pixels one is counted in the histogram."""


@dataclass(frozen=True)
class Contrast:
    """How a viewer wants to see frames.

    Attributes
    ----------
    mode
        "auto": see above; "analysed": as analysed, whatever can be seen; "full": from the least
        to the most counts; "hand": from `low` to `high` counts.
    """

    mode: str = "auto"
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def asked(cls, message: dict[str, object]) -> "Contrast":
        """Read what a browser asks for; nonsense is "auto"."""
        mode, low, high = (message.get(name) for name in ("mode", "low", "high"))
        if mode in ("analysed", "full"):
            return cls(str(mode))
        if mode != "hand" or not (isinstance(low, int | float) and isinstance(high, int | float)):
            return cls()
        return cls("hand", float(low), float(high)) if -math.inf < low < high < math.inf else cls()


def with_pixels(
    picture: FramePicture,
    pixels: Pixels,
    analysed: Normalization | None,
    contrast: Contrast | None = None,
) -> FramePicture:
    """Give a picture its JPEG, and say where its grey levels are not those of the analysis.

    Parameters
    ----------
    pixels
        (H, W) counts of the whole frame.
    analysed
        Range of the frame's support set; None: its own percentiles.
    contrast
        None: "auto".
    """
    small = reduced(pixels)
    own = display_range(small, analysed)
    scale = _chosen(contrast or Contrast(), small, analysed, own)
    jpeg, grey = to_jpeg(small, scale), _grey(small, scale)
    found = replace(picture, jpeg=jpeg, grey=grey, warning="")
    if analysed is None or own is analysed:
        return found
    low, high = analysed.limits(small)
    return replace(
        found,
        warning=(
            f"Counts of {_counts(own.low)} to {_counts(own.high)}, but those of the examples are "
            f"{_counts(low)} to {_counts(high)}: another exposure or bit depth. The frame is shown "
            "in its own contrast; its labels mean little. Set the camera as it was, or make a "
            "support set with examples of such frames alone."
        ),
    )


def _counts(value: float) -> str:
    """Write counts as a camera shows them: whole, unless they are small."""
    return f"{value:.4g}" if abs(value) < 100 else f"{value:,.0f}"


def crop(
    picture: FramePicture, pixels: Pixels, analysed: Normalization | None, rect: Rect
) -> bytes:
    """JPEG of a part of a frame as it was recorded, in the grey levels of its `with_pixels`."""
    left, top, right, bottom = rect
    scale, grey = analysed, picture.grey
    if grey is not None and math.isfinite(grey.low):
        scale = Normalization("range", grey.low, grey.high)
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


def _chosen(
    contrast: Contrast, pixels: Pixels, analysed: Normalization | None, own: Normalization
) -> Normalization:
    if contrast.mode == "hand":
        return Normalization("range", contrast.low, contrast.high)
    if contrast.mode == "full":
        return Normalization.from_percentiles(pixels, 0, 100)
    return analysed or own if contrast.mode == "analysed" else own


def _grey(pixels: Pixels, scale: Normalization) -> Grey:
    """Say what black and white are, and which counts there are."""
    values = np.asarray(pixels, np.float64).ravel()
    values = values[np.isfinite(values)]
    least, most = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    most = max(most, least + 1e-9)
    counts = np.histogram(values[::_EVERY], _STEPS, (least, most))[0]
    low, high = (math.nan, math.nan) if scale.clahe else map(float, scale.limits(pixels))
    heights = np.round(counts / max(counts.max(), 1), 3)
    return Grey(low, high, least, most, tuple(heights.tolist()))
