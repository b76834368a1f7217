"""SER: image series of TIA, read by ncempy."""

from pathlib import Path

import numpy as np

from pychip_stream.domain.frames import Frame
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats import units
from pychip_stream.formats.source import (
    Extent,
    Format,
    Source,
    Structure,
    check_frames,
    check_memory,
    one_frame,
    quiet,
)

_BYTES = {1: 1, 2: 2, 3: 4, 4: 1, 5: 2, 6: 4, 7: 4, 8: 8}
_IMAGES = 0x4122


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
    if kind not in _BYTES:
        raise FrameError(f"{source.name}: holds pixels of type {kind}, not grey values")
    if width < 1 or height < 1:
        raise FrameError(f"{source.name}: has an image of {width}x{height} pixels; it is damaged")
    size = width * height * _BYTES[kind]
    if offset + 50 + size > source.size:
        source.bytes_at(offset + 50, size)  # raises: not all in the file
    return offset + 50, size


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one image of a SER series."""
    check_memory(source.name, 2 * structure.detail[index][1], max_bytes)
    from ncempy.io import ser  # loads slowly; the watcher never needs it

    with quiet(), ser.fileSER(Path(source.name)) as file:
        pixels, meta = file.getDataset(index)
        stamp = units.from_unix(file._getTag(index).get("Time"))
    delta = meta["Calibration"][0]["CalibrationDelta"]
    return Frame(
        np.ascontiguousarray(pixels),
        # The format names no unit; no pixel is a millimetre wide, and diffraction is in 1/m.
        *units.pixel_size(delta, "m" if abs(delta) < 1e-3 else "1/m"),
        # In a series it is finer than the file's time, which is one for all images.
        time=stamp if stamp is None or structure.frames == 1 else float(stamp),
        source=source.name,
        index=index,
    )


FORMAT = Format(
    "SER", (".ser",), lambda _, head: is_ser(head), examine, read,
    extents=lambda structure, index: [structure.detail[index]],
)  # fmt: skip
