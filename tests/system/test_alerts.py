"""Alerts from end to end: seen, published, archived with their reason, acted on."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest

from pychip_stream.archive.support_sets import save_support
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.support import SupportSet
from pychip_stream.sim.specimen import Experiment
from tests.support.stack import COMMAND, call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "hold_transformation.py"
FRAMES, SIZE, CHIP = 40, 256, ChipSize(32, 32)


@pytest.fixture
def support(tmp_path):
    experiment = Experiment(frames=FRAMES, size=(SIZE, SIZE))
    first = experiment.frame(0)
    picks = experiment.picks(0, CHIP, 5, np.random.default_rng(0), coverage=0.8)
    assert {"alpha", "beta"} <= set(picks)
    made = SupportSet.from_picks(Frame(first.pixels), CHIP, picks)
    save_support(made, tmp_path / "s.h5")
    return tmp_path / "s.h5"


def truth_of(root, name):
    with (root / "truth.csv").open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_the_loop_is_closed(stack, support, tmp_path):
    control, marker = tmp_path / "furnace.json", tmp_path / "called"
    command = [
        sys.executable,
        "-c",
        f"import sys; open({str(marker)!r}, 'a').write(sys.stdin.read())",
    ]
    rules = [
        {"name": "beta appears", "quantity": "fraction", "class": "beta", "above": 0.3,
         "for_s": 0.5, "level": "critical", "command": command},
        {"name": "trial", "quantity": "backlog", "above": -1, "dry_run": True, "command": command},
        {"name": "silence", "quantity": "silence", "above": 4.0},
        {"name": "never", "quantity": "backlog", "above": 1e6},
    ]  # fmt: skip
    run = stack(
        support,
        watch={"quiet_s": 0.3},
        alerts={"commands": [sys.executable], "rules": rules},
        health={"prometheus": 0},
    ).start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    run.listen_for(lambda: run.monitor.state("sentinel") == "running", "the sentinel is ready")
    events = run.resolved.wire.endpoint("events")
    steering = subprocess.Popen([sys.executable, EXAMPLE, events, control, "beta appears"])
    try:
        with subprocess.Popen(
            [COMMAND, "simulate", run.root, "--frames", str(FRAMES), "--rate", "3", "--size",
             str(SIZE), "--control", control, "--json"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ):  # fmt: skip
            run.wait_archived(FRAMES)
        run.listen_for(lambda: "silence" in run.monitor.alerts, "the silence is noticed")
    finally:
        steering.kill()
        steering.wait()
    alerts = call_json("status", run.config_path)["alerts"]
    assert alerts["beta appears"]["level"] == "critical"
    run.listen_for(lambda: run.monitor.counter("unarchived", "sentinel") == 0, "all archived")
    code, _ = run.stop()
    assert code == 0

    # The transformation was stopped: left alone it ends above 0.8.
    assert json.loads(control.read_text()) == {"temperature_c": 150.0}
    beta = truth_of(run.root, "beta")
    assert len(beta) == FRAMES
    assert max(beta) < 0.7, beta
    assert len(set(beta[-5:])) == 1, beta

    with run.run() as archive:
        table = archive.alerts
    fired = table[table["state"] == "on"].set_index("rule")
    assert set(fired.index) == {"beta appears", "trial", "silence"}
    assert fired.index.is_unique
    assert "fraction of beta" in fired.loc["beta appears", "reason"]
    assert "above 30.0% for" in fired.loc["beta appears", "reason"]
    assert "silence" in fired.loc["silence", "reason"]
    assert bool(fired.loc["trial", "dry_run"])
    called = marker.read_text()
    assert "beta appears" in called
    assert "trial" not in called


@pytest.mark.skipif(sys.platform == "win32", reason="uses SIGSTOP")
def test_a_part_that_hangs_is_shown_as_stalled_within_seconds(stack, support):
    rules = [{"name": "trouble", "quantity": "troubled", "above": 0}]
    run = stack(support, alerts={"rules": rules}, health={"prometheus": 0}).start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    run.listen_for(lambda: run.monitor.state("sentinel") == "running", "the sentinel is ready")
    run.listen_for(lambda: run.monitor.state("watcher") == "running", "the watcher is ready")
    worker = run.service("services.inference")
    os.kill(worker.pid, signal.SIGSTOP)
    stopped = time.monotonic()
    run.listen_for(lambda: run.monitor.state("worker-1") == "stalled", "stalled")
    assert time.monotonic() - stopped > 2.0
    run.listen_for(lambda: "trouble" in run.monitor.alerts, "the alert")
    assert run.monitor.alerts["trouble"].state == "on"
    port = exporter_port(run.service("services.sentinel"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as page:
        text = page.read().decode()
    assert 'pychip_up{instance="worker-1"} 0.0' in text
    assert 'pychip_up{instance="watcher"} 1.0' in text
    assert 'pychip_alert{level="warning",rule="trouble"} 1.0' in text
    os.kill(worker.pid, signal.SIGCONT)
    run.listen_for(lambda: run.monitor.alerts["trouble"].state == "off", "it clears")
    assert run.monitor.state("worker-1") == "running"
    assert run.stop()[0] == 0


def exporter_port(process):
    (port,) = {c.laddr.port for c in process.net_connections("tcp") if c.status == "LISTEN"}
    return port
