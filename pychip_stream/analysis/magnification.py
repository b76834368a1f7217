"""Magnification: chips of the examples' physical size in frames of another pixel size."""

from collections.abc import Sequence
from statistics import median

from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.pixel_size import by_hand, pixel_size
from pychip_stream.domain.support import SupportSet

_SAME_SCALE = 1.05
"""Pixel sizes closer than this factor are the same magnification."""
_FARTHEST = 4.0
"""Beyond this factor a chip shows too few pixels, or details that the examples never had."""


def pixel_ratio(
    support: SupportSet, size: float | None, unit: str | None, of_file: str = ""
) -> float | None:
    """Pixel size of a frame over that of the examples.

    Parameters
    ----------
    size, unit
        Of the frame's pixels.
    of_file
        What its file says where the size was given by hand. Where that is the size of the
        examples, the calibration was corrected since, and the magnification is the same.

    Returns
    -------
    1 where they agree; None where one is not known, or in a unit of another kind.
    """
    shown = [_in_nanometres(c.source.pixel_size, c.source.unit) for c in support.chips]
    known = [one for one in shown if one is not None]
    here = [one for one in (_in_nanometres(size, unit), _told(of_file)) if one is not None]
    if not (known and here):
        return None
    ratios = [one / median(known) for one in here]
    return 1.0 if any(max(r, 1 / r) < _SAME_SCALE for r in ratios) else ratios[0]


def matched_size(support: SupportSet, ratio: float | None, shape: Sequence[int]) -> ChipSize | None:
    """Size, in pixels of a frame, of chips as large on the specimen as the examples.

    Encoders bring every chip to one scale, so this is all that another magnification needs.

    Parameters
    ----------
    ratio
        As `pixel_ratio` gives it.
    shape
        (height, width) of the frame in pixels.

    Returns
    -------
    None where it is that of the support set, or none is sensible.
    """
    if ratio is None or ratio == 1 or max(ratio, 1 / ratio) > _FARTHEST:
        return None
    size = support.chip_size
    width, height = round(size.width / ratio), round(size.height / ratio)
    if min(width, height) < CELLS or width > shape[1] or height > shape[0]:
        return None
    return ChipSize(width, height)


def scale_warning(support: SupportSet, frame: Frame) -> str | None:
    """Say by which factor the chips of a frame differ in physical size from the examples.

    None where the pixel sizes agree, or one of them is not known or in a unit of another kind.
    """
    ratio = ratio_of(support, frame)
    if ratio is None or ratio == 1:
        return None
    return (
        f"the physical size of a chip differs by a factor of {ratio:.3g} from that of the "
        "examples (another magnification); make a support set at this one"
    )


def ratio_of(support: SupportSet, frame: Frame) -> float | None:
    """Pixel size of a frame over that of the examples, as `pixel_ratio` gives it."""
    return pixel_ratio(
        support, frame.pixel_size, frame.unit, frame.texts.get("pixel_size_of_file", "")
    )


def _told(text: str) -> float | None:
    try:
        return _in_nanometres(*by_hand(text))
    except ValueError:
        return None


def _in_nanometres(size: float | None, unit: str | None) -> float | None:
    """Pixel size in nanometres; None where it is not a known length."""
    number, common = pixel_size(size, unit)
    return number if common == "nm" else None
