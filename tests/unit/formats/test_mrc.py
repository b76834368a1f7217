"""MRC as it is found: signs, byte orders, half floats, extended headers of many makers."""

import mrcfile
import numpy as np
import pytest

from pychip_stream.errors import FrameError
from pychip_stream.formats.reading import frame_count, read_frame

BYTES = (np.arange(12 * 20) % 187 + 56).astype(np.uint8).reshape(12, 20)


def made(path, data, *, extended=b"", kind=b"", **fields):
    """Write a file with mrcfile, and change numbers of its header: `at_OFFSET` = bytes."""
    with mrcfile.new(path) as file:
        file.set_data(data)
        file.voxel_size = 2.5
    content = bytearray(path.read_bytes())
    content[92:96] = len(extended).to_bytes(4, "little")
    content[104:108] = kind.ljust(4, b"\0")
    for name, value in fields.items():
        at = int(name.removeprefix("at_"))
        content[at : at + len(value)] = value
    path.write_bytes(bytes(content[:1024]) + extended + bytes(content[1024:]))
    return read_frame(path)


@pytest.mark.parametrize(
    ("fields", "low", "high"),
    [
        ({"at_152": (1146047817).to_bytes(4, "little") + bytes(4)}, 56, 242),
        ({"at_152": (1146047817).to_bytes(4, "little") + b"\1\0\0\0"}, -128, 127),
        ({"at_80": np.float32(242).tobytes()}, 56, 242),
        ({"at_80": np.float32(127).tobytes()}, -128, 127),
    ],
    ids=["IMOD unsigned", "IMOD signed", "maximum above 127", "as MRC2014 says"],
)
def test_the_sign_of_bytes_is_what_the_header_says(tmp_path, fields, low, high):
    frame = made(tmp_path / "a.mrc", BYTES.view(np.int8), **fields)
    assert (int(frame.pixels.min()), int(frame.pixels.max())) == (low, high)


def test_half_floats_are_read(tmp_path):
    ramp = np.linspace(0, 900, 240, dtype=np.float16).reshape(12, 20)
    frame = made(tmp_path / "a.mrc", ramp)
    assert frame.pixels.dtype == np.float16
    assert np.array_equal(frame.pixels, ramp)


@pytest.mark.parametrize("dtype", ["i1", ">i2", ">f4", ">u2"])
def test_the_other_byte_order_is_read(tmp_path, dtype):
    stack = np.arange(2 * 12 * 20).reshape(2, 12, 20).astype(dtype)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(stack.astype(np.dtype(dtype).newbyteorder("=")))
        file.voxel_size = 2.5
    content = (tmp_path / "a.mrc").read_bytes()
    head = bytearray(np.frombuffer(content[:1024], "<i4").astype(">i4").tobytes())
    head[104:108], head[208:216] = bytes(4), b"MAP \x11\x11\0\0"
    (tmp_path / "a.mrc").write_bytes(bytes(head) + stack.tobytes())
    frame = read_frame(tmp_path / "a.mrc", 1)
    assert np.array_equal(frame.pixels, stack[1])
    assert frame.pixels.dtype.isnative
    assert (frame.pixel_size, frame.unit) == (0.25, "nm")


def fei(known, metres, seconds):
    """A block of the extended header that Thermo Fisher calls FEI1."""
    block = bytearray(768)
    block[8:12] = known.to_bytes(4, "little")
    block[36:52] = b"a long D-number "
    block[156:164] = np.float64(metres).tobytes()
    block[297:301] = (1 << 16).to_bytes(4, "little")
    block[419:427] = np.float64(seconds).tobytes()
    return bytes(block)


OLD = np.zeros(32, "<f4")
OLD[[0, 2, 8, 11, 12]] = (12.5, 1e-4, 0.75, 4e-10, 50_000)
RANDOM = np.arange(256, dtype="<i4") * 7_654_321


@pytest.mark.parametrize(
    ("kind", "extended", "size", "exposure"),
    [
        (b"FEI1", fei(1 << 14, 3e-10, 0.5), 0.3, 0.5),
        (b"FEI2", fei(1 << 14, 3e-10, 0.5) + bytes(120), 0.3, 0.5),
        (b"FEI1", fei(0, 3e-10, 0.5), 0.25, 0.5),
        (b"FEI1", fei(1 << 14, 43.0, 0.5), 0.25, 0.5),
        (b"", OLD.tobytes(), 0.4, 0.75),
        (b"SERI", OLD.tobytes(), 0.25, None),
        (b"AGAR", RANDOM.tobytes(), 0.25, None),
        (b"CCP4", b"X,  Y,  Z".ljust(80) * 8, 0.25, None),
        (b"", RANDOM.tobytes(), 0.25, None),
        (b"", b"X,  Y,  Z".ljust(80) * 8, 0.25, None),
    ],
)
def test_sizes_come_from_headers_that_are_known(tmp_path, kind, extended, size, exposure):
    frame = made(tmp_path / "a.mrc", BYTES.astype(np.int16), extended=extended, kind=kind)
    assert frame.pixel_size == pytest.approx(size)
    assert frame.unit == "nm"
    assert frame.exposure_s == (None if exposure is None else pytest.approx(exposure))


def test_shared_files_of_real_makers(shared_data):
    at = shared_data / "reported"
    unsigned = read_frame(at / "mrc_bytes_unsigned_imod.mrc").pixels
    assert 50 <= unsigned.min() <= 60
    assert 235 <= unsigned.max() <= 255
    half = read_frame(at / "mrc_float16_mode12.mrc")
    assert (half.shape, half.pixels.dtype) == ((96, 128), np.float16)
    assert frame_count(at / "mrc_serialem_tilt_header.mrc") == 41
    tilt = read_frame(at / "mrc_serialem_tilt_header.mrc", 40)
    assert (tilt.pixel_size, tilt.unit, tilt.exposure_s) == (0.25, "nm", None)


@pytest.mark.parametrize("mode", [3, 4, 16, 101])
def test_what_is_no_grey_value_is_named(tmp_path, mode):
    with pytest.raises(FrameError, match=f"mode {mode} is not supported; it holds"):
        made(tmp_path / "a.mrc", BYTES.astype(np.int16), at_12=mode.to_bytes(4, "little"))
