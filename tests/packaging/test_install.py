"""What the README's install gives: all of it, under one name; its command, and its types."""

import csv
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOMES = {
    "pychip_stream": "pychip_stream",
    "services": "pychip_stream/services",
    "dashboard": "pychip_stream/dashboard",
}
SCRIPT = """\
import pychip_stream as ps
from pychip_stream.services.watcher import Watcher
from pychip_stream.dashboard.work.runs import RunCard

name: int = ps.open_run("run.h5").names  # wrong on purpose: the types are known
"""


def called(*words, cwd):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "MYPYPATH")}
    return subprocess.run(
        [*map(str, words)], capture_output=True, text=True, cwd=cwd, env=environment, timeout=240
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A fresh clone, the Python of an environment with what its README installs into it, and where.

    The dependencies are those of this environment.
    """
    base = tmp_path_factory.mktemp("install")
    clone, home = base / "clone", base / ".venv"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    venv.create(home, with_pip=True)
    text = (clone / "README.md").read_text(encoding="utf-8")
    steps = next(line for line in text.splitlines() if "pychip-stream demo" in line).split("&&")
    words = next(step for step in steps if "pip install" in step).split()
    python = home / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    done = called(python, "-m", *words, "--no-deps", cwd=clone)
    if done.returncode and "setuptools" in done.stderr and "No matching" in done.stderr:
        pytest.skip("setuptools cannot be had here to build with")
    assert done.returncode == 0, done.stderr
    own = called(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=base)
    others = [sysconfig.get_path("purelib"), *(p for p in sys.path if "site-packages" in p)]
    site = Path(own.stdout.strip())
    (site / "dependencies.pth").write_text("\n".join(dict.fromkeys(others)))
    return clone, python, site


@pytest.fixture(scope="module")
def names(installed):
    """What was installed, but for the command and what Python compiled."""
    (record,) = installed[2].glob("pychip_stream-*.dist-info/RECORD")
    with record.open(newline="", encoding="utf-8") as file:
        return {row[0] for row in csv.reader(file) if not row[0].startswith("..")
                and "__pycache__" not in row[0]}  # fmt: skip


@pytest.mark.slow
def test_every_file_of_the_packages_is_installed(names):
    tracked = subprocess.run(
        ["git", "ls-files", *HOMES], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    wanted = {"/".join((HOMES[p.split("/")[0]], *p.split("/")[1:])) for p in tracked}
    assert len(wanted) > 200
    assert wanted - names == set()


@pytest.mark.slow
def test_nothing_else_is_put_into_site_packages(names):
    assert {name.split("/")[0].split("-")[0] for name in names} == {"pychip_stream"}


OTHERS = """\
[mypy]
[mypy-torch.*,torchvision.*,matplotlib.*,pandas.*,panel.*,bokeh.*,sklearn.*,PIL.*]
follow_imports = skip
"""
"""Large packages of others, whose types mypy need not read for that."""


@pytest.mark.slow
def test_mypy_finds_the_package_and_its_types(installed, tmp_path):
    _, python, _ = installed
    (tmp_path / "client.py").write_text(SCRIPT)
    (tmp_path / "mypy.ini").write_text(OTHERS)
    words = ("-m", "mypy", "--strict", "--python-executable", python, "client.py")
    done = called(sys.executable, *words, cwd=tmp_path)
    assert "import-not-found" not in done.stdout
    assert "import-untyped" not in done.stdout
    assert "client.py:5: error: Incompatible types in assignment" in done.stdout, done.stdout


@pytest.mark.system
@pytest.mark.slow
def test_the_demo_runs_in_the_clone_itself_and_says_where_its_files_are(installed, tmp_path):
    clone, python, _ = installed
    words = ("demo", "--frames", 2, "--no-browser", "--out", tmp_path / "demo")
    done = called(python.with_name("pychip-stream"), *words, cwd=clone)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'demo/runs/demo.h5'}: 2 frames" in done.stdout
    assert f"everything is in {tmp_path / 'demo'}" in done.stdout
    assert f'pychip-stream review "{tmp_path / "demo/runs/demo.h5"}"' in done.stdout
