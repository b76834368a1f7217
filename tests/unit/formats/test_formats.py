"""The other formats: each written small, read back, cut short, damaged, too large."""

import io
import struct

import h5py
import mrcfile
import numpy as np
import pytest
from ncempy.io import dm as ncempy_dm
from PIL import Image

from pychip_stream.errors import (
    FrameError,
    FrameIncompleteError,
    FrameMissingError,
    FrameUnreachableError,
    FrameUsageError,
)
from pychip_stream.formats import reading
from pychip_stream.formats.reading import frame_count, read_checked, read_frame
from pychip_stream.sim import dm4
from tests.unit.formats.fuzz import dm3

RAMP = np.arange(40 * 56, dtype=np.uint16).reshape(40, 56)
EMPTY = {"made_empty.dm4": b"", "zeros.tif": bytes(4096), "short.png": b"\x89PN"}


def png(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", **options)
    return buffer.getvalue()


def jpeg(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95, **options)
    return buffer.getvalue()


def ser(stack, *, kind=2, pixel_m=2e-10, stamp=1_700_000_000, series=0x4122):
    """Bytes of an old-style SER series of images."""
    count, height, width = stack.shape
    dimension = struct.pack("<iddii", count, 0.0, 1.0, 0, 0) + struct.pack("<i", 0)
    head = 30 + len(dimension)
    size = 50 + stack[0].nbytes
    data_at = head + 8 * count
    tags_at = data_at + count * size
    out = struct.pack("<HHHIIIII", 0x4949, 0x0197, 0x0210, series, 0x4152, count, count, head)
    out += struct.pack("<I", 1) + dimension
    out += b"".join(struct.pack("<I", data_at + i * size) for i in range(count))
    out += b"".join(struct.pack("<I", tags_at + i * 8) for i in range(count))
    for image in stack:
        out += struct.pack("<ddi", 0.0, pixel_m, 0) * 2
        out += struct.pack("<hii", kind, width, height) + image.tobytes()
    return out + struct.pack("<HHI", 0x4152, 0, stamp) * count


def emd(path, stack, step_nm=0.5):
    """A Berkeley EMD file with one stack."""
    with h5py.File(path, "w") as file:
        file.attrs["version_major"] = 0
        group = file.create_group("data/stack")
        group.attrs["emd_group_type"] = 1
        group["data"] = stack
        for number, length in enumerate(stack.shape, 1):
            axis = group.create_dataset(f"dim{number}", data=np.arange(length) * step_nm)
            axis.attrs["name"], axis.attrs["units"] = "zyx"[number - 1], "[n_m]"


def velox(path, stack):
    """A Velox EMD file: (H, W, N) and JSON of metadata in columns of bytes."""
    text = (
        b'{"BinaryResult": {"PixelSize": {"width": "2.5e-10", "height": "2.5e-10"},'
        b' "PixelUnitX": "m", "PixelUnitY": "m"},'
        b' "Scan": {"FrameTime": "0.5"},'
        b' "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1700000000"}}}'
    )
    with h5py.File(path, "w") as file:
        group = file.create_group("Data/Image/0123abc")
        group["Data"] = np.moveaxis(stack, 0, -1)
        columns = np.zeros((len(text) + 1, stack.shape[0]), np.uint8)
        columns[: len(text)] = np.frombuffer(text, np.uint8)[:, np.newaxis]
        group["Metadata"] = columns


def test_png_keeps_its_depth(tmp_path):
    (tmp_path / "a.png").write_bytes(png(RAMP))
    (tmp_path / "b.PNG").write_bytes(png((RAMP % 251).astype(np.uint8)))
    assert np.array_equal(read_frame(tmp_path / "a.png").pixels, RAMP)
    frame = read_frame(tmp_path / "b.PNG")
    assert frame.pixels.dtype == np.uint8
    assert np.array_equal(frame.pixels, RAMP % 251)


def test_a_png_is_waited_for_wherever_it_is_cut(tmp_path):
    whole = png(RAMP)
    for length in range(8, len(whole)):
        (tmp_path / "a.png").write_bytes(whole[:length])
        with pytest.raises(FrameIncompleteError):
            frame_count(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(whole)
    assert frame_count(tmp_path / "a.png") == 1


def test_coloured_and_palette_png_become_grey(tmp_path):
    grey = (RAMP % 251).astype(np.uint8)
    (tmp_path / "rgb.png").write_bytes(png(np.stack([grey] * 3, -1)))
    (tmp_path / "rgba.png").write_bytes(png(np.stack([grey] * 4, -1)))
    with Image.fromarray(np.stack([grey] * 3, -1)) as image:
        image.quantize(256).save(tmp_path / "palette.png")
    for name in ("rgb", "rgba", "palette"):
        pixels = read_frame(tmp_path / f"{name}.png").pixels
        assert np.abs(pixels.astype(int) - grey).max() <= 1, name


def test_jpeg_with_the_name_of_a_png(tmp_path):
    grey = np.full((64, 64), 77, np.uint8)
    exif = Image.Exif()
    exif[306] = "2026:03:01 12:00:00"
    (tmp_path / "a.png").write_bytes(jpeg(grey, exif=exif))
    frame = read_frame(tmp_path / "a.png")
    assert np.abs(frame.pixels.astype(int) - 77).max() <= 1
    assert frame.time is not None


@pytest.mark.parametrize("exposed", [True, False])
def test_exif_times_have_the_zone_that_is_told(tmp_path, exposed):
    exif = Image.Exif()
    details = exif.get_ifd(34665)
    exif[306], details[36880] = "2026:03:01 12:00:00", "-02:00"
    if exposed:
        details[36867], details[36881] = "2026:03:01 12:00:00", "+09:00"
        details[37521] = "25"
    (tmp_path / "a.jpg").write_bytes(jpeg(np.full((64, 64), 77, np.uint8), exif=exif))
    noon = 1_772_366_400.0  # 2026-03-01T12:00:00Z
    expected = noon - 9 * 3600 + 0.25 if exposed else noon + 2 * 3600
    assert read_frame(tmp_path / "a.jpg").time == pytest.approx(expected)


def test_pictures_beyond_what_pillow_dares_to_open(tmp_path, monkeypatch):
    grey = np.full((64, 64), 77, np.uint8)
    (tmp_path / "a.png").write_bytes(png(RAMP))
    (tmp_path / "rgb.png").write_bytes(png(np.stack([grey] * 3, -1)))
    (tmp_path / "a.jpg").write_bytes(jpeg(grey))
    (tmp_path / "rgb.jpg").write_bytes(jpeg(np.stack([grey] * 3, -1)))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert np.array_equal(read_frame(tmp_path / "a.png").pixels, RAMP)
    for name in ("rgb.png", "a.jpg", "rgb.jpg"):
        assert np.abs(read_frame(tmp_path / name).pixels.astype(int) - 77).max() <= 1, name


@pytest.mark.parametrize("mode", [np.int8, np.int16, np.float32, np.uint16])
def test_mrc_of_every_mode_is_a_sequence_of_sections(tmp_path, mode):
    stack = np.stack([(RAMP % 100).astype(mode) + mode(n) for n in range(3)])
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(stack)
        file.voxel_size = 2.5
    frame = read_frame(tmp_path / "a.mrc", 2)
    assert frame_count(tmp_path / "a.mrc") == 3
    assert frame.pixels.dtype == mode
    assert np.array_equal(frame.pixels, stack[2])
    assert (frame.pixel_size, frame.unit) == (0.25, "nm")


def test_mrc_of_another_kind_is_refused(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(RAMP.astype(np.complex64))
    with pytest.raises(FrameError, match="mode 4"):
        read_frame(tmp_path / "a.mrc")


def test_ser_is_a_sequence_with_pixel_size_and_time(tmp_path):
    stack = np.stack([RAMP + np.uint16(n) for n in range(3)])
    (tmp_path / "a.ser").write_bytes(ser(stack))
    frame = read_frame(tmp_path / "a.ser", 1)
    assert frame_count(tmp_path / "a.ser") == 3
    assert np.array_equal(frame.pixels, stack[1][::-1])  # the format begins at the bottom
    assert (frame.pixel_size, frame.unit) == (0.2, "nm")
    assert frame.time == 1_700_000_000
    (tmp_path / "b.ser").write_bytes(ser(stack, series=0x4120))
    with pytest.raises(FrameError, match="spectra"):
        read_frame(tmp_path / "b.ser")


def test_emd_of_both_kinds(tmp_path):
    stack = np.stack([RAMP + np.uint16(n) for n in range(3)])
    emd(tmp_path / "berkeley.emd", stack)
    velox(tmp_path / "velox.emd", stack)
    for name in ("berkeley", "velox"):
        path = tmp_path / f"{name}.emd"
        assert frame_count(path) == 3
        assert np.array_equal(read_frame(path, 2).pixels, stack[2]), name
    frame = read_frame(tmp_path / "berkeley.emd")
    assert (frame.pixel_size, frame.unit) == (0.5, "nm")
    frame = read_frame(tmp_path / "velox.emd")
    assert (frame.pixel_size, frame.unit) == (0.25, "nm")
    assert (frame.time, frame.exposure_s) == (1_700_000_000, 0.5)
    with h5py.File(tmp_path / "other.emd", "w") as file:
        file["x"] = [1]
    with pytest.raises(FrameError, match="no EMD file"):
        read_frame(tmp_path / "other.emd")


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
)
def test_dm4_of_every_type_tells_pixel_size_exposure_and_time(tmp_path, dtype):
    pixels = (RAMP % 100).astype(dtype)
    path = tmp_path / "a.dm4"
    path.write_bytes(
        dm4.encode(pixels, pixel_size=0.25, unit="nm", exposure_s=0.5, time=1_700_000_000.25)
    )
    frame = read_frame(path)
    assert frame.pixels.dtype == np.dtype(dtype)
    assert np.array_equal(frame.pixels, pixels)
    assert (frame.pixel_size, frame.unit, frame.exposure_s) == (0.25, "nm", 0.5)
    assert frame.time == pytest.approx(1_700_000_000.25, abs=1e-4)


def test_of_several_dm3_images_without_a_reference_the_first_is_the_frame(tmp_path):
    (tmp_path / "a.dm3").write_bytes(dm3(RAMP, RAMP[::-1, ::-1]))
    assert np.array_equal(read_frame(tmp_path / "a.dm3").pixels, RAMP)


@pytest.mark.parametrize("code", ["i2", "f4", "u1", "i4", "i1", "u2", "u4", "f8"])
@pytest.mark.parametrize("shape", [(40, 56), (3, 40, 56)], ids=["image", "stack"])
def test_dm4_pixels_are_those_that_ncempy_finds(tmp_path, code, shape):
    data = (np.arange(np.prod(shape)) % 101).reshape(shape).astype(code)
    path = tmp_path / "a.dm4"
    path.write_bytes(dm4.encode(data))
    with ncempy_dm.fileDM(path) as file:
        expected = file.getDataset(0)["data"]
    found = [read_frame(path, index).pixels for index in range(frame_count(path))]
    np.testing.assert_array_equal(np.squeeze(found), expected)
    assert found[0].dtype == expected.dtype


def test_a_dm4_stack_is_a_sequence(tmp_path):
    stack = np.stack([RAMP + np.uint16(n) for n in range(4)])
    path = tmp_path / "a.dm4"
    path.write_bytes(dm4.encode(stack, pixel_size=1.0, unit="µm", interval_s=0.1))
    assert frame_count(path) == 4
    assert [int(read_frame(path, i).pixels[0, 0]) for i in range(4)] == [0, 1, 2, 3]
    assert (read_frame(path).pixel_size, read_frame(path).unit) == (1000.0, "nm")


@pytest.mark.parametrize("kind", [3, 5, 8, 13, 14, 23, 27, 28, 99])
def test_dm4_pixels_that_are_no_grey_values_are_refused(tmp_path, kind):
    data = dm4.encode(RAMP)
    tag = b"DataType"
    at = data.index(tag) + len(tag) + 8 + 4 + 8 + 8
    assert struct.unpack_from("<I", data, at) == (10,)
    path = tmp_path / "a.dm4"
    path.write_bytes(data[:at] + struct.pack("<I", kind) + data[at + 4 :])
    with pytest.raises(FrameError, match="not grey values"):
        read_frame(path)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: p.write_bytes(png(RAMP)),
        lambda p: p.write_bytes(jpeg((RAMP % 251).astype(np.uint8))),
        lambda p: p.write_bytes(ser(RAMP[np.newaxis])),
        lambda p: p.write_bytes(dm4.encode(RAMP)),
        lambda p: emd(p, RAMP[np.newaxis]),
        lambda p: mrcfile.write(p, RAMP),
    ],
    ids=["png", "jpeg", "ser", "dm4", "emd", "mrc"],
)
def test_cut_files_are_waited_for_and_too_large_ones_refused(tmp_path, make):
    path = tmp_path / "a.xyz"
    make(path)
    whole = path.read_bytes()
    with pytest.raises(FrameError, match=r"limit is .* raise watch.max_frame_mb"):
        read_frame(path, max_bytes=1000)
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(FrameIncompleteError):
            read_frame(path)


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_not_written_yet_is_waited_for(tmp_path, name):
    (tmp_path / name).write_bytes(EMPTY[name])
    with pytest.raises(FrameIncompleteError):
        frame_count(tmp_path / name)


