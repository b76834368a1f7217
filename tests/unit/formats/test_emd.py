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
