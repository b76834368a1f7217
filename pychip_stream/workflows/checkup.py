"""Checkup: what is wrong with this installation, and with the configuration of an experiment."""

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from pychip_stream import config as configuration
from pychip_stream.errors import PychipError
from pychip_stream.workflows.findings import Finding, safely
from pychip_stream.workflows.preflight import checks

_SMALLEST_TORCH_THREADS = 2
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "firefox", "microsoft-edge")


def check(config_path: Path | None, rate_hz: float = 1.0) -> list[Finding]:
    """Check the installation and, with a configuration, what it needs.

    Parameters
    ----------
    rate_hz
        Frames per second that are planned, for the space they need.
    """
    findings = [f for part in (_python, _torch, _torchvision, _browser) for f in safely(part)]
    if config_path is None:
        return findings
    try:
        config = configuration.load(config_path)
    except PychipError as error:
        return [*findings, Finding("config", "bad", str(error), "correct the keys it names")]
    findings.append(Finding("config", "good", f"{config_path} can be used"))
    return findings + [f for part in checks(config, rate_hz) for f in safely(part)]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "good", f"{version} on {sys.platform}")
    package = importlib.metadata.version("pychip-stream")
    yield Finding("pychip-stream", "good", package)


def _torch() -> Iterator[Finding]:
    import torch

    from pychip_stream.model.encoder import load_encoder

    encoder = load_encoder("bundled")
    yield Finding("torch", "good", f"{torch.__version__}, encoder {encoder.name}: {encoder.device}")
    if _nvidia() and torch.version.cuda is None:
        yield Finding(
            "device", "hint",
            f"an NVIDIA GPU is here, but torch {torch.__version__} is a CPU build",
            "install torch and torchvision with CUDA from PyTorch's own index: docs/install.md",
        )  # fmt: skip
    elif not torch.cuda.is_available() and not torch.backends.mps.is_available():
        yield Finding(
            "device", "hint", f"no GPU; {torch.get_num_threads()} CPU threads are used",
            "fast cameras need a GPU machine: see docs/operate.md, two machines",
        )  # fmt: skip
    if torch.get_num_threads() < _SMALLEST_TORCH_THREADS:
        yield Finding(
            "threads", "hint", "torch uses a single thread", "unset OMP_NUM_THREADS, or raise it"
        )


def _nvidia() -> bool:
    """Whether the driver of an NVIDIA GPU is installed; that of Windows brings nvcuda.dll."""
    system = Path(os.environ.get("SYSTEMROOT", "C:/Windows"), "System32", "nvcuda.dll")
    places = [system] if sys.platform == "win32" else [Path("/proc/driver/nvidia/version")]
    return shutil.which("nvidia-smi") is not None or any(place.exists() for place in places)


def _torchvision() -> Iterator[Finding]:
    from pychip_stream.model import torchvision_shim

    try:
        torchvision_shim.models()
    except PychipError as error:
        yield Finding(
            "torchvision", "hint", str(error),
            "the bundled encoder does not need it; torchvision encoders do",
        )  # fmt: skip
    else:
        yield Finding("torchvision", "good", importlib.metadata.version("torchvision"))


def _browser() -> Iterator[Finding]:
    import webbrowser

    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    try:
        known = webbrowser.get().name
    except webbrowser.Error:
        known = ""
    if found or known or sys.platform in ("win32", "darwin"):
        yield Finding("browser", "good", found or known or "that of the system")
    else:
        yield Finding(
            "browser", "hint", "none found on this machine",
            "open the dashboard's address from another one, or install a browser",
        )  # fmt: skip
