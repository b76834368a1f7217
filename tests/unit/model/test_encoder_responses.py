import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from pychip_stream.model.encoders.filters import (
    KERNEL_RADIUS,
    PER_LEVEL,
    Responses,
    _blocked,
    stacked,
)


def describe(image: np.ndarray) -> np.ndarray:
    """(components, rows, columns) of a square image."""
    x = torch.from_numpy(image.astype(np.float32))[None, None]
    half = F.avg_pool2d(x, 2)
    return Responses()(half, F.avg_pool2d(half, 2))[0].numpy()


def stripes(period: float, size: int = 256) -> np.ndarray:
    return 0.5 + 0.2 * np.sin(2 * np.pi * np.arange(size) / period)[None].repeat(size, 0)


def test_a_cell_has_sixteen_pixels():
    assert describe(stripes(9.0)).shape == (Responses.dim, 16, 16)


def test_stacked_kernels_give_every_second_sample():
    level = torch.rand(1, 1, 32, 48, generator=torch.Generator().manual_seed(0))
    plain = Responses().plain
    assert isinstance(plain, torch.Tensor)
    found = F.conv2d(stacked(level), _blocked(plain, 2), padding=1)
    expected = F.conv2d(F.pad(level, (KERNEL_RADIUS,) * 4), plain)
    for number, (y, x) in enumerate([(0, 0), (0, 2), (2, 0), (2, 2)]):
        part = found[:, number * len(plain) : (number + 1) * len(plain)]
        # The outermost block lacks a block of its own beyond the border on one side only.
        torch.testing.assert_close(
            part[..., 1:-1, 1:-1], expected[..., y::4, x::4][..., 1:-1, 1:-1], atol=1e-5, rtol=1e-4
        )


def test_direction_does_not_matter():
    image = stripes(11.0)
    across, along = (describe(i)[:, 4:-4, 4:-4].mean((1, 2)) for i in (image, image.T))
    np.testing.assert_allclose(across, along, atol=0.05)


def test_plain_intensity_gives_nothing_but_the_floor():
    dark, bright = (describe(np.full((128, 128), v))[:, 3:-3, 3:-3] for v in (0.2, 0.9))
    np.testing.assert_allclose(dark, bright, atol=1e-3)


@pytest.mark.parametrize(("period", "level"), [(6.0, 0), (32.0, 2)])
def test_the_level_of_the_period_answers_most(period, level):
    means = describe(stripes(period))[:, 4:-4, 4:-4].mean((1, 2)).reshape(-1, PER_LEVEL)
    assert means[:, 1].argmax() == level


def test_bright_and_dark_spots_differ():
    rng = np.random.default_rng(0)
    spots = np.zeros((256, 256))
    spots[tuple(rng.integers(8, 248, (2, 150)))] = 6.0
    blurred = F.avg_pool2d(torch.from_numpy(spots)[None, None], 7, 1, 3)[0, 0].numpy()
    bright, dark = describe(0.3 + blurred), describe(0.7 - blurred)
    inner = np.s_[3:-3, 3:-3]  # beyond the border of a window there is nothing
    np.testing.assert_allclose(bright[1][inner], dark[2][inner], atol=1e-3)
    assert bright[2].mean() > bright[1].mean() + 0.1
