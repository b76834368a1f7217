"""TIFF: pages of any sample type as grey frames, decoded by tifffile and imagecodecs."""

import io
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.errors import FrameError
from pychip_stream.formats import grey, tiff_map, tiff_metadata, tiff_stack, units
from pychip_stream.formats.source import (
    Extent,
    Format,
    Source,
    Structure,
    check_memory,
    cut_off,
    left_out,
    one_frame,
    wanted,
)
from pychip_stream.formats.tiff_map import Page, TiffMap
from pychip_stream.formats.tiff_stack import Stack

# A damaged file makes tifffile report each bad tag; the frame's own reason is enough.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_PALETTE, _RGB, _MASK, _CMYK, _YCBCR, _LAB = 3, 2, 4, 5, 6, 8
_WHITE_IS_ZERO = 0
_GREY = {0, 1, 32845}
_MOST_SAMPLES = 4
# Codecs whose output is limited to the size of the strip or tile, or checked below.
_COMPRESSIONS = {
    1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 33003, 33005, 34712, 34887, 34892, 34925, 34926,
    22610, 33004, 33007, 34927, 34933, 34934, 50000, 50001, 50002, 50013, 52546,
}  # fmt: skip
_JPEG = {6, 7, 34892, 33007}
_JPEG2000 = {33003, 33004, 33005, 34712}
_COMPLEX_FORMATS = {5, 6}
_KINDS = {1: "u", 2: "i", 3: "f"}


@dataclass(frozen=True, slots=True)
class _Tiff:
    """Frames of a file: its pages, or equal slices of one page (ImageJ's large stacks).

    Attributes
    ----------
    planes
        (N,) which of the pages or slices are frames; the others are other channels.
    last
        That of them that was taken last, of those that are there.
    """

    map: TiffMap
    pages: list[Page]
    stack: Stack
    planes: npt.NDArray[np.int64]
    last: int
    sliced: bool = False
    notes: tuple[str, ...] = ()


