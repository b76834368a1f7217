"""How frames are shown: as analysed where that shows anything, otherwise in their own contrast."""

import io

import numpy as np
import pytest
from PIL import Image

from dashboard.work import display
from dashboard.work.display import Contrast
from dashboard.work.frame_pictures import FramePicture
from pychip_stream.domain.normalization import Normalization

EIGHT_BITS = Normalization("range", 10.0, 240.0)
PICTURE = FramePicture(key=("a.tif", 0), shape=(64, 64))


def grey(jpeg):
    return np.asarray(Image.open(io.BytesIO(jpeg)))


def noise(mean, spread, shape=(64, 64)):
    values = np.random.default_rng(0).normal(mean, spread, shape)
    return np.clip(values, 0, 65535).astype(np.uint16)


def test_a_crop_is_as_it_was_recorded():
    pixels = np.zeros((64, 64), np.uint16)
    pixels[10:20, 30:50] = 1000
    shown = display.with_pixels(PICTURE, pixels, None)
    picture = grey(display.crop(shown, pixels, None, (30, 10, 50, 20)))
    assert picture.shape == (10, 20)
    assert picture.min() > 240


@pytest.mark.parametrize(
    ("pixels", "scale"),
    [
        (noise(30000, 5000), EIGHT_BITS),  # all white
        (noise(100, 20), Normalization("range", 20000, 60000)),  # all black
        (noise(100, 20), Normalization("range", 0, 60000)),  # within the range, and black
        (noise(900, 150), Normalization("depth")),
    ],
)
def test_a_frame_of_another_exposure_or_depth_is_seen_and_says_why(pixels, scale):
    shown = display.with_pixels(PICTURE, pixels, scale)
    assert grey(shown.jpeg).std() > 25
    assert "another exposure or bit depth" in shown.warning
    low, high = scale.limits(pixels)
    own = Normalization.from_percentiles(pixels)
    assert shown.grey[:2] == (own.low, own.high)
    analysed = display.with_pixels(PICTURE, pixels, scale, Contrast("analysed"))
    assert analysed.grey[:2] == (low, high)
    assert grey(analysed.jpeg).std() < 20
    part = grey(display.crop(shown, pixels, scale, (0, 0, 32, 32)))
    assert abs(part.mean() - grey(shown.jpeg)[:32, :32].mean()) < 2


@pytest.mark.parametrize(
    ("pixels", "mean"),
    [
        (noise(125, 40), 128),
        (noise(120, 4), 122),  # an empty frame looks empty
        (noise(125, 40) + (np.arange(64) < 6).astype(np.uint16) * 600, 140),  # a bright edge
    ],
)
def test_a_frame_that_fits_is_shown_as_it_is_analysed(pixels, mean):
    shown = display.with_pixels(PICTURE, pixels, EIGHT_BITS)
    assert (shown.grey[:2], shown.warning) == ((10.0, 240.0), "")
    assert grey(shown.jpeg).mean() == pytest.approx(mean, abs=4)


def test_a_viewer_chooses_the_contrast_and_a_crop_keeps_it():
    pixels = noise(1000, 20)
    pixels[:8, :8] = 60000
    chosen = Contrast.asked({"mode": "hand", "low": 900, "high": 1100})
    shown = display.with_pixels(PICTURE, pixels, EIGHT_BITS, chosen)
    assert "another exposure" in shown.warning  # of the analysis, whatever is seen
    assert shown.grey[:4] == (900, 1100, pixels.min(), 60000)
    assert shown.grey.histogram[0] == 1.0
    part = grey(display.crop(shown, pixels, EIGHT_BITS, (32, 32, 64, 64)))
    assert part.mean() == pytest.approx(grey(shown.jpeg)[32:, 32:].mean(), abs=2)
    assert part.mean() == pytest.approx(128, abs=8)
    full = display.with_pixels(PICTURE, pixels, EIGHT_BITS, Contrast.asked({"mode": "full"}))
    assert full.grey[:2] == (pixels.min(), 60000)


@pytest.mark.parametrize(
    ("mode", "low", "high"),
    [
        (None, None, None), (7, 0, 1), ("hand", None, 1), ("hand", 2, 1), ("hand", "1", 2),
        ("hand", float("nan"), 1), ("hand", 0, float("inf")),
    ],
)  # fmt: skip
def test_a_contrast_that_makes_no_sense_is_automatic(mode, low, high):
    assert Contrast.asked({"mode": mode, "low": low, "high": high}) == Contrast()
