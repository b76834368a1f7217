import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.errors import FrameError, UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [("64", (64, 64)), ("34x35", (34, 35)), (" 34 X 35 ", (34, 35)), (20, (20, 20))],
)
def test_chip_size_is_width_first(text, size):
    parsed = ChipSize.parse(text)
    assert (parsed.width, parsed.height) == size
    assert ChipSize.parse(str(parsed)) == parsed


@pytest.mark.parametrize("text", ["", "x", "34x", "-3", "3", "3x64", "1e9", "34x35x36", "64.5"])
def test_a_wrong_chip_size_is_a_usage_error(text):
    with pytest.raises(UsageError):
        ChipSize.parse(text)


def test_the_remainder_is_cropped():
    grid = Grid.of((790, 787), ChipSize(34, 35))
    assert (grid.rows, grid.columns) == (22, 23)
    assert grid.shape == (770, 782)


def test_a_frame_smaller_than_a_chip_is_refused():
    with pytest.raises(FrameError, match="smaller than one chip"):
        Grid.of((30, 100), ChipSize(32, 32))


@given(
    height=st.integers(8, 40),
    width=st.integers(8, 40),
    chip=st.integers(4, 8),
    margin=st.integers(0, 60),
    data=st.data(),
)
def test_a_patch_is_the_chip_with_mirrored_surroundings(height, width, chip, margin, data):
    pixels = np.arange(height * width).reshape(height, width)
    grid = Grid.of(pixels.shape, ChipSize(chip, chip))
    row = data.draw(st.integers(0, grid.rows - 1))
    column = data.draw(st.integers(0, grid.columns - 1))
    patch = grid.patch(pixels, row, column, (margin, margin))
    expected = np.pad(pixels, margin, mode="reflect")[
        row * chip : row * chip + chip + 2 * margin,
        column * chip : column * chip + chip + 2 * margin,
    ]
    assert np.array_equal(patch, expected)


def test_a_chip_outside_the_grid_is_refused():
    grid = Grid.of((64, 64), ChipSize(32, 32))
    with pytest.raises(UsageError, match="outside the grid"):
        grid.patch(np.zeros((64, 64)), 2, 0, (0, 0))
