"""DM4: writes images and stacks as DigitalMicrograph does.

Notes
-----
The header and the structure of the tags are big-endian, the values little-endian. Every entry
tells the bytes that follow it, and the header those of the whole tree, which eight zero bytes
close: file size − 24 = length. (Structure as read by openNCEM's dm.py and as found in files of
GMS 3.22.)
"""

import struct
import time as clock
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pychip_stream.errors import UsageError

_GROUP, _DATA = 20, 21
_STRUCT, _ARRAY = 15, 20
_USHORT, _BOOL = 4, 8
_ENCODED = {
    "int16": 2,
    "int32": 3,
    "uint16": _USHORT,
    "uint32": 5,
    "float32": 6,
    "float64": 7,
    "bool": _BOOL,
    "int8": 9,
    "uint8": 10,
    "int64": 11,
    "uint64": 12,
}
_IMAGE_TYPES = {
    "int16": 1,
    "float32": 2,
    "uint8": 6,
    "int32": 7,
    "int8": 9,
    "uint16": 10,
    "uint32": 11,
    "float64": 12,
}
_FILETIME_EPOCH_S = 11_644_473_600
"""Seconds from 1601, where Windows begins to count, to 1970."""


def encode(
    pixels: npt.NDArray[np.generic],
    *,
    pixel_size: float | None = None,
    unit: str = "nm",
    exposure_s: float | None = None,
    time: float | None = None,
    interval_s: float | None = None,
    name: str = "",
    tags: Mapping[str, Any] | None = None,
) -> bytes:
    """Encode an image or a stack as the bytes of a DM4 file.

    Parameters
    ----------
    pixels
        (H, W) image or (N, H, W) stack of integers of 8, 16 or 32 bits or floats.
    pixel_size
        Edge of a pixel in `unit`; None leaves the image without calibration.
    exposure_s
        Exposure time of a frame in seconds.
    time
        Time of acquisition in seconds since 1970 (UTC).
    interval_s
        Time between the frames of a stack in seconds.
    name
        Title of the image.
    tags
        Further tags of the image, such as "Microscope Info".
    """
    pixels = np.asarray(pixels)
    if pixels.ndim not in (2, 3) or pixels.size == 0 or pixels.dtype.name not in _IMAGE_TYPES:
        raise UsageError(
            f"dm4: {pixels.ndim}-dimensional array of {pixels.dtype} cannot be written; "
            f"give (H, W) or (N, H, W) of {', '.join(_IMAGE_TYPES)}"
        )
    tree = {
        "DocumentObjectList": [{"AnnotationType": 20, "ImageSource": 0, "ImageDisplayType": 1}],
        "Image Behavior": {"ViewDisplayID": 8},
        "ImageList": [
            {
                "ImageData": _image_data(pixels, pixel_size, unit, interval_s),
                "ImageTags": {**_image_tags(pixels, exposure_s, time), **(tags or {})},
                "Name": name,
            }
        ],
        "ImageSourceList": [{"ClassName": "ImageSource:Simple", "Id": [0], "ImageRef": 0}],
        "InImageMode": True,
    }
    body = _group_body(tree)
    return struct.pack(">IQI", 4, len(body), 1) + body + bytes(8)


def _image_data(
    pixels: npt.NDArray[np.generic], pixel_size: float | None, unit: str, interval_s: float | None
) -> dict[str, Any]:
    axes = [_axis(pixel_size, unit)] * 2
    if pixels.ndim == 3:
        axes.append(_axis(interval_s, "s"))
    return {
        "Calibrations": {
            "Brightness": _axis(1.0, "Counts"),
            "Dimension": axes,
            "DisplayCalibratedUnits": True,
        },
        "Data": pixels.ravel(),
        "DataType": np.uint32(_IMAGE_TYPES[pixels.dtype.name]),
        "Dimensions": [np.uint32(edge) for edge in reversed(pixels.shape)],
        "PixelDepth": np.uint32(pixels.dtype.itemsize),
    }


def _axis(scale: float | None, unit: str) -> dict[str, Any]:
    """Calibration of an axis; without a scale there is none."""
    size = np.float32(1 if scale is None else scale)
    return {"Origin": np.float32(0), "Scale": size, "Units": "" if scale is None else unit}


def _image_tags(
    pixels: npt.NDArray[np.generic], exposure_s: float | None, time: float | None
) -> dict[str, Any]:
    bar: dict[str, Any] = {}
    tags: dict[str, Any] = {"DataBar": bar}
    if exposure_s is not None:
        high_level = {"Exposure (s)": float(exposure_s)}
        tags["Acquisition"] = {"Parameters": {"High Level": high_level}}
        bar["Exposure Time (s)"] = float(exposure_s)
    if time is not None:
        bar |= _time_tags(time)
    tags["Meta Data"] = {"Format": "Image", "IsSequence": pixels.ndim == 3, "Signal": "Imaging"}
    return tags


def _time_tags(time: float) -> dict[str, Any]:
    """Date and time as GMS writes them: local, and as Windows' 100 ns since 1601 (UTC)."""
    local = clock.localtime(time)
    hour = local.tm_hour % 12 or 12
    half = "AM" if local.tm_hour < 12 else "PM"
    return {
        "Acquisition Date": f"{local.tm_mon}/{local.tm_mday}/{local.tm_year}",
        "Acquisition Time": f"{hour}:{local.tm_min:02}:{local.tm_sec:02} {half}",
        "Acquisition Time (OS)": (time + _FILETIME_EPOCH_S) * 1e7,
    }


def _entry(kind: int, name: str, body: bytes) -> bytes:
    label = name.encode("latin-1")
    return struct.pack(">BH", kind, len(label)) + label + struct.pack(">Q", len(body)) + body


def _tag(name: str, value: Any) -> bytes:
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str)):
        return _entry(_GROUP, name, _group_body(value))
    return _entry(_DATA, name, _data_body(value))


def _group_body(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """Encode a tag group; a sequence is one whose tags have no name."""
    named = isinstance(value, Mapping)
    pairs = sorted(value.items()) if isinstance(value, Mapping) else [("", v) for v in value]
    tags = [_tag(name, item) for name, item in pairs]
    return struct.pack(">BBQ", named, False, len(tags)) + b"".join(tags)


def _data_body(value: Any) -> bytes:
    """Encode a number, a string (UTF-16 array) or a one-dimensional array."""
    if isinstance(value, str):
        value = np.frombuffer(value.encode("utf-16-le"), "<u2")
    elif isinstance(value, bool):
        value = np.bool_(value)
    elif isinstance(value, int):
        value = np.int32(value)
    array = np.asarray(value)
    raw = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    kind = _ENCODED[array.dtype.name]
    info = (_ARRAY, kind, array.size) if array.ndim else (kind,)
    return b"%%%%" + struct.pack(f">{1 + len(info)}Q", len(info), *info) + raw
