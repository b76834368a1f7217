"""Files of runs with changed bytes; a process of its own sees crashes and hangs."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_changed_files_of_runs_give_data_or_clean_refusals(request):
    count = request.config.getoption("--fuzz") // 60
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.archive.fuzz", "--count", str(count)],
        capture_output=True, text=True, cwd=ROOT, timeout=120 + count,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert report["done"] == count
    assert min(report["read"], report["refused"]) > count / 20
