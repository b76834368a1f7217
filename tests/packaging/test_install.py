"""What the README's install gives: a command that runs anywhere, and types that tools find."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """\
import pychip_stream as ps
from pychip_stream.services.watcher import Watcher
from pychip_stream.dashboard.runs import RunCard

name: int = ps.open_run("run.h5").names  # wrong on purpose: the types are known
"""


def called(*words, cwd, **variables):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run(
        list(map(str, words)),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment | variables,
        timeout=240,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A fresh clone and the folder of an environment with what its README installs into it.

    The dependencies are those of this environment.
    """
    base = tmp_path_factory.mktemp("install")
    clone, home = base / "clone", base / ".venv"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    venv.create(home, with_pip=True)
    line = next(
        text
        for text in (clone / "README.md").read_text("utf-8").splitlines()
        if "&& pychip-stream demo" in text
    )
    words = next(part for part in line.split("&&") if "pip install" in part).split()
    programs = home / ("Scripts" if sys.platform == "win32" else "bin")
    done = called(programs / "python", "-m", *words, "--no-deps", cwd=clone)
    if done.returncode and "setuptools" in done.stderr and "No matching" in done.stderr:
        pytest.skip("setuptools cannot be had here to build with")
    assert done.returncode == 0, done.stderr
    own = Path(
        called(
            programs / "python",
            "-c",
            "import sysconfig; print(sysconfig.get_path('purelib'))",
            cwd=base,
        ).stdout.strip()
    )
    others = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    others += [p for p in sys.path if p.endswith("site-packages")]
    (own / "zz_dependencies.pth").write_text("\n".join(dict.fromkeys(others)))
    return clone, programs


@pytest.mark.slow
def test_mypy_finds_the_package_and_its_types(installed, tmp_path):
    _, programs = installed
    (tmp_path / "client.py").write_text(SCRIPT)
    words = ("-m", "mypy", "--strict", "--python-executable", programs / "python", "client.py")
    done = called(sys.executable, *words, cwd=tmp_path)
    assert "import-not-found" not in done.stdout
    assert "import-untyped" not in done.stdout
    assert "client.py:5: error: Incompatible types in assignment" in done.stdout, done.stdout


@pytest.mark.system
@pytest.mark.slow
def test_the_command_runs_in_the_clone_itself(installed, tmp_path):
    clone, programs = installed
    words = ("demo", "--frames", 2, "--no-browser", "--json", "--out", tmp_path / "demo")
    done = called(programs / "pychip-stream", *words, cwd=clone)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["frames"] == 2
