"""TIFF of every kind that microscopes and their programs write, made here with tifffile."""

import datetime
import re
import struct

import numpy as np
import pytest
import tifffile

from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats.reading import frame_count, read_frame

SHAPE = (48, 64)


def without(data, tag):
    """A TIFF whose first directory has, in place of one tag, another that nobody knows."""
    at = re.search(re.escape(struct.pack("<H", tag)) + rb"[\x03\x04]\0", data).start()
    return data[:at] + struct.pack("<H", 65000) + data[at + 2 :]


def picture(dtype):
    ramp = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    if np.dtype(dtype).kind == "f":
        return (ramp / 7 - 100).astype(dtype)
    return ramp.astype(dtype)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "frame.tif"


@pytest.mark.parametrize(
    "dtype", ["u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8", "u8", "i8", "bool"]
)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_samples_of_every_type_and_order(place, dtype, order, big):
    pixels = picture(dtype)
    tifffile.imwrite(place, pixels, byteorder=order, bigtiff=big, photometric="minisblack")
    frame = read_frame(place)
    assert frame.pixels.dtype == np.dtype(dtype)
    assert frame.pixels.dtype.isnative
    assert np.array_equal(frame.pixels, pixels)


@pytest.mark.parametrize(
    ("compression", "predictor"),
    [
        (None, None), ("lzw", None), ("lzw", 2), ("zlib", None), ("zlib", 2), ("packbits", None),
        ("zstd", None), ("lzma", None), ("lerc", None), ("jpeg2000", None),
        ("jpegxr", None), ("jpegxl", None), ("pixtiff", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_compressed_and_tiled(place, compression, predictor, tile):
    pixels = picture("u2")
    tifffile.imwrite(
        place, pixels, compression=compression, predictor=predictor, tile=tile, rowsperstrip=None
    )
    assert np.array_equal(read_frame(place).pixels, pixels)


def test_floats_with_their_own_predictor(place):
    pixels = picture("f4")
    tifffile.imwrite(place, pixels, compression="zlib", predictor=3)
    assert np.array_equal(read_frame(place).pixels, pixels)


def test_many_strips(place):
    pixels = picture("u2")
    tifffile.imwrite(place, pixels, rowsperstrip=5)
    assert np.array_equal(read_frame(place).pixels, pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_colours_become_their_luminance(place, planar, dtype, tile):
    red, green, blue = (picture(dtype) + picture(dtype).dtype.type(n) for n in (0, 5, 9))
    stack = np.stack([red, green, blue], axis=-1 if planar == "contig" else 0)
    tifffile.imwrite(place, stack, photometric="rgb", planarconfig=planar, tile=tile)
    expected = 0.299 * red.astype(float) + 0.587 * green.astype(float) + 0.114 * blue.astype(float)
    frame = read_frame(place)
    assert frame.pixels.dtype == np.dtype(dtype)
    assert np.abs(frame.pixels - expected).max() <= (0.5001 if dtype != "f4" else 1e-3)


def test_grey_saved_as_colours_stays_exactly_what_it_is(place):
    pixels = picture("u2")
    tifffile.imwrite(place, np.stack([pixels] * 3, axis=-1), photometric="rgb")
    assert np.array_equal(read_frame(place).pixels, pixels)


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i2"])
def test_white_among_colours_stays_white(place, dtype):
    top = np.iinfo(dtype).max
    stack = np.stack([picture(dtype), picture(dtype)[::-1], picture(dtype)], axis=-1)
    stack[0, 0] = top
    tifffile.imwrite(place, stack, photometric="rgb")
    assert read_frame(place).pixels[0, 0] == top


def test_a_palette_is_looked_up(place):
    indices = picture("u1")
    table = np.zeros((3, 256), np.uint16)
    table[:] = (255 - np.arange(256)) * 257
    tifffile.imwrite(place, indices, photometric="palette", colormap=table)
    assert np.array_equal(read_frame(place).pixels, 255 - indices)


def test_white_is_zero_is_turned_around(place):
    pixels = picture("u2")
    tifffile.imwrite(place, pixels, photometric="miniswhite")
    assert np.array_equal(read_frame(place).pixels, 65535 - pixels)


def test_a_page_that_does_not_say_which_end_is_white_is_left_alone(place):
    pixels = picture("f4")
    tifffile.imwrite(place, pixels, photometric="minisblack")
    place.write_bytes(without(place.read_bytes(), 262))
    assert np.array_equal(read_frame(place).pixels, pixels)


def test_pages_are_a_sequence_of_frames(place):
    with tifffile.TiffWriter(place) as file:
        for number in range(5):
            file.write(picture("u2") + np.uint16(number), contiguous=False, metadata=None)
    assert frame_count(place) == 5
    assert [int(read_frame(place, i).pixels[0, 0]) for i in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(FrameError, match="has 5 frame"):
        read_frame(place, 5)


def test_reduced_copies_are_no_frames(place):
    with tifffile.TiffWriter(place) as file:
        file.write(picture("u2"), metadata=None)
        file.write(picture("u2")[::2, ::2], subfiletype=1, metadata=None)
    assert frame_count(place) == 1


def test_reduced_copies_of_old_writers_are_no_frames(place):
    with tifffile.TiffWriter(place) as file:
        file.write(picture("u2"), metadata=None)
        file.write(picture("u2")[::2, ::2], extratags=[(255, 3, 1, 2, True)], metadata=None)
    assert frame_count(place) == 1


def test_of_nothing_but_reduced_copies_the_first_is_the_frame(place):
    with tifffile.TiffWriter(place) as file:
        for edge in (32, 16):
            file.write(picture("u2")[:edge, :edge], subfiletype=1)
    assert frame_count(place) == 1
    assert read_frame(place).pixels.shape == (32, 32)


def test_an_imagej_stack_behind_one_directory(place):
    stack = np.stack([picture("u2") + np.uint16(n) for n in range(4)])
    tifffile.imwrite(place, stack, imagej=True, metadata={"axes": "TYX"})
    assert frame_count(place) == 4
    assert np.array_equal(read_frame(place, 3).pixels, stack[3])
    whole = place.read_bytes()
    place.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FrameIncompleteError):
        frame_count(place)


def test_an_ome_stack_waits_for_all_its_planes(place):
    stack = np.stack([picture("u2") + np.uint16(n) for n in range(3)])
    tifffile.imwrite(
        place,
        stack,
        ome=True,
        metadata={
            "axes": "TYX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "nm",
            "Plane": {"ExposureTime": [50.0] * 3, "ExposureTimeUnit": ["ms"] * 3},
        },
    )
    frame = read_frame(place, 2)
    assert frame_count(place) == 3
    assert np.array_equal(frame.pixels, stack[2])
    with tifffile.TiffWriter(place) as file:
        text = '<OME><Image><Pixels SizeC="1" SizeZ="1" SizeT="3"/></Image></OME>'
        file.write(stack[0], description=text, metadata=None)
    with pytest.raises(FrameIncompleteError, match="1 of 3"):
        frame_count(place)


def test_ome_tells_pixel_size_exposure_and_time(place):
    tifffile.imwrite(
        place,
        picture("u2"),
        ome=True,
        metadata={
            "axes": "YX",
            "PhysicalSizeX": 0.25,
            "PhysicalSizeXUnit": "nm",
            "AcquisitionDate": "2026-03-01T12:00:00Z",
            "Plane": {"ExposureTime": [50.0], "ExposureTimeUnit": ["ms"]},
        },
    )
    frame = read_frame(place)
    assert (frame.pixel_size, frame.unit) == (0.25, "nm")
    assert frame.exposure_s == pytest.approx(0.05)
    assert frame.time == datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC).timestamp()


def test_gatan_tells_pixel_size_and_time(place):
    tifffile.imwrite(
        place,
        picture("u2"),
        metadata=None,
        datetime=datetime.datetime(2026, 3, 1, 12, 0, 5),
        extratags=[(65003, "s", 0, "nm", True), (65009, "d", 1, 0.125, True)],
    )
    frame = read_frame(place)
    assert (frame.pixel_size, frame.unit) == (0.125, "nm")
    assert frame.time == datetime.datetime(2026, 3, 1, 12, 0, 5).timestamp()


def test_gatan_tells_both_edges(place):
    tags = [(65003, "s", 0, "nm", True), (65004, "s", 0, "um", True)]
    tags += [(65009, "d", 1, 0.5, True), (65010, "d", 1, 0.001, True)]
    tifffile.imwrite(place, picture("u2"), metadata=None, extratags=tags)
    assert (read_frame(place).pixel_size, read_frame(place).pixel_ratio) == (0.5, 2.0)


def test_fei_tells_pixel_size_exposure_and_time(place):
    text = (
        "[User]\nDate=03/01/2026\nTime=01:02:03 PM\n\n"
        "[Scan]\nPixelWidth=3.25e-009\nFrameTime=0.75\n"
    )
    tifffile.imwrite(place, picture("u1"), metadata=None, extratags=[(34682, "s", 0, text, True)])
    frame = read_frame(place)
    assert (frame.pixel_size, frame.unit) == (3.25, "nm")
    assert frame.exposure_s == 0.75
    assert frame.time == datetime.datetime(2026, 3, 1, 13, 2, 3).timestamp()


def test_zeiss_tells_pixel_size(place):
    text = "0\r\n0\r\n0\r\n1.5e-9\r\nAP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 12.5 nm\r\n"
    tifffile.imwrite(place, picture("u1"), metadata=None, extratags=[(34118, "s", 0, text, True)])
    frame = read_frame(place)
    assert (frame.pixel_size, frame.unit) == (12.5, "nm")


def test_jeol_tells_pixel_size_exposure_and_time(place):
    text = (
        '<?xml version="1.0"?><TemReporter><DateTime>2026-03-01T12:00:05.1234567</DateTime>'
        "<ImageFormingSystem><ModeString>MAG</ModeString><SelectorValue>20000</SelectorValue>"
        "</ImageFormingSystem><Scan><ExposureTimeValue>0.5</ExposureTimeValue></Scan>"
        "</TemReporter>"
    )
    tifffile.imwrite(
        place,
        picture("u2"),
        metadata=None,
        description=text,
        resolution=(25.6, 25.6),
        resolutionunit="CENTIMETER",
    )
    frame = read_frame(place)
    assert frame.pixel_size == pytest.approx(1e7 / 25.6 / 20000)
    assert frame.unit == "nm"
    assert frame.exposure_s == 0.5
    assert frame.time == pytest.approx(
        datetime.datetime(2026, 3, 1, 12, 0, 5, 123456).timestamp(), abs=1e-5
    )


def test_a_real_jeol_file(shared_data):
    frame = read_frame(shared_data / "pychip_fig2bc" / "MoO3.tiff")
    assert frame.shape == (512, 512)
    assert (frame.unit, frame.pixel_size) == ("nm", pytest.approx(19.53125, rel=1e-6))
    assert frame.exposure_s == pytest.approx(0.8333, rel=1e-3)


def test_imagej_tells_pixel_size(place):
    tifffile.imwrite(
        place, picture("u2"), imagej=True, resolution=(4.0, 4.0), metadata={"unit": "um"}
    )
    frame = read_frame(place)
    assert (frame.pixel_size, frame.unit) == (250.0, "nm")


def test_the_resolution_of_a_printer_is_no_pixel_size(place):
    tifffile.imwrite(place, picture("u1"), resolution=(72, 72), resolutionunit="INCH")
    assert read_frame(place).pixel_size is None
    tifffile.imwrite(place, picture("u1"), resolution=(1e7, 1e7), resolutionunit="CENTIMETER")
    assert read_frame(place).pixel_size == pytest.approx(1.0)


def test_nonsense_beside_the_pixels_costs_nothing(place):
    for code in (34682, 34118, 37706, 65009):
        tifffile.imwrite(
            place, picture("u1"), metadata=None, extratags=[(code, "s", 0, "\x01garbage", True)]
        )
        assert read_frame(place).pixel_size is None
    tifffile.imwrite(place, picture("u1"), metadata=None, description="<OME><not closed")
    assert np.array_equal(read_frame(place).pixels, picture("u1"))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: tifffile.imwrite(p, picture("f4").astype(np.complex64)), "complex"),
        (
            lambda p: tifffile.imwrite(
                p, np.zeros((*SHAPE, 9), np.uint8), photometric="minisblack", planarconfig="contig"
            ),
            "9 values per pixel",
        ),
    ],
)
def test_what_is_no_grey_image_is_refused_with_the_reason(place, make, reason):
    make(place)
    with pytest.raises(FrameError, match=reason):
        read_frame(place)


