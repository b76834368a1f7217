"""MRC: what SerialEM, IMOD and others write, read by ncempy."""

from pathlib import Path

import numpy as np

from pychip_stream.domain.frames import Frame
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats import units
from pychip_stream.formats.source import Format, Source, Structure, check_memory, quiet

_BYTES = {0: 1, 1: 2, 2: 4, 6: 2}
_HEADER = 1024


def is_mrc(source: Source) -> bool:
    """Tell MRC by its map stamp or, where old writers left that out, a plausible header."""
    if source.size < _HEADER:
        return False
    head = source.bytes_at(0, 212)
    if head[208:211] == b"MAP":
        return True
    numbers = np.frombuffer(head[:16], "<i4")
    return bool((numbers[:3] > 0).all() and int(numbers[3]) in _BYTES)


def examine(source: Source) -> Structure:
    """Compare an MRC file's size with what its header asks for."""
    head = source.bytes_at(0, _HEADER)
    if head[212:214] == b"\x11\x11":
        raise FrameError(f"{source.name}: is a big-endian MRC file; convert it")
    width, height, frames, mode = (int(n) for n in np.frombuffer(head[:16], "<i4"))
    if mode not in _BYTES:
        raise FrameError(f"{source.name}: MRC mode {mode} is not supported; only grey values are")
    if min(width, height, frames) < 1:
        raise FrameError(f"{source.name}: is {width}x{height}x{frames} pixels; it is damaged")
    extended = int(np.frombuffer(head[92:96], "<i4")[0])
    needed = _HEADER + extended + width * height * frames * _BYTES[mode]
    if extended < 0 or needed > source.size:
        raise FrameIncompleteError(
            f"{source.name}: has {source.size} of {needed} bytes; it is still being written or "
            "was cut off"
        )
    return Structure(frames, width * height * _BYTES[mode])


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one section of an MRC file."""
    check_memory(source.name, structure.detail, max_bytes)
    from ncempy.io import mrc  # loads slowly; the watcher never needs it

    with quiet(), mrc.fileMRC(Path(source.name)) as file:
        pixels = np.array(file.getSlice(index))
        info = file.FEIinfo or {}
        calibrated = bool(file.volumeSize[2] > 0 and file.gridSize[2] > 0) or bool(
            info.get("pixel_size")
        )
        size = file.voxelSize[2] if calibrated else None
        exposure = units.seconds(info.get("exposure_time"))
    return Frame(
        pixels,
        *units.pixel_size(size, "A"),
        exposure_s=exposure,
        source=source.name,
        index=index,
    )


FORMAT = Format("MRC", (".mrc",), lambda source, _: is_mrc(source), examine, read)
