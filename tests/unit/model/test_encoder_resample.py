import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from pychip_stream.model.encoders.dense import axis_filter, window


def dense(limit: int, size: int, target: int, start: int, stop: int) -> np.ndarray:
    """The same filter as a matrix (out, limit)."""
    axis = axis_filter(limit, size, target, start, stop)
    matrix = np.zeros((stop - start, limit))
    for taps, weights in zip(axis.indices.numpy(), axis.weights.numpy(), strict=True):
        np.add.at(matrix, (np.arange(stop - start), taps), weights)
    return matrix


@given(st.integers(4, 300), st.integers(1, 5))
def test_a_constant_stays_and_nothing_is_weighted_below_zero(size, chips):
    matrix = dense(size * chips + 3, size, 64, -16, 64 * chips + 16)
    np.testing.assert_allclose(matrix.sum(1), 1.0, atol=1e-5)
    assert (matrix >= 0).all()


@given(st.integers(65, 300))
def test_shrinking_keeps_the_mean_of_a_chip_exactly(size):
    values = np.random.default_rng(size).normal(size=size)
    out = dense(size, size, 64, 0, 64) @ values
    np.testing.assert_allclose(out.mean(), values.mean(), atol=1e-5)


def test_an_integer_ratio_is_block_averaging():
    values = np.arange(256.0)
    np.testing.assert_allclose(
        dense(256, 128, 64, 0, 128) @ values, values.reshape(-1, 2).mean(1), atol=1e-4
    )


def test_enlarging_a_ramp_gives_a_ramp():
    out = dense(64, 16, 64, 8, 200) @ np.arange(64.0)
    np.testing.assert_allclose(np.diff(out), 0.25, atol=1e-4)


@given(st.integers(1, 40), st.integers(0, 60))
def test_beyond_the_border_the_frame_is_mirrored(limit, reach):
    image = np.random.default_rng(limit).normal(size=(limit, 5)).astype(np.float32)
    axis = axis_filter(limit, 64, 64, -reach, limit + reach)
    across = axis_filter(5, 64, 64, 0, 5)
    mode = {"mode": "reflect"} if limit > 1 else {"mode": "edge"}
    expected = np.pad(image, ((reach, reach), (0, 0)), **mode)
    np.testing.assert_array_equal(window(torch.from_numpy(image), axis, across), expected)


def test_axes_are_resampled_each_on_its_own():
    image = torch.arange(70.0)[:, None].expand(70, 34)
    out = window(image, axis_filter(70, 35, 64, 0, 128), axis_filter(34, 34, 64, 0, 64))
    assert out.shape == (128, 64)
    assert torch.allclose(out[:, 0], out[:, 63])
    assert torch.all(out[1:, 0] >= out[:-1, 0])
