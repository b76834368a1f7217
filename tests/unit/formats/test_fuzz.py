"""Thousands of mutated files; a process of its own sees crashes, hangs and greed."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT, SHARED


@pytest.mark.slow
def test_mutated_files_give_frames_or_clean_refusals(request):
    count = request.config.getoption("--fuzz")
    words = ["--count", str(count), "--seed", "0", "--memory-mb", "768"]
    if SHARED.is_dir():
        words += ["--real", str(SHARED)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.formats.fuzz", *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60 + count / 50,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report["done"] == count
    # The mutations reach beyond the first check of the header, and many leave a file readable.
    assert min(report["frames"], report["incomplete"], report["refused"]) > count / 20
    assert report["grown_mb"] < 768
