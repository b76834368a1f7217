"""DM3, DM4: the images that DigitalMicrograph writes, as the tags describe them."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.errors import FrameError
from pychip_stream.formats.dm_tags import Block, DmTree, is_dm, walk
from pychip_stream.formats.metadata import collect
from pychip_stream.formats.source import (
    Format,
    Source,
    Structure,
    check_memory,
    left_out,
    wanted,
)
from pychip_stream.formats.units import (
    from_date_and_clock,
    from_filetime,
    from_text,
    interval,
    seconds,
)

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
    notes
        Which others are left out.
    """

    path: str
    kind: int
    shape: tuple[int, int, int]
    block: Block
    notes: tuple[str, ...] = ()

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.shape[0] * self.shape[1] * _PIXELS[self.kind].itemsize


def examine(source: Source) -> Structure:
    """Judge a DM file by its tags."""
    tree = walk(source)
    image = _find_image(source, tree)
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
        notes=image.notes,
        metadata=collect(lambda place: tree.values.get(tags + place), _METADATA),
    )


def own_time(_source: Source, structure: Structure) -> Stamp | None:
    """When a file says its first frame was taken."""
    tree, image = structure.detail
    return _time(tree, image.path)


def _find_image(source: Source, tree: DmTree) -> DmImage:
    """Choose the image that is wanted, else the one that is shown, never the thumbnail.

    What is no grey values (transforms, mixed colours) is left out where another image is there.
    """
    name = source.name
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
    shown = int(tree.values.get("ImageSourceList.1.ImageRef", -1)) + 1
    candidates.sort(key=lambda n: (_kind(tree, n) in _REFUSED, n != shown))
    names = [_name_of(tree, n, alone=len(candidates) == 1) for n in candidates]
    chosen = wanted(source, names)
    image = _image(name, tree, f"ImageList.{candidates[chosen]}")
    return replace(image, notes=left_out("images", names, chosen))


def _kind(tree: DmTree, number: int) -> int:
    return int(tree.values.get(f"ImageList.{number}.ImageData.DataType", 0))


def _name_of(tree: DmTree, number: int, *, alone: bool) -> str:
    """Name of the signal of an image, of several else their own."""
    at = f"ImageList.{number}"
    found = tree.values.get(f"{at}.ImageTags.DataBar.Signal Name")
    text = str(found or (not alone and tree.values.get(f"{at}.Name")) or "")
    return text.replace("\0", "").strip()[:40]


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
