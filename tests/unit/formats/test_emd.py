"""EMD files of several versions and programs: which axis is which, and which image is the frame."""

import h5py
import numpy as np
import pytest

from pychip_stream.errors import FrameError
from pychip_stream.formats.reading import frame_count, read_frame

# Rows, columns and frames of unlike length, in the order x, y, frame.
X_FIRST = np.arange(5 * 3 * 4, dtype=np.float32).reshape(5, 3, 4)


def put(file, where, data, dims, *, kind=1, first=1):
    """Add a group: `dims` are (name, unit, step) of each axis."""
    group = file.create_group(where.rpartition("/")[0])
    group.attrs["emd_group_type"] = kind
    group[where.rpartition("/")[2]] = data
    for number, (name, unit, step) in enumerate(dims, first):
        axis = group.create_dataset(f"dim{number}", data=np.arange(2) * step)
        axis.attrs["name"], axis.attrs["units"] = name, unit


IN_PLANE = [("R_x", "[n_m]", 0.25), ("R_y", "[n_m]", 0.5)]


def prismatic(path):
    with h5py.File(path, "w") as file:
        at = "4DSTEM_simulation/data/realslices"
        angles = [*IN_PLANE, ("bin_outer_angle", "[mrad]", 1.0)]
        put(file, f"{at}/DPC_CoM_depth0000/realslice", X_FIRST, angles)
        put(file, f"{at}/annular_detector_depth0000/realslice", X_FIRST[..., 0], IN_PLANE)
        put(file, f"{at}/virtual_detector_depth0000/realslice", X_FIRST + 1, angles)


def test_results_of_prismatic_are_frames_with_x_along_the_rows(tmp_path):
    prismatic(tmp_path / "a.emd")
    frame = read_frame(tmp_path / "a.emd")
    assert np.array_equal(frame.pixels, X_FIRST[..., 0].T)
    assert (frame.pixel_size, frame.unit, frame.pixel_ratio) == (0.25, "nm", 2.0)
    assert frame.notes[0].startswith("3 images: annular_detector_depth0000 is analysed, DPC")
    named = {"detector": "virtual_detector_depth0000"}
    assert frame_count(tmp_path / "a.emd", **named) == 4
    for index in range(4):
        stacked = read_frame(tmp_path / "a.emd", index, **named)
        assert np.array_equal(stacked.pixels, X_FIRST[..., index].T + 1)


def test_without_an_annular_detector_the_first_result_is_taken(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        put(file, "s/data/realslices/virtual_detector_depth0000/realslice", X_FIRST, IN_PLANE)
    assert frame_count(tmp_path / "a.emd") == 4
    assert read_frame(tmp_path / "a.emd", 3).shape == (3, 5)


@pytest.mark.parametrize("kind", ["array", b"array"])
def test_emd_1_counts_its_axes_from_0(tmp_path, kind):
    rows = [("Rx", "nm", 0.5), ("Ry", "nm", 0.25)]
    with h5py.File(tmp_path / "a.emd", "w") as file:
        put(file, "root/image/data", X_FIRST[..., 0], rows, kind=kind, first=0)
    frame = read_frame(tmp_path / "a.emd")
    assert np.array_equal(frame.pixels, X_FIRST[..., 0])
    assert (frame.pixel_size, frame.unit, frame.pixel_ratio) == (0.25, "nm", 2.0)


def test_groups_of_other_kinds_hold_no_frames(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        put(file, "root/points/data", X_FIRST[..., 0], IN_PLANE, kind="pointlist")
    with pytest.raises(FrameError, match="no EMD file with an image or a stack"):
        read_frame(tmp_path / "a.emd")


def test_units_in_empty_brackets_are_none(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        put(file, "signals/a/data", X_FIRST[..., 0], [("y", "[]", 1.0), ("x", "[]", 1.0)])
    assert read_frame(tmp_path / "a.emd").pixel_size is None


def test_axes_of_words_have_no_step(tmp_path):
    with h5py.File(tmp_path / "a.emd", "w") as file:
        group = file.create_group("data/a")
        group.attrs["emd_group_type"] = 1
        group["data"] = X_FIRST[..., 0]
        for number in (1, 2):
            axis = group.create_dataset(f"dim{number}", data=[b"left", b"right"])
            axis.attrs["name"], axis.attrs["units"] = "part", ""
    frame = read_frame(tmp_path / "a.emd")
    assert (frame.shape, frame.pixel_size) == ((5, 3), None)


def stack_of(path, axes, data, name="stack"):
    """Add a stack with the axes (name, unit, values)."""
    with h5py.File(path, "a") as file:
        group = file.create_group(f"data/{name}")
        group.attrs["emd_group_type"] = 1
        group["data"] = data
        for number, (called, unit, values) in enumerate(axes, 1):
            axis = group.create_dataset(f"dim{number}", data=values)
            axis.attrs["name"], axis.attrs["units"] = called, unit


PLANE = [("y", "[n_m]", [0.0, 0.5]), ("x", "[n_m]", [0.0, 0.5])]
FRAMES = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)


@pytest.mark.parametrize(
    ("axis", "before"),
    [
        (("time", "[s]", [0.0, 0.5, 2.0]), [2.0, 1.5, 0.0]),
        (("time", "ms", [0.0, 500.0]), [1.0, 0.5, 0.0]),
        (("z", "[n_m]", [0.0, 1.0, 2.0]), [0.0] * 3),
        (("time", "s", [3.0, 2.0, 1.0]), [0.0] * 3),
        (("time", "s", [b"a", b"b", b"c"]), [0.0] * 3),
    ],
    ids=["each", "even", "heights", "backwards", "words"],
)
def test_frames_have_the_times_of_their_axis(tmp_path, axis, before):
    stack_of(tmp_path / "a.emd", [axis, *PLANE], FRAMES)
    frames = [read_frame(tmp_path / "a.emd", index) for index in range(3)]
    assert [frame.before_last_s for frame in frames] == before
    assert [frame.pixel_size for frame in frames] == [0.5] * 3


def test_frames_along_the_last_axis_have_its_times(tmp_path):
    times = ("time", "s", [0.0, 0.25, 0.5, 0.75, 1.0])
    axes = [("x", "nm", [0.0, 0.5]), ("y", "nm", [0.0, 0.5]), times]
    stack_of(tmp_path / "a.emd", axes, FRAMES)
    assert [read_frame(tmp_path / "a.emd", n).before_last_s for n in (0, 4)] == [1.0, 0.0]


def test_complex_images_are_left_out(tmp_path):
    stack_of(tmp_path / "a.emd", [PLANE[0], *PLANE], FRAMES.astype(np.complex64), "a_fft")
    with pytest.raises(FrameError, match="are not grey values"):
        read_frame(tmp_path / "a.emd")
    stack_of(tmp_path / "a.emd", [PLANE[0], *PLANE], FRAMES, "b")
    frame = read_frame(tmp_path / "a.emd")
    assert np.array_equal(frame.pixels, FRAMES[0])
    assert frame.notes == ("2 images: b is analysed, a_fft left out",)


@pytest.mark.parametrize("dtype", [">u2", ">f4", "?"])
def test_values_of_every_order_come_in_that_of_the_machine(tmp_path, dtype):
    stack_of(tmp_path / "a.emd", [PLANE[0], *PLANE], FRAMES.astype(dtype))
    pixels = read_frame(tmp_path / "a.emd", 2).pixels
    assert pixels.dtype.isnative
    assert np.array_equal(pixels, FRAMES[2].astype(dtype))
