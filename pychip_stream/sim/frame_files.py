"""Files as an acquisition leaves them: their bytes, and their names in Gatan's in-situ layout."""

import datetime
import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from pychip_stream.errors import UsageError
from pychip_stream.sim import dm4

FORMATS = ("dm4", "tiff", "png")
"""Formats that can be written; png holds neither stacks nor pixel sizes."""

_GATAN_UNITS, _GATAN_SCALES = (65003, 65004), (65009, 65010)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What is known about the frames of a file.

    Attributes
    ----------
    pixel_size_nm
        Edge of a pixel in nanometres.
    time
        Start of the exposure in seconds since 1970 (UTC).
    exposure_s
        Exposure time of a frame in seconds.
    interval_s
        Time between frames in seconds.
    """

    pixel_size_nm: float
    time: float
    exposure_s: float
    interval_s: float


def encode(kind: str, pixels: npt.NDArray[np.generic], exposure: Exposure, name: str) -> bytes:
    """Encode an (H, W) frame or (N, H, W) stack as the bytes of a file of one of `FORMATS`.

    `name` is the title of the image, where the format has one. What the format cannot hold is a
    UsageError.
    """
    if kind == "dm4":
        return dm4.encode(
            pixels,
            pixel_size=exposure.pixel_size_nm,
            exposure_s=exposure.exposure_s,
            time=exposure.time,
            interval_s=exposure.interval_s,
            name=name,
        )
    if kind == "tiff":
        return _tiff(pixels, exposure)
    if kind == "png":
        return _png(pixels)
    raise UsageError(f"format {kind!r} is unknown; choose {', '.join(FORMATS)}")


def insitu_path(name: str, second: int, frame: int, suffix: str) -> str:
    """Path of a frame in an in-situ series, with forward slashes.

    `second` counts from the start of the series, `frame` from 0 within its second.
    """
    hours, rest = divmod(second, 3600)
    parts = [f"Hour_{hours:02}", f"Minute_{rest // 60:02}", f"Second_{rest % 60:02}"]
    return "/".join([name, *parts, f"{name}_{'_'.join(parts)}_Frame_{frame:04}.{suffix}"])


def _tiff(pixels: npt.NDArray[np.generic], exposure: Exposure) -> bytes:
    """Encode as TIFF with the calibration as GMS writes it and as pixels per centimetre."""
    size = exposure.pixel_size_nm
    extra = [(code, "s", 0, "nm", True) for code in _GATAN_UNITS]
    scales = [(code, "d", 1, size, True) for code in _GATAN_SCALES]
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        pixels,
        photometric="minisblack",
        resolution=(1e7 / size, 1e7 / size),
        resolutionunit="CENTIMETER",
        # The format has no time zone; instruments write local time.
        datetime=datetime.datetime.fromtimestamp(exposure.time),
        software="pychip-stream practice microscope",
        metadata=None,
        extratags=[*extra, *scales],
    )
    return buffer.getvalue()


def _png(pixels: npt.NDArray[np.generic]) -> bytes:
    if pixels.ndim != 2 or pixels.dtype not in (np.uint8, np.uint16):
        raise UsageError("png holds single frames of 8 or 16 bits; choose dm4 or tiff")
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
