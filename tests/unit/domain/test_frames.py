import numpy as np
import pytest

from pychip_stream.domain.frames import (
    Frame,
    Stamp,
    best_time,
    check_inside,
    file_time,
    inside,
    natural,
)
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.quantities import OF_FRAMES, intensity
from pychip_stream.errors import FrameError


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x.tif", "a/../../x.tif", "a\\b.tif"])
def test_a_frame_never_leaves_its_folder(path, tmp_path):
    with pytest.raises(FrameError):
        check_inside(path)
    with pytest.raises(FrameError):
        inside(tmp_path, path)


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


OWN = 1_700_000_010


@pytest.mark.parametrize(
    ("own", "other", "best"),
    [
        (None, OWN + 0.2, OWN + 0.2),
        (Stamp(OWN, 1.0), OWN + 0.2, OWN + 0.2),  # a DateTime, and a series or file
        (Stamp(OWN, 1.0), OWN - 0.9, OWN - 0.9),
        (Stamp(OWN, 1.0), OWN + 1.9, OWN + 1.9),  # taken at .95, closed .95 later
        (Stamp(OWN, 1.0), OWN + 2.1, OWN),
        (Stamp(OWN, 1.0), OWN - 1.1, OWN),
        (Stamp(OWN, 1.0), file_time((OWN + 1) * 10**9), OWN),  # unpacked: even seconds
        (Stamp(OWN, 60.0), OWN + 59.5, OWN + 59.5),
        (Stamp(OWN, 60.0), file_time((OWN + 2) * 10**9), OWN + 2),
        (Stamp(OWN + 0.5, 1e-7), OWN + 0.6, OWN + 0.5),
        (Stamp(OWN, 1e-3), OWN + 0.01, OWN),
        (float(OWN), OWN + 0.2, OWN),
    ],
)
def test_of_two_times_that_agree_the_finer_one_is_taken(own, other, best):
    assert best_time(own, other) == best


def test_names_sort_with_their_numbers_by_value():
    names = {"a/img_9.tif", "a/img_10.tif", "a/img_010b.tif", "a/img_100.tif", "b10/1", "b9a/2"}
    assert sorted(names, key=natural) == [
        "a/img_9.tif", "a/img_10.tif", "a/img_010b.tif", "a/img_100.tif", "b9a/2", "b10/1",
    ]  # fmt: skip


def test_the_counts_of_a_small_frame_are_those_of_all_its_pixels():
    pixels = np.zeros((50, 70), np.float32)
    pixels[1::2] = 1000.0  # every second row
    pixels[0, 0] = np.nan
    values = {q.name: q.measure(Frame(pixels), None) for q in OF_FRAMES if "intens" in q.name}
    known = pixels[np.isfinite(pixels)].astype(np.float64)
    low, high = np.percentile(known, (1, 99))
    assert values == {
        "intensity_mean": known.mean(), "intensity_p1": low, "intensity_p99": high
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "alarming"), [("<f2", 0x7D00), (">f4", 0x7FA0_0000), ("<f8", 0x7FF4 << 48)]
)
def test_a_nan_that_raises_an_alarm_is_one_like_any_other(kind, alarming):
    """Changed bytes of a message made NumPy warn of each frame, which is an error here."""
    pixels = np.full((8, 8), 2.0, kind)
    pixels.view(kind.replace("f", "u"))[3, 5] = alarming
    frame = Frame(pixels)
    assert np.argwhere(np.isnan(frame.pixels)).tolist() == [[3, 5]]
    shown = Normalization("range", 0.0, 4.0).apply(frame.pixels)
    assert (shown[3, 5], shown.sum()) == (0.0, 63 * 0.5)
    assert intensity(frame) == (2.0, 2.0, 2.0)