def test_what_is_no_image_is_refused(tmp_path):
    (tmp_path / "a.tif").write_text("this is not a picture at all")
    with pytest.raises(FrameError, match="no known image format") as caught:
        read_frame(tmp_path / "a.tif")
    assert not isinstance(caught.value, FrameIncompleteError)
    (tmp_path / "b.tif").mkdir()
    with pytest.raises(FrameError, match="is a folder"):
        read_frame(tmp_path / "b.tif")


@pytest.mark.parametrize("content", [b"text", b"not a picture", b"II?\0 no tiff", b"a,b\n1,2\n"])
def test_what_is_short_and_can_never_become_an_image_is_not_waited_for(tmp_path, content):
    (tmp_path / "a.dm4").write_bytes(content)
    with pytest.raises(FrameUsageError, match="is not an image"):
        read_frame(tmp_path / "a.dm4")


@pytest.mark.parametrize(
    "content",
    [b"I", b"II", b"\x89PNG\r\n", b"\x89HDF", b"\0\0\0\3\0\0", b"\0\0\0\4", b"\0\2\0\0\0\2"],
)
def test_beginnings_of_images_are_waited_for(tmp_path, content):
    (tmp_path / "a.dm4").write_bytes(content)
    with pytest.raises(FrameIncompleteError):
        read_frame(tmp_path / "a.dm4")