def examine(source: Source) -> Structure:
    """Judge a TIFF file by its directories, strips and tiles."""
    found = TiffMap(source)
    numbers = [n for n, page in enumerate(found.pages) if page.is_frame] or [0]
    # Olympus puts a preview before the image, without a word that it is one.
    numbers = [n for n in numbers if tiff_map.OLYMPUS in found.pages[n].tags] or numbers
    pages, missing = [found.pages[n] for n in numbers], dict[int, FrameError]()
    for at, number in enumerate(numbers):
        with one_frame(source, missing, at):
            if number in found.missing:
                raise found.missing[number]
            _check_page(source.name, pages[at])
    stack = tiff_stack.find(found.pages[0].description)
    sliced = _is_sliced(pages, missing, stack.planes)
    if sliced:
        missing = _missing_planes(source, pages[0], stack.planes)
    elif len(found.pages) < stack.planes:
        # A stack is written page by page.
        told = f"has {len(found.pages)} of {stack.planes} announced pages"
        missing |= cut_off(source, len(pages), stack.planes, told)
    there = stack.planes if sliced and not missing else len(pages)
    count = max(there, max(missing, default=0) + 1)
    planes, notes = np.arange(count), tuple[str, ...]()
    if count == stack.planes:
        chosen = wanted(source, stack.channel_names if stack.channels > 1 else stack.names)
        planes, notes = (
            np.flatnonzero(stack.channel == chosen),
            left_out("channels", stack.channel_names, chosen),
        )
        missing = {at: missing[n] for at, n in enumerate(planes.tolist()) if n in missing}
    present = [n for at, n in enumerate(planes.tolist()) if at not in missing]
    known = present and present[-1] < len(stack.seconds)
    last = max(present, key=lambda n: stack.seconds[n]) if known else max(present, default=0)
    return Structure(len(planes), _Tiff(found, pages, stack, planes, last, sliced, notes), missing)


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one page."""
    tiff: _Tiff = structure.detail
    plane = int(tiff.planes[index])
    page = tiff.pages[0 if tiff.sliced else plane]
    _check_size(source, page, max_bytes)
    with _entry(source, page) as (file, entry):
        meta = _describe(tiff, file, entry, plane)
        stored = (
            _slice(source, tiff.map, page, plane) if tiff.sliced else entry.asarray(maxworkers=1)
        )
        pixels = _to_grey(source.name, page, entry, stored)
    orientation = page.value(tiff_map.ORIENTATION, 1)
    turned = grey.is_turned(orientation) and meta.pixel_size is not None
    size = meta.pixel_size * meta.pixel_ratio if meta.pixel_size and turned else meta.pixel_size
    after, last = _moments(tiff, plane)
    return Frame(
        pixels=grey.upright(pixels, orientation),
        pixel_size=size,
        unit=meta.unit,
        time=_time(tiff, plane, meta),
        exposure_s=meta.exposure_s,
        source=source.name,
        index=index,
        before_last_s=last - after,
        pixel_ratio=1 / meta.pixel_ratio if turned else meta.pixel_ratio,
        notes=tiff.notes,
        metadata=meta.metadata,
    )


def own_time(source: Source, structure: Structure) -> Stamp | None:
    """When a file says its first frame was taken."""
    tiff: _Tiff = structure.detail
    plane = int(tiff.planes[0])
    with _entry(source, tiff.pages[0 if tiff.sliced else plane]) as (file, entry):
        return _time(tiff, plane, _describe(tiff, file, entry, plane))


def _describe(
    tiff: _Tiff, file: tifffile.TiffFile, entry: tifffile.TiffPage, plane: int
) -> tiff_metadata.Meta:
    first = tiff.map.pages[0].description
    page, image = tiff.pages[0 if tiff.sliced else plane], 0
    if tiff_metadata.is_ome(first) and plane < tiff.stack.planes:
        image = int(tiff.stack.image[plane])
    text = first if tiff_metadata.is_of_file(first) else page.description
    return tiff_metadata.describe(file, entry, text, image, tiff.stack.told.get(plane))


def _time(tiff: _Tiff, plane: int, meta: tiff_metadata.Meta) -> Stamp | None:
    """When a plane was taken: by the description of the whole file, else by its own page."""
    after, _ = _moments(tiff, plane)
    if tiff.stack.start is not None:
        return tiff.stack.start.later(after)
    if not tiff_metadata.is_of_file(tiff.map.pages[0].description):
        return meta.time
    start = units.from_text(tiff.map.date)
    return None if start is None else start.later(after - float(tiff.stack.seconds[0]))


def _moments(tiff: _Tiff, plane: int) -> tuple[float, float]:
    """Seconds of a plane, and of the one that was taken last, by the clock of the description."""
    seconds = tiff.stack.seconds
    known = max(plane, tiff.last) < len(seconds)
    return (float(seconds[plane]), float(seconds[tiff.last])) if known else (0.0, 0.0)


@contextmanager
def _entry(source: Source, page: Page) -> Iterator[tuple[tifffile.TiffFile, tifffile.TiffPage]]:
    """Open a page with tifffile."""
    stream: Any = io.BytesIO(source.load()) if source.loaded else source.file
    stream.seek(0)
    with tifffile.TiffFile(stream, name="frame", _multifile=False) as file:
        file.filehandle.seek(page.offset)
        yield file, tifffile.TiffPage(file, index=(0,))


def _check_page(name: str, page: Page) -> None:
    if page.value(tiff_map.COMPRESSION, 1) not in _COMPRESSIONS:
        raise FrameError(
            f"{name}: compression {page.value(tiff_map.COMPRESSION, 1)} is not supported; "
            "save it uncompressed or with deflate"
        )
    if page.value(tiff_map.SAMPLE_FORMAT, 1) in _COMPLEX_FORMATS:
        raise FrameError(f"{name}: holds complex numbers, not grey values")
    if page.value(tiff_map.PHOTOMETRIC, 1) == _MASK:
        raise FrameError(f"{name}: holds a transparency mask, not an image")
    if page.value(tiff_map.PHOTOMETRIC, 1) in _GREY and page.samples > _MOST_SAMPLES:
        raise FrameError(
            f"{name}: holds {page.samples} values per pixel, not grey values or colours; "
            "save one image per channel"
        )


def _check_size(source: Source, page: Page, max_bytes: int) -> None:
    """Refuse what would not fit in memory: the page, one tile, or a stream's own claim."""
    depth = 8 if page.bits > 32 else 4 if page.bits > 16 else 2 if page.bits > 8 else 1
    if page.value(tiff_map.PHOTOMETRIC, 1) in (_LAB, _CMYK):
        depth = max(depth, 4)
    samples = max(page.samples, 3 if page.value(tiff_map.PHOTOMETRIC, 1) == _YCBCR else 1)
    check_memory(source.name, page.width * page.length * samples * depth, max_bytes)
    if page.tiled:
        area = page.value(tiff_map.TILE_WIDTH, 0) * page.value(tiff_map.TILE_LENGTH, 0)
        check_memory(source.name, area * samples * depth, max_bytes)
    compression = page.value(tiff_map.COMPRESSION, 1)
    if compression in _JPEG or compression in _JPEG2000:
        offsets, counts = page.segments
        for at, count in zip(offsets.tolist(), counts.tolist(), strict=False):
            head = bytes(source.view_at(int(at), min(int(count), 1 << 16)))
            area = _declared_area(head, compression in _JPEG)
            check_memory(source.name, area * samples * depth, max_bytes)


