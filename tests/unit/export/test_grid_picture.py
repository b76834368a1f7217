"""The numbered grid: every row and column can be read off beside the chip that it names."""

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.errors import FrameError, UsageError
from pychip_stream.export.grid_picture import numbered_grid, save_numbered_grid


@pytest.fixture
def words(monkeypatch):
    """What is written into pictures: (x, y) of the middle and the text."""
    found = []
    write = ImageDraw.ImageDraw.text

    def text(self, xy, text, *args, **options):
        if options.get("anchor") == "mm":
            found.append((*xy, int(text), options["font"].getlength(text)))
        write(self, xy, text, *args, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", text)
    return found


@pytest.mark.parametrize(
    ("edge", "chip", "count"),
    [(512, "32", (16, 16)), (2048, "64", (32, 32)), (500, "8", (62, 62)), (300, "60x100", (3, 5))],
)
def test_the_numbers_stand_beside_the_chip_that_they_name(words, edge, chip, count):
    size, (row, column) = ChipSize.parse(chip), (2, 3)
    pixels = np.random.default_rng(0).normal(1000, 1, (edge, edge)).astype(np.uint16)
    places = np.s_[row * size.height : (row + 1) * size.height, column * size.width :]
    pixels[places][:, : size.width] = 60_000
    picture = np.asarray(numbered_grid(Frame(pixels), size))

    top, left = min(y for _, y, _, _ in words), min(x for x, *_ in words)
    numbers_x = {n: (x, wide) for x, y, n, wide in words if y == top}
    numbers_y = {n: (x, y) for x, y, n, _ in words if x == left}
    assert set(numbers_x) == set(range(count[1]))
    assert set(numbers_y) == set(range(count[0]))
    assert len(words) == 2 * sum(count)  # and the same on the other two sides
    x, y = int(numbers_x[column][0]), int(numbers_y[row][1])
    pitch = numbers_x[1][0] - numbers_x[0][0]
    assert pitch >= 26  # a chip and two digits can be seen
    assert all(wide < pitch for _, wide in numbers_x.values())
    at = [x + round(step * pitch) for step in (-1, 0, 1)]
    before, bright, after = (picture[y - 5 : y + 6, x - 5 : x + 6].mean() for x in at)
    assert bright > max(before, after) + 60


def test_where_not_every_number_has_room_some_stand(words):
    numbered_grid(Frame(np.zeros((64, 4000), np.uint8)), ChipSize(4, 4))
    top = min(y for _, y, _, _ in words)
    places = sorted((x, wide) for x, y, _, wide in words if y == top)
    assert 30 < len(places) < 1000
    pairs = pairwise(places)
    assert all(b - a > (wide + other) / 2 for (a, wide), (b, other) in pairs)


def test_the_picture_is_a_png_and_nothing_else(tmp_path):
    frame = Frame(np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    save_numbered_grid(frame, ChipSize(16, 16), tmp_path / "g.PNG")
    with Image.open(tmp_path / "g.PNG") as picture:
        assert picture.format == "PNG"
    with pytest.raises(UsageError, match=r"ends in \.png"):
        save_numbered_grid(frame, ChipSize(16, 16), tmp_path / "g.jpg")
    with pytest.raises(FrameError, match="smaller than one chip"):
        save_numbered_grid(frame, ChipSize(100, 100), tmp_path / "h.png")
