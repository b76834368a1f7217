import numpy as np
import pytest

from pychip_stream.domain.frames import Frame, FrameKey
from pychip_stream.errors import FrameError


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x.tif", "a/../../x.tif", "a\\b.tif"])
def test_a_key_never_leaves_its_folder(path):
    with pytest.raises(FrameError):
        FrameKey(path)


@pytest.mark.parametrize(
    "pixels", [np.zeros((2, 2, 2)), np.zeros(4), np.zeros((0, 3)), np.zeros((2, 2), complex)]
)
def test_what_is_no_grey_image_is_refused(pixels):
    with pytest.raises(FrameError):
        Frame(pixels)


def test_a_frame_keeps_its_pixels_as_they_are():
    frame = Frame(np.arange(6, dtype=np.uint16).reshape(2, 3), pixel_size=0.2, unit="nm")
    assert frame.shape == (2, 3)
    assert frame.pixels.dtype == np.uint16
