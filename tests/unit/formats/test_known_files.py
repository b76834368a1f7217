"""What each real and each damaged file at hand gives.

`known_files.tsv` states it: path, then frames, height, width, dtype, pixel size and unit of the
first frame, or the kind of refusal and its reason.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pychip_stream.domain.normalization import Normalization
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats import reading

TABLE = Path(__file__).with_name("known_files.tsv")
FOLDERS = ("dm", "dm_corrupt", "tiff", "tiff_hostile")


def rows():
    return [line.split("\t") for line in TABLE.read_text("utf-8").splitlines()]


def given(path):
    """The row of a file, as the readers see it."""
    try:
        count = reading.frame_count(path)
        frames = [reading.read_frame(path, index) for index in range(count)]
    except FrameIncompleteError as error:
        return ["incomplete", str(error).removeprefix(f"{path}: ")]
    except FrameError as error:
        return ["refused", str(error).removeprefix(f"{path}: ")]
    first = frames[0]
    size = "" if first.pixel_size is None else f"{first.pixel_size:.6g}"
    height, width = first.shape
    dtype = str(first.pixels.dtype)
    return ["frames", str(count), str(height), str(width), dtype, size, first.unit or ""]


def test_every_file_is_in_the_table(shared_data):
    there = {
        path.relative_to(shared_data).as_posix()
        for folder in FOLDERS
        for path in (shared_data / folder).rglob("*")
        if path.is_file() and not path.name.startswith("LICENSE")
    }
    assert {row[0] for row in rows()} == there


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_give_what_the_table_says(shared_data, folder):
    wrong = [
        (row, found)
        for row in rows()
        if row[0].startswith(f"{folder}/") and (found := given(shared_data / row[0])) != row[1:]
    ]
    assert wrong == []


def test_every_image_survives_normalisation(shared_data):
    for row in rows():
        if row[1] != "frames":
            continue
        pixels = reading.read_frame(shared_data / row[0]).pixels
        for mode in (Normalization.from_percentiles(pixels), Normalization("frame")):
            values = mode.apply(pixels)
            assert values.dtype == np.float32, row
            assert np.isfinite(values).all(), row


@pytest.mark.filterwarnings("ignore")  # the other reader's, of files that are damaged a little
def test_grey_tiff_files_read_as_another_reader_reads_them(shared_data):
    # Pillow leaves a predictor out, reads signed bytes as unsigned, scales 2 and 4 bits to 8.
    others_fault = (
        "hpredict-1c-12b",
        "int8",
        "extra_samples",
        "i8b",
        "1c-2b",
        "1c-4b",
        "1c-i8",
        "8bit.s",
    )
    differ, compared = [], 0
    for row in rows():
        if not row[0].startswith("tiff/") or row[1] != "frames":
            continue
        try:
            with Image.open(shared_data / row[0]) as image:
                if image.mode not in ("L", "F", "I;16", "I;16B", "1") or image.getexif().get(274):
                    continue
                other = np.array(image)
        except (OSError, ValueError, SyntaxError):
            continue
        frame = reading.read_frame(shared_data / row[0])
        compared += 1
        if not np.array_equal(frame.pixels, other):
            differ.append(row[0])
    differ = [path for path in differ if not any(part in path for part in others_fault)]
    assert compared > 40
    assert differ == []
