"""The wheel holds everything, under one name."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOMES = {
    "pychip_stream": "pychip_stream",
    "services": "pychip_stream/services",
    "dashboard": "pychip_stream/dashboard",
}


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    subprocess.run(
        ["git", "clone", "-q", ROOT, source], check=True
    )  # nothing left by earlier builds
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", out, source]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "setuptools" in done.stderr and "No matching" in done.stderr:
        pytest.skip("setuptools cannot be had here to build with")
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(out.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


@pytest.mark.slow
def test_every_file_of_the_packages_is_in_it(names):
    tracked = subprocess.run(
        ["git", "ls-files", *HOMES], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    wanted = {"/".join((HOMES[p.split("/")[0]], *p.split("/")[1:])) for p in tracked}
    assert len(wanted) > 200
    assert wanted - names == set()


@pytest.mark.slow
def test_it_puts_nothing_else_into_site_packages(names):
    assert {name.split("/")[0].split("-")[0] for name in names} == {"pychip_stream"}
