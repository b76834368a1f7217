"""DM3, DM4: what DigitalMicrograph writes; its tags, and the pixels that they describe."""

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats.metadata import collect
from pychip_stream.formats.source import Format, Source, Structure, check_memory
from pychip_stream.formats.units import (
    from_date_and_clock,
    from_filetime,
    from_text,
    interval,
    seconds,
)

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


# DataType → type of a pixel, of the types that hold one grey value.
_PIXELS = {
    kind: np.dtype(code)
    for kind, code in {
        1: "<i2", 2: "<f4", 6: "u1", 7: "<i4", 9: "i1", 10: "<u2", 11: "<u4", 12: "<f8",
    }.items()
}  # fmt: skip
_REFUSED = {
    3: "complex numbers",
    5: "packed complex numbers",
    8: "RGB colours",
    13: "complex numbers",
    14: "truth values",
    23: "RGB colours",
    27: "packed complex numbers",
    28: "packed complex numbers",
}
_ENERGY_UNITS = {"ev", "kev", "mev"}
_METADATA = (
    ("Microscope Info.Voltage", "high_voltage_kV", "V"),
    ("Microscope Info.Indicated Magnification", "magnification", ""),
    ("Microscope Info.STEM Camera Length", "camera_length_mm", "mm"),
    ("Microscope Info.Stage Position.Stage X", "stage_x_um", "um"),
    ("Microscope Info.Stage Position.Stage Y", "stage_y_um", "um"),
    ("Microscope Info.Stage Position.Stage Z", "stage_z_um", "um"),
    ("Microscope Info.Stage Position.Stage Alpha", "stage_alpha_deg", "deg"),
    ("Microscope Info.Stage Position.Stage Beta", "stage_beta_deg", "deg"),
    ("InSitu.SmartSet.Temperature", "stage_temperature_C", "C"),
    ("DigiScan.Sample Time", "dwell_us", "us"),
    ("Session Info.Microscope", "microscope", ""),
    ("Microscope Info.Microscope", "microscope", ""),
    ("Microscope Info.Name", "microscope", ""),
    ("DataBar.Signal Name", "detector", ""),
    ("Session Info.Detector", "detector", ""),
    ("Acquisition.Device.Name", "detector", ""),
)
_EXPOSURES = (
    "ImageTags.Acquisition.Parameters.High Level.Exposure (s)",
    "ImageTags.Acquisition.Parameters.Detector.exposure (s)",
    "ImageTags.DataBar.Exposure Time (s)",
)


@dataclass(frozen=True, slots=True)
class DmImage:
    """An image or stack in a DM file, its place verified.

    Attributes
    ----------
    path
        Tag path of the image, for example "ImageList.2".
    kind
        DigitalMicrograph's DataType.
    shape
        Width, height and frames.
    block
        Where the pixels are.
    """

    path: str
    kind: int
    shape: tuple[int, int, int]
    block: Block

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.shape[0] * self.shape[1] * _PIXELS[self.kind].itemsize


