"""DM3 and DM4: DigitalMicrograph's images and in-situ stacks.

The tags are walked by `dmtags`; the pixels are read by ncempy's fileDM, which is given the
verified place of the image and the bytes in memory.
"""

import math
from dataclasses import dataclass
from typing import Any

from pychip_stream.domain.frames import Frame, Stamp
from pychip_stream.errors import FrameError
from pychip_stream.ingest import dmtags, quantities
from pychip_stream.ingest.dmtags import Block, DmTree
from pychip_stream.ingest.source import Source
from pychip_stream.ingest.structure import Structure, check_memory

# DataType → bytes per pixel, of the types that hold one grey value.
_PIXEL_BYTES = {1: 2, 2: 4, 6: 1, 7: 4, 9: 1, 10: 2, 11: 4, 12: 8}
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
        return self.shape[0] * self.shape[1] * _PIXEL_BYTES[self.kind]


def examine(source: Source) -> Structure:
    """Judge a DM file by its tags.

    Raises
    ------
    FrameIncompleteError
        If it is not whole yet.
    FrameError
        If it is damaged, or holds no image (spectrum, spectrum image, colours, complex).
    """
    tree = dmtags.walk(source)
    image = _find_image(source.name, tree)
    return Structure(image.shape[2], (tree, image))


def read(source: Source, structure: Structure, index: int, max_bytes: int) -> Frame:
    """Read one frame.

    Raises
    ------
    FrameError
        If it would need more than `max_bytes`.
    """
    tree, image = structure.detail
    check_memory(source.name, image.frame_bytes, max_bytes)
    from pychip_stream.ingest.dmpixels import FileDM  # loads slowly; the watcher never needs it

    with FileDM(source, image) as file:
        data = file.getSlice(0, index)["data"]
    size, unit = _pixel_size(tree, image.path)
    return Frame(
        pixels=data,
        pixel_size=size,
        unit=unit,
        time=_time(tree, image.path),
        exposure_s=_exposure(tree, image.path),
        source=source.name,
        index=index,
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
    if kind not in _PIXEL_BYTES:
        what = _REFUSED.get(kind, f"pixels of the unknown type {kind}")
        raise FrameError(f"{name}: holds {what}, not grey values; export it as a grey image")
    shape = _dimensions(values, path)
    _check_signal(name, values, path, len(shape))
    if len(shape) > 3 and math.prod(shape[3:]) > 1:
        raise FrameError(f"{name}: has {len(shape)} dimensions; only images and stacks are frames")
    width, height, frames = (*shape, 1, 1)[:3]
    block = tree.blocks[f"{path}.ImageData.Data"]
    if width * height * frames * _PIXEL_BYTES[kind] != block.size or block.size == 0:
        raise FrameError(
            f"{name}: {width}x{height}x{frames} pixels of {_PIXEL_BYTES[kind]} bytes are not the "
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


def _pixel_size(tree: DmTree, path: str) -> tuple[float | None, str | None]:
    axis = f"{path}.ImageData.Calibrations.Dimension.1"
    return quantities.pixel_size(tree.values.get(f"{axis}.Scale"), tree.values.get(f"{axis}.Units"))


def _exposure(tree: DmTree, path: str) -> float | None:
    for tag in _EXPOSURES:
        value = quantities.seconds(tree.values.get(f"{path}.{tag}"))
        if value is not None:
            return value
    return None


def _time(tree: DmTree, path: str) -> Stamp | None:
    values = tree.values
    for where in (f"{path}.ImageTags.DataBar", "DataBar"):
        stamp = quantities.from_filetime(values.get(f"{where}.Acquisition Time (OS)"))
        if stamp is None:
            stamp = quantities.from_date_and_clock(
                values.get(f"{where}.Acquisition Date"), values.get(f"{where}.Acquisition Time")
            )
        if stamp is not None:
            return stamp
    return quantities.from_text(values.get(f"{path}.ImageTags.Timestamp"))
