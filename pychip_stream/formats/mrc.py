"""MRC: what SerialEM, IMOD, Thermo Fisher and others write.

After the MRC2014 description (Cheng et al., J. Struct. Biol. 192 (2015) 146), with IMOD's flag
for unsigned bytes and the extended headers FEI1 and FEI2.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.frames import Frame
from pychip_stream.errors import FrameError
from pychip_stream.formats import units
from pychip_stream.formats.source import Extent, Format, Source, Structure, check_memory, cut_off

_HEADER = 1024
_TYPES: Final = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_NO_GREY = {3: "complex numbers", 4: "complex numbers", 16: "colours", 101: "pixels of 4 bits"}
_IMOD = 1146047817
"""IMOD's stamp at byte 152; bit 0 of the number behind it says that bytes are signed."""
_PER_SECTION = 128
"""Bytes per section in the extended header of old Thermo Fisher and Agard files."""
Order = Literal["<", ">"]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the sections lie and what a header says of them."""

    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    pixel_size: tuple[float | None, str | None]
    exposure_s: float | None

    @property
    def section(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def is_mrc(source: Source) -> bool:
    """Tell MRC by its map stamp or, where old writers left that out, a plausible header."""
    if source.size < _HEADER:
        return False
    head = source.bytes_at(0, 212)
    return head[208:211] == b"MAP" or _order(head) is not None


def _order(head: bytes) -> Order | None:
    """Byte order in which a header makes sense; machine stamps are not to be relied on."""
    orders: tuple[Order, ...] = ("<", ">")
    for order in orders:
        numbers = np.frombuffer(head[:16], f"{order}i4")
        if ((numbers[:3] > 0) & (numbers[:3] < 1 << 24)).all() and int(numbers[3]) in (
            *_TYPES,
            *_NO_GREY,
        ):
            return order
    return None


def examine(source: Source) -> Structure:
    """Count the sections that are in an MRC file, of those that its header announces."""
    head = source.bytes_at(0, _HEADER)
    order = _order(head) or "<"
    numbers = np.frombuffer(head, f"{order}i4")
    width, height, frames, mode = (int(n) for n in numbers[:4])
    if mode not in _TYPES:
        what = _NO_GREY.get(mode, "no grey values that are known here")
        raise FrameError(f"{source.name}: MRC mode {mode} is not supported; it holds {what}")
    if min(width, height, frames) < 1:
        raise FrameError(f"{source.name}: is {width}x{height}x{frames} pixels; it is damaged")
    extended = int(numbers[23])
    dtype = np.dtype("u1" if mode == 0 and _unsigned(head, order) else order + _TYPES[mode])
    start, section = _HEADER + extended, width * height * dtype.itemsize
    missing: dict[int, FrameError] = {}
    if extended < 0 or start + section * frames > source.size:
        there = max(0, source.size - start) // section if extended >= 0 else 0
        told = f"has {source.size} of {start + section * frames} bytes, {there} of {frames} frames"
        missing = cut_off(
            source, there, frames, f"{told}; it is still being written or was cut off"
        )
        frames = there + len(missing)
    size, exposure = _calibration(source, head, order, extended)
    return Structure(frames, _Layout(start, dtype, (height, width), size, exposure), missing)


def _unsigned(head: bytes, order: Order) -> bool:
    """Whether bytes are unsigned: by IMOD's flag, else by a maximum no signed byte can have."""
    stamp, flags = np.frombuffer(head[152:160], f"{order}i4")
    if stamp == _IMOD:
        return not flags & 1
    return bool(np.frombuffer(head[80:84], f"{order}f4")[0] > 127)


def _calibration(
    source: Source, head: bytes, order: Order, extended: int
) -> tuple[tuple[float | None, str | None], float | None]:
    """Pixel size and exposure: from the cell of the header, or an extended header that is known."""
    cells = np.frombuffer(head[28:32], f"{order}i4")[0]
    edge = float(np.frombuffer(head[40:44], f"{order}f4")[0])
    by_cell = units.pixel_size(edge / cells if cells > 0 else None, "A")
    kind = head[104:108]
    if kind in (b"FEI1", b"FEI2") and extended >= 768:
        block = source.bytes_at(_HEADER, 768)
        known = int(np.frombuffer(block[8:12], f"{order}u4")[0])
        metres = float(np.frombuffer(block[156:164], f"{order}f8")[0])
        size = units.pixel_size(metres, "m") if known & 1 << 14 else (None, None)
        exposed = int(np.frombuffer(block[297:301], f"{order}u4")[0]) & 1 << 16
        time = float(np.frombuffer(block[419:427], f"{order}f8")[0])
        return size if _plausible_nm(size[0]) else by_cell, units.seconds(time if exposed else None)
    if kind.strip(b"\0 ") == b"" and extended >= _PER_SECTION and extended % _PER_SECTION == 0:
        numbers = np.frombuffer(source.bytes_at(_HEADER, 52), f"{order}f4").astype(float)
        size = units.pixel_size(numbers[11], "m")
        if _is_old_block(numbers) and _plausible_nm(size[0]):
            return size, units.seconds(numbers[8])
    return by_cell, None


def _is_old_block(numbers: npt.NDArray[np.float64]) -> bool:
    """Whether 13 numbers are tilts, positions, exposure, pixel size (m), magnification."""
    exposure, magnification = numbers[8], numbers[12]
    return bool(
        np.isfinite(numbers).all()
        and (np.abs(numbers[:2]) <= 180).all()
        and (np.abs(numbers[2:7]) < 1).all()  # metres
        and (exposure == 0 or 1e-6 < exposure < 1e5)
        and (magnification == 0 or 1 <= magnification < 1e8)
    )


def _plausible_nm(size: float | None) -> bool:
    return size is not None and 1e-4 < size < 1e5


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one section of an MRC file."""
    layout: _Layout = structure.detail
    check_memory(source.name, layout.section, max_bytes)
    view = source.view_at(*extents(structure, index)[0])
    pixels = np.frombuffer(view, layout.dtype).reshape(layout.shape)
    return Frame(
        pixels.astype(layout.dtype.newbyteorder("="), copy=False),
        *layout.pixel_size,
        exposure_s=layout.exposure_s,
        source=source.name,
        index=index,
    )


def extents(structure: Structure, index: int) -> list[Extent]:
    """Where the pixels of a section are."""
    layout: _Layout = structure.detail
    return [(layout.start + index * layout.section, layout.section)]


FORMAT = Format(
    "MRC", (".mrc",), lambda source, _: is_mrc(source), examine, read, extents=extents, place=1
)
