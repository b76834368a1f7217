"""DM files with several images: which of them is the frame, and what is said of the others."""

import struct

import numpy as np
import pytest

from pychip_stream.errors import FrameError
from pychip_stream.formats.reading import own_time, read_frame
from pychip_stream.sim import dm4

RAMP = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)
COMPLEX, COLOURS = 3, 23


def several(path, *images, shown=0):
    """Write images: (name, name of the signal, pixels, DataType where it is not theirs)."""
    listed = []
    for name, signal, pixels, *kind in images:
        data = dm4._image_data(pixels, 0.5, "nm", None)
        data |= {"DataType": kind[0]} if kind else {}
        tags = {"DataBar": {"Signal Name": signal, **dm4._time_tags(1.7e9)}}
        listed.append({"ImageData": data, "ImageTags": tags, "Name": name})
    body = dm4._group_body({"ImageList": listed, "ImageSourceList": [{"ImageRef": shown}]})
    path.write_bytes(struct.pack(">IQI", 4, len(body), 1) + body + bytes(8))
    return path


BF, HAADF = ("a", "BF", RAMP), ("b", "HAADF", RAMP + 500)


def test_the_image_that_is_shown_is_the_frame(tmp_path):
    path = several(tmp_path / "a.dm4", BF, HAADF, shown=1)
    frame = read_frame(path)
    assert np.array_equal(frame.pixels, RAMP + 500)
    assert frame.notes == ("2 images: HAADF is analysed, BF left out",)
    assert own_time(path) == pytest.approx(1.7e9)


def test_the_image_that_is_asked_for_is_taken(tmp_path):
    path = several(tmp_path / "a.dm4", BF, HAADF, shown=1)
    assert np.array_equal(read_frame(path, detector="bf").pixels, RAMP)
    alone = several(tmp_path / "b.dm4", BF)
    for one in (path, alone):
        with pytest.raises(FrameError, match="no image of 'DF4'"):
            read_frame(one, detector="DF4")
    camera = several(tmp_path / "c.dm4", ("OneView 3", "", RAMP))
    assert read_frame(camera, detector="DF4").shape == RAMP.shape  # names no signal


@pytest.mark.parametrize("kind", [COMPLEX, COLOURS])
@pytest.mark.parametrize("shown", [0, 1])
def test_what_is_no_grey_values_is_left_out(tmp_path, kind, shown):
    derived = ("FFT of a", "", RAMP, kind)
    frame = read_frame(several(tmp_path / "a.dm4", derived, BF, shown=shown))
    assert np.array_equal(frame.pixels, RAMP)
    assert frame.notes == ("2 images: BF is analysed, FFT of a left out",)
    with pytest.raises(FrameError, match="not grey values"):
        read_frame(several(tmp_path / "b.dm4", derived))
