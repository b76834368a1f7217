"""Stacks that were cut off: every frame that is whole is read, each other one has its reason."""

import struct

import h5py
import mrcfile
import numpy as np
import pytest
import tifffile

from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats.reading import contents, read_frame
from tests.unit.formats.test_formats import ser

RAMP = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)
STACK = np.stack([RAMP + np.uint16(1000 * n) for n in range(6)])
OME = '<OME><Image><Pixels SizeC="1" SizeZ="1" SizeT="{}"/></Image></OME>'
IMAGEJ = "ImageJ=1.54\nimages={0}\nframes={0}\n"


def pages(path, count, description=None):
    """One page after the other, as a camera writes them."""
    with tifffile.TiffWriter(path) as file:
        for number in range(count):
            file.write(
                STACK[0] + np.uint16(1000 * number),
                description=description if number == 0 else None,
                metadata=None,
            )


def mrc(path):
    with mrcfile.new(path) as file:
        file.set_data(STACK)


def whole(path, upside_down=False):
    """The missing frames of a file that grows no more; every other one is looked at."""
    with pytest.raises(FrameIncompleteError):
        contents(path)  # it might grow
    found = contents(path, final=True)
    for index in set(range(found.frames)) - found.missing.keys():
        pixels = read_frame(path, index).pixels
        expected = RAMP + np.uint16(1000 * index)
        assert np.array_equal(pixels[::-1] if upside_down else pixels, expected)
    for index, reason in found.missing.items():
        with pytest.raises(FrameError) as error:
            read_frame(path, index)
        assert str(error.value) == reason
    return found.frames, sorted(found.missing)


def cut(path, count):
    """Take bytes off the end of a file."""
    path.write_bytes(path.read_bytes()[:-count])


def test_the_last_image_of_a_series_is_cut_off(shared_data):
    path = shared_data / "reported" / "ser_last_image_cut.ser"
    found = contents(path, final=True)
    assert (found.frames, list(found.missing)) == (6, [5])
    assert "was cut off" in found.missing[5]
    for index in range(5):
        assert read_frame(path, index).pixels.any()


def test_one_bad_place_in_a_series(tmp_path):
    path = tmp_path / "a.ser"
    data = bytearray(ser(STACK))
    table = struct.unpack_from("<I", data, 22)[0]
    struct.pack_into("<i", data, table + 4 * 2, 1 << 30)
    path.write_bytes(data)
    assert whole(path, upside_down=True) == (6, [2])


def test_a_series_whose_image_is_of_another_kind_need_not_wait(tmp_path):
    path = tmp_path / "a.ser"
    data = bytearray(ser(STACK))
    at = struct.unpack_from("<I", data, struct.unpack_from("<I", data, 22)[0])[0]
    struct.pack_into("<h", data, at + 40, 9)
    path.write_bytes(data)
    assert contents(path).missing == {0: f"{path}: holds pixels of type 9, not grey values"}


@pytest.mark.parametrize(("lost", "missing"), [(1, [5]), (2 * RAMP.nbytes + 1, [3, 4, 5])])
def test_sections_of_an_mrc_file(tmp_path, lost, missing):
    mrc(tmp_path / "a.mrc")
    cut(tmp_path / "a.mrc", lost)
    assert whole(tmp_path / "a.mrc") == (6, missing)


@pytest.mark.parametrize("description", [OME, IMAGEJ], ids=["OME", "ImageJ"])
def test_a_stack_that_was_stopped_early(tmp_path, description):
    pages(tmp_path / "a.tif", 16, description.format(24))
    assert whole(tmp_path / "a.tif") == (24, list(range(16, 24)))
    assert contents(tmp_path / "a.tif", final=True).missing[20].endswith("16 of 24 announced pages")


def test_times_of_a_stack_that_was_stopped_early_count_back_from_the_last_that_is_there(tmp_path):
    pages(tmp_path / "a.tif", 3, IMAGEJ.format(5) + "finterval=2\n")
    assert [read_frame(tmp_path / "a.tif", index).before_last_s for index in range(3)] == [4, 2, 0]


