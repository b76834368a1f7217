"""Services that hang, are killed or must wait while nobody looks, with real processes."""

import os
import signal
import sys

import psutil
import pytest

from tests.support import chaos
from tests.support.archive_samples import make_run
from tests.support.ports import free_wire
from tests.support.stack import call_json
from tests.support.waiting import wait_for

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot stop processes by signals"),
]
QUICK = {"watch": {"quiet_s": 0.2, "reconcile_s": 1.0}}


def test_a_worker_that_hangs_is_listed_and_started_again_and_an_archiver_killed_at_the_end_tells(
    stack, tmp_path
):
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

    archiver = run.service("services.archiver")
    os.kill(archiver.pid, signal.SIGSTOP)  # so that it is asked to stop and cannot
    os.kill(run.process.pid, signal.SIGINT)
    before = ("services.watcher", "services.inference")
    wait_for(lambda: not any(map(run.service, before)), "it is the archiver's turn")
    archiver.kill()
    code, document = run.stop()
    assert code == 1, run.log
    assert "archiver ended with signal SIGKILL while stopping" in document["error"]
    assert run.log[-1] == f"error: {document['error']}"
    assert document["run"] == str(run.config.run_path.with_suffix(".segments"))
    assert (document["frames"], len(run.run())) == (3, 3)  # nothing is lost


@pytest.fixture
def unmerged(stack):
    """A run that was stopped and whose archiver waits for the disk, and the archiver."""
    resource = pytest.importorskip("resource")
    run = stack(machine={"services": ["hub", "archiver"]}, wire=free_wire())
    make_run(run.config.archive.folder, 3, run.config.archive.name, close=False)
    run.start()
    counter = run.monitor.counter
    run.listen_for(lambda: counter("archived", "archiver") == 3, "the archiver has looked")
    archiver = run.service("services.archiver")
    archiver.rlimit(resource.RLIMIT_FSIZE, (512, resource.RLIM_INFINITY))  # as on a full disk
    os.kill(run.process.pid, signal.SIGINT)
    wait_for(
        lambda: any("cannot be merged" in x and "trying again in" in x for x in run.log),
        "it is told that the merge waits",
    )
    run.listen_for(
        lambda: "trying again" in run.monitor.statuses["archiver"].detail, "`status` shows it"
    )
    assert run.process.poll() is None
    yield run, archiver
    if archiver.is_running():
        archiver.kill()


def room_again(archiver):
    import resource

    archiver.rlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_a_merge_waits_for_the_disk_and_goes_on_by_itself(unmerged):
    run, archiver = unmerged
    room_again(archiver)
    run.process.wait(90)
    code, document = run.stop()
    assert (code, document["frames"], document["run"]) == (0, 3, str(run.config.run_path))
    assert not run.config.run_path.with_suffix(".segments").exists()


def test_a_merge_that_waits_is_left_by_a_second_stop(unmerged):
    run, _ = unmerged
    code, document = run.stop()
    assert (code, document["frames"]) == (0, 3)
    assert document["run"] == str(run.config.run_path.with_suffix(".segments"))
    assert any("not merged; the run can be read" in line for line in run.log)


def test_a_merge_does_not_wait_without_its_run(unmerged):
    run, archiver = unmerged
    run.process.kill()
    wait_for(lambda: not archiver.is_running() or archiver.status() == psutil.STATUS_ZOMBIE)
    assert len(run.run()) == 3
