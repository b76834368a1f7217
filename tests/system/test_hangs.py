"""Services that hang or are killed where no code of theirs can say so, with real processes."""

import os
import signal
import sys

import psutil
import pytest

from tests.support import chaos
from tests.support.stack import call_json
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop processes by signals"),
]
QUICK = {"encoder": chaos.EXACT, "watch": {"quiet_s": 0.2, "reconcile_s": 1.0}}


def test_a_worker_that_hangs_is_listed_and_started_again(stack, tmp_path):
    run = stack(chaos.make_support(tmp_path), **QUICK, supervision={"patience_s": 15.0}).start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is there")
    run.config_path.write_text("watch: {root: elsewhere}\narchive: {name: other}\n")  # edited
    worker = run.service("services.inference")
    os.kill(worker.pid, signal.SIGSTOP)
    told = call_json("status", run.config_path)
    assert told["services"]["worker-1"]["state"] == "missing"  # `status` has never heard it
    assert any(line.startswith("worker-1 missing: not heard of") for line in told["troubles"])
    camera = chaos.Camera(run.root, 20.0, limit=3).start()
    run.wait_archived(3)
    camera.stop()
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert any("inference hangs or is silent for 15 s; killing it" in line for line in run.log)
    code, document = run.stop()
    assert (code, document["frames"]) == (0, 3)


def test_an_archiver_that_is_killed_at_the_end_is_no_success(stack, tmp_path):
    run = stack(chaos.make_support(tmp_path), **QUICK).start()
    camera = chaos.Camera(run.root, 20.0, limit=3).start()
    run.wait_archived(3)
    camera.stop()
    archiver = run.service("services.archiver")
    os.kill(archiver.pid, signal.SIGSTOP)  # so that it is asked to stop and cannot
    os.kill(run.process.pid, signal.SIGINT)
    wait_for(lambda: run.service("services.inference") is None, "it is the archiver's turn")
    archiver.kill()
    code, document = run.stop()
    assert code == 1
    assert "archiver ended with signal SIGKILL while stopping" in document["error"]
    assert run.log[-1] == f"error: {document['error']}"
    assert document["run"] == str(run.config.run_path.with_suffix(".segments"))
    assert (document["frames"], len(run.run())) == (3, 3)  # nothing is lost