def test_channels_of_a_stack_that_was_stopped_early(tmp_path):
    text = OME.format(3).replace('SizeC="1"', 'SizeC="2" DimensionOrder="XYCZT"')
    pages(tmp_path / "a.tif", 5, text)
    found = contents(tmp_path / "a.tif", final=True)
    assert (found.frames, list(found.missing)) == (3, [])  # channel 0 is there, 1 lacks its last
    found = contents(tmp_path / "a.tif", final=True, detector="channel 1")
    assert (found.frames, list(found.missing)) == (3, [2])


def test_slices_whose_directories_were_cut_off(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata={"axes": "TYX"})
    data = (tmp_path / "a.tif").read_bytes()
    cut(tmp_path / "a.tif", len(data) - data.index(STACK[4].tobytes()) - 5)
    assert whole(tmp_path / "a.tif") == (6, [4, 5])


def test_plain_pages_end_where_the_file_does(tmp_path):
    pages(tmp_path / "a.tif", 6)
    data = (tmp_path / "a.tif").read_bytes()
    cut(tmp_path / "a.tif", len(data) - data.index(STACK[4].tobytes()) - 5)
    assert whole(tmp_path / "a.tif") == (6, [4, 5])  # one more is announced by the one before


def test_a_damaged_page_costs_itself(tmp_path):
    pages(tmp_path / "a.tif", 6)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        struct.pack_into("<H", data, file.pages[3].tags["ImageWidth"].valueoffset, 0)
    (tmp_path / "a.tif").write_bytes(data)
    found = contents(tmp_path / "a.tif")
    assert (found.frames, list(found.missing)) == (6, [3])


def test_pages_in_a_circle_are_the_pages(tmp_path):
    pages(tmp_path / "a.tif", 3)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        last = file.pages[2]
        tags = struct.unpack_from("<H", data, last.offset)[0]
        struct.pack_into("<I", data, last.offset + 2 + 12 * tags, file.pages[1].offset)
    (tmp_path / "a.tif").write_bytes(data)
    assert contents(tmp_path / "a.tif") == (3, {})


@pytest.mark.parametrize("name", ["a.tif", "a.mrc", "a.ser"])
def test_a_file_without_a_whole_frame_is_one_failure(tmp_path, name):
    path = tmp_path / name
    if name == "a.mrc":
        mrc(path)
    elif name == "a.ser":
        path.write_bytes(ser(STACK))
    else:
        pages(path, 6)
    data = path.read_bytes()
    at = data.index(STACK[0].tobytes())
    path.write_bytes(data[: at + 10])
    for final in (False, True):
        with pytest.raises(FrameIncompleteError):
            contents(path, final=final)


def test_a_file_of_very_many_damaged_images_is_damaged(tmp_path):
    path = tmp_path / "a.ser"
    data = bytearray(ser(STACK[:1]))
    count = 10_002
    table = len(data)
    data += struct.pack(
        "<I", struct.unpack_from("<I", data, struct.unpack_from("<I", data, 22)[0])[0]
    )
    data += struct.pack("<I", 8) * (2 * count - 1)
    struct.pack_into("<III", data, 14, count, count, table)
    path.write_bytes(data)
    with pytest.raises(FrameError, match="pixels of type"):
        contents(path, final=True)


def test_no_more_than_some_thousand_missing_frames_are_named(tmp_path):
    mrc(tmp_path / "a.mrc")
    data = bytearray((tmp_path / "a.mrc").read_bytes())
    struct.pack_into("<i", data, 8, 900_000)
    (tmp_path / "a.mrc").write_bytes(data)
    found = contents(tmp_path / "a.mrc", final=True)
    assert (found.frames, len(found.missing)) == (10_006, 10_000)


LARGE = np.random.default_rng(0).integers(0, 1 << 16, (200, 40, 48), np.uint16)