def examine(source: Source) -> Structure:
    """Judge a DM file by its tags."""
    tree = walk(source)
    image = _find_image(source.name, tree)
    return Structure(image.shape[2], (tree, image))


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one frame."""
    tree, image = structure.detail
    check_memory(source.name, image.frame_bytes, max_bytes)
    view = source.view_at(image.block.offset + index * image.frame_bytes, image.frame_bytes)
    width, height, frames = image.shape
    size, unit = _pixel_size(tree, image.path, 1)
    size_y, unit_y = _pixel_size(tree, image.path, 2)
    exposure, start = _exposure(tree, image.path), _time(tree, image.path)
    tags = f"{image.path}.ImageTags."
    step = _step(tree, image.path, exposure)
    return Frame(
        pixels=np.frombuffer(view, _PIXELS[image.kind]).reshape(height, width),
        pixel_size=size,
        unit=unit,
        time=None if start is None else start.later(index * step),
        exposure_s=exposure,
        source=source.name,
        index=index,
        before_last_s=(frames - 1 - index) * step,
        pixel_ratio=size_y / size if size and size_y and unit_y == unit else 1.0,
        metadata=collect(lambda place: tree.values.get(tags + place), _METADATA),
    )


def own_time(_source: Source, structure: Structure) -> Stamp | None:
    """When a file says its first frame was taken."""
    tree, image = structure.detail
    return _time(tree, image.path)


def _find_image(name: str, tree: DmTree) -> DmImage:
    """Choose the image that DigitalMicrograph would show, never the thumbnail."""
    if not tree.little:
        raise FrameError(f"{name}: is a big-endian DM file; save it again with a newer version")
    numbers = sorted(
        int(path.split(".")[1])
        for path in tree.blocks
        if path.startswith("ImageList.")
        and path.endswith(".ImageData.Data")
        and path.split(".")[1].isdecimal()
    )
    if not numbers:
        raise FrameError(f"{name}: holds no image, only tags")
    thumbnails = {
        int(value) + 1
        for path, value in tree.values.items()
        if path.startswith("Thumbnails.") and path.endswith(".ImageIndex")
    }
    candidates = [n for n in numbers if n not in thumbnails] or numbers
    shown = tree.values.get("ImageSourceList.1.ImageRef")
    number = int(shown) + 1 if shown is not None and int(shown) + 1 in candidates else candidates[0]
    return _image(name, tree, f"ImageList.{number}")


def _image(name: str, tree: DmTree, path: str) -> DmImage:
    """Check the description of one image against its pixels."""
    values = tree.values
    kind = int(values.get(f"{path}.ImageData.DataType", 0))
    if kind not in _PIXELS:
        what = _REFUSED.get(kind, f"pixels of the unknown type {kind}")
        raise FrameError(f"{name}: holds {what}, not grey values; export it as a grey image")
    shape = _dimensions(values, path)
    _check_signal(name, values, path, len(shape))
    if len(shape) > 3 and math.prod(shape[3:]) > 1:
        raise FrameError(f"{name}: has {len(shape)} dimensions; only images and stacks are frames")
    width, height, frames = (*shape, 1, 1)[:3]
    block = tree.blocks[f"{path}.ImageData.Data"]
    item = _PIXELS[kind].itemsize
    if width * height * frames * item != block.size or block.size == 0:
        raise FrameError(
            f"{name}: {width}x{height}x{frames} pixels of {item} bytes are not the "
            f"{block.size} bytes that are there; it is damaged"
        )
    return DmImage(path, kind, (width, height, frames), block)


def _dimensions(values: dict[str, Any], path: str) -> list[int]:
    shape: list[int] = []
    while (size := values.get(f"{path}.ImageData.Dimensions.{len(shape) + 1}")) is not None:
        shape.append(max(0, int(size)))
    return shape


def _check_signal(name: str, values: dict[str, Any], path: str, dimensions: int) -> None:
    """Refuse what looks like an image or a stack but counts energies."""
    form = str(values.get(f"{path}.ImageTags.Meta Data.Format", ""))
    units = {
        str(values.get(f"{path}.ImageData.Calibrations.Dimension.{n}.Units", "")).strip().lower()
        for n in range(1, dimensions + 1)
    }
    if dimensions < 2:
        raise FrameError(f"{name}: is a spectrum or profile, not an image")
    if form.startswith("Spectrum") or units & _ENERGY_UNITS:
        raise FrameError(f"{name}: is a spectrum image (one axis is an energy), not an image")


def _calibration(tree: DmTree, path: str, dimension: int) -> tuple[Any, Any]:
    axis = f"{path}.ImageData.Calibrations.Dimension.{dimension}"
    return tree.values.get(f"{axis}.Scale"), tree.values.get(f"{axis}.Units")


def _pixel_size(tree: DmTree, path: str, dimension: int) -> tuple[float | None, str | None]:
    return pixel_size(*_calibration(tree, path, dimension))


def _step(tree: DmTree, path: str, exposure: float | None) -> float:
    """Seconds between the frames of a stack: its third axis, else the exposure if that has no unit.

    0 where the third axis is no time (heights, tilts).
    """
    scale, unit = _calibration(tree, path, 3)
    if str(unit or "").replace("\0", "").strip():
        return interval(scale, unit) or 0.0
    return exposure or 0.0


def _exposure(tree: DmTree, path: str) -> float | None:
    for tag in _EXPOSURES:
        value = seconds(tree.values.get(f"{path}.{tag}"))
        if value is not None:
            return value
    return None


def _time(tree: DmTree, path: str) -> Stamp | None:
    values = tree.values
    for where in (f"{path}.ImageTags.DataBar", "DataBar"):
        stamp = from_filetime(values.get(f"{where}.Acquisition Time (OS)"))
        if stamp is None:
            stamp = from_date_and_clock(
                values.get(f"{where}.Acquisition Date"), values.get(f"{where}.Acquisition Time")
            )
        if stamp is not None:
            return stamp
    return from_text(values.get(f"{path}.ImageTags.Timestamp"))


FORMAT = Format("DM", (".dm3", ".dm4"), lambda _, head: is_dm(head), examine, read, own_time)
