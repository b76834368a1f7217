"""Grid picture: a frame under its numbered grid, to read off the rows and columns of picks."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.errors import UsageError
from pychip_stream.export.pictures import letters
from pychip_stream.formats.raster import own_mark

_LEGIBLE_PX = 26
"""Edge of a chip on the picture that two digits and a look at the chip need."""

_MOST_PX = 4096
_LINE, _FIFTH = (255, 80, 0, 130), (255, 80, 0, 255)
_CROPPED = (0, 0, 0, 150)


def save_numbered_grid(frame: Frame, chip_size: ChipSize, path: Path) -> None:
    """Write the picture of `numbered_grid` as PNG.

    Raises
    ------
    UsageError
        If the name of the file says another format.
    FrameError
        If not even one chip fits.
    OSError
        If it cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UsageError(f"{path}: is written as PNG; give it a name that ends in .png")
    numbered_grid(frame, chip_size).save(path, "PNG", pnginfo=own_mark())


def numbered_grid(frame: Frame, chip_size: ChipSize) -> Image.Image:
    """Draw the grid over a frame, with the numbers of rows and columns on all four sides.

    Small chips are enlarged; where numbers would still touch, only every second, fifth, … stands.
    """
    grid = Grid.of(frame.pixels.shape, chip_size)
    smallest, longest = min(chip_size.width, chip_size.height), max(frame.pixels.shape)
    zoom = max(min(-(-_LEGIBLE_PX // smallest), _MOST_PX // longest), 1)
    grey = Normalization.from_percentiles(frame.pixels).apply(frame.pixels)
    picture = Image.fromarray(np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)).convert("RGB")
    picture = picture.resize((zoom * picture.width, zoom * picture.height), Image.Resampling.BOX)
    width, height = zoom * chip_size.width, zoom * chip_size.height
    _draw_lines(picture, grid, width, height)
    return _with_numbers(picture, grid, width, height)


def _draw_lines(picture: Image.Image, grid: Grid, width: int, height: int) -> None:
    draw = ImageDraw.Draw(picture, "RGBA")
    right, bottom = grid.columns * width, grid.rows * height
    draw.rectangle((right, 0, *picture.size), fill=_CROPPED)
    draw.rectangle((0, bottom, right - 1, picture.height), fill=_CROPPED)
    thick = max(max(picture.size) // 1024, 1)
    for column in range(grid.columns + 1):
        place = (column * width, 0, column * width, bottom)
        draw.line(place, fill=_LINE if column % 5 else _FIFTH, width=thick)
    for row in range(grid.rows + 1):
        place = (0, row * height, right, row * height)
        draw.line(place, fill=_LINE if row % 5 else _FIFTH, width=thick)


def _with_numbers(picture: Image.Image, grid: Grid, width: int, height: int) -> Image.Image:
    size = int(np.clip(min(width, height) * 0.5, 13, max(*picture.size, 512) // 36))
    font, margin = letters(size), 2 * size + size // 2
    canvas = Image.new("RGB", (picture.width + 2 * margin, picture.height + 2 * margin), "white")
    canvas.paste(picture, (margin, margin))
    draw = ImageDraw.Draw(canvas)

    def write(x: float, y: float, number: int) -> None:
        draw.text((x, y), str(number), fill="black", font=font, anchor="mm")

    for column in range(0, grid.columns, _step(font.getlength("0" + str(grid.columns)), width)):
        for y in (margin // 2, canvas.height - margin // 2):
            write(margin + (column + 0.5) * width, y, column)
    for row in range(0, grid.rows, _step(1.2 * size, height)):
        for x in (margin // 2, canvas.width - margin // 2):
            write(x, margin + (row + 0.5) * height, row)
    draw.text((2, 1), "row, col", fill="black", font=letters(max(size * 2 // 3, 9)))
    return canvas


def _step(needed: float, pitch: int) -> int:
    """Every how many numbers one can stand."""
    return next(n for n in (1, 2, 5, 10, 20, 50, 100, 1000, 10_000) if n * pitch >= needed)
