"""EMD: HDF5 files of Velox and of the Berkeley kind."""

import contextlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import h5py
import numpy as np

from pychip_stream import foreign
from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats import units
from pychip_stream.formats.cut_hdf5 import announced_end, is_cut, missing_frames, open_cut
from pychip_stream.formats.metadata import collect, courtesy
from pychip_stream.formats.source import (
    MOST_MISSING,
    Format,
    Source,
    Structure,
    check_frames,
    check_memory,
    left_out,
    wanted,
)

_MAX_JSON = 1 << 22
_MAX_ATTRIBUTE = 1 << 12
_CHUNK_NOTES = 4096
_PREFERRED = ("HAADF", "DF-S")
_PRISMATIC = "realslice"
_SIMULATED = "annular_detector"
"""What Prismatic calls the images of a detector; its other results come after them."""
_GREY = "buif"
_TRANSFORM = 9
"""Place of what is complex, behind all images of grey values."""
_SPECTROMETERS = ("SUPERX", "ULTRAX", "ZEBRA", "EDS", "EELS")
_METADATA = (
    ("Optics.AccelerationVoltage", "high_voltage_kV", "V"),
    ("Optics.NominalMagnification", "magnification", ""),
    ("CustomProperties.StemMagnification.value", "magnification", ""),
    ("Optics.CameraLength", "camera_length_mm", "m"),
    ("Stage.Position.x", "stage_x_um", "m"),
    ("Stage.Position.y", "stage_y_um", "m"),
    ("Stage.Position.z", "stage_z_um", "m"),
    ("Stage.AlphaTilt", "stage_alpha_deg", "rad"),
    ("Stage.BetaTilt", "stage_beta_deg", "rad"),
    ("Scan.DwellTime", "dwell_us", "s"),
    ("Instrument.InstrumentModel", "microscope", ""),
    ("Instrument.InstrumentClass", "microscope", ""),
    ("BinaryResult.Detector", "detector", ""),
    ("Stage.HolderType", "holder", ""),
)
_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_hdf5(head: bytes) -> bool:
    """Tell HDF5 (EMD, DM5) by its first bytes."""
    return head.startswith(_HDF5)


def examine(source: Source) -> Structure:
    """Find the images of an EMD file (Berkeley or Velox); refuse DM5 and other HDF5."""
    with _hdf5(source) as file:
        if foreign.has(file, "ImageList") and foreign.has(file, "DocumentObjectList"):
            raise FrameError(f"{source.name}: is a DM5 file, not supported; save it as DM4")
        if foreign.has(file, "Data") and foreign.has(foreign.subgroup(file, "Data"), "Image"):
            data, notes = _chosen(source, _velox(source.name, file))
            return _structure(source, data, 2, _Emd("velox", data.name, notes))
        data, notes = _chosen(source, _berkeley(source.name, file))
        flavour: Flavour = "x first" if _is_x_first(data) else "berkeley"
        axis = 0 if flavour == "berkeley" else 2
        return _structure(source, data, axis, _Emd(flavour, data.name, notes))


def _chosen(source: Source, images: list["_Image"]) -> tuple[h5py.Dataset, tuple[str, ...]]:
    """Image that is wanted, else the first one, and what is left out for it."""
    names = [image.detector for image in images]
    chosen = wanted(source, names)
    return images[chosen].data, left_out("images", names, chosen)


Flavour = Literal["velox", "berkeley", "x first"]
"""Where the frames of a stack are: rows, columns, frames; frames, rows, columns; x, y, frames."""


@dataclass(frozen=True, slots=True)
class _Emd:
    """Which data set of a file is the image, and what was left out for it."""

    flavour: Flavour
    path: str
    notes: tuple[str, ...] = ()


