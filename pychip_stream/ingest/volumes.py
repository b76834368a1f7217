"""MRC, SER and EMD: what other microscope programs write, read by ncempy."""

import contextlib
import io
import json
import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.ingest import quantities
from pychip_stream.ingest.source import Source
from pychip_stream.ingest.structure import Structure, check_memory

_MRC_BYTES = {0: 1, 1: 2, 2: 4, 6: 2}
_MRC_HEADER = 1024
_SER_BYTES = {1: 1, 2: 2, 3: 4, 4: 1, 5: 2, 6: 4, 7: 4, 8: 8}
_SER_IMAGES = 0x4122
_MAX_JSON = 1 << 22
_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_ser(head: bytes) -> bool:
    """Tell SER by its first bytes."""
    return head[:4] == b"II\x97\x01"


def is_hdf5(head: bytes) -> bool:
    """Tell HDF5 (EMD, DM5) by its first bytes."""
    return head.startswith(_HDF5)


def is_mrc(source: Source) -> bool:
    """Tell MRC by its map stamp or, where old writers left that out, a plausible header."""
    if source.size < _MRC_HEADER:
        return False
    head = source.bytes_at(0, 212)
    if head[208:211] == b"MAP":
        return True
    numbers = np.frombuffer(head[:16], "<i4")
    return bool((numbers[:3] > 0).all() and int(numbers[3]) in _MRC_BYTES)


def examine_mrc(source: Source) -> Structure:
    """Compare an MRC file's size with what its header asks for.

    Raises
    ------
    FrameIncompleteError
        If the file is shorter.
    FrameError
        If it is damaged or has pixels that are not grey values.
    """
    head = source.bytes_at(0, _MRC_HEADER)
    if head[212:214] == b"\x11\x11":
        raise FrameError(f"{source.name}: is a big-endian MRC file; convert it")
    width, height, frames, mode = (int(n) for n in np.frombuffer(head[:16], "<i4"))
    if mode not in _MRC_BYTES:
        raise FrameError(f"{source.name}: MRC mode {mode} is not supported; only grey values are")
    if min(width, height, frames) < 1:
        raise FrameError(f"{source.name}: is {width}x{height}x{frames} pixels; it is damaged")
    extended = int(np.frombuffer(head[92:96], "<i4")[0])
    needed = _MRC_HEADER + extended + width * height * frames * _MRC_BYTES[mode]
    if extended < 0 or needed > source.size:
        raise FrameIncompleteError(
            f"{source.name}: has {source.size} of {needed} bytes; it is still being written or "
            "was cut off"
        )
    return Structure(frames, width * height * _MRC_BYTES[mode])


