"""Each reader, file by file, against RosettaSciIO.

`rosettasciio.tsv` lists every difference: path, what differs, and which of the reasons that
docs/ingest.md gives. One that is not listed is wrong, and so is one that has gone.
"""

import gc
import importlib
import logging
import re
import warnings
from collections import Counter
from datetime import datetime
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.errors import FrameError
from pychip_stream.formats.reading import frame_count, read_frame
from pychip_stream.sim import dm4
from tests.unit.formats.test_formats import ser

TABLE = Path(__file__).with_name("rosettasciio.tsv")
DOCS = Path(__file__).parents[3] / "docs" / "ingest.md"
READERS = {
    ".dm3": "digitalmicrograph", ".dm4": "digitalmicrograph", ".tif": "tiff", ".tiff": "tiff",
    ".mrc": "mrc", ".ser": "tia", ".emd": "emd", ".png": "image", ".jpg": "image",
}  # fmt: skip
FOLDERS = ("dm", "dm_corrupt", "nasa_super_ebc", "pychip_fig2bc", "reported", "tiff")
RAMP = np.arange(5 * 7, dtype=np.uint16).reshape(5, 7)


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        gc.collect()  # the other reader leaves files open that it cannot read


def ours(path):
    try:
        return [read_frame(path, index) for index in range(frame_count(path))]
    except FrameError:
        return []


def others(path):
    reader = importlib.import_module(f"rsciio.{READERS[path.suffix.lower()]}")
    try:
        return reader.file_reader(str(path))
    except Exception:  # whatever it raises means that it cannot read the file
        return []


def differences(path):
    """What of pixels, shape, dtype, pixel size and time differs; "read" where one cannot read."""
    frames, signals = ours(path), others(path)
    if not frames or not signals:
        return {"read"} if frames or signals else set()
    shape = (len(frames), *frames[0].shape)
    if all(_is_colour(signal, shape) for signal in signals):
        return {"colours"}
    stacks = [(s, np.asarray(s["data"]).reshape(-1, *s["data"].shape[-2:])) for s in signals]
    stacks = [(s, stack) for s, stack in stacks if stack.shape == shape]
    if not stacks:
        return {"shape"}
    pixels = np.stack([frame.pixels for frame in frames])
    same = [s for s, stack in stacks if np.array_equal(stack, pixels)]
    signal = same[0] if same else stacks[0][0]
    found = set() if same else {"pixels"}
    if signal["data"].dtype.newbyteorder("=") != frames[0].pixels.dtype.newbyteorder("="):
        found.add("dtype")
    return found | _calibration(frames, signal)


def _is_colour(signal, shape):
    data = signal["data"]
    samples = data.ndim == 3 and data.shape[:2] == shape[1:] and data.shape[-2:] != shape[1:]
    return data.dtype.names is not None or samples


def _calibration(frames, signal):
    found = set()
    for frame in frames:
        height = frame.pixel_size and frame.pixel_size * frame.pixel_ratio
        for axis, size in zip(signal["axes"][-2:], (height, frame.pixel_size), strict=True):
            told, unit = pixel_size(axis["scale"], axis.get("units") or "")
            if (told, unit) != (size and pytest.approx(size, rel=1e-4), frame.unit):
                found.add("pixel size")
    general = signal["metadata"].get("General", {})
    if general.get("date") and general.get("time"):
        time = datetime.fromisoformat(f"{general['date']}T{general['time']}").timestamp()
        if frames[0].time is None or abs(frames[0].time - time) > 1:
            found.add("time")
    return found


def listed():
    return [line.split("\t") for line in TABLE.read_text("utf-8").splitlines()]


@pytest.mark.filterwarnings("ignore")  # the other reader's
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_differences_are_those_that_are_listed(shared_data, folder):
    found = {
        (path.relative_to(shared_data).as_posix(), what)
        for path in sorted((shared_data / folder).rglob("*"))
        if path.suffix.lower() in READERS and path.is_file()
        for what in differences(path)
    }
    assert found == {(path, what) for path, what, _ in listed() if path.startswith(f"{folder}/")}


def test_each_difference_has_a_reason_that_the_documentation_gives():
    page = DOCS.read_text("utf-8").partition("## Compared with RosettaSciIO")[2]
    told = re.findall(r"^\| \*\*(.+?)\*\* \| (\d+) \|", page.partition("\n## ")[0], re.M)
    files = {(path, reason) for path, _, reason in listed()}
    assert {reason: int(count) for reason, count in told} == Counter(why for _, why in files)


def by_dm4(path):
    stack = np.stack([RAMP, RAMP + 1])
    path.write_bytes(dm4.encode(stack, pixel_size=0.25, time=1_700_000_000.0))


def by_ser(path):
    path.write_bytes(ser(np.stack([RAMP, RAMP + 1]), pixel_m=1.0 if "far" in path.stem else 2e-10))


def by_mrc(path):
    with mrcfile.new(path) as file:
        file.set_data(np.stack([RAMP, RAMP + 1]))
        file.voxel_size = 2.5


def by_emd(path):
    axes = [
        {"name": name, "scale": 0.5, "offset": 0.0, "units": "nm", "size": size, "navigate": False}
        for name, size in zip("yx", RAMP.shape, strict=True)
    ]
    metadata = {"General": {"title": "a"}, "Signal": {}}
    signal = {"data": RAMP, "axes": axes, "metadata": metadata, "original_metadata": {}}
    importlib.import_module("rsciio.emd").file_writer(str(path), signal)


def by_ome(path):
    sizes = {
        f"PhysicalSize{axis}{what}": value
        for axis in "XY"
        for what, value in (("", 0.5), ("Unit", "nm"))
    }
    tifffile.imwrite(path, RAMP, ome=True, metadata=sizes)


def by_imagej(path):
    tifffile.imwrite(path, RAMP, imagej=True, resolution=(4, 4), metadata={"unit": "nm"})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "make", "wrong"),
    [("a.dm4", by_dm4, set()), ("a.ser", by_ser, set()), ("far.ser", by_ser, {"pixel size"}),
     ("a.mrc", by_mrc, set()), ("a.emd", by_emd, set()),
     ("a.tif", by_imagej, {"pixel size"}), ("a.ome.tif", by_ome, {"pixel size"})],
)  # fmt: skip
def test_made_files_read_alike(tmp_path, name, make, wrong):
    path = tmp_path / name
    make(path)
    assert ours(path)
    assert others(path)
    assert differences(path) == wrong
