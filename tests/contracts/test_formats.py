"""What every file format must do, and how another package adds one."""

from dataclasses import replace

import mrcfile
import numpy as np
import pytest
import tifffile

from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.errors import FrameError
from pychip_stream.formats import FORMATS, reading
from pychip_stream.formats.reading import frame_count, is_frame_name, read_checked, read_frame
from pychip_stream.formats.source import Format, Structure, opened
from pychip_stream.sim import dm4
from pychip_stream.wire import codec
from pychip_stream.wire.messages import Image, Job
from tests.contracts.outside import install, tell
from tests.unit.formats.test_formats import emd, jpeg, png, ser

RAMP = np.arange(40 * 56, dtype=np.uint16).reshape(40, 56)
EXAMPLES = {
    "TIFF": lambda path: tifffile.imwrite(path, RAMP),
    "DM": lambda path: path.write_bytes(dm4.encode(RAMP)),
    "PNG": lambda path: path.write_bytes(png(RAMP)),
    "JPEG": lambda path: path.write_bytes(jpeg((RAMP % 256).astype(np.uint8))),
    "SER": lambda path: path.write_bytes(ser(RAMP[None, ::-1])),  # the last row comes first
    "HDF5": lambda path: emd(path, RAMP[None]),
    "MRC": lambda path: mrcfile.write(path, RAMP),
}

OUTSIDE = """
import numpy as np
from pychip_stream.domain.frames import Frame
from pychip_stream.formats.reading import read_frame
from pychip_stream.formats.source import Format, Structure, check_memory

def examine(source):
    height, width = map(int, np.frombuffer(source.bytes_at(4, 4), "<u2"))
    source.bytes_at(8, height * width)  # says where it ends too early
    return Structure(1, (height, width))

def read(source, structure, index, max_bytes):
    height, width = structure.detail
    check_memory(source.name, height * width, max_bytes)
    pixels = np.frombuffer(source.bytes_at(8, height * width), np.uint8)
    return Frame(pixels.reshape(height, width), source=source.name)

FORMAT = Format("RAW8", (".raw8",), lambda _, head: head.startswith(b"RAW8"), examine, read)
"""


@pytest.fixture(params=list(FORMATS), ids=lambda form: form.name)
def form(request):
    return request.param


@pytest.fixture
def path(form, tmp_path):
    made = tmp_path / f"a{form.suffixes[0]}"
    EXAMPLES[form.name](made)
    return made


class TestFormat:
    def test_its_names_may_hold_frames(self, form):
        assert all(is_frame_name(f"a{suffix}") for suffix in form.suffixes)
        assert all(suffix == suffix.lower() for suffix in form.suffixes)

    def test_it_alone_recognizes_its_files(self, form, path):
        with opened(path) as source:
            head = source.bytes_at(0, 16)
            assert next(f for f in FORMATS if f.matches(source, head)) is form

    def test_frames_are_read_as_they_are(self, form, path):
        assert frame_count(path) == 1
        frame = read_frame(path)
        assert (frame.shape, frame.index, frame.source) == ((40, 56), 0, str(path))
        if form.name != "JPEG":
            np.testing.assert_array_equal(frame.pixels, RAMP)

    def test_only_the_frames_that_are_there_are_read(self, path):
        with pytest.raises(FrameError):
            read_frame(path, 1)

    def test_what_is_cut_short_or_too_large_is_refused_and_nothing_else_comes_out(self, path):
        with pytest.raises(FrameError):
            read_frame(path, max_bytes=100)
        data = path.read_bytes()
        for share in (0.0, 0.02, 0.3, 0.6, 0.9):
            path.write_bytes(data[: int(share * len(data))])
            with pytest.raises(FrameError):
                read_frame(path)

    def test_the_revision_that_was_meant_is_read(self, path):
        found = path.stat()
        assert read_checked(path, 0, found.st_size, found.st_mtime_ns)[0].shape == (40, 56)
        with pytest.raises(FrameError):
            read_checked(path, 0, found.st_size + 1, found.st_mtime_ns)


