"""EMD: HDF5 files of Velox and of the Berkeley kind."""

import contextlib
import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats import units
from pychip_stream.formats.source import Format, Source, Structure, check_memory, quiet

_MAX_JSON = 1 << 22
_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_hdf5(head: bytes) -> bool:
    """Tell HDF5 (EMD, DM5) by its first bytes."""
    return head.startswith(_HDF5)


def examine(source: Source) -> Structure:
    """Find the images of an EMD file (Berkeley or Velox); refuse DM5 and other HDF5."""
    with _hdf5(source) as file:
        if "ImageList" in file and "DocumentObjectList" in file:
            raise FrameError(f"{source.name}: is a DM5 file, not supported; save it as DM4")
        if "Data/Image" in file:
            data = _velox(source.name, file)
            return Structure(data.shape[2] if data.ndim == 3 else 1, ("velox", data.name))
        data = _berkeley(source.name, file)
        return Structure(data.shape[0] if data.ndim == 3 else 1, ("berkeley", data.name))


def _velox(name: str, file: h5py.File) -> h5py.Dataset:
    for group in file["Data/Image"].values():
        data = group.get("Data") if isinstance(group, h5py.Group) else None
        if isinstance(data, h5py.Dataset) and data.ndim in (2, 3):
            return data
    raise FrameError(f"{name}: is a Velox file without images")


def _berkeley(name: str, file: h5py.File) -> h5py.Dataset:
    found: list[h5py.Dataset] = []

    def visit(_path: str, item: Any) -> None:
        if isinstance(item, h5py.Group) and item.attrs.get("emd_group_type") == 1:
            data = item.get("data")
            if isinstance(data, h5py.Dataset) and data.ndim in (2, 3):
                found.append(data)

    file.visititems(visit)
    if not found:
        raise FrameError(f"{name}: is HDF5, but no EMD file with an image or a stack")
    return found[0]


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one frame of an EMD file."""
    flavour, path = structure.detail
    with _hdf5(source) as file:
        data = file[path]
        area = math.prod(data.shape[:2] if flavour == "velox" else data.shape[-2:])
        chunk = math.prod(data.chunks) if data.chunks else 0
        check_memory(source.name, max(area, chunk) * data.dtype.itemsize, max_bytes)
        if data.dtype.kind not in "uif":
            raise FrameError(f"{source.name}: pixels of type {data.dtype} are not grey values")
        if data.ndim == 2:
            pixels = data[()]
        else:
            pixels = data[:, :, index] if flavour == "velox" else data[index]
    size, unit, time, exposure = _metadata(source, flavour, path)
    return Frame(np.asarray(pixels), size, unit, time, exposure, source.name, index)


def _metadata(
    source: Source, flavour: str, path: str
) -> tuple[float | None, str | None, Stamp | None, float | None]:
    """Metadata is a courtesy: what cannot be parsed must not cost the frame."""
    try:
        with quiet():
            return (
                _velox_metadata(source, path)
                if flavour == "velox"
                else _berkeley_metadata(source, path)
            )
    except Exception:
        return None, None, None, None


def _velox_metadata(
    source: Source, path: str
) -> tuple[float | None, str | None, Stamp | None, float | None]:
    """Read the JSON that Velox keeps beside the image, as a column of bytes per frame."""
    with _hdf5(source) as file:
        group = file[path].parent
        if group["Metadata"].shape[0] > _MAX_JSON:
            return None, None, None, None
        text = group["Metadata"][:, 0].tobytes().split(b"\0", 1)[0]
    meta = json.loads(text)
    result, start = meta.get("BinaryResult", {}), meta.get("Acquisition", {})
    size, unit = units.pixel_size(
        result.get("PixelSize", {}).get("width"), result.get("PixelUnitX")
    )
    stamp = units.from_unix(start.get("AcquisitionStartDatetime", {}).get("DateTime"))
    return size, unit, stamp, units.seconds(meta.get("Scan", {}).get("FrameTime"))


def _berkeley_metadata(
    source: Source, path: str
) -> tuple[float | None, str | None, Stamp | None, float | None]:
    from ncempy.io import emd

    with emd.fileEMD(Path(source.name)) as file:
        group = next(g for g in file.list_emds if path == g.name + "/data")
        axis: npt.NDArray[Any]
        axis, _, unit = file.get_emddims(group)[-1]
    step = float(axis[1] - axis[0]) if len(axis) > 1 else None
    # Written as "[n_m]" in the format's own examples.
    return *units.pixel_size(step, str(unit).strip("[]").replace("_", "")), None, None


@contextlib.contextmanager
def _hdf5(source: Source) -> Any:
    """Open with h5py without a lock, which would stop the program that writes the file."""
    try:
        file = h5py.File(source.name, "r", locking=False)
    except OSError as error:
        text = " ".join(str(error).split())
        if "truncated" in text or "eof" in text.lower():
            raise FrameIncompleteError(f"{source.name}: is still being written ({text})") from error
        raise FrameError(f"{source.name}: is no readable HDF5 file ({text})") from error
    with file:
        yield file


# DM5 only to say that it is refused.
FORMAT = Format("HDF5", (".emd", ".dm5"), lambda _, head: is_hdf5(head), examine, read)