def _structure(source: Source, data: h5py.Dataset, axis: int, chosen: _Emd) -> Structure:
    """Frames of an image or a stack; of a file that was cut off those that are missing, too."""
    frames = data.shape[axis] if data.ndim == 3 else 1
    missing: dict[int, FrameError] = {}
    check_frames(source.name, frames)
    if is_cut(data.file):
        why = f"{source.name}: ends at byte {source.size}, before all of the frame; it was cut off"
        lost = missing_frames(data, axis, source.size) if frames > 1 else [0]
        missing = dict.fromkeys(lost[:MOST_MISSING], FrameIncompleteError(why))
        frames = lost[MOST_MISSING] if len(lost) > MOST_MISSING else frames
    return Structure(frames, chosen, missing)


@dataclass(frozen=True, slots=True)
class _Image:
    """An image, what took it or what it is called, and its place in the order of choice."""

    data: h5py.Dataset
    detector: str
    rank: int


def _velox(name: str, file: h5py.File) -> list[_Image]:
    """Images of grey values, the one to analyse first: HAADF, other detectors, then maps.

    Velox names images by random numbers, so their order says nothing.
    """
    images = []
    parent = foreign.descend(file, "Data/Image")
    for member in parent:
        group = foreign.subgroup(parent, member)
        data = _image(group, "Data")
        if data is not None:
            detector = _detector(group)
            images.append(_Image(data, detector, _rank(detector, data)))
    if not any(image.data.dtype.kind in _GREY for image in images):
        raise FrameError(f"{name}: is a Velox file without images of grey values")
    # The number last: the same choice whenever the same file is read.
    return sorted(images, key=lambda image: (image.rank, image.detector, image.data.name))


def _detector(group: h5py.Group) -> str:
    try:
        result = _json(group, 0).get("BinaryResult", {})
        return str(result.get("Detector") or result.get("Name") or "")[:40]
    except Exception:
        return ""


def _rank(detector: str, data: h5py.Dataset) -> int:
    if data.dtype.kind not in _GREY:
        return _TRANSFORM
    if detector.upper().startswith(_SPECTROMETERS):
        return 4  # a map made from spectra, which Velox keeps as an image
    if detector.upper() in _PREFERRED:
        return _PREFERRED.index(detector.upper())
    # Counts come from detectors; numbers with fractions were calculated (DPC, filters).
    return 2 if data.dtype.kind in "ui" else 3


def _json(group: h5py.Group, index: int) -> dict[str, Any]:
    """Metadata of a frame, which Velox keeps beside the image as a column of bytes."""
    stored = foreign.own(group, "Metadata")
    if max(stored.shape[0], *(stored.chunks or (0,))) > _MAX_JSON:
        return {}
    column = stored[:, min(index, stored.shape[1] - 1)]
    found: dict[str, Any] = json.loads(column.tobytes().split(b"\0", 1)[0])
    return found


