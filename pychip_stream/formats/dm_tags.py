"""Tags of DM3 and DM4 files: a walk over what DigitalMicrograph writes."""

import struct
from dataclasses import dataclass, field
from typing import Any

from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats.source import Source

_SIZES = {2: 2, 3: 4, 4: 2, 5: 4, 6: 4, 7: 8, 8: 1, 9: 1, 10: 1, 11: 8, 12: 8}
_CODES = {2: "h", 3: "i", 4: "H", 5: "I", 6: "f", 7: "d", 8: "B", 9: "b", 10: "b", 11: "q", 12: "Q"}
_STRUCT, _STRING, _ARRAY = 15, 18, 20
_GROUP, _DATA = 20, 21
_MAX_DEPTH = 64
_MAX_INFO = 1024
_MAX_TEXT = 512
_TRAILER = 8


@dataclass(frozen=True, slots=True)
class Block:
    """A large array that was left on the disk: its place and bytes."""

    offset: int
    size: int


@dataclass(slots=True)
class DmTree:
    """What a walk found.

    Attributes
    ----------
    version
        3 or 4.
    little
        Whether values are little-endian.
    values
        Small values by their dotted path, for example "ImageList.2.ImageData.DataType";
        unnamed entries are numbered from 1.
    blocks
        Arrays by their dotted path.
    """

    version: int
    little: bool
    values: dict[str, Any] = field(default_factory=dict)
    blocks: dict[str, Block] = field(default_factory=dict)


def is_dm(head: bytes) -> bool:
    """Tell DM3 and DM4 by their first 16 bytes."""
    if len(head) < 16:
        return False
    version = int.from_bytes(head[:4], "big")
    at = 8 if version == 3 else 12
    return version in (3, 4) and int.from_bytes(head[at : at + 4], "big") in (0, 1)


def walk(source: Source) -> DmTree:
    """Check that a DM3 or DM4 file is whole and return its tags.

    The length in the header leaves 4 or 8 bytes over in files that exist (measured), so
    0 ≤ size − header − length ≤ 8 is asked for, and then a walk to the end of the tree.
    """
    head = source.bytes_at(0, 16)
    version = int.from_bytes(head[:4], "big")
    if not is_dm(head):
        raise FrameError(f"{source.name}: has no DM3 or DM4 header; check where it comes from")
    header, wide = (12, "I") if version == 3 else (16, "Q")
    length = int.from_bytes(head[4 : header - 4], "big")
    little = int.from_bytes(head[header - 4 : header], "big") == 1
    _check_length(source, header, length)
    return _Walk(source, DmTree(version, little), wide).run(header)


def _check_length(source: Source, header: int, length: int) -> None:
    left = source.size - header - length
    if left < 0:
        raise FrameIncompleteError(
            f"{source.name}: has {source.size} of {header + length} bytes; it is still being "
            "written or was cut off"
        )
    if left > _TRAILER:
        if length == 0:
            raise FrameIncompleteError(f"{source.name}: its header is not filled in yet")
        raise FrameError(
            f"{source.name}: has {left} bytes after its end; it was damaged or joined with another"
        )


class _Walk:
    """One pass over the tree; `_at` is the reading position."""

    def __init__(self, source: Source, tree: DmTree, wide: str) -> None:
        self._source = source
        self._tree = tree
        self._wide = struct.Struct(">" + wide)
        self._endian = "<" if tree.little else ">"
        self._at = 0

    def run(self, start: int) -> DmTree:
        self._at = start
        self._group("", 0)
        return self._tree

    def _take(self, count: int) -> bytes:
        data = self._source.bytes_at(self._at, count)
        self._at += count
        return data

    def _number(self) -> int:
        return int(self._wide.unpack(self._take(self._wide.size))[0])

    def _group(self, path: str, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise self._broken("tags are nested too deeply")
        self._take(2)  # sorted, open
        count = self._number()
        if count > self._source.size:
            raise self._broken(f"a group claims {count} tags")
        for number in range(1, count + 1):
            self._entry(path, number, depth)

    def _entry(self, path: str, number: int, depth: int) -> None:
        start = self._at
        kind, length = struct.unpack(">BH", self._take(3))
        if kind == 0 and length == 0:
            raise FrameIncompleteError(
                f"{self._source.name}: has zeros at byte {start} where a tag must be; it is still "
                "being written or was cut off"
            )
        if kind not in (_GROUP, _DATA):
            raise self._broken(f"unknown entry {kind} at byte {start}")
        name = self._take(length).decode("latin-1") if length else str(number)
        path = f"{path}.{name}" if path else name
        end = self._number() + self._at if self._tree.version == 4 else None
        if kind == _GROUP:
            self._group(path, depth + 1)
        else:
            self._data(path)
            if end is not None and end != self._at:
                raise self._broken(f"the tag {path[:80]!r} has another length than it says")

    def _data(self, path: str) -> None:
        if self._take(4) != b"%%%%":
            raise self._broken(f"the tag {path[:80]!r} has no delimiter")
        count = self._number()
        if not 1 <= count <= _MAX_INFO:
            raise self._broken(f"the tag {path[:80]!r} has a description of {count} numbers")
        size = self._wide.size
        raw = self._take(count * size)
        info = [int(n[0]) for n in self._wide.iter_unpack(raw)]
        if len(info) == 1 and info[0] in _SIZES:
            self._tree.values[path] = self._scalar(info[0])
        elif info[0] == _ARRAY:
            self._array(path, info)
        else:
            self._skip(self._extent(info, 0, path)[0])

    def _scalar(self, kind: int) -> int | float:
        raw = self._take(_SIZES[kind])
        value: int | float = struct.unpack(self._endian + _CODES[kind], raw)[0]
        return value

    def _array(self, path: str, info: list[int]) -> None:
        item, used = self._extent(info, 1, path)
        if used >= len(info):
            raise self._broken(f"the tag {path[:80]!r} is an array without a length")
        total = item * info[used]
        if info[1] == 4 and total <= 2 * _MAX_TEXT and not path.endswith(".ImageData.Data"):
            text = self._take(total).decode(
                "utf-16-le" if self._tree.little else "utf-16-be", "replace"
            )
            self._tree.values[path] = text
            return
        self._tree.blocks[path] = Block(self._at, total)
        self._skip(total)

    def _extent(self, info: list[int], at: int, path: str) -> tuple[int, int]:
        """Bytes of the value described from `info[at]`, and where its description ends."""
        kind = info[at] if at < len(info) else -1
        if kind in _SIZES:
            return _SIZES[kind], at + 1
        if kind == _STRING and at + 1 < len(info):
            return 2 * info[at + 1], at + 2
        if kind == _STRUCT and at + 2 < len(info):
            fields = info[at + 2]
            end = at + 3 + 2 * fields
            if end <= len(info):
                kinds = info[at + 4 : end : 2]
                if all(k in _SIZES for k in kinds):
                    return sum(_SIZES[k] for k in kinds), end
        if kind == _ARRAY:
            item, used = self._extent(info, at + 1, path)
            if used < len(info):
                return item * info[used], used + 1
        raise self._broken(f"the tag {path[:80]!r} has an unknown type")

    def _skip(self, count: int) -> None:
        if self._at + count > self._source.size:
            self._source.bytes_at(self._at, count)  # raises: not all in the file
        self._at += count

    def _broken(self, what: str) -> FrameError:
        return FrameError(f"{self._source.name}: {what}; it is damaged")
