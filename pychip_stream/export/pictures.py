"""Pictures: frames of a run for the eye, the label map alone and over the frame."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageDraw, ImageFont

from pychip_stream.archive.disk import writing
from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.domain.records import Fraction
from pychip_stream.domain.support import UNKNOWN, scale_of
from pychip_stream.export.kinds import (
    ExportKind,
    ExportSource,
    PixelReader,
)
from pychip_stream.formats.raster import own_mark

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run

Rgb = npt.NDArray[np.uint8]

_OPACITY = 0.45
_NICE = (1.0, 2.0, 5.0)
_LARGER = {"pm": "nm", "nm": "µm", "µm": "mm"}
_OUTSIDE = 40
"""Grey of pixels that no chip covers."""
_JPEG_QUALITY = 85
_FEWEST_GREYS = 32
"""With fewer of each colour, pictures have steps to be seen."""
VIEW_PX = 1024
"""Longest edge of a picture for the screen."""

Rect = tuple[int, int, int, int]
"""Part of a frame in whole pixels: left, top, right, bottom."""


def to_grey(values: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """Grey levels of normalised values; 0…1 is black to white."""
    scaled: npt.NDArray[np.float32] = np.clip(np.asarray(values, np.float32), 0, 1) * 255
    return np.rint(scaled).astype(np.uint8)


def to_jpeg(
    pixels: npt.NDArray[np.generic], normalization: Normalization | None, edge: int = VIEW_PX
) -> bytes:
    """Encode a frame, or a part of it, for the screen.

    Parameters
    ----------
    pixels
        (H, W) counts.
    normalization
        Of the run, so that an empty frame looks empty; None: the frame's own percentiles.
    edge
        Longest edge of the picture in pixels; larger frames are averaged down.
    """
    small = reduced(pixels, edge)
    scale = normalization or Normalization.from_percentiles(small)
    return encode_jpeg(Image.fromarray(to_grey(scale.apply(small))), edge)


def encode_jpeg(picture: Image.Image, edge: int) -> bytes:
    """Encode a picture whose longest edge becomes at most `edge`."""
    longest = max(picture.size)
    if longest > edge:
        width, height = (max(round(n * edge / longest), 1) for n in picture.size)
        picture = picture.resize((width, height), Image.Resampling.BOX)
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=_JPEG_QUALITY)
    return target.getvalue()


def reduced(pixels: npt.NDArray[np.generic], edge: int = VIEW_PX) -> npt.NDArray[np.generic]:
    """Mean of squares, not yet below `edge`; a remainder at the borders is left out."""
    factor = max(pixels.shape) // edge
    if factor < 2:
        return pixels
    height, width = (max(n // factor, 1) for n in pixels.shape)
    down, across = (min(factor, n) for n in pixels.shape)
    squares = pixels[: height * down, : width * across].reshape(height, down, width, across)
    return np.asarray(squares.mean(axis=(1, 3), dtype=np.float32))


@dataclass(frozen=True)
class Legend:
    """What is written below a picture.

    Attributes
    ----------
    entries
        (name, colour, fraction with its interval or None) in order.
    pixel_size, unit
        For the scale bar; None: it counts pixels.
    title
        First line.
    """

    entries: Sequence[tuple[str, str, Fraction | None]]
    pixel_size: float | None = None
    unit: str | None = None
    title: str = ""


def color_labels(
    label_map: npt.NDArray[np.uint8],
    colors: Sequence[str],
    chip_size: ChipSize,
    shape: tuple[int, int],
) -> Rgb:
    """Paint a label map at frame resolution.

    Parameters
    ----------
    label_map
        (rows, columns) index into `colors`, the last of which is that of unknown.
    shape
        (H, W) of the frame in pixels.

    Returns
    -------
    (H, W, 3) uint8; what no chip covers is dark grey.
    """
    palette = np.array([ImageColor.getrgb(c)[:3] for c in colors], np.uint8)
    tiles = palette[label_map].repeat(chip_size.height, 0).repeat(chip_size.width, 1)
    picture = np.full((*shape, 3), _OUTSIDE, np.uint8)
    height, width = min(shape[0], tiles.shape[0]), min(shape[1], tiles.shape[1])
    picture[:height, :width] = tiles[:height, :width]
    return picture


def overlay(grey: npt.NDArray[np.floating], painted: Rgb, covered: tuple[int, int]) -> Rgb:
    """Lay a painted label map over the frame.

    Parameters
    ----------
    grey
        (H, W) frame, 0…1 is black to white.
    covered
        Height and width of the area that the chips cover; beyond it the frame stays grey.
    """
    frame = np.repeat(to_grey(grey)[..., None], 3, axis=2)
    mixed = frame.astype(np.float32) * (1 - _OPACITY) + painted.astype(np.float32) * _OPACITY
    out = frame.copy()
    out[: covered[0], : covered[1]] = mixed[: covered[0], : covered[1]].astype(np.uint8)
    return out


def with_palette(picture: Image.Image, colors: Sequence[str]) -> Image.Image:
    """Bring an overlay with its legend to 8 bits a pixel: its noise is most of a file.

    The palette has greys and as many shades of each colour over the frame, 50 with three classes.
    Where colours are so many that shades would be few, the picture stays as it is.
    """
    count = (256 - len(colors)) // (len(colors) + 1)
    if count < _FEWEST_GREYS:
        return picture
    pure = np.array([ImageColor.getrgb(c)[:3] for c in colors], np.float32)
    greys = np.linspace(0, 255, count, dtype=np.float32)[:, None].repeat(3, axis=1)
    shades = (greys * (1 - _OPACITY) + color * _OPACITY for color in pure)
    table = np.concatenate([pure, greys, *shades]).astype(np.uint8)
    coarse = Image.new("P", (1, 1))
    # Pillow looks for the nearest to a pixel less its last two bits; so white stays white.
    coarse.putpalette((table & 0xFC).tobytes())
    made = picture.quantize(palette=coarse, dither=Image.Dither.NONE)
    made.putpalette(table.tobytes())
    return made


def with_legend(picture: Rgb, legend: Legend) -> Image.Image:
    """Put title, scale bar and legend below a picture, whose own pixels stay as they are."""
    height, width = picture.shape[:2]
    size = int(np.clip(min(height, width) / 28, 12, 48))
    font, pad = letters(size), size // 2
    lines = _wrapped(legend, font, max(width, 18 * size), size) if legend.entries else []
    needed = max((x for line in lines for _, _, x in line), default=0) + pad
    canvas_width = max(width, needed, 12 * size)
    bar_px, bar_text = scale_bar(width, legend.pixel_size, legend.unit)
    rows = len(lines) + 1 + bool(legend.title)
    strip = rows * (size + pad) + pad
    canvas = Image.new("RGB", (canvas_width, height + strip), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(canvas)
    y = height + pad
    if legend.title:
        draw.text((pad, y), legend.title, fill="black", font=font)
        y += size + pad
    draw.rectangle((pad, y + size // 2, pad + bar_px - 1, y + size), fill="black")
    draw.text((bar_px + 2 * pad, y), bar_text, fill="black", font=font)
    y += size + pad
    for line in lines:
        for (text, color), start, _ in line:
            draw.rectangle((start, y + size // 8, start + size, y + size), fill=color)
            draw.text((start + size + pad, y), text, fill="black", font=font)
        y += size + pad
    return canvas


def scale_bar(width: int, pixel_size: float | None, unit: str | None) -> tuple[int, str]:
    """Length in pixels and text of a scale bar of about a fifth of the width."""
    scale = pixel_size if pixel_size and np.isfinite(pixel_size) and pixel_size > 0 else 1.0
    wanted = width * scale / 5
    exponent = 10.0 ** np.floor(np.log10(wanted))
    length = max((n * exponent for n in _NICE if n * exponent <= wanted), default=exponent)
    label = (unit or "").replace("um", "µm") if scale is pixel_size else "pixels"
    pixels = max(round(length / scale), 1)
    if label in _LARGER and length >= 1000:
        length, label = length / 1000, _LARGER[label]
    return pixels, f"{length:g} {label}".strip()


def _wrapped(
    legend: Legend, font: ImageFont.FreeTypeFont, width: int, size: int
) -> list[list[tuple[tuple[str, str], int, int]]]:
    """Legend entries in lines: ((text, colour), start, end) in pixels."""
    pad = size // 2
    lines: list[list[tuple[tuple[str, str], int, int]]] = [[]]
    x = pad
    for name, color, fraction in legend.entries:
        shown = name if len(name) <= 40 else name[:39] + "…"
        text = shown if fraction is None else f"{shown} {fraction.text}"
        end = x + size + pad + int(np.ceil(font.getlength(text)))
        if lines[-1] and end + pad > width:
            lines.append([])
            x, end = pad, end - x + pad
        lines[-1].append(((text, color), x, end))
        x = end + 2 * pad
    return lines


@lru_cache(maxsize=8)
def letters(size: int) -> ImageFont.FreeTypeFont:
    """Give the font of this height, which comes with matplotlib and knows Greek and Cyrillic."""
    import matplotlib

    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size
    )


def fraction_entries(
    names: Sequence[str], colors: Mapping[str, str], intervals: npt.NDArray[np.floating]
) -> list[tuple[str, str, Fraction | None]]:
    """Legend entries of classes and unknown, with fractions and intervals that are known."""
    return [
        (name, colors[name], Fraction(*row) if np.isfinite(row[0]) else None)
        for name, row in zip((*names, UNKNOWN), intervals.tolist(), strict=True)
    ]


_COLUMNS = (
    "path", "index", "time", "chip_width", "chip_height", "height", "width", "pixel_size", "unit",
)  # fmt: skip
_SOME_SIZE = ChipSize(16, 16)
"""For archives that do not know the size of their chips."""


@dataclass(frozen=True, eq=False)
class View:
    """Pictures of a frame, at its resolution.

    Attributes
    ----------
    painted
        (H, W, 3) label map.
    overlay
        (H, W, 3) label map over the frame; None where its pixels are gone.
    """

    number: int
    painted: Rgb = field(repr=False)
    overlay: Rgb | None = field(repr=False)

    @property
    def best(self) -> Rgb:
        """The overlay, or the label map alone."""
        return self.painted if self.overlay is None else self.overlay


class Studio:
    """Makes pictures of the frames of a run under its scoring."""

    def __init__(self, run: Run, read_pixels: PixelReader) -> None:
        self._run = run
        self._read = read_pixels
        self._columns = run.columns(*_COLUMNS)
        self._left_out = set(run.exclusions["frame"])
        self._colors = [run.colors[name] for name in (*run.names, UNKNOWN)]
        self._scale = cache(partial(scale_of, run.support_set))

    def view(self, number: int) -> View:
        """Paint a frame."""
        labels = self._run.label_map(number)
        known = {name: values[number] for name, values in self._columns.items()}
        size = (int(known["chip_width"]), int(known["chip_height"]))
        chip_size = ChipSize(*size) if min(size) >= 4 else _SOME_SIZE
        covered = (labels.shape[0] * chip_size.height, labels.shape[1] * chip_size.width)
        shape = (int(known["height"]), int(known["width"]))
        if shape[0] < covered[0] or shape[1] < covered[1]:
            shape = covered
        painted = color_labels(labels, self._colors, chip_size, shape)
        pixels = self._read(known["path"].decode("utf-8", "surrogateescape"), int(known["index"]))
        if pixels is None or pixels.shape != shape:
            return View(number, painted, None)
        scale = self._scale(self._run.support_version(number)) or Normalization.from_percentiles(
            pixels
        )
        return View(number, painted, overlay(scale.apply(pixels), painted, covered))

    def legend(self, view: View) -> Legend:
        """Text below the pictures of a frame."""
        intervals = self._run.intervals[view.number]
        entries = fraction_entries(self._run.names, self._run.colors, intervals)
        return Legend(entries, *self.pixel_size(view), self.title(view))

    def title(self, view: View) -> str:
        """Name a frame by its number, from 1 on as on the pages, and its time."""
        since = float(self._columns["time"][view.number]) - self._run.start
        out = ", left out" if view.number in self._left_out else ""
        return f"frame {view.number + 1}, {since:.2f} s{out}"

    def pixel_size(self, view: View) -> tuple[float | None, str | None]:
        """Edge of a pixel and its unit, where known."""
        size = float(self._columns["pixel_size"][view.number])
        unit = self._columns["unit"][view.number].decode("utf-8", "replace")
        return (size if np.isfinite(size) else None), unit or None


def thumbnail(run: Run, number: int, read_pixels: PixelReader, edge: int) -> bytes:
    """Small JPEG of a frame with its labels over it; labels alone where the frame is gone."""
    labels = run.label_map(number)
    rows, columns = labels.shape
    cell = max(2 * edge // max(rows, columns), CELLS)
    colors = [run.colors[name] for name in (*run.names, UNKNOWN)]
    shape = (rows * cell, columns * cell)
    picture = color_labels(labels, colors, ChipSize(cell, cell), shape)
    known = run.columns("path", "index")
    path = known["path"][number].decode("utf-8", "surrogateescape")
    pixels = read_pixels(path, int(known["index"][number]))
    if pixels is not None:
        small = reduced(pixels, 2 * edge)
        grey = Image.fromarray(to_grey(Normalization.from_percentiles(small).apply(small)))
        fitted = np.asarray(grey.resize(shape[::-1], Image.Resampling.BOX), np.float32) / 255
        picture = overlay(fitted, picture, shape)
    return encode_jpeg(Image.fromarray(picture), edge)


def export_png(
    run: Run,
    folder: str | Path,
    read_pixels: PixelReader,
    frames: Sequence[int] | None = None,
    progress: Progress = no_progress,
) -> list[Path]:
    """Write label maps as pictures at frame resolution, with scale bar and legend.

    Parameters
    ----------
    folder
        Gets NNNNNN_map.png, and NNNNNN_overlay.png where the frame's pixels are at hand.
    read_pixels
        (path, index) → (H, W) counts, or None where they are gone.
    frames
        Frame numbers; default: all that the scoring covers.

    Returns
    -------
    The files.
    """
    folder = Path(folder)
    chosen = run.covered.tolist() if frames is None else frames
    studio = Studio(run, read_pixels)
    written: list[Path] = []
    for done, number in enumerate(chosen):
        view = studio.view(number)
        legend = studio.legend(view)
        pictures = {"map": with_legend(view.painted, legend)}
        if view.overlay is not None:
            colors = [color for _, color, _ in legend.entries]
            pictures["overlay"] = with_palette(with_legend(view.overlay, legend), colors)
        for name, picture in pictures.items():
            target = folder / f"{number:06d}_{name}.png"
            # Plain areas shrink further at a higher level, noise does not.
            level = 6 if name == "map" else 1
            with writing(target) as temporary:
                picture.save(temporary, format="PNG", compress_level=level, pnginfo=own_mark())
            written.append(target)
        progress(done + 1, len(chosen))
    return written


def _all(source: ExportSource, folder: Path, progress: Progress) -> None:
    export_png(source.run, folder, source.read_pixels, None, progress)


def _shown(which: int, source: ExportSource, path: Path, progress: Progress) -> None:
    with TemporaryDirectory(dir=path.parent) as folder:
        files = export_png(source.run, folder, source.read_pixels, [source.frame], progress)
        files[which].replace(path)


def _zipped(source: ExportSource, path: Path, progress: Progress) -> None:
    with TemporaryDirectory(dir=path.parent) as folder, writing(path) as temporary:
        files = export_png(source.run, folder, source.read_pixels, None, progress)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, file.name)
                file.unlink()


ALL = ExportKind("png", "label maps as pictures", "", "", _all, pixels=True, place=3)
SHOWN = ExportKind(
    "picture", "labels over the frame, with scale bar and legend", ".png", "image/png",
    partial(_shown, -1),  # the map alone where the frame is gone
    label="png of this frame", option=False, pixels=True, place=4,
)  # fmt: skip
SHOWN_MAP = ExportKind(
    "label_map", "label map of this frame alone, with scale bar and legend", "-map.png",
    "image/png", partial(_shown, 0), label="label map png", option=False, pixels=True, place=4,
)  # fmt: skip
ZIPPED = ExportKind(
    "pictures", "a zip with the pictures of every frame", "-png.zip", "application/zip", _zipped,
    label="png of all frames", option=False, pixels=True, place=5,
)  # fmt: skip