def _declared_area(head: bytes, jpeg: bool) -> int:
    """Pixels that a JPEG or JPEG 2000 stream says it holds; 0 where its start does not tell."""
    if jpeg:
        found = re.search(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..(.)(..)(..)", head, re.S)
        if found is None:
            return 0
        return int.from_bytes(found[2], "big") * int.from_bytes(found[3], "big")
    found = re.search(rb"\xff\x51....(....)(....)", head, re.S)
    if found is None:
        return 0
    return int.from_bytes(found[1], "big") * int.from_bytes(found[2], "big")


def _to_grey(
    name: str, page: Page, entry: tifffile.TiffPage, pixels: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Bring a decoded page, (H, W), (H, W, samples) or (samples, H, W), to (H, W)."""
    # A page that does not say is black at zero; tifffile would take it for the reverse.
    photometric = page.value(tiff_map.PHOTOMETRIC, 1)
    if entry.axes.startswith("S") and pixels.ndim == 3:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype.kind not in "buif" or not 2 <= pixels.ndim <= 3:
        raise FrameError(
            f"{name}: pixels of type {pixels.dtype} and shape {pixels.shape} are not an image"
        )
    if pixels.ndim == 2:
        if photometric == _PALETTE and entry.colormap is not None:
            return grey.from_palette(pixels, entry.colormap)
        if photometric == _WHITE_IS_ZERO:
            return grey.inverted(pixels, _bits(entry))
        return np.asarray(pixels)
    if photometric in (_RGB, _YCBCR) and pixels.shape[-1] >= 3:
        return grey.from_rgb(pixels)
    if photometric == _CMYK and pixels.shape[-1] >= 4:
        return grey.from_cmyk(pixels)
    # Grey with alpha, lightness of Lab, or one sample in an array of its own: the first counts.
    first = np.ascontiguousarray(pixels[..., 0])
    return grey.inverted(first, _bits(entry)) if photometric == _WHITE_IS_ZERO else first


def _bits(entry: tifffile.TiffPage) -> int:
    bits = entry.bitspersample
    return int(np.ravel(bits)[0])


def _is_sliced(pages: list[Page], missing: Mapping[int, FrameError], planes: int) -> bool:
    """Whether all planes of an ImageJ stack lie behind the first page, which is whole."""
    if planes == 1 or 0 in missing or not tiff_metadata.is_imagej(pages[0].description):
        return False
    if len(pages) == 1:
        return True
    # Directories that follow all planes were cut off with the last of these.
    first, offset = pages[0], int(pages[0].segments[0][0])
    end = offset + planes * first.length * tiff_map.row_bytes(first)
    return list(missing) == [1] and pages[1].offset >= end


def _missing_planes(source: Source, page: Page, planes: int) -> dict[int, FrameError]:
    """Slices of an ImageJ stack that are not in the file."""
    offsets, _ = page.segments
    if (
        page.value(tiff_map.COMPRESSION, 1) != 1
        or page.samples != 1
        or page.bits not in (8, 16, 32)
    ):
        raise FrameError(f"{source.name}: ImageJ stack with compressed or colour pixels")
    plane = page.length * tiff_map.row_bytes(page)
    there = max(0, source.size - int(offsets[0])) // plane
    if there >= planes:
        return {}
    return cut_off(source, there, planes, f"has {there} of {planes} slices of an ImageJ stack")


def extents(structure: Structure, index: int) -> list[Extent]:
    """Where the pixels of a frame are."""
    tiff: _Tiff = structure.detail
    plane = int(tiff.planes[index])
    if tiff.sliced:
        return [_slice_at(tiff.pages[0], plane)]
    offsets, counts = tiff.pages[plane].segments
    return list(zip(offsets.tolist(), counts.tolist(), strict=False))


def _slice_at(page: Page, plane: int) -> Extent:
    size = page.length * tiff_map.row_bytes(page)
    return int(page.segments[0][0]) + plane * size, size


def _slice(source: Source, found: TiffMap, page: Page, plane: int) -> npt.NDArray[Any]:
    kind = _KINDS.get(page.value(tiff_map.SAMPLE_FORMAT, 1), "u")
    view = source.view_at(*_slice_at(page, plane))
    dtype = np.dtype(f"{found.order}{kind}{page.bits // 8}")
    pixels = np.frombuffer(view, dtype).reshape(page.length, page.width)
    return pixels.astype(dtype.newbyteorder("="), copy=False)


FORMAT = Format(
    "TIFF", (".tif", ".tiff"), lambda _, head: tiff_map.is_tiff(head), examine, read, own_time,
    extents,
)  # fmt: skip
