"""Stacks: which planes are frames, and when each was taken."""

import itertools

import numpy as np
import pytest
import tifffile

from pychip_stream.domain.frames import FrameRef, Stamp, time_of
from pychip_stream.errors import FrameError
from pychip_stream.formats import dm
from pychip_stream.formats.reading import frame_count, read_frame
from pychip_stream.formats.tiff_stack import find
from pychip_stream.sim import dm4

RAMP = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)


def moments(path, mtime=1_700_000_100.25):
    """Times of the frames of a file that was written at `mtime`, since the first one."""
    found = []
    for index in range(frame_count(path)):
        frame = read_frame(path, index)
        ref = FrameRef(path="a", mtime_ns=int(mtime * 1e9), time=mtime)
        found.append(time_of(frame, ref))
    return found


def steps(path, **options):
    found = moments(path, **options)
    return [round(later - earlier, 6) for earlier, later in itertools.pairwise(found)]


def test_frames_of_a_dm_stack_have_the_times_of_its_third_axis(shared_data):
    path = shared_data / "reported" / "dm4_insitu_stack_0.5s.dm4"
    assert steps(path) == [0.5] * 5


def test_the_last_frame_of_a_stack_was_taken_when_the_file_was_written(tmp_path):
    path = tmp_path / "a.tif"
    told = {"finterval": 0.25, "axes": "TYX"}
    tifffile.imwrite(path, np.stack([RAMP] * 4), imagej=True, metadata=told)
    assert moments(path) == pytest.approx([1_700_000_099.5, 1_700_000_099.75, 1_700_000_100.0,
                                           1_700_000_100.25])  # fmt: skip


@pytest.mark.parametrize(
    ("told", "step"),
    [("finterval=500\ntunit=msec", 0.5), ("finterval=2\ntunit=\\u00B5sec", 2e-6),
     ("finterval=1.5\ntunit=min", 90.0), ("finterval=3\ntunit=fortnight", 0.0),
     ("fps=7.0", 0.0)],
    ids=["ms", "µs", "min", "in no unit that is known", "of playing"],
)  # fmt: skip
def test_intervals_of_imagej_have_their_unit(tmp_path, told, step):
    text = f"ImageJ=1.53t\nimages=3\nframes=3\n{told}\n"
    pages = {"photometric": "minisblack", "metadata": None, "description": text}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([RAMP] * 3), **pages)
    assert steps(tmp_path / "a.tif") == [step] * 2


def slices(path, stack, **options):
    """Write a stack as ImageJ does when it is large: one page, all planes behind it."""
    text = f"ImageJ=1.53t\nimages={len(stack)}\nslices={len(stack)}\n"
    tifffile.imwrite(path, stack[0], metadata=None, description=text, **options)
    with path.open("ab") as file:
        file.write(stack[1:].tobytes())


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u4", "i4", "f2", "f4"])
def test_slices_behind_one_page_keep_their_type(tmp_path, dtype):
    stack = (np.stack([RAMP, RAMP + 1]).astype("i4") - 48).astype(dtype)
    slices(tmp_path / "a.tif", stack, photometric="minisblack")
    frame = read_frame(tmp_path / "a.tif", 1)
    assert frame.pixels.dtype == np.dtype(dtype)
    assert np.array_equal(frame.pixels, stack[1])


@pytest.mark.parametrize("kind", ["miniswhite", "palette"])
def test_slices_are_shown_as_single_images_are(tmp_path, kind):
    colours = np.arange(255, -1, -1, np.uint16) * 257
    options = {"photometric": kind}
    options |= {"colormap": np.stack([colours] * 3)} if kind == "palette" else {}
    stack = np.stack([RAMP, RAMP + 1]).astype("u1")
    slices(tmp_path / "a.tif", stack, **options)
    assert np.array_equal(read_frame(tmp_path / "a.tif", 1).pixels, 255 - stack[1])


def test_height_of_imagej_has_its_own_unit(tmp_path):
    text = "ImageJ=1.53t\nunit=nm\nyunit=um\n"
    tifffile.imwrite(
        tmp_path / "a.tif", RAMP, metadata=None, description=text, resolution=(2, 1000)
    )
    frame = read_frame(tmp_path / "a.tif")
    assert (frame.pixel_size, frame.unit, frame.pixel_ratio) == (0.5, "nm", pytest.approx(2))


def test_a_start_in_whole_seconds_gives_way_to_a_file_time_that_agrees(tmp_path):
    path = tmp_path / "a.tif"
    stamp = "2023:11:14 22:13:20"
    tifffile.imwrite(
        path, np.stack([RAMP] * 3), imagej=True, metadata={"finterval": 0.5}, datetime=stamp
    )
    start = read_frame(path).time
    assert isinstance(start, Stamp)
    assert start.resolution == 1
    found = moments(path, mtime=float(start) + 1.3)
    assert found == pytest.approx([float(start) + 0.3 + 0.5 * n for n in range(3)])
    later = moments(path, mtime=float(start) + 900.3)
    assert later == pytest.approx([float(start) + 0.5 * n for n in range(3)])


