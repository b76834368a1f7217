"""What takes long to import waits until it is used: it is paid at every start of a run."""

import subprocess
import sys

import pytest

SLOW = {
    "av", "dask", "matplotlib", "pandas", "scipy.fft", "scipy.linalg", "scipy.ndimage",
    "scipy.special", "scipy.stats", "sklearn", "tifffile", "torch", "xarray",
}  # fmt: skip
PROGRAMS = {
    "hub, watcher, archiver, sentinel": (
        "from pychip_stream.services import archiver, hub, sentinel, watcher",
        SLOW | {"asyncio", "panel", "PIL"},
    ),
    "inference": (
        "from pychip_stream.services import inference",
        SLOW - {"torch"} | {"panel", "torchvision"},
    ),
    "dashboard": (
        "from pychip_stream.dashboard import app; app.PAGES.names",
        SLOW,
    ),
    "run": (
        "from pychip_stream.cli import run, session",
        SLOW | {"asyncio", "h5py", "panel"},
    ),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_starts_without(program):
    code, slow = PROGRAMS[program]
    told = f"import sys; print(*sorted({slow!r} & set(sys.modules)))"
    words = [sys.executable, "-P", "-c", f"{code}\n{told}"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout == "\n", done.stderr
