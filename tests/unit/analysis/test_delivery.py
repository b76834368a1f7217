"""Paths in messages stay inside the acquisition folder; pixels travel where workers are blind."""

import datetime
import os
import sys

import numpy as np
import pytest
import tifffile

from pychip_stream.analysis.delivery import delivered, with_pixels
from pychip_stream.domain.frames import Frame, FrameRef, inside
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats.reading import read_checked
from pychip_stream.sim import dm4
from pychip_stream.wire import codec
from pychip_stream.wire.messages import Job


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "acquisition"
    (root / "day").mkdir(parents=True)
    (root / "day" / "a.tif").touch()
    (tmp_path / "secret.tif").touch()
    (tmp_path / "acquisition-2").mkdir()
    (tmp_path / "acquisition-2" / "b.tif").touch()
    return root


def test_what_is_inside_is_found(root):
    assert inside(root, "day/a.tif") == (root / "day" / "a.tif").resolve()
    assert inside(root, "day/not-there.tif").parent == (root / "day").resolve()


@pytest.mark.parametrize(
    "path",
    ["../secret.tif", "day/../../secret.tif", "/etc/passwd", "..", "", "day\\..\\..\\secret.tif",
     "../acquisition-2/b.tif", "day/..\\..\\x"],
)  # fmt: skip
def test_what_leads_out_is_refused(root, path):
    with pytest.raises(FrameError):
        inside(root, path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_lead_nowhere_else(root, tmp_path):
    (root / "file.tif").symlink_to(tmp_path / "secret.tif")
    (root / "folder").symlink_to(tmp_path)
    (root / "chain").symlink_to(root / "folder")
    (root / "good.tif").symlink_to(root / "day" / "a.tif")
    for path in ("file.tif", "folder/secret.tif", "chain/secret.tif"):
        with pytest.raises(FrameError, match="leads out"):
            inside(root, path)
    assert inside(root, "good.tif") == (root / "day" / "a.tif").resolve()


def test_a_job_says_when_its_frame_was_taken_as_finely_as_is_known(root):
    taken = datetime.datetime.fromtimestamp(1_700_000_010)
    tifffile.imwrite(root / "c.tif", np.zeros((6, 8), np.uint16), datetime=taken)
    os.utime(root / "c.tif", ns=(0, 1_700_000_010_300_000_000))
    stat = (root / "c.tif").stat()
    for time, wanted in ((1_700_000_010.2, 1_700_000_010.2), (1_700_000_020.2, 1_700_000_010)):
        ref = FrameRef(path="c.tif", size=stat.st_size, mtime_ns=stat.st_mtime_ns, time=time)
        job, _ = with_pixels(Job(lease=1, frame=ref), root, read_checked)
        assert (type(job.image.time), job.image.time) == (float, wanted)


def test_a_job_gets_the_pixels_of_its_revision(root):
    pixels = np.arange(48, dtype=np.uint16).reshape(6, 8)
    tifffile.imwrite(root / "c.tif", pixels)
    stat = (root / "c.tif").stat()
    ref = FrameRef(path="c.tif", size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    job, arrays = with_pixels(Job(lease=1, frame=ref), root, read_checked)
    assert np.array_equal(arrays["pixels"], pixels)
    assert len(job.image.content_hash) == 32
    stale = Job(lease=1, frame=FrameRef(path="c.tif", size=stat.st_size, mtime_ns=1))
    with pytest.raises(FrameIncompleteError):
        with_pixels(stale, root, read_checked)


def test_what_was_read_of_a_frame_arrives_with_its_pixels(root):
    frame = Frame(
        np.ones((6, 8), np.uint16), 0.5, "nm", time=1_700_000_000.25, exposure_s=0.1,
        pixel_ratio=2.0, notes=("2 channels: SE is analysed, BSE left out",), frame_hash="cd",
    )  # fmt: skip
    job = Job(lease=1, frame=FrameRef(path="day/a.tif", index=3))
    packet = codec.decode(codec.encode(*with_pixels(job, root, lambda *_: (frame, "ab"))))
    found = delivered(packet.message.frame, packet.message.image, packet.arrays)
    for name in ("pixel_size", "unit", "time", "exposure_s", "pixel_ratio", "notes", "frame_hash"):
        assert getattr(found, name) == getattr(frame, name), name
    assert np.array_equal(found.pixels, frame.pixels)
    assert (found.source, found.index) == ("day/a.tif", 3)
    with pytest.raises(FrameError, match="did not arrive"):
        delivered(job.frame, packet.message.image, {})


def test_a_job_tells_what_the_file_says(root):
    tags = {"Microscope Info": {"Voltage": 200_000.0, "Name": "Titan"}}
    content = dm4.encode(np.zeros((6, 8), np.uint16), pixel_size=5.0, unit="mm", tags=tags)
    (root / "c.dm4").write_bytes(content)
    stat = (root / "c.dm4").stat()
    ref = FrameRef(path="c.dm4", size=stat.st_size, mtime_ns=stat.st_mtime_ns)
    image = with_pixels(Job(lease=1, frame=ref), root, read_checked)[0].image
    assert image.metadata == {"high_voltage_kV": 200.0, "microscope": "Titan"}
    assert image.notes[0].startswith("the file gives a pixel size of 5e+06 nm")
