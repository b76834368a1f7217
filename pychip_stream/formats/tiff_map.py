"""Map of a TIFF or BigTIFF file: its pages and where their bytes must be.

References
----------
Adobe, "TIFF Revision 6.0" (1992); "The BigTIFF File Format" (libtiff).
"""

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats.source import Source, one_frame

_TYPE_SIZES = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
    16: 8, 17: 8, 18: 8,
}  # fmt: skip
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}  # fmt: skip  # noqa: E501
_MAX_TAGS = 4096
_MAX_PAGES = 1_000_000
_MAX_TEXT, _MAX_DATE = 4 << 20, 64
# A file may have so many bytes of values noted, and so many times its own size.
_ALLOWED_BYTES, _ALLOWED_RATIO = 32 << 20, 2
_MOST_SHARED = 10_000
_OLD_REDUCED = 2

SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
OLD_SUBFILE, DATETIME = 255, 306
DESCRIPTION, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_COUNTS = 270, 273, 277, 278, 279
PLANAR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS = 284, 322, 323, 324, 325
SAMPLE_FORMAT, JPEG_STREAM, ORIENTATION, OLYMPUS = 339, 513, 274, 33560
_POINTERS = {330, 34665, 34853}
_KEPT = {
    SUBFILE, OLD_SUBFILE, WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, STRIP_OFFSETS, SAMPLES,
    ROWS_PER_STRIP,
    STRIP_COUNTS, PLANAR, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_COUNTS, SAMPLE_FORMAT,
    JPEG_STREAM, ORIENTATION, OLYMPUS,
}  # fmt: skip


@dataclass(slots=True)
class Page:
    """One image file directory.

    Attributes
    ----------
    offset
        Where the directory is.
    tags
        Integer tags needed to place and size the pixels, as arrays.
    """

    offset: int
    tags: dict[int, "np.ndarray[Any, np.dtype[Any]]"] = field(default_factory=dict)
    description: str = ""

    def value(self, tag: int, default: int) -> int:
        """First value of an integer tag."""
        found = self.tags.get(tag)
        return default if found is None or not found.size else int(found[0])

    @property
    def width(self) -> int:
        """Pixels per row."""
        return self.value(WIDTH, 0)

    @property
    def length(self) -> int:
        """Rows."""
        return self.value(LENGTH, 0)

    @property
    def samples(self) -> int:
        """Values per pixel."""
        return self.value(SAMPLES, 1)

    @property
    def bits(self) -> int:
        """Bits per value (the largest)."""
        found = self.tags.get(BITS)
        return 1 if found is None or not found.size else int(found.max())

    @property
    def tiled(self) -> bool:
        """Whether the pixels are in tiles."""
        return TILE_OFFSETS in self.tags

    @property
    def is_frame(self) -> bool:
        """Whether this is an image, not a reduced copy or a mask of another one."""
        return not self.value(SUBFILE, 0) & 0b101 and self.value(OLD_SUBFILE, 0) != _OLD_REDUCED

    @property
    def segments(self) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
        """Offsets and byte counts of the strips or tiles, as unsigned 64-bit."""
        empty = np.zeros(0, np.uint64)
        at, counts = (TILE_OFFSETS, TILE_COUNTS) if self.tiled else (STRIP_OFFSETS, STRIP_COUNTS)
        return (
            self.tags.get(at, empty).astype(np.uint64),
            self.tags.get(counts, empty).astype(np.uint64),
        )