def test_an_uncompressed_page_may_leave_out_its_one_count(place):
    tifffile.imwrite(place, picture("u2"), byteorder="<", metadata=None)
    place.write_bytes(without(place.read_bytes(), 279))
    assert np.array_equal(read_frame(place).pixels, picture("u2"))


def test_a_compressed_page_without_its_count_is_refused(place):
    tifffile.imwrite(place, picture("u2"), byteorder="<", metadata=None, compression="zlib")
    place.write_bytes(without(place.read_bytes(), 279))
    with pytest.raises(FrameError, match="0 of 1 strips"):
        read_frame(place)


def test_a_tile_larger_than_the_limit_is_refused(place):
    tifffile.imwrite(place, picture("u2")[:16, :16], tile=(256, 256))
    whole = 256 * 256 * 2
    assert np.array_equal(read_frame(place, max_bytes=whole).pixels, picture("u2")[:16, :16])
    with pytest.raises(FrameError, match="memory"):
        read_frame(place, max_bytes=whole - 1)


def test_a_page_larger_than_the_limit_is_refused_before_it_is_decoded(place):
    tifffile.imwrite(place, np.zeros((2000, 2000), np.uint16), compression="zlib")
    assert place.stat().st_size < 100_000
    with pytest.raises(FrameError, match="limit is"):
        read_frame(place, max_bytes=7_000_000)
    assert read_frame(place, max_bytes=9_000_000).shape == (2000, 2000)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"compression": "zlib"}])
def test_a_cut_file_is_waited_for(place, share, options):
    rng = np.random.default_rng(0)
    tifffile.imwrite(place, rng.integers(0, 60000, (128, 128)).astype(np.uint16), **options)
    whole = place.read_bytes()
    place.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FrameIncompleteError):
        read_frame(place)


def test_planes_beside_the_grey_values_may_be_left_empty(place):
    planes = np.stack([picture("u2"), picture("u2")])
    options = {"photometric": "minisblack", "planarconfig": "separate", "compression": "zlib"}
    tifffile.imwrite(place, planes, **options)
    data = bytearray(place.read_bytes())
    with tifffile.TiffFile(place) as file:
        assert len(file.pages) == 1
        for name in ("StripOffsets", "StripByteCounts"):
            tag = file.pages[0].tags[name]
            width = 2 if tag.dtype == tifffile.DATATYPE.SHORT else 4
            data[tag.valueoffset + width : tag.valueoffset + 2 * width] = bytes(width)
    place.write_bytes(data)
    assert np.array_equal(read_frame(place).pixels, planes[0])
