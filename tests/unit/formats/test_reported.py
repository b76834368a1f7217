"""Problems that were reported of other programs: the right value for each (see docs/ingest.md)."""

import numpy as np
import pytest
import tifffile

from pychip_stream.formats.reading import frame_count, read_frame
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
