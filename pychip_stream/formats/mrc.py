"""MRC: what SerialEM, IMOD, Thermo Fisher and others write.

After the MRC2014 description (Cheng et al., J. Struct. Biol. 192 (2015) 146), with IMOD's flag
for unsigned bytes; extended headers are read by `mrc_header`.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pychip_stream.domain.frames import Frame
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.errors import FrameError
from pychip_stream.formats import mrc_header
from pychip_stream.formats.metadata import courtesy
from pychip_stream.formats.mrc_header import Order
from pychip_stream.formats.source import Extent, Format, Source, Structure, check_memory, cut_off

_HEADER = 1024
_TYPES: Final = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_NO_GREY = {3: "complex numbers", 4: "complex numbers", 16: "colours", 101: "pixels of 4 bits"}
_IMOD = 1146047817
"""IMOD's stamp at byte 152; bit 0 of the number behind it says that bytes are signed."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the sections lie and what a header says of them."""

    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, int]
    head: bytes
    order: Order

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
    return Structure(frames, _Layout(start, dtype, (height, width), head, order), missing)


def _unsigned(head: bytes, order: Order) -> bool:
    """Whether bytes are unsigned: by IMOD's flag, else by a maximum no signed byte can have."""
    stamp, flags = np.frombuffer(head[152:160], f"{order}i4")
    if stamp == _IMOD:
        return not flags & 1
    return bool(np.frombuffer(head[80:84], f"{order}f4")[0] > 127)


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one section of an MRC file."""
    layout: _Layout = structure.detail
    check_memory(source.name, layout.section, max_bytes)
    view = source.view_at(*extents(structure, index)[0])
    pixels = np.frombuffer(view, layout.dtype).reshape(layout.shape)
    told = courtesy(
        lambda: mrc_header.section(source, layout.head, layout.order, index), mrc_header.Told()
    )
    size, ratio = pixel_size(told.pixel_size, "nm"), told.pixel_ratio
    if size[0] is None:
        size, (height, _) = _cell(layout, 0), _cell(layout, 1)
        ratio = height / size[0] if height and size[0] else 1.0
    return Frame(
        pixels.astype(layout.dtype.newbyteorder("="), copy=False),
        *size,
        time=told.time,
        exposure_s=told.exposure_s,
        source=source.name,
        index=index,
        pixel_ratio=ratio,
        metadata=told.metadata,
    )


def _cell(layout: _Layout, axis: int) -> tuple[float | None, str | None]:
    """Edge of a pixel along x (0) or y (1): that of the cell over its grid, in ångström."""
    cells = int(np.frombuffer(layout.head[28:36], f"{layout.order}i4")[axis])
    edge = float(np.frombuffer(layout.head[40:48], f"{layout.order}f4")[axis])
    return pixel_size(edge / cells if cells > 0 else None, "A")


def extents(structure: Structure, index: int) -> list[Extent]:
    """Where the pixels of a section are."""
    layout: _Layout = structure.detail
    return [(layout.start + index * layout.section, layout.section)]


FORMAT = Format(
    "MRC", (".mrc",), lambda source, _: is_mrc(source), examine, read, extents=extents, place=1
)
