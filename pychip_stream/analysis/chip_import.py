"""Import of pyChip support sets: folders of small pictures, one folder a class."""

import time
from pathlib import Path

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import (
    ChipSource,
    Choice,
    SupportChip,
    SupportSet,
    compose,
    current_user,
    make_classes,
)
from pychip_stream.errors import GuardError, SupportUsageError
from pychip_stream.formats.reading import is_left_alone
from pychip_stream.guard import Guard, Limits

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff"})
_FULL_SCALE = {"L": 255.0, "I;16": 65535.0}
_VIRIDIS_TOLERANCE = 40.0
_LIMITS = Limits(seconds=30.0, memory=1 << 30)


def import_chips(
    folder: Path,
    chip_size: ChipSize | None = None,
    intensity_range: tuple[float, float] | None = None,
    *,
    clahe: bool = False,
) -> SupportSet:
    """Make a support set from FOLDER/CLASS/*.png|jpg|tif.

    Parameters
    ----------
    chip_size
        Expected size; default: that of the pictures.
    intensity_range
        Counts in a frame that black and white of the pictures stand for. Default: the full
        scale of 8- and 16-bit frames, as pyChip made its pictures.
    clahe
        The pictures were cut from an adaptively equalised frame; frames are equalised too.

    Raises
    ------
    SupportUsageError
        If there is no class folder, a picture cannot be read or has another size, or the
        set is impossible.
    """
    if not folder.is_dir():
        raise SupportUsageError(f"{folder}: no such folder; it should hold one folder per class")
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not is_left_alone(p.name))
    if not names:
        raise SupportUsageError(f"{folder}: holds no class folders (CLASS/*.png, jpg or tif)")
    with Guard((__name__,)) as guard:
        chips = [
            chip
            for name in names
            for chip in _class_chips(folder / name, intensity_range, clahe, guard)
        ]
    heights_widths = {chip.pixels.shape for chip in chips}
    if not heights_widths:
        raise SupportUsageError(f"{folder}: the class folders hold no png, jpg or tif pictures")
    if len(heights_widths) > 1:
        found = ", ".join(f"{w}x{h}" for h, w in sorted(heights_widths))
        raise SupportUsageError(f"{folder}: the chips have different sizes ({found})")
    height, width = heights_widths.pop()
    size = ChipSize(width, height)
    if chip_size is not None and chip_size != size:
        raise SupportUsageError(
            f"{folder}: the chips are {size} pixels (width x height), not {chip_size}"
        )
    low, high = intensity_range or (0.0, 1.0)
    return compose(
        size,
        make_classes(names),
        [Choice(chip.label, chip=chip) for chip in chips],
        Normalization("range" if intensity_range else "depth", low, high, clahe),
        author=current_user(),
        note=f"imported from {folder.name}",
    )


def _class_chips(
    folder: Path, intensity_range: tuple[float, float] | None, clahe: bool, guard: Guard
) -> list[SupportChip]:
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not is_left_alone(path.name)
    )
    user, now = current_user(), time.time()
    chips = []
    for path in paths:
        try:
            grey, full_scale = guard.call(_LIMITS, _read_grey, path)
        except GuardError as error:
            raise SupportUsageError(f"{path}: {error} while it was read; leave it out") from error
        if clahe:
            pixels: npt.NDArray[np.generic] = (grey / full_scale).astype(np.float32)
        elif intensity_range is not None:
            low, high = intensity_range
            pixels = (low + grey / full_scale * (high - low)).astype(np.float32)
        else:
            pixels = grey.astype(np.uint16 if full_scale > 255 else np.uint8)
        source = ChipSource(path=f"{folder.name}/{path.name}", user=user, time=now)
        chips.append(SupportChip(folder.name, pixels, source))
    return chips


def _read_grey(path: Path) -> tuple[npt.NDArray[np.float64], float]:
    """Grey values of a picture and its full scale."""
    try:
        with Image.open(path) as picture:
            if picture.mode in _FULL_SCALE:
                return np.asarray(picture).astype(np.float64), _FULL_SCALE[picture.mode]
            colours = np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise SupportUsageError(f"{path}: is not a readable picture ({error})") from error
    grey = _undo_viridis(colours)
    if grey is None:
        grey = np.asarray(Image.fromarray(colours).convert("L"))
    return grey.astype(np.float64), 255.0


def _undo_viridis(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp] | None:
    """Grey values behind a viridis-coloured picture, as pyChip saves its chips; else None.

    JPEG blurs the colours, so each pixel takes the nearest entry of the colour map.
    """
    table = np.rint(matplotlib.colormaps["viridis"](np.arange(256))[:, :3] * 255)
    squares = ((colours[..., None, :].astype(np.float64) - table) ** 2).sum(axis=-1)
    if float(np.sqrt(squares.min(axis=-1)).mean()) > _VIRIDIS_TOLERANCE:
        return None
    return np.asarray(squares.argmin(axis=-1), dtype=np.intp)