def fails(*_given):
    raise KeyError("a mistake of others")


ODD = {
    "matches": fails, "examine": fails, "read": fails, "extents": fails, "own_time": fails,
    "nothing is read": None, "no frame is read": [1, 2], "nothing is known": None,
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_a_mistake_in_one_from_outside_costs_its_files_alone(tmp_path, monkeypatch, what):
    form = Format(
        "RAW8", (".raw8",), lambda _source, head: head.startswith(b"RAW8"),
        lambda _source: Structure(1), lambda *_given: Frame(RAMP),
        extents=lambda _structure, _index: [(0, 4)],
    )  # fmt: skip
    name = {"nothing is known": "examine"}.get(what, what if what in dir(form) else "read")
    told = ODD[what] if callable(ODD[what]) else lambda *_given: ODD[what]
    monkeypatch.setattr(reading, "FORMATS", [replace(form, **{name: told})])
    path = tmp_path / "a.raw8"
    path.write_bytes(b"RAW8")
    found = path.stat()
    revision = found.st_size, found.st_mtime_ns
    calls = {
        "look": lambda: reading.contents(path),
        "read": lambda: reading.read_checked(path, 0, *revision),
        "hash": lambda: reading.frame_hashes(path, *revision, [0]),
        "time": lambda: reading.own_time(path),
    }
    refused = set()
    for call, work in calls.items():
        try:
            work()
        except FrameError:
            refused.add(call)
    assert refused


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1e300, -1e300])
def test_what_one_from_outside_tells_can_be_told_on(tmp_path, monkeypatch, odd):
    told = {"detector": "x" * 500, "holder": "a\0b", "y" * 500: 1.0, "z\n": "", "n": np.float32(2)}
    frame = Frame(
        RAMP, metadata=told | {f"more {n}": "" for n in range(200)}, notes=("long " * 10**5,) * 500,
        pixel_size=1.0, unit="u\0" * 300, time=odd, before_last_s=odd,
    )  # fmt: skip
    form = Format("RAW8", (".raw8",), lambda *_: True, lambda _: Structure(1), lambda *_: frame)
    monkeypatch.setattr(reading, "FORMATS", [form])
    path = tmp_path / "a.raw8"
    path.write_bytes(b"RAW8")
    found = read_frame(path)
    image = Image(
        content_hash="", pixel_size=found.pixel_size, unit=found.unit, time=found.time,
        notes=found.notes, metadata=dict(found.metadata),
    )  # fmt: skip
    job = Job(lease=1, frame=FrameRef(path="a.raw8"), image=image)
    assert codec.decode([bytes(part) for part in codec.encode(job, {})]).message == job
    assert (found.time, found.before_last_s, found.metadata["n"]) == (None, 0.0, 2.0)
    assert found.texts["detector"] == "x" * 200
    assert found.texts["holder"] == "a b"


def test_one_from_outside_is_read_and_watched(tmp_path):
    there = install(tmp_path / "site", "pychip_stream.formats", "FORMAT", OUTSIDE)
    frames = tmp_path / "frames"
    frames.mkdir()
    (frames / "a.raw8").write_bytes(b"RAW8\x02\x00\x03\x00" + bytes(range(6)))
    (frames / "b.raw8").write_bytes(b"RAW8\x02\x00\x03\x00" + bytes(5))
    script = """
import json, sys, time
from pathlib import Path
import pychip_stream as ps
from pychip_stream.acquisition.watch import FolderWatch
from pychip_stream.config import WatchConfig
root = Path(sys.argv[1])
pixels = ps.read_frame(root / "a.raw8").pixels.tolist()
watch = FolderWatch(WatchConfig(root=root, quiet_s=0.2, reconcile_s=0.2))
watch.start()
seen, end = [], time.monotonic() + 60
while not seen and time.monotonic() < end:
    seen = [one.frame.path for one in watch.poll(1.0) if one.problem is None]
watch.stop()
print(json.dumps([pixels, seen]))
"""
    assert tell(there, script, frames) == [[[0, 1, 2], [3, 4, 5]], ["a.raw8"]]
