"""Fraction against temperature, where the holder's clock is not that of the camera."""

import numpy as np
import pandas as pd
import pytest

from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import save_support
from pychip_stream.cli.demo import examples_of
from pychip_stream.sim.furnace import HeatingProgram
from pychip_stream.sim.specimen import Experiment
from tests.support.stack import call_installed, call_json

pytestmark = [pytest.mark.system, pytest.mark.slow]

FRAMES, RATE, SEED, OFFSET_S = 120, 8.0, 127, 37.0


@pytest.fixture(scope="module")
def supports(tmp_path_factory):
    """Two sets of other clean chips of the first frame."""
    folder = tmp_path_factory.mktemp("supports")
    experiment = Experiment(seed=SEED, frames=FRAMES)
    for number in range(2):
        save_support(examples_of(experiment, number), folder / f"{number}.h5")
    return [folder / "0.h5", folder / "1.h5"]


def hold(run, truth):
    """Shares of the frames whose temperature, and whose fraction at it, are right."""
    measured = run.fractions.merge(truth, on="path", suffixes=("", "_true"))
    assert len(measured) == len(truth) == FRAMES
    found = run.columns("temperature_C")["temperature_C"]
    known = np.isfinite(found)
    program = HeatingProgram(FRAMES / RATE)
    # An offset that is right within one frame may be one early or late.
    early, late = (
        np.array([program.temperature_at(t + by / RATE) for t in measured["time_s_true"]])
        for by in (-1.0, 1.0)
    )
    low, high = np.minimum(early, late) - 1.0, np.maximum(early, late) + 1.0
    inside = [
        measured[f"{name}_true"].between(measured[f"{name}_low"], measured[f"{name}_high"])
        for name in run.names
    ]
    right = (low <= found) & (found <= high)
    shares = known.mean(), right[known].mean(), np.array(inside)[:, known].mean()
    return [float(one) for one in shares]


def test_a_ramp_with_a_pause_live_and_scored_again(stack, supports, record_property):
    run = stack(supports[0], stimulus=[{"name": "furnace", "log": "furnace.csv"}]).start()
    run.listen_for(lambda: run.monitor.state("worker-1") == "running", "the worker is ready")
    words = ("--frames", FRAMES, "--rate", RATE, "--seed", SEED, "--format", "tiff")
    code, _, err = call_installed(
        "simulate", run.root, *words, "--holder-log", run.folder / "furnace.csv",
        "--holder", "protochips", "--holder-offset", OFFSET_S, "--holder-pause", 2,
    )  # fmt: skip
    assert code == 0, err
    run.wait_archived(FRAMES)
    path = run.config.run_path

    (entry,) = call_json("stimulus", path)["sources"]
    suggested = entry["suggested"]["offset_s"]
    (entry,) = call_json("stimulus", path, "--offset", f"furnace={suggested}")["sources"]
    assert entry["offset_s"] == pytest.approx(OFFSET_S, abs=1 / RATE)
    truth = pd.read_csv(run.root / "truth.csv")
    results = [hold(open_run(path), truth)]
    code, document = run.stop()
    assert code == 0, document
    results.append(hold(open_run(path), truth))
    call_json("rescore", path, "--support", supports[1])
    results.append(hold(open_run(path), truth))
    record_property(
        "figures",
        f"offset {entry['offset_s']:.3f} s (true {OFFSET_S:g}); frames with a temperature, right "
        "temperatures, fractions in their intervals: live, closed, scored again\n"
        + "\n".join(" ".join(f"{one:.3f}" for one in result) for result in results),
    )
    for share, right, inside in results:
        assert share > 0.95  # the pause of the log is shorter than `max_gap_s`
        assert right >= 0.95
        assert inside >= 0.95
