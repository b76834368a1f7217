"""Sizes of pixels in files: what cannot be is dropped and said; what a person gives holds."""

import numpy as np
import pytest

from pychip_stream.formats.reading import GuardedReader, read_frame
from pychip_stream.sim import dm4
from tests.unit.formats.test_velox import velox

RAMP = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)


@pytest.mark.parametrize(
    ("size", "unit", "told"),
    [(2.0, "mm", "2e+06 nm"), (1e-5, "nm", "1e-05 nm"), (1e5, "1/nm", "1e+05 1/nm")],
)
def test_a_size_that_cannot_be_is_dropped_and_said(tmp_path, size, unit, told):
    (tmp_path / "a.dm4").write_bytes(dm4.encode(RAMP, pixel_size=size, unit=unit))
    frame = read_frame(tmp_path / "a.dm4")
    assert (frame.pixel_size, frame.unit, frame.pixel_ratio) == (None, None, 1.0)
    note = f"the file gives a pixel size of {told}, which cannot be; it is left out"
    assert frame.notes == (note,)
    (tmp_path / "b.dm4").write_bytes(dm4.encode(RAMP, pixel_size=0.9, unit="mm"))
    large = read_frame(tmp_path / "b.dm4")
    assert (large.pixel_size, large.notes) == (pytest.approx(9e5), ())


def test_a_height_that_cannot_be_costs_both(tmp_path):
    edges = {"PixelSize": {"width": "1e-10", "height": "1"}}
    result = {"Detector": "HAADF", "PixelUnitX": "m", "PixelUnitY": "m", **edges}
    velox(tmp_path / "a.emd", {"a": ("HAADF", RAMP, {"BinaryResult": result})})
    frame = read_frame(tmp_path / "a.emd")
    assert (frame.pixel_size, frame.pixel_ratio) == (None, 1.0)
    assert frame.notes[0].startswith("the file gives a pixel size of 0.1 by 1e+09 nm")


def test_a_size_by_hand_holds_for_every_frame(tmp_path):
    (tmp_path / "a.dm4").write_bytes(dm4.encode(RAMP, pixel_size=3.0, unit="nm"))
    (tmp_path / "b.dm4").write_bytes(dm4.encode(RAMP))
    stat = (tmp_path / "a.dm4").stat()
    with GuardedReader(pixel_size="0.5 nm") as reader:
        frames = [reader.read_frame(tmp_path / f"{name}.dm4") for name in "ab"]
        frames += [reader.read_checked(tmp_path / "a.dm4", 0, stat.st_size, stat.st_mtime_ns)[0]]
    for frame in frames:
        assert (frame.pixel_size, frame.unit) == (0.5, "nm")
        assert frame.metadata["pixel_size_from"] == "hand"
    assert "pixel_size_from" not in read_frame(tmp_path / "a.dm4").metadata
