"""PNG and JPEG, read by Pillow (16-bit colour PNG by imagecodecs, which keeps the depth)."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile, PngInfo

from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats import grey, units
from pychip_stream.formats.metadata import Metadata, collect, courtesy, labelled, xml
from pychip_stream.formats.source import Format, Source, Structure, check_memory

_PNG = b"\x89PNG\r\n\x1a\n"
_EOI = b"\xff\xd9"
_TAIL = 1 << 16
_OWN = ("Software", "pychip-stream")
_OWN_TEXT = "\0".join(_OWN).encode("latin-1")
_MOST_PARTS = 1_000_000
_NO_LENGTH = {0x01, *range(0xD0, 0xD8)}
_SOF = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
# The moment of exposure and the one of the file: time, fraction of a second, zone.
_DETAILS, _ORIENTATION = 34665, 274
_EXPOSED, _WRITTEN = (36867, 37521, 36881), (306, 37520, 36880)
_16_BIT_COLOURS = {2, 4, 6}
_AXON = "MicroscopeControlImage"
_AXON_VALUES = (
    ("AcceleratingVoltage", "high_voltage_kV", "V"),
    ("MagnificationValue", "magnification", ""),
    ("HolderTemperature", "stage_temperature_C", "C"),
)
_NOTHING: tuple[Stamp | None, Metadata] = (None, {})
_CONVERTED = {
    "1": "L", "LA": "L", "CMYK": "L",
    "P": "RGB", "PA": "RGB", "RGBA": "RGB", "RGBX": "RGB", "YCbCr": "RGB",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Raster:
    width: int
    height: int
    kind: str
    depth: int = 8
    color: int = 0


def own_mark() -> PngInfo:
    """Mark a picture that this program makes; where it lies among frames, it is none of them."""
    mark = PngInfo()
    mark.add_text(*_OWN)
    return mark


def is_png(head: bytes) -> bool:
    """Tell PNG by its first bytes."""
    return head.startswith(_PNG)


def is_jpeg(head: bytes) -> bool:
    """Tell JPEG by its first bytes."""
    return head.startswith(b"\xff\xd8\xff")


def examine_png(source: Source) -> Structure:
    """Walk the chunks of a PNG file up to its end."""
    at, found, own = 8, None, False
    for _ in range(_MOST_PARTS):
        head = source.bytes_at(at, 8)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if not name.isalpha():
            if head == bytes(8):
                raise FrameIncompleteError(f"{source.name}: has zeros where a PNG chunk must be")
            raise FrameError(f"{source.name}: has a damaged PNG chunk at byte {at}")
        if at + 12 + length > source.size:
            source.bytes_at(at, 12 + length)  # raises: not all in the file
        if found is None:
            if name != b"IHDR" or length != 13:
                raise FrameError(f"{source.name}: does not begin with a PNG header; it is damaged")
            body = source.bytes_at(at + 8, 13)
            width, height = (int.from_bytes(body[i : i + 4], "big") for i in (0, 4))
            found = _Raster(width, height, "PNG", body[8], body[9])
        if name == b"IEND":
            structure = _structure(source, found)
            return replace(structure, frames=0) if own else structure
        own = own or (name == b"tEXt" and source.bytes_at(at + 8, min(length, 99)) == _OWN_TEXT)
        at += 12 + length
    raise FrameError(f"{source.name}: has more than {_MOST_PARTS:,} PNG chunks; it is damaged")


def examine_jpeg(source: Source) -> Structure:
    """Walk the segments of a JPEG file to its pixels, and look for its end marker."""
    at, found, marker, parts = 2, None, 0, 0
    while marker != 0xDA:  # start of the pixels
        parts += 1
        if parts > _MOST_PARTS:
            raise FrameError(f"{source.name}: has more than {_MOST_PARTS:,} JPEG segments; damaged")
        marker, length = _jpeg_segment(source, at)
        if marker in _SOF:
            body = source.bytes_at(at + 5, 4)
            width, height = int.from_bytes(body[2:], "big"), int.from_bytes(body[:2], "big")
            found = _Raster(width, height, "JPEG")
        at += length
    if found is None:
        raise FrameError(f"{source.name}: has JPEG pixels without a header; it is damaged")
    start = max(at, source.size - _TAIL)
    if at > source.size or _EOI not in source.bytes_at(start, source.size - start):
        raise FrameIncompleteError(
            f"{source.name}: has no JPEG end marker; it is still being written or was cut off"
        )
    return _structure(source, found)


def _jpeg_segment(source: Source, at: int) -> tuple[int, int]:
    """Marker and whole length of the segment at a position."""
    lead, marker = source.bytes_at(at, 2)
    if lead != 0xFF:
        if lead == marker == 0:
            raise FrameIncompleteError(f"{source.name}: has zeros where a JPEG marker must be")
        raise FrameError(f"{source.name}: has a damaged JPEG marker at byte {at}")
    if marker == 0xFF:
        return marker, _fill_bytes(source, at)
    if marker in _NO_LENGTH:
        return marker, 2
    length = int.from_bytes(source.bytes_at(at + 2, 2), "big")
    if length < 2:
        raise FrameError(f"{source.name}: has a damaged JPEG segment at byte {at}")
    return marker, 2 + length


def _fill_bytes(source: Source, start: int) -> int:
    """How many bytes 0xFF stand before the one that begins a marker."""
    at = start
    while at < source.size:
        block = source.bytes_at(at, min(_TAIL, source.size - at))
        rest = block.lstrip(b"\xff")
        at += len(block) - len(rest)
        if rest:
            break
    return max(at - 1 - start, 1)


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Decode the image and turn colours grey."""
    raster: _Raster = structure.detail
    check_memory(source.name, source.size, max_bytes)
    samples = 4 if raster.kind == "PNG" else 3
    check_memory(
        source.name, raster.width * raster.height * samples * -(-raster.depth // 8), max_bytes
    )
    pixels, time, orientation, metadata = _decode(source, raster)
    return Frame(
        grey.upright(_grey(pixels), orientation),
        time=time,
        source=source.name,
        index=index,
        metadata=metadata,
    )


def _structure(source: Source, found: _Raster) -> Structure:
    if found.width == 0 or found.height == 0:
        raise FrameError(f"{source.name}: is {found.width}x{found.height} pixels; it is damaged")
    return Structure(1, found)


def _decode(
    source: Source, raster: _Raster
) -> tuple[npt.NDArray[Any], Stamp | None, int, Metadata]:
    """Pixels as stored, time, orientation and what texts say."""
    # `Image.open` refuses large pictures; how much memory is too much was decided already.
    kind = PngImageFile if raster.kind == "PNG" else JpegImageFile
    with kind(io.BytesIO(source.load())) as image:
        if image.size != (raster.width, raster.height):
            raise FrameError(f"{source.name}: has two sizes; it is damaged")
        time, orientation = _exif(image)
        axon, metadata = courtesy(lambda: _told(image.info), _NOTHING)
        if raster.depth == 16 and raster.color in _16_BIT_COLOURS:
            pixels = np.asarray(imagecodecs.png_decode(source.load()))
        else:
            mode = _CONVERTED.get(image.mode)
            pixels = np.array(image.convert(mode) if mode else image)
        return pixels, axon or time, orientation, metadata


def _told(info: Mapping[Any, Any]) -> tuple[Stamp | None, Metadata]:
    """Time and metadata in the texts of a PNG: those of AXON Studio, else lines with labels."""
    root = xml(str(info.get(_AXON, "")))
    if root is None:
        return None, labelled((k, v) for k, v in info.items() if isinstance(v, str))
    values = {
        item.findtext("{*}Name"): item.findtext("{*}Value")
        for item in root.iterfind(".//{*}AuxiliaryDataValue")
    }
    settings = root.find(".//{*}MicroscopeSettings")
    for item in () if settings is None else settings:
        values[item.tag.rpartition("}")[2]] = item.text
    time = units.from_text(root.findtext(".//{*}MicroscopeDateTime"))
    return time, collect(values.get, _AXON_VALUES)


def _exif(image: Image.Image) -> tuple[Stamp | None, int]:
    """Time and orientation; what cannot be understood must not cost the frame."""
    try:
        exif = image.getexif()
        details = exif.get_ifd(_DETAILS)
        orientation = int(exif.get(_ORIENTATION, 1))
        for tags, places in ((details, _EXPOSED), (exif, _EXPOSED), (exif, _WRITTEN)):
            whole, part, zone = (
                str(tags.get(place) or details.get(place) or "").strip("\0 ") for place in places
            )
            whole = f"{whole}.{part}" if part.isdecimal() else whole
            if stamp := units.from_text(whole + zone) or units.from_text(whole):
                return stamp, orientation
    except Exception:
        return None, 1
    return None, orientation


def _grey(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if pixels.ndim == 2:
        return np.asarray(pixels.astype(np.uint16) if pixels.dtype == np.int32 else pixels)
    return grey.from_rgb(pixels) if pixels.shape[-1] >= 3 else np.ascontiguousarray(pixels[..., 0])


PNG = Format("PNG", (".png",), lambda _, head: is_png(head), examine_png, read)
JPEG = Format("JPEG", (".jpg", ".jpeg"), lambda _, head: is_jpeg(head), examine_jpeg, read)