def is_tiff(head: bytes) -> bool:
    """Tell TIFF and BigTIFF by their first bytes."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class TiffMap:
    """The directories of a file, each value and each strip or tile checked to be in the file.

    Attributes
    ----------
    pages
        As they are chained; a chain that leads back ends there.
    missing
        What is wrong with pages, by their number.
    date
        DateTime of the first page.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        head = source.bytes_at(0, 8)
        self._left = _ALLOWED_BYTES + _ALLOWED_RATIO * source.size
        self._texts: dict[tuple[int, int], str] = {}
        self._arrays: dict[tuple[bytes, int], np.ndarray[Any, Any]] = {}
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:4] in (b"+\0", b"\0+")
        first = (
            self._unpack("Q", source.bytes_at(8, 8)) if self.big else self._unpack("I", head[4:8])
        )
        self.pages: list[Page] = []
        self.missing: dict[int, FrameError] = {}
        self.date = ""
        self._chain(first)

    def _unpack(self, code: str, data: bytes) -> int:
        return int(struct.unpack(self.order + code, data)[0])

    def _chain(self, offset: int) -> None:
        if offset == 0:
            raise FrameIncompleteError(
                f"{self._source.name}: its page directory is not written yet"
            )
        seen: set[int] = set()
        while offset and offset not in seen:
            if len(self.pages) >= _MAX_PAGES:
                raise FrameError(f"{self._source.name}: has more than {_MAX_PAGES} pages")
            seen.add(offset)
            page, offset = Page(offset), 0
            with one_frame(self._source, self.missing, len(self.pages)):
                entries, offset = self._directory(page.offset)
                for entry in entries:
                    self._tag(page, entry)
            self.pages.append(page)
            if self._left < 0:
                raise FrameError(
                    f"{self._source.name}: its pages need more notes than it has room for; damaged"
                )
        for number, page in enumerate(self.pages):
            if number not in self.missing:
                with one_frame(self._source, self.missing, number):
                    _check_segments(self._source, page)

    def _directory(self, offset: int) -> tuple[list[bytes], int]:
        """Entries of a directory, and where the next one is (0: nowhere)."""
        count_code, size, next_code = ("Q", 20, "Q") if self.big else ("H", 12, "I")
        count_size, next_size = struct.calcsize(count_code), struct.calcsize(next_code)
        count = self._unpack(count_code, self._source.bytes_at(offset, count_size))
        if not 1 <= count <= _MAX_TAGS:
            if count == 0:
                raise FrameIncompleteError(
                    f"{self._source.name}: its page directory is empty; it is still being written "
                    "or was cut off"
                )
            raise FrameError(f"{self._source.name}: a page has {count} tags; it is damaged")
        block = self._source.bytes_at(offset + count_size, count * size + next_size)
        entries = [block[start : start + size] for start in range(0, count * size, size)]
        return entries, self._unpack(next_code, block[count * size :])

    def _tag(self, page: Page, entry: bytes) -> None:
        tag, kind = struct.unpack(self.order + "HH", entry[:4])
        code, inline = ("Q", 8) if self.big else ("I", 4)
        count = self._unpack(code, entry[4 : 4 + inline])
        value = entry[4 + inline :]
        size = _TYPE_SIZES.get(kind)
        if size is None:
            return  # readers must skip types they do not know
        total = size * count
        at = self._unpack(code, value) if total > inline else -1
        if at >= 0 and at + total > self._source.size:
            self._source.bytes_at(at, total)  # raises: not all in the file
        if tag in _KEPT and kind in _INTEGERS:
            page.tags[tag] = self._numbers(at, value, total, kind)
        elif tag in _POINTERS and kind in _INTEGERS:
            for pointer in self._numbers(at, value, total, kind).tolist():
                self._source.bytes_at(int(pointer), 1)
        elif tag == DESCRIPTION and kind in (1, 2, 7) and total <= _MAX_TEXT:
            page.description = self._text(at, value[:total], total)
        elif tag == DATETIME and kind in (1, 2, 7) and total <= _MAX_DATE and not self.pages:
            self.date = self._text(at, value[:total], total)

    def _numbers(
        self, at: int, value: bytes, total: int, kind: int
    ) -> "np.ndarray[Any, np.dtype[Any]]":
        if at >= 0:
            return np.frombuffer(self._outside(at, total), self.order + _INTEGERS[kind])
        # Most pages say the same in most tags.
        raw = value[:total]
        found = self._arrays.get((raw, kind))
        if found is None:
            found = np.frombuffer(raw, self.order + _INTEGERS[kind])
            if len(self._arrays) < _MOST_SHARED:
                self._arrays[raw, kind] = found
        return found

    def _text(self, at: int, raw: bytes, total: int) -> str:
        known = self._texts.get((at, total))
        if at >= 0 and known is not None:
            return known
        raw = self._outside(at, total) if at >= 0 else raw
        text = raw.split(b"\0", 1)[0].decode("utf-8", "replace")
        if at >= 0 and len(self._texts) < _MOST_SHARED:
            self._texts[at, total] = text
        return text

    def _outside(self, at: int, total: int) -> bytes:
        """Bytes of a value outside of its directory, within the budget of the file."""
        self._left -= total
        if self._left < 0:
            raise FrameError(f"{self._source.name}: needs more notes than it has room for; damaged")
        return self._source.bytes_at(at, total)


