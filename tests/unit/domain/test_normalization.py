import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pychip_stream.domain.normalization import Normalization, equalize_adaptive
from pychip_stream.errors import UsageError


def test_an_empty_frame_stays_empty_under_the_range_of_the_run():
    rng = np.random.default_rng(0)
    full = rng.integers(0, 1000, (64, 64)).astype(np.uint16)
    norm = Normalization.from_percentiles(full)
    assert norm.apply(full).max() > 0.9
    assert norm.apply(np.full((64, 64), 10, np.uint16)).max() < 0.05


@given(
    hnp.arrays(
        st.sampled_from(
            [np.bool_, np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64]
        ),
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=12),
    ),
    st.sampled_from(["range", "frame", "depth"]),
    st.booleans(),
)
def test_whatever_comes_in_finite_values_come_out(pixels, mode, clahe):
    with np.errstate(all="ignore"):
        measured = Normalization.from_percentiles(pixels)
        norm = Normalization(mode, measured.low, measured.high, clahe)
        out = norm.apply(pixels)
    assert out.dtype == np.float32
    assert out.shape == pixels.shape
    assert np.isfinite(out).all()
    assert out.min() >= -0.5
    assert out.max() <= 1.5


def test_one_hot_pixel_spoils_one_pixel():
    pixels = np.linspace(0, 1, 10000, dtype=np.float32).reshape(100, 100)
    clean = Normalization.from_percentiles(pixels)
    pixels[3, 3], pixels[4, 4] = np.nan, np.inf
    spoilt = Normalization.from_percentiles(pixels)
    assert (spoilt.low, spoilt.high) == pytest.approx((clean.low, clean.high), abs=1e-3)


def test_sixteen_bit_frames_meet_eight_bit_chips():
    depth = Normalization("depth")
    chip = np.array([[0, 128, 255]], np.uint8)
    frame = np.array([[0, 128 * 256, 255 * 256]], np.uint16)
    assert np.allclose(depth.apply(chip), depth.apply(frame))


def test_equalisation_is_that_of_opencv():
    y, x = np.mgrid[:40, :48]
    image = (x * 5 + y * 3 + 40 * np.sin(x / 3) + 30 * np.cos(y / 5)).clip(0, 255).astype(np.uint8)
    expected = [  # createCLAHE(2.0, (8, 8)), every 8th row and 6th column
        [26, 174, 38, 124, 217, 102, 170, 255],
        [28, 204, 38, 119, 211, 86, 151, 255],
        [28, 197, 29, 122, 213, 80, 160, 255],
        [53, 204, 95, 142, 226, 144, 218, 255],
        [48, 242, 86, 182, 255, 246, 255, 255],
    ]
    out = np.rint(equalize_adaptive(image.astype(np.float32) / 255) * 255)
    assert np.abs(out[::8, ::6] - expected).max() <= 1


def test_equalisation_pads_frames_as_opencv_does():
    y, x = np.mgrid[:101, :77]  # neither edge a multiple of eight
    image = ((x * x // 7 + y * y // 5 + 37 * ((x // 9 + y // 13) % 3)) % 256).astype(np.uint8)
    expected = [  # createCLAHE(2.0, (8, 8)), every 20th row and 13th column
        [4, 74, 183, 254, 199, 133],
        [123, 186, 174, 123, 218, 245],
        [68, 122, 237, 57, 14, 203],
        [244, 44, 49, 248, 85, 113],
        [3, 64, 171, 254, 206, 121],
        [241, 58, 58, 246, 86, 128],
    ]
    out = np.rint(equalize_adaptive(image.astype(np.float32) / 255) * 255)
    assert np.abs(out[::20, ::13] - expected).max() <= 1


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))])
def test_an_empty_range_is_refused(low, high):
    with pytest.raises(UsageError):
        Normalization("range", low, high)
