"""Problems that were reported of other programs: the right value for each (see docs/ingest.md)."""

from datetime import datetime

import numpy as np
import pytest
import tifffile

from pychip_stream.domain.frames import FrameRef, file_time, time_of
from pychip_stream.formats.reading import frame_count, read_frame
from pychip_stream.sim import dm4
from tests.unit.formats.test_formats import ser

RAMP = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)


def test_diffraction_of_a_ser_file_is_in_reciprocal_lengths(shared_data, tmp_path):
    frame = read_frame(shared_data / "reported" / "ser_diffraction.ser")
    assert (frame.pixel_size, frame.unit) == (pytest.approx(0.10157, rel=1e-3), "1/nm")
    (tmp_path / "a.ser").write_bytes(ser(RAMP[None], pixel_m=1e-6))
    assert read_frame(tmp_path / "a.ser").pixel_size == 1000
    assert read_frame(tmp_path / "a.ser").unit == "nm"


def test_zeiss_pixels_are_those_of_the_stored_picture(shared_data):
    frame = read_frame(shared_data / "reported" / "zeiss_stored_at_half.tif")
    assert (frame.pixel_size, frame.unit) == (pytest.approx(11.65), "nm")


def zeiss(path, **lines):
    """A picture of 12 columns with the lines that Zeiss writes."""
    text = "0\r\n0\r\n0\r\n5.8e-9\r\n" + "".join(f"{k}\r\nX = {v}\r\n" for k, v in lines.items())
    content = text.encode("cp1252")
    tag = (34118, 7, len(content), content, True)
    tifffile.imwrite(path, RAMP, metadata=None, extratags=[tag])


@pytest.mark.parametrize(
    ("lines", "size"),
    [
        ({"AP_WIDTH": "5.965 µm", "AP_PIXEL_SIZE": "5.825 nm"}, 5965 / 12),
        ({"AP_IMAGE_PIXEL_SIZE": "11.65 nm", "AP_WIDTH": "5.965 µm"}, 11.65),
        ({"AP_PIXEL_SIZE": "5.825 nm"}, 5.825),
    ],
    ids=["stored smaller", "told", "alone"],
)
def test_the_raster_of_zeiss_is_not_the_picture(tmp_path, lines, size):
    zeiss(tmp_path / "a.tif", **lines)
    frame = read_frame(tmp_path / "a.tif")
    assert (frame.pixel_size, frame.unit) == (pytest.approx(size), "nm")


def test_unlike_axes_of_dm_are_both_read(tmp_path):
    content = dm4.encode(RAMP, pixel_size=0.3, unit="nm")
    scale = np.float32(0.3).tobytes()
    assert content.count(scale) == 2
    second = content.rindex(scale)
    changed = content[:second] + np.float32(0.6).tobytes() + content[second + 4 :]
    (tmp_path / "a.dm4").write_bytes(changed)
    frame = read_frame(tmp_path / "a.dm4")
    assert (frame.pixel_size, frame.pixel_ratio) == (pytest.approx(0.3), pytest.approx(2))


def test_every_frame_of_an_ome_series_has_its_size_and_time(tmp_path):
    metadata = {
        "axes": "TYX", "PhysicalSizeX": 5.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 10.0,
        "PhysicalSizeYUnit": "nm", "TimeIncrement": 2.5, "TimeIncrementUnit": "s",
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.ome.tif", np.stack([RAMP] * 3), ome=True, metadata=metadata)
    frames = [read_frame(tmp_path / "a.ome.tif", index) for index in range(3)]
    assert [(f.pixel_size, f.unit, f.pixel_ratio) for f in frames] == [(5, "nm", 2)] * 3
    assert [f.before_last_s for f in frames] == [5, 2.5, 0]


def test_frames_of_a_dm_stack_are_as_far_apart_as_their_axis_says(tmp_path):
    content = dm4.encode(np.stack([RAMP] * 3), time=1.7e9, interval_s=0.5)
    (tmp_path / "a.dm4").write_bytes(content)
    times = [read_frame(tmp_path / "a.dm4", index).time for index in range(3)]
    assert times == pytest.approx([1.7e9, 1.7e9 + 0.5, 1.7e9 + 1], abs=1e-3)


def test_tiffs_of_one_second_have_the_times_of_their_files(tmp_path):
    taken = datetime(2026, 3, 1, 12, 0, 5)
    times = []
    for number in range(3):
        path = tmp_path / f"{number}.tif"
        tifffile.imwrite(path, RAMP, metadata=None, datetime=taken)
        mtime_ns = int((taken.timestamp() + 0.1 * number) * 1e9) + 1
        ref = FrameRef(path=path.name, mtime_ns=mtime_ns, time=float(file_time(mtime_ns)))
        times.append(time_of(read_frame(path), ref) - taken.timestamp())
    assert times == pytest.approx([0, 0.1, 0.2], abs=1e-3)


def test_both_edges_of_a_pixel_are_read(shared_data):
    frame = read_frame(shared_data / "reported" / "dm4_pixels_not_square.dm4")
    assert (frame.pixel_size, frame.unit) == (0.5, "nm")
    assert frame.pixel_ratio == pytest.approx(2.0)


def olympus(path, factor):
    """A preview, then an image with Olympus's block: 23.9 pm times 1000 per pixel."""
    general = bytearray(112)
    general[10:12] = np.int16(-9).tobytes()
    general[12:20], general[20:28] = (np.float64(0.023928 * f).tobytes() for f in (1, factor))
    block = bytearray(60) + b"\1\0\0\0" + bytes(4)
    block[:4], block[58:60] = b"SIS0", b"\1\0"
    with tifffile.TiffWriter(path) as file:
        file.write(np.zeros((4, 6, 3), np.uint8), photometric="rgb", metadata=None)
        file.write(RAMP, metadata=None, extratags=[(33560, 4, 1, 0, True)])
    content = path.read_bytes()
    at = len(content)
    block[64:68] = (at + 68).to_bytes(4, "little")
    tag = b"\x18\x83\4\0\1\0\0\0" + bytes(4)
    assert content.count(tag) == 1
    path.write_bytes(
        content.replace(tag, tag[:8] + at.to_bytes(4, "little")) + bytes(block) + bytes(general)
    )


def test_the_preview_in_an_olympus_file_is_no_frame(tmp_path):
    olympus(tmp_path / "a.tif", factor=1)
    assert frame_count(tmp_path / "a.tif") == 1
    frame = read_frame(tmp_path / "a.tif")
    assert np.array_equal(frame.pixels, RAMP)
    assert (frame.pixel_size, frame.unit) == (pytest.approx(0.023928), "nm")


def test_tiffs_of_equal_seconds_stand_in_the_order_of_their_files(shared_data):
    at = shared_data / "reported"
    for number in (0, 1):
        frame = read_frame(at / f"tif_datetime_{number}.tif")
        assert frame.time.resolution == 1  # gives way to the file's time, see test_frames
