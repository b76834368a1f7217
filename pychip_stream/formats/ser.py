"""SER: image series of TIA, read by ncempy."""

import re
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

import numpy as np

from pychip_stream.domain.frames import Frame
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats import units
from pychip_stream.formats.metadata import Metadata, labelled, xml
from pychip_stream.formats.source import (
    Format,
    Source,
    Structure,
    check_frames,
    check_memory,
    quiet,
)

_BYTES = {1: 1, 2: 2, 3: 4, 4: 1, 5: 2, 6: 4, 7: 4, 8: 8}
_IMAGES = 0x4122
_EMI = re.compile(rb"<ExperimentalDescription>.*?</ExperimentalDescription>", re.DOTALL)
_MAX_EMI = 64 << 20


def is_ser(head: bytes) -> bool:
    """Tell SER by its first bytes."""
    return head[:4] == b"II\x97\x01"


def examine(source: Source) -> Structure:
    """Check that every image of a SER series is in the file."""
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
    sizes = [_image(source, int(offset)) for offset in offsets]
    return Structure(valid, sizes)


def _image(source: Source, offset: int) -> int:
    """Bytes of one image of a series, all of them in the file."""
    head = source.bytes_at(offset, 50)
    kind = int.from_bytes(head[40:42], "little", signed=True)
    width, height = (int.from_bytes(head[i : i + 4], "little", signed=True) for i in (42, 46))
    if kind not in _BYTES:
        raise FrameError(f"{source.name}: holds pixels of type {kind}, not grey values")
    if width < 1 or height < 1:
        raise FrameError(f"{source.name}: has an image of {width}x{height} pixels; it is damaged")
    size = width * height * _BYTES[kind]
    if offset + 50 + size > source.size:
        source.bytes_at(offset + 50, size)  # raises: not all in the file
    return size


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one image of a SER series."""
    check_memory(source.name, 2 * structure.detail[index], max_bytes)
    from ncempy.io import ser  # loads slowly; the watcher never needs it

    with quiet(), ser.fileSER(Path(source.name)) as file:
        pixels, meta = file.getDataset(index)
        stamp = units.from_unix(file._getTag(index).get("Time"))
    across, down = (meta["Calibration"][axis]["CalibrationDelta"] for axis in (0, 1))
    return Frame(
        np.ascontiguousarray(pixels),
        # The format names no unit; no pixel is a millimetre wide, and diffraction is in 1/m.
        *pixel_size(across, "m" if abs(across) < 1e-3 else "1/m"),
        # In a series it is finer than the file's time, which is one for all images.
        time=stamp if stamp is None or structure.frames == 1 else float(stamp),
        source=source.name,
        index=index,
        pixel_ratio=abs(down / across) if across and down else 1.0,
        metadata=_described(Path(source.name)),
    )


def _described(path: Path) -> Metadata:
    """Look in NAME.emi, beside NAME_1.ser, for what TIA says of the microscope; a courtesy."""
    beside = path.with_name(re.sub(r"_\d+$", "", path.stem) + ".emi")
    try:
        stat = beside.lstat()
        if not S_ISREG(stat.st_mode) or stat.st_size > _MAX_EMI:
            return {}
        return _of_emi(beside, stat.st_size, stat.st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=2)
def _of_emi(path: Path, _size: int, _mtime_ns: int) -> Metadata:
    found = _EMI.search(path.read_bytes())
    root = xml(found[0].decode("utf-8", "replace")) if found else None
    items = [] if root is None else root.iter("Data")
    texts = ([item.findtext(part) or "" for part in ("Label", "Value", "Unit")] for item in items)
    return labelled((label, f"{value} {unit}") for label, value, unit in texts)


FORMAT = Format("SER", (".ser",), lambda _, head: is_ser(head), examine, read)