def test_ome_time_series_keep_size_and_time_in_every_frame(shared_data):
    path = shared_data / "reported" / "ome_time_series.ome.tif"
    frames = [read_frame(path, index) for index in range(6)]
    assert [(frame.pixel_size, frame.unit) for frame in frames] == [(5.0, "nm")] * 6
    assert steps(path) == [2.5] * 5


def test_channels_are_not_frames(shared_data):
    path = shared_data / "reported" / "ome_two_channels.ome.tif"
    assert frame_count(path) == 1
    assert read_frame(path).notes == ("2 channels: SE is analysed, BSE left out",)
    with tifffile.TiffFile(path) as file:
        assert np.array_equal(read_frame(path).pixels, file.pages[0].asarray())


def test_a_channel_can_be_asked_for(shared_data):
    path = shared_data / "reported" / "ome_two_channels.ome.tif"
    with tifffile.TiffFile(path) as file:
        assert np.array_equal(read_frame(path, detector="bse").pixels, file.pages[1].asarray())
    assert read_frame(path, detector="bse").notes == ("2 channels: BSE is analysed, SE left out",)
    with pytest.raises(FrameError, match="no image of 'EDS'"):
        read_frame(path, detector="EDS")
    plain = shared_data / "reported" / "ome_time_series.ome.tif"
    assert frame_count(plain, detector="EDS") == 6  # names no channels


@pytest.mark.parametrize("imagej", [True, False], ids=["ImageJ", "OME"])
def test_the_first_channel_of_a_time_series_is_analysed(tmp_path, imagej):
    path = tmp_path / ("a.tif" if imagej else "a.ome.tif")
    stack = np.stack([np.stack([RAMP + t, RAMP + 1000 + t]) for t in range(3)]).astype(np.uint16)
    metadata = {"axes": "TCYX"}
    if imagej:
        metadata["finterval"] = 2.0
    else:
        metadata |= {"TimeIncrement": 2.0, "TimeIncrementUnit": "s"}
    tifffile.imwrite(path, stack, imagej=imagej, metadata=metadata)
    assert frame_count(path) == 3
    for index in range(3):
        assert np.array_equal(read_frame(path, index).pixels, stack[index, 0])
    assert steps(path) == [2.0, 2.0]


def test_times_of_single_planes_win(tmp_path):
    planes = "".join(
        f'<Plane TheZ="0" TheC="0" TheT="{t}" DeltaT="{d}" DeltaTUnit="ms"/>'
        for t, d in enumerate((100, 350, 900))
    )
    description = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0"><Pixels DimensionOrder="XYZCT" Type="uint16" SizeX="12" SizeY="8" '
        f'SizeZ="1" SizeC="1" SizeT="3" TimeIncrement="9">{planes}</Pixels></Image></OME>'
    )
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for number in range(3):
            file.write(RAMP, description=description if number == 0 else None, metadata=None)
    assert steps(tmp_path / "a.tif") == [0.25, 0.55]


@pytest.mark.parametrize(
    ("unit", "step"),
    [("s", 40.0), ("ms", 0.04), ("nm", 0.0), ("deg", 0.0), ("", 0.5), (" ", 0.5)],
)
def test_only_a_third_axis_of_time_gives_times(unit, step):
    axis = "ImageList.2.ImageData.Calibrations.Dimension.3"
    tree = dm.DmTree(4, True, {f"{axis}.Scale": 40.0, f"{axis}.Units": unit})
    assert dm._step(tree, "ImageList.2", 0.5) == pytest.approx(step)


def test_a_stack_that_was_exposed_one_by_one_takes_its_exposures(tmp_path):
    stack = np.stack([RAMP] * 3)
    (tmp_path / "a.dm4").write_bytes(dm4.encode(stack, exposure_s=0.25))
    assert steps(tmp_path / "a.dm4") == [0.25, 0.25]
    (tmp_path / "a.dm4").write_bytes(dm4.encode(stack, exposure_s=0.25, interval_s=0.75))
    assert steps(tmp_path / "a.dm4") == [0.75, 0.75]


@pytest.mark.parametrize(
    "text",
    [
        "ImageJ=1\nimages=x",
        "ImageJ=1\nimages=99999999999",
        "ImageJ=1\nfps=0",
        "<OME><Pixels/></OME>",
        "<OME",
        "",
        '<OME><Pixels SizeC="-1" SizeT="0"/></OME>',
        '<OME><Pixels SizeT="1e9"/></OME>',
    ],
)
def test_a_description_that_cannot_be_understood_says_nothing(text):
    assert find(text).planes == 1
