"""Starting: by mistake a second time, on a busy port, before the acquisition folder is there."""

import configparser
from pathlib import Path

import pytest

from tests.support import chaos
from tests.support.stack import call, call_json
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"watch": {"quiet_s": 0.2, "reconcile_s": 1.0}}


def test_a_folder_that_comes_late_is_waited_for_and_a_second_start_refused(stack, tmp_path):
    run = stack(chaos.make_support(tmp_path), **QUICK)
    run.root.rmdir()
    run.start()
    run.listen_for(lambda: run.monitor.state("watcher") == "paused", "the watcher waits")
    wait_for(lambda: any("not there yet; waiting" in line for line in run.log), "it is told")
    status = call_json("status", run.config_path)["services"]["watcher"]
    assert status["state"] == "paused"
    assert str(run.root) in status["detail"]
    assert "waiting for it" in status["detail"]
    run.root.mkdir()
    states = run.monitor.state
    run.listen_for(lambda: states("watcher") == states("worker-1") == "running", "all is there")

    resolved = run.config.archive.folder / "run.resolved.yaml"
    before = resolved.read_bytes()

    code, out, err = call("run", run.config_path)
    assert (code, out) == (2, "")
    assert f"process {run.process.pid} " in err
    assert "going on already" in err
    assert resolved.read_bytes() == before

    assert call_json("status", run.config_path)["troubles"] == []
    run.service("services.inference").kill()  # what is started again must find the others
    camera = chaos.Camera(run.root, 20.0, limit=5).start()
    run.wait_archived(5)
    camera.stop()
    code, document = run.stop()
    assert (code, document["frames"]) == (0, 5)


@pytest.mark.parametrize(
    "unit", sorted((ROOT / "configs" / "systemd").iterdir()), ids=lambda unit: unit.name
)
def test_systemd_goes_on_trying(unit):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(unit.read_text(encoding="utf-8"))
    # A start that fails since a share is not there yet ends with 1 and is tried without limit.
    assert parser["Unit"]["StartLimitIntervalSec"] == "0"
    assert parser["Service"]["Restart"] == "on-failure"
    assert parser["Service"]["RestartPreventExitStatus"] == "2"