def _berkeley(name: str, file: h5py.File) -> list[_Image]:
    """Images and stacks of EMD 0.2 and 1.0 and of Prismatic, by their names in the file."""
    found: list[_Image] = []

    def visit(path: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and (
            _attribute(item, "emd_group_type", "iu") == 1
            or _plain(_attribute(item, "emd_group_type", "OSU")) == "array"
        ):
            datasets = (_image(item, name) for name in ("data", _PRISMATIC))
            data = next((one for one in datasets if one is not None), None)
            if data is not None:
                called = path.rpartition("/")[2]
                rank = int(not called.startswith(_SIMULATED))
                rank = rank if data.dtype.kind in _GREY else _TRANSFORM
                found.append(_Image(data, called, rank))

    try:
        file.visititems(visit)  # follows no link elsewhere
    except RuntimeError:
        if not (found and is_cut(file)):  # there the list of chunks may end in nothing
            raise
    if not found:
        raise FrameError(f"{name}: is HDF5, but no EMD file with an image or a stack")
    return sorted(found, key=lambda image: image.rank)


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one frame of an EMD file."""
    found: _Emd = structure.detail
    flavour = found.flavour
    with _hdf5(source) as file:
        data = _found(file, found.path)
        axes = slice(-2, None) if flavour == "berkeley" else slice(2)
        check_memory(source.name, _needed(data, axes), max_bytes)
        if data.dtype.kind not in _GREY:
            raise FrameError(f"{source.name}: pixels of type {data.dtype} are not grey values")
        if data.ndim == 2:
            pixels = data[()]
        else:
            pixels = data[index] if flavour == "berkeley" else data[:, :, index]
        if flavour == "x first":
            pixels = np.ascontiguousarray(pixels.T)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    meta = _metadata(source, found, index)
    return replace(meta, pixels=pixels, source=source.name, index=index, notes=found.notes)


def _needed(data: h5py.Dataset, axes: slice) -> int:
    """Bytes of memory for a frame: its pixels or one chunk, and what HDF5 notes of each chunk."""
    shape, chunk = data.shape[axes], data.chunks
    if chunk is None:
        return int(math.prod(shape) * data.dtype.itemsize)
    count = math.prod(-(-edge // step) for edge, step in zip(shape, chunk[axes], strict=True))
    return int(max(math.prod(shape), math.prod(chunk)) * data.dtype.itemsize + count * _CHUNK_NOTES)


_UNKNOWN = Frame(np.zeros((1, 1), np.uint8))
"""A frame of which nothing is known; its metadata is what the functions below fill in."""


def _metadata(source: Source, found: _Emd, index: int) -> Frame:
    if found.flavour == "velox":
        return courtesy(lambda: _velox_metadata(source, found.path, index), _UNKNOWN)
    return courtesy(lambda: _berkeley_metadata(source, found, index), _UNKNOWN)


def _velox_metadata(source: Source, path: str, index: int) -> Frame:
    with _hdf5(source) as file:
        data = _found(file, path)
        group = data.parent
        frames = data.shape[2] if data.ndim == 3 else 1
        first, meta = _json(group, 0), _json(group, index)
    result = meta.get("BinaryResult", {})
    edges = result.get("PixelSize", {})
    size, unit = pixel_size(edges.get("width"), result.get("PixelUnitX"))
    height, unit_y = pixel_size(edges.get("height"), result.get("PixelUnitY"))
    scanned = units.seconds(meta.get("Scan", {}).get("FrameTime"))
    camera = f"Detectors.Detector-{result.get('DetectorIndex')}"
    exposure = scanned or units.seconds(_within(meta, f"{camera}.ExposureTime"))
    time, start = _started(meta), _started(first)
    # Frames of a series that all say when it began follow one another by the frame time.
    step = (exposure or 0.0) if index == 0 or time == start else 0.0
    return replace(
        _UNKNOWN,
        pixel_size=size,
        unit=unit,
        time=None if time is None else time.later(index * step),
        exposure_s=exposure,
        before_last_s=(frames - 1 - index) * step,
        pixel_ratio=height / size if height and size and unit_y == unit else 1.0,
        metadata=collect(lambda place: _within(meta, place), _METADATA),
    )


def _within(found: Any, place: str) -> Any:
    """Value at a dotted place of nested tables; None where it is not."""
    for part in place.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


def _started(meta: dict[str, Any]) -> Stamp | None:
    started = meta.get("Acquisition", {}).get("AcquisitionStartDatetime", {})
    return units.from_unix(started.get("DateTime"))


def _is_x_first(data: h5py.Dataset) -> bool:
    """Whether the first axis is named x and the second y: then columns come before rows."""
    names = []
    for number in (1, 2):
        axis = f"dim{number}"
        known = foreign.has(data.parent, axis) and not foreign.has(data.parent, "dim0")
        name = _attribute(foreign.own(data.parent, axis), "name", "OSU") if known else None
        names.append(str(_plain(name)).lower()[-1:])
    return names == ["x", "y"]


def _berkeley_metadata(source: Source, found: _Emd, index: int) -> Frame:
    with _hdf5(source) as file:
        data = _found(file, found.path)
        first = 0 if foreign.has(data.parent, "dim0") else 1  # EMD 1.0 counts from 0
        last = first + data.ndim - 1
        down, across = (2, 1) if found.flavour == "x first" else (last - 1, last)
        axes = [foreign.own(data.parent, f"dim{n}") for n in (down, across)]
        (height, unit_y), (size, unit) = map(_step, axes)
        frames = data.shape[2 if found.flavour == "x first" else 0] if data.ndim == 3 else 1
        third = f"dim{first if found.flavour == 'berkeley' else last}"
        before = courtesy(lambda: _before_last(foreign.own(data.parent, third), index, frames), 0.0)
    ratio = height / size if height and size and unit_y == unit else 1.0
    return replace(_UNKNOWN, pixel_size=size, unit=unit, pixel_ratio=ratio, before_last_s=before)


def _before_last(axis: h5py.Dataset, index: int, frames: int) -> float:
    """Seconds from a frame to the last one, by the axis of a stack where that is a time."""
    factor = units.interval(1, _unit(axis))
    if frames < 2 or factor is None or math.prod(axis.chunks or ()) > _MAX_JSON:
        return 0.0
    if len(axis) == frames:
        told = float(axis[frames - 1]) - float(axis[index])
    else:  # first and second value of an even axis
        told = (frames - 1 - index) * float(np.diff(axis[:2])[0])
    return told * factor if math.isfinite(told) and told > 0 else 0.0


def _step(axis: h5py.Dataset) -> tuple[float | None, str | None]:
    readable = axis.ndim == 1 and len(axis) > 1 and math.prod(axis.chunks or ()) <= _MAX_JSON
    step = float(np.diff(axis[:2])[0]) if readable else None
    return pixel_size(step, _unit(axis))


def _unit(axis: h5py.Dataset) -> str:
    # Written as "[n_m]" in the format's own examples.
    return str(_plain(_attribute(axis, "units", "OSU"))).replace("_", "")


def _attribute(node: Any, name: str, kinds: str) -> Any:
    """Attribute of a node where it is one small value of a type that is wanted; else None."""
    if name not in node.attrs:
        return None
    kept = node.attrs.get_id(name)
    if kept.shape not in ((), (1,)) or kept.dtype.kind not in kinds:
        return None
    return node.attrs[name] if kept.get_storage_size() <= _MAX_ATTRIBUTE else None


def _plain(value: Any) -> Any:
    """Text or number of an attribute, which may come as bytes or in an array of one."""
    value = value[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _image(group: h5py.Group, name: str) -> h5py.Dataset | None:
    """Image or stack of a group; None where it has none."""
    if not foreign.has(group, name) or not isinstance(group[name], h5py.Dataset):
        return None
    data = foreign.own(group, name)
    return data if data.ndim in (2, 3) else None


def _found(file: h5py.File, path: str) -> h5py.Dataset:
    """Find again what `examine` found."""
    where, _, name = path.strip("/").rpartition("/")
    return foreign.own(foreign.descend(file, where) if where else file, name)


@contextlib.contextmanager
def _costs(cut: FrameIncompleteError | None) -> Iterator[None]:
    """Say of a file that was cut off just that, whatever HDF5 does not find in it."""
    try:
        yield
    except Exception as error:
        if cut is None or isinstance(error, FrameIncompleteError):
            raise
        raise cut from error


@contextlib.contextmanager
def _hdf5(source: Source) -> Any:
    """Open with h5py without a lock, which would stop the program that writes the file."""
    cut = None
    try:
        file = h5py.File(source.name, "r", locking=False)
    except OSError as error:
        text = " ".join(str(error).split())
        if "truncated" not in text and "eof" not in text.lower():
            raise FrameError(f"{source.name}: is no readable HDF5 file ({text})") from error
        cut = FrameIncompleteError(f"{source.name}: is still being written or was cut off ({text})")
        end = announced_end(error)
        if end is None or not source.final:
            raise cut from error
        with _costs(cut):
            file = open_cut(source, end)
    with file, _costs(cut):
        try:
            yield file
        except foreign.UnusableFileError as error:
            raise FrameError(f"{source.name}: {error}; refused") from error


# DM5 only to say that it is refused.
FORMAT = Format("HDF5", (".emd", ".dm5"), lambda _, head: is_hdf5(head), examine, read)