def test_a_file_that_is_not_there_is_called_that_and_may_come_back(tmp_path):
    with pytest.raises(FrameMissingError, match=r"c\.tif: no such file") as caught:
        read_frame(tmp_path / "c.tif")
    assert isinstance(caught.value, FrameUnreachableError)


def test_a_revision_is_read_or_given_back(tmp_path, monkeypatch):
    path = tmp_path / "a.dm4"
    path.write_bytes(dm4.encode(RAMP))
    stat = path.stat()
    frame, digest = read_checked(path, 0, stat.st_size, stat.st_mtime_ns)
    assert np.array_equal(frame.pixels, RAMP)
    assert len(digest) == 32
    with pytest.raises(FrameIncompleteError, match="has changed"):
        read_checked(path, 0, stat.st_size, stat.st_mtime_ns - 1)
    original = reading._read

    def rewritten(*arguments):
        out = original(*arguments)
        path.write_bytes(dm4.encode(RAMP + np.uint16(1)) + b"\0")
        return out

    monkeypatch.setattr(reading, "_read", rewritten)
    with pytest.raises(FrameIncompleteError, match="has changed"):
        read_checked(path, 0, stat.st_size, stat.st_mtime_ns)
    path.unlink()
    with pytest.raises(FrameUnreachableError):
        read_checked(path, 0, stat.st_size, stat.st_mtime_ns)