def stack_emd(path, flavour, libver, chunks):
    """An EMD file that holds a stack, written frame by frame after what describes it."""
    count, height, width = LARGE.shape
    with h5py.File(path, "w", libver=libver) as file:
        if flavour == "velox":
            group = file.create_group("Data/Image/abc")
            group["Metadata"] = np.frombuffer(b"{}\0", np.uint8)[:, None]
            data = group.create_dataset("Data", (height, width, count), "u2", chunks=chunks)
        else:
            group = file.create_group("data/stack")
            group.attrs["emd_group_type"] = 1
            for axis, length in enumerate(LARGE.shape, start=1):
                group[f"dim{axis}"] = 0.5 * np.arange(length)
                group[f"dim{axis}"].attrs["units"] = "nm"
            data = group.create_dataset("data", LARGE.shape, "u2", chunks=chunks)
        file.flush()
        for number, frame in enumerate(LARGE):
            data[(..., number) if flavour == "velox" else number] = frame


KINDS = [("velox", (40, 48, 1)), ("berkeley", (1, 40, 24)), ("berkeley", None)]


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize(("flavour", "chunks"), KINDS)
def test_an_emd_stack_that_was_cut_off(tmp_path, flavour, libver, chunks):
    path = tmp_path / "a.emd"
    stack_emd(path, flavour, libver, chunks)
    data = path.read_bytes()
    part = LARGE[150][:, : chunks[2]] if flavour == "berkeley" and chunks else LARGE[150]
    path.write_bytes(data[: data.index(part.tobytes()) + 40])
    with pytest.raises(FrameIncompleteError):
        contents(path)  # it might grow
    found = contents(path, final=True)
    assert (found.frames, sorted(found.missing)) == (200, list(range(150, 200)))
    for index in (0, 77, 149):
        frame = read_frame(path, index)
        assert np.array_equal(frame.pixels, LARGE[index])
        assert frame.pixel_size == (0.5 if flavour == "berkeley" else None)
    for index in (150, 199):
        with pytest.raises(FrameIncompleteError, match="before all of the frame; it was cut off"):
            read_frame(path, index)


def test_frames_of_a_cut_emd_that_lie_among_each_other_are_all_missing(tmp_path):
    path = tmp_path / "a.emd"
    stack_emd(path, "velox", "latest", None)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FrameIncompleteError, match="was cut off"):
        contents(path, final=True)


def test_an_emd_of_which_nothing_is_whole_is_one_failed_file(tmp_path):
    path = tmp_path / "a.emd"
    stack_emd(path, "berkeley", "earliest", None)
    data = path.read_bytes()
    for length in (data.index(LARGE[0].tobytes()) + 30, 600, 200):
        path.write_bytes(data[:length])
        with pytest.raises(FrameIncompleteError, match="was cut off"):
            contents(path, final=True)


def test_an_emd_that_was_cut_within_its_texts_is_refused(tmp_path):
    path = tmp_path / "a.emd"
    stack_emd(path, "berkeley", "earliest", None)
    data = path.read_bytes()
    heap = b"GCOL\1\0\0\0" + struct.pack("<Q", 1 << 20)
    path.write_bytes(data[: data.index(LARGE[150].tobytes())] + heap)
    with pytest.raises(FrameIncompleteError, match="was cut off") as error:
        contents(path, final=True)
    assert "a heap of texts leads nowhere" in str(error.value.__cause__)


def test_very_many_frames_of_a_cut_emd_are_told_as_far_as_it_makes_sense(tmp_path):
    path = tmp_path / "a.emd"
    for count, announced in ((12_000, 10_000), (1 << 40, None)):
        with h5py.File(path, "w", libver="earliest") as file:
            group = file.create_group("data/stack")
            group.attrs["emd_group_type"] = 1
            data = group.create_dataset("data", (count, 8, 12), "u2", chunks=(1, 8, 12))
            file.flush()
            for number in range(20):
                data[number] = RAMP + number
        content = path.read_bytes()
        path.write_bytes(content[: content.index((RAMP + 10).astype("u2").tobytes()) + 9])
        if announced is None:
            with pytest.raises(FrameIncompleteError) as error:
                contents(path, final=True)
            assert "announces 1,099,511,627,776 frames" in str(error.value.__cause__)
        else:
            found = contents(path, final=True)
            assert sorted(found.missing) == list(range(10, 10 + announced))
            assert found.frames == 10 + announced
