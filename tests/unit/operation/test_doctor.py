"""What the doctor says of the installation."""

import sys

import mrcfile
import numpy as np
import pytest
import torch

from pychip_stream.config import Config
from pychip_stream.operation import doctor
from tests.support.material import hostile_file

pytestmark = pytest.mark.slow


def watching(root, **settings):
    return Config.model_validate({"watch": {"root": root, "mode": "poll", **settings}})


@pytest.fixture
def device(monkeypatch):
    """What is said of the device, with a torch of this CUDA version (None: CPU build)."""

    def said(cuda):
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        (finding,) = (f for f in doctor._torch() if f.check == "device")
        return finding

    return said


@pytest.fixture
def only(monkeypatch):
    """Leave these programs on the machine, and no others."""
    return lambda *names: monkeypatch.setattr(
        doctor.shutil, "which", lambda name: name if name in names else None
    )


def test_a_cpu_build_beside_an_nvidia_gpu_is_named_with_the_cure(device, only):
    only("nvidia-smi")
    finding = device(None)
    assert finding.level == "hint"
    assert "NVIDIA" in finding.what
    assert f"torch {torch.__version__} is a CPU build" in finding.what
    assert "PyTorch's own index" in finding.do
    assert "NVIDIA" not in device("13.0").what  # a driver that is too old, say


def test_windows_tells_by_the_drivers_library(device, only, monkeypatch, tmp_path):
    only()
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    assert "no GPU" in device(None).what
    (tmp_path / "System32").mkdir()
    (tmp_path / "System32" / "nvcuda.dll").touch()
    assert "NVIDIA" in device(None).what


def test_a_file_that_hangs_or_crashes_its_reader_is_no_matter_of_the_check(tmp_path):
    hostile_file("crash.emd", tmp_path).rename(tmp_path / "a.dm4")
    assert doctor._frame_shape(watching(tmp_path)) is None
    hostile_file("hang.emd", tmp_path).rename(tmp_path / "b.dm4")
    assert doctor._frame_shape(watching(tmp_path)) is None


def test_previews_beside_the_frames_are_named_with_the_cure(tmp_path):
    (tmp_path / "day").mkdir()
    for name in ("a.dm4", "a.jpg", "b.dm4", "b.JPG", "c.dm4", "c.txt", "._c.jpg"):
        (tmp_path / "day" / name).touch()
    (tmp_path / "c.jpg").touch()  # in another folder
    finding = doctor._acquisition(watching(tmp_path))
    (finding,) = (one for one in finding if one.check == "frames")
    assert finding.level == "hint"
    assert finding.what.startswith("2 files have the name of another one: ")
    assert "watch.exclude" in finding.do
    for settings in ({"exclude": ["*.jpg"]}, {"include": ["*.dm4"]}):
        left = doctor._acquisition(watching(tmp_path, **settings))
        assert "frames" not in {one.check for one in left}


def test_the_shape_of_a_frame_is_found_in_every_format_that_is_watched(tmp_path):
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.zeros((3, 40, 56), np.uint16))
    assert doctor._frame_shape(watching(tmp_path)) == (40, 56)
    assert doctor._frame_shape(watching(tmp_path, exclude=["*.mrc"])) is None
