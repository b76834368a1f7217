"""SER: image series of TIA."""

import re
import struct
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

import numpy as np

from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats import units
from pychip_stream.formats.metadata import Metadata, courtesy, labelled, xml
from pychip_stream.formats.source import (
    Extent,
    Format,
    Source,
    Structure,
    check_frames,
    check_memory,
    one_frame,
)

_TYPES = {
    kind: np.dtype(code)
    for kind, code in enumerate(("u1", "<u2", "<u4", "i1", "<i2", "<i4", "<f4", "<f8"), 1)
}
_IMAGES = 0x4122
_EMI = re.compile(rb"<ExperimentalDescription>.*?</ExperimentalDescription>", re.DOTALL)
_MAX_EMI = 64 << 20


def is_ser(head: bytes) -> bool:
    """Tell SER by its first bytes."""
    return head[:4] == b"II\x97\x01"


def examine(source: Source) -> Structure:
    """Look for every image of a SER series in the file."""
    head = source.bytes_at(0, 30)
    version, kind = (int.from_bytes(head[i : i + n], "little") for i, n in ((4, 2), (6, 4)))
    valid = int.from_bytes(head[18:22], "little", signed=True)
    wide = 8 if version == 0x0220 else 4
    table = int.from_bytes(head[22 : 22 + wide], "little")
    if kind != _IMAGES:
        raise FrameError(f"{source.name}: holds spectra, not images")
    if valid < 1:
        raise FrameIncompleteError(f"{source.name}: holds no finished image yet")
    check_frames(source.name, valid)
    if valid * 2 * wide > source.size:
        raise FrameIncompleteError(f"{source.name}: has no room for the {valid} images it lists")
    offsets = np.frombuffer(source.bytes_at(table, valid * wide), f"<i{wide}")
    images, missing = [(0, 0)] * valid, dict[int, FrameError]()
    for index, offset in enumerate(offsets.tolist()):
        with one_frame(source, missing, index):
            images[index] = _image(source, offset)
    return Structure(valid, images, missing)


def _image(source: Source, offset: int) -> Extent:
    """Where the pixels of one image of a series are, all of them in the file."""
    head = source.bytes_at(offset, 50)
    kind = int.from_bytes(head[40:42], "little", signed=True)
    width, height = (int.from_bytes(head[i : i + 4], "little", signed=True) for i in (42, 46))
    if kind not in _TYPES:
        raise FrameError(f"{source.name}: holds pixels of type {kind}, not grey values")
    if width < 1 or height < 1:
        raise FrameError(f"{source.name}: has an image of {width}x{height} pixels; it is damaged")
    size = width * height * _TYPES[kind].itemsize
    if offset + 50 + size > source.size:
        source.bytes_at(offset + 50, size)  # raises: not all in the file
    return offset + 50, size


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one image of a SER series."""
    start, size = structure.detail[index]
    check_memory(source.name, size, max_bytes)
    head = source.bytes_at(start - 50, 50)
    _, across, _, _, down, _, kind, width, height = struct.unpack("<ddiddihii", head)
    stored = np.frombuffer(source.view_at(start, size), _TYPES[kind]).reshape(height, width)
    stamp = _time(source, index)
    return Frame(
        np.ascontiguousarray(stored[::-1]),  # rows lie from below
        # The format names no unit; no pixel is a millimetre wide, and diffraction is in 1/m.
        *pixel_size(across, "m" if abs(across) < 1e-3 else "1/m"),
        # In a series it is finer than the file's time, which is one for all images.
        time=stamp if stamp is None or structure.frames == 1 else float(stamp),
        source=source.name,
        index=index,
        pixel_ratio=abs(down / across) if across and down else 1.0,
        metadata=courtesy(lambda: _described(Path(source.name)), {}),
    )


def _time(source: Source, index: int) -> Stamp | None:
    """When an image was taken: its tag stands in a table behind that of all announced images."""
    head = source.bytes_at(0, 30)
    version, kind, announced = struct.unpack_from("<4xHxxxxII", head)
    wide = 8 if version == 0x0220 else 4
    table = int.from_bytes(head[22 : 22 + wide], "little")

    def find() -> Stamp | None:
        place = source.bytes_at(table + (announced + index) * wide, wide)
        found, stamp = struct.unpack("<ii", source.bytes_at(int.from_bytes(place, "little"), 8))
        return units.from_unix(stamp) if found == kind else None

    return courtesy(find, None)


def _described(path: Path) -> Metadata:
    """Look in NAME.emi, beside NAME_1.ser, for what TIA says of the microscope; a courtesy."""
    beside = path.with_name(re.sub(r"_\d+$", "", path.stem) + ".emi")
    stat = beside.lstat()
    if not S_ISREG(stat.st_mode) or stat.st_size > _MAX_EMI:
        return {}
    return _of_emi(beside, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2)
def _of_emi(path: Path, _size: int, _mtime_ns: int) -> Metadata:
    found = _EMI.search(path.read_bytes())
    root = xml(found[0].decode("utf-8", "replace")) if found else None
    items = [] if root is None else root.iter("Data")
    texts = ([item.findtext(part) or "" for part in ("Label", "Value", "Unit")] for item in items)
    return labelled((label, f"{value} {unit}") for label, value, unit in texts)


FORMAT = Format(
    "SER", (".ser",), lambda _, head: is_ser(head), examine, read,
    extents=lambda structure, index: [structure.detail[index]],
)  # fmt: skip