def _check_segments(source: Source, page: Page) -> None:
    """Check that the strips or tiles of a page are in the file, and as many as it takes."""
    if page.width <= 0 or page.length <= 0 or page.samples <= 0 or page.bits <= 0:
        raise FrameError(f"{source.name}: a page of {page.width}x{page.length} pixels; damaged")
    offsets, counts = page.segments
    if not offsets.size:
        if page.value(JPEG_STREAM, 0):
            return  # old-style JPEG keeps its stream elsewhere
        raise FrameError(f"{source.name}: a page without pixels; it is damaged")
    needed = _segments_needed(page)
    if not counts.size and page.value(COMPRESSION, 1) == 1 and needed == 1:
        # Some old writers leave the only count of an uncompressed image out.
        counts = np.asarray([row_bytes(page) * page.length], np.uint64)
    if min(offsets.size, counts.size) < needed:
        raise FrameError(
            f"{source.name}: lists {min(offsets.size, counts.size)} of {needed} strips or tiles; "
            "it is damaged"
        )
    offsets, counts = offsets[:needed], counts[:needed]
    # Of grey values in planes the first is read; others are often left empty.
    grey_planes = page.value(PLANAR, 1) == 2 and page.value(PHOTOMETRIC, 1) in (0, 1)
    written = offsets[: needed // page.samples] if grey_planes else offsets
    if not written.all() and not counts[: len(written)][written == 0].any() and not page.tiled:
        raise FrameIncompleteError(f"{source.name}: not all of its strips are written yet")
    limit = np.uint64(source.size)
    late = (offsets > limit) | (counts > limit - np.minimum(offsets, limit))
    if late.any():
        worst = int(np.argmax(late))
        raise FrameIncompleteError(
            f"{source.name}: ends at byte {source.size}, but its pixels go on to "
            f"{int(offsets[worst]) + int(counts[worst])}; it is still being written or was cut off"
        )
    _check_uncompressed(source, page, counts)


def _segments_needed(page: Page) -> int:
    """Count the strips or tiles that cover a page."""
    if page.tiled:
        wide, high = page.value(TILE_WIDTH, 0), page.value(TILE_LENGTH, 0)
        if wide <= 0 or high <= 0:
            return 1
        count = -(-page.width // wide) * -(-page.length // high)
    else:
        rows = page.value(ROWS_PER_STRIP, page.length)
        count = -(-page.length // rows) if rows > 0 else 1
    return count * (page.samples if page.value(PLANAR, 1) == 2 else 1)


def row_bytes(page: Page) -> int:
    """Bytes of one uncompressed row of all interleaved samples."""
    samples = 1 if page.value(PLANAR, 1) == 2 else page.samples
    return (page.width * page.bits * samples + 7) // 8


def _check_uncompressed(source: Source, page: Page, counts: "np.ndarray[Any, Any]") -> None:
    """Without compression the bytes can be counted; fewer would be read as zeros."""
    bits = page.tags.get(BITS)
    uniform = bits is None or not bits.size or int(bits.min()) == int(bits.max())
    if page.value(COMPRESSION, 1) != 1 or page.tiled or not uniform or page.value(530, 0):
        return
    planes = page.samples if page.value(PLANAR, 1) == 2 else 1
    needed = row_bytes(page) * page.length * planes
    if page.value(PHOTOMETRIC, 1) != 6 and int(counts.sum()) < needed:
        raise FrameError(
            f"{source.name}: has {int(counts.sum())} of {needed} bytes of pixels; it is damaged"
        )
