"""Services are killed again and again; every good frame is archived exactly once, undamaged."""

import sys

import pytest

from tests.support import chaos

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
    pytest.mark.skipif(sys.platform == "win32", reason="uses SIGKILL"),
]

KILLS, FRAMES = 28, 21
# The worker loads torch each time, so that in the suite it dies less often than the others;
# `python -m benchmarks.faults` kills all alike.
WEIGHTS = {
    "services.hub": 6.0,
    "services.archiver": 4.0,
    "services.watcher": 4.0,
    "services.inference": 0.3,
}


def test_many_kills_cost_no_frame(stack, tmp_path, record_property):
    run = stack(chaos.make_support(tmp_path), **chaos.SECTIONS)
    outcome = chaos.rage(run, KILLS, WEIGHTS, supervisors=1, frames=FRAMES)
    record_property("figures", f"kills of running services\n{outcome.table()}")
    assert outcome.clean, outcome.table()
    assert outcome.kills.total() >= KILLS
    assert {"archiver", "hub", "inference", "supervisor", "watcher"} == set(outcome.kills)
    assert outcome.frames >= FRAMES
