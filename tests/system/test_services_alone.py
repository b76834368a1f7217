"""A service that is started by hand says what it lacks."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

SERVICES = ("services.hub", "services.archiver", "services.watcher", "services.inference",
            "services.sentinel", "dashboard.app")  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
def test_missing_ports_are_named(service, tmp_path):
    (tmp_path / "acquisition").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text("watch: {root: acquisition}\nwire: {results: 5602}\n")
    done = subprocess.run(
        [sys.executable, "-m", f"pychip_stream.{service}", str(config)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "wire.tasks, wire.requests, wire.events: " in done.stderr
    assert "wire.results" not in done.stderr
    assert "Traceback" not in done.stderr