def read_mrc(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one section of an MRC file."""
    check_memory(source.name, structure.detail, max_bytes)
    from ncempy.io import mrc  # loads slowly; the watcher never needs it

    with _quiet(), mrc.fileMRC(Path(source.name)) as file:
        pixels = np.array(file.getSlice(index))
        info = file.FEIinfo or {}
        calibrated = bool(file.volumeSize[2] > 0 and file.gridSize[2] > 0) or bool(
            info.get("pixel_size")
        )
        size = file.voxelSize[2] if calibrated else None
        exposure = quantities.seconds(info.get("exposure_time"))
    return Frame(
        pixels,
        *quantities.pixel_size(size, "A"),
        exposure_s=exposure,
        source=source.name,
        index=index,
    )


def examine_ser(source: Source) -> Structure:
    """Check that every image of a SER series is in the file.

    Raises
    ------
    FrameIncompleteError
        If one is not.
    FrameError
        If it holds spectra, or is damaged.
    """
    head = source.bytes_at(0, 30)
    version, kind = (int.from_bytes(head[i : i + n], "little") for i, n in ((4, 2), (6, 4)))
    valid = int.from_bytes(head[18:22], "little", signed=True)
    wide = 8 if version == 0x0220 else 4
    table = int.from_bytes(head[22 : 22 + wide], "little")
    if kind != _SER_IMAGES:
        raise FrameError(f"{source.name}: holds spectra, not images")
    if valid < 1:
        raise FrameIncompleteError(f"{source.name}: holds no finished image yet")
    if valid * 2 * wide > source.size:
        raise FrameIncompleteError(f"{source.name}: has no room for the {valid} images it lists")
    offsets = np.frombuffer(source.bytes_at(table, valid * wide), f"<i{wide}")
    sizes = [_ser_image(source, int(offset)) for offset in offsets]
    return Structure(valid, sizes)


def _ser_image(source: Source, offset: int) -> int:
    """Bytes of one image of a series, all of them in the file."""
    head = source.bytes_at(offset, 50)
    kind = int.from_bytes(head[40:42], "little", signed=True)
    width, height = (int.from_bytes(head[i : i + 4], "little", signed=True) for i in (42, 46))
    if kind not in _SER_BYTES:
        raise FrameError(f"{source.name}: holds pixels of type {kind}, not grey values")
    if width < 1 or height < 1:
        raise FrameError(f"{source.name}: has an image of {width}x{height} pixels; it is damaged")
    size = width * height * _SER_BYTES[kind]
    if offset + 50 + size > source.size:
        source.bytes_at(offset + 50, size)  # raises: not all in the file
    return size


def read_ser(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one image of a SER series."""
    check_memory(source.name, 2 * structure.detail[index], max_bytes)
    from ncempy.io import ser  # loads slowly; the watcher never needs it

    with _quiet(), ser.fileSER(Path(source.name)) as file:
        pixels, meta = file.getDataset(index)
        stamp = quantities.from_unix(file._getTag(index).get("Time"))
    delta = meta["Calibration"][0]["CalibrationDelta"]
    return Frame(
        np.ascontiguousarray(pixels),
        *quantities.pixel_size(delta, "m"),
        # In a series it is finer than the file's time, which is one for all images.
        time=stamp if stamp is None or structure.frames == 1 else float(stamp),
        source=source.name,
        index=index,
    )


def examine_hdf5(source: Source) -> Structure:
    """Find the images of an EMD file (Berkeley or Velox); refuse DM5 and other HDF5.

    Raises
    ------
    FrameIncompleteError
        If the file is not whole yet.
    FrameError
        If it holds no image stack.
    """
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


def read_hdf5(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
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
    size, unit, time, exposure = _emd_meta(source, flavour, path)
    return Frame(np.asarray(pixels), size, unit, time, exposure, source.name, index)


def _emd_meta(
    source: Source, flavour: str, path: str
) -> tuple[float | None, str | None, Stamp | None, float | None]:
    """Metadata is a courtesy: what cannot be parsed must not cost the frame."""
    try:
        with _quiet():
            return _velox_meta(source, path) if flavour == "velox" else _berkeley_meta(source, path)
    except Exception:
        return None, None, None, None


def _velox_meta(
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
    size, unit = quantities.pixel_size(
        result.get("PixelSize", {}).get("width"), result.get("PixelUnitX")
    )
    stamp = quantities.from_unix(start.get("AcquisitionStartDatetime", {}).get("DateTime"))
    return size, unit, stamp, quantities.seconds(meta.get("Scan", {}).get("FrameTime"))


def _berkeley_meta(
    source: Source, path: str
) -> tuple[float | None, str | None, Stamp | None, float | None]:
    from ncempy.io import emd

    with emd.fileEMD(Path(source.name)) as file:
        group = next(g for g in file.list_emds if path == g.name + "/data")
        axis: npt.NDArray[Any]
        axis, _, unit = file.get_emddims(group)[-1]
    step = float(axis[1] - axis[0]) if len(axis) > 1 else None
    # Written as "[n_m]" in the format's own examples.
    return *quantities.pixel_size(step, str(unit).strip("[]").replace("_", "")), None, None


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


@contextlib.contextmanager
def _quiet() -> Any:
    """Keep what ncempy prints off standard output, which belongs to the command."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