def test_the_hash_is_that_of_the_bytes_wherever_they_are_read_from(tmp_path, monkeypatch):
    path = tmp_path / "a.dm4"
    path.write_bytes(dm4.encode(RAMP))
    stat = path.stat()
    loaded = read_checked(path, 0, stat.st_size, stat.st_mtime_ns)
    monkeypatch.setattr(reading, "IN_MEMORY", 100)
    windowed = read_checked(path, 0, stat.st_size, stat.st_mtime_ns)
    assert loaded[1] == windowed[1]
    assert np.array_equal(loaded[0].pixels, windowed[0].pixels)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        ("a.dm4", True), ("a.DM4", True), ("A.TiFf", True), ("x.JPEG", True), ("a.emd", True),
        (".a.dm4", False), ("~a.dm4", False), ("a.dm4.tmp", False), ("a", False), ("a.csv", False),
        ("a.tif.part", False), (".tif", False),
    ],
)  # fmt: skip
def test_names_of_frames(name, taken):
    assert reading.is_frame_name(name) is taken


@pytest.mark.parametrize(("length", "says"), [(15, "not written yet"), (16, "is not an image")])
def test_what_may_begin_an_image_is_waited_for_until_its_header_is_there(tmp_path, length, says):
    path = tmp_path / "x.mrc"
    path.write_bytes((b"\x05\x01\x00\x00" + b"text" * 10)[:length])
    with pytest.raises(FrameError, match=says):
        read_frame(path)
