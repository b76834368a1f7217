"""Velox files: which image is the frame does not hang on the names that Velox makes up."""

import json

import h5py
import numpy as np
import pytest

from pychip_stream.domain.frames import FrameRef, time_of
from pychip_stream.errors import FrameError
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.formats.reading import frame_count, read_frame

COUNTS = (np.arange(12 * 20) % 200 + 1000).astype(np.uint16).reshape(12, 20)


def velox(path, images, frames=1):
    """Write images, by their names: (detector, pixels, further metadata)."""
    with h5py.File(path, "w") as file:
        for name, (detector, pixels, *more) in images.items():
            group = file.create_group(f"Data/Image/{name}")
            group["Data"] = np.stack([pixels] * frames, axis=-1)
            texts = []
            for number in range(frames):
                meta = {"BinaryResult": {"Detector": detector}}
                for part in more:
                    meta |= part(number) if callable(part) else part
                texts.append(json.dumps(meta).encode())
            table = np.zeros((max(map(len, texts)) + 1, frames), np.uint8)
            for number, text in enumerate(texts):
                table[: len(text), number] = list(text)
            group["Metadata"] = table


@pytest.mark.parametrize("order", ["abcd", "dcba", "bdac"])
def test_the_same_detector_whatever_the_names_are(tmp_path, order):
    a, b, c, d = order
    velox(
        tmp_path / "a.emd",
        {
            a: ("BF", COUNTS + 1),
            b: ("HAADF", COUNTS + 2),
            c: ("SuperXG2", COUNTS.astype(np.float32)),
            d: ("DF4", COUNTS + 3),
        },
    )
    frame = read_frame(tmp_path / "a.emd")
    assert np.array_equal(frame.pixels, COUNTS + 2)
    assert frame.notes == ("4 images: HAADF is analysed, BF, DF4, SuperXG2 left out",)


def test_the_detector_that_is_asked_for_is_taken(tmp_path):
    images = {"a": ("BF", COUNTS + 1), "b": ("HAADF", COUNTS + 2), "c": ("DF4", COUNTS + 3)}
    velox(tmp_path / "a.emd", images)
    for name, more in (("", 2), ("BF", 1), ("df4", 3), ("HAADF", 2)):
        frame = read_frame(tmp_path / "a.emd", detector=name)
        assert np.array_equal(frame.pixels, COUNTS + more)
    assert frame_count(tmp_path / "a.emd", detector="BF") == 1
    for ask in (frame_count, read_frame):
        with pytest.raises(FrameError, match=r"no image of 'Ceta' \(watch.detector\), but HAADF"):
            ask(tmp_path / "a.emd", detector="Ceta")
    with GuardedReader(detector="BF") as reader:
        assert np.array_equal(reader.read_frame(tmp_path / "a.emd").pixels, COUNTS + 1)
        ref = (tmp_path / "a.emd").stat()
        frame, _ = reader.read_checked(tmp_path / "a.emd", 0, ref.st_size, ref.st_mtime_ns)
        assert np.array_equal(frame.pixels, COUNTS + 1)
        assert frame.notes == ("3 images: BF is analysed, HAADF, DF4 left out",)


def test_transforms_and_calculated_images_are_no_frames(tmp_path):
    transform = np.zeros((12, 20), [("realFloatHalfEven", "<f4"), ("imagFloatHalfEven", "<f4")])
    calculated = COUNTS.astype(np.float32)
    velox(tmp_path / "a.emd", {"a": ("HAADF", transform), "b": ("BF", COUNTS)})
    assert np.array_equal(read_frame(tmp_path / "a.emd").pixels, COUNTS)
    assert read_frame(tmp_path / "a.emd").notes == ("2 images: BF is analysed, HAADF left out",)
    velox(tmp_path / "b.emd", {"a": ("B-D", calculated), "b": ("Ceta", COUNTS)})
    assert np.array_equal(read_frame(tmp_path / "b.emd").pixels, COUNTS)
    velox(tmp_path / "c.emd", {"a": ("HAADF", transform)})
    with pytest.raises(FrameError, match="without images of grey values"):
        read_frame(tmp_path / "c.emd")


@pytest.mark.parametrize("each", [True, False], ids=["own times", "one start"])
def test_frames_of_a_series_have_their_times(tmp_path, each):
    def meta(number):
        begun = 1_700_000_000 + (number * 0.5 if each else 0)
        return {
            "Scan": {"FrameTime": "0.5"},
            "Acquisition": {"AcquisitionStartDatetime": {"DateTime": str(begun)}},
        }

    velox(tmp_path / "a.emd", {"a": ("HAADF", COUNTS, meta)}, frames=3)
    assert frame_count(tmp_path / "a.emd") == 3
    ref = FrameRef(path="a.emd", mtime_ns=10**9, time=1.0)
    times = [time_of(read_frame(tmp_path / "a.emd", index), ref) for index in range(3)]
    assert times == [1_700_000_000, 1_700_000_000.5, 1_700_000_001]


def test_pixels_that_are_not_square(tmp_path):
    edges = {"PixelSize": {"width": "1e-10", "height": "2e-10"}}
    result = {"Detector": "HAADF", "PixelUnitX": "m", "PixelUnitY": "m", **edges}
    velox(tmp_path / "a.emd", {"a": ("HAADF", COUNTS, {"BinaryResult": result})})
    frame = read_frame(tmp_path / "a.emd")
    assert (frame.pixel_size, frame.unit, frame.pixel_ratio) == (0.1, "nm", pytest.approx(2))


def test_metadata_that_cannot_be_read_costs_nothing(tmp_path):
    velox(tmp_path / "a.emd", {"a": ("HAADF", COUNTS)})
    with h5py.File(tmp_path / "a.emd", "r+") as file:
        file["Data/Image/a/Metadata"][0] = ord("?")
    assert np.array_equal(read_frame(tmp_path / "a.emd").pixels, COUNTS)


def test_the_shared_file_gives_its_dark_field(shared_data):
    frame = read_frame(shared_data / "reported" / "velox_haadf_uuid_last.emd")
    assert float(frame.pixels.mean()) == pytest.approx(1292, abs=1)
    assert frame.pixels.dtype == np.uint16
