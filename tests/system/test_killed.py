"""Any process may be killed at any moment; every frame is archived exactly once."""

import os
import signal
import sys

import pytest

from tests.support.stack import call_json
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="uses SIGKILL"),
]


@pytest.fixture
def experiment(tmp_path, stack):
    first = tmp_path / "first"
    call_json(
        "simulate", first, "--frames", 1, "--rate", 100, "--size", "128x128", "--format", "tiff"
    )
    frame = next(first.rglob("*.tif*"))
    picks = ("--pick", "a=0,0;1,1;2,0", "--pick", "b=3,3;2,2;0,3")
    call_json("support", "make", frame, "--chip-size", 32, *picks, "-o", tmp_path / "s.h5")
    return stack(tmp_path / "s.h5")


def check(run, code, document, count):
    assert code == 0
    with run.run() as archive:
        table = archive.frames
    keys = list(zip(table["path"], table["index"], strict=True))
    on_disk = {
        p.relative_to(run.root).as_posix()
        for p in run.root.rglob("*")
        if p.suffix in (".dm4", ".tif", ".tiff")
    }
    assert len(keys) == len(set(keys)) == count
    assert {path for path, _ in keys} == on_disk
    assert set(table["status"]) == {"ok"}
    assert (document["frames"], document["failed"]) == (count, [])


def test_the_whole_run_killed_started_again_and_stopped_quickly(experiment):
    run = experiment.start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    call_json("simulate", run.root, "--frames", 20, "--rate", 50, "--size", "128x128")
    run.wait_archived(8)
    children = run.children()
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    run.process.stdout.close()
    # Services that lose their parent stop by themselves.
    wait_for(
        lambda: not any(c.is_running() and c.status() != "zombie" for c in children), "no orphan"
    )
    run.monitor.close()
    run.start()
    run.wait_archived(20)
    check(run, *run.stop(signal.SIGTERM, timeout_s=15), 20)
