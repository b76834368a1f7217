"""What the doctor says of the installation."""

import sys

import pytest
import torch

from pychip_stream.operation import doctor

pytestmark = pytest.mark.slow


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
