"""Drift of trust on simulated runs, and the monitor that speaks of it."""

import numpy as np
import pytest

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.support import SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import load_encoder
from pychip_stream.model.scoring import DRIFTED, Monitor
from pychip_stream.sim.specimen import Experiment

CHIP = ChipSize(32, 32)
LEVEL = (1000.0, 300.0, 2500.0)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("bundled", device="cpu")


def measured(drift, levels):
    names = ("intensity_mean", "intensity_p1", "intensity_p99")
    return {"drift": drift, **dict(zip(names, levels, strict=True))}


def followed(encoder, scenario, numbers, brighten=None):
    """Frames of a run with their results; `brighten` multiplies the counts from a frame on."""
    run = Experiment(scenario, 11, 60)
    first = Frame(run.frame(0).pixels)
    support = SupportSet.from_picks(first, CHIP, run.picks(0, CHIP, 5, np.random.default_rng(0)))
    classifier = Classifier.fit(support, encoder)
    monitor = Monitor()
    for number in numbers:
        pixels = run.frame(number).pixels
        if brighten is not None and number >= brighten[0]:
            pixels = (pixels * brighten[1]).astype(np.uint16)
        result = classifier.predict(Frame(pixels))
        low, high = np.percentile(pixels, (1, 99))
        monitor.observe(f"{number}.tif", measured(result.drift, (float(pixels.mean()), low, high)))
        yield result, monitor


def test_losing_focus_is_noticed(encoder):
    *_, (result, monitor) = followed(encoder, "drift", (2, 20, 40, 52, 56, 59))
    assert result.drift > DRIFTED
    assert any("moved away from the examples" in line for line in monitor.notices)


def test_the_interval_opens_when_the_chips_drift_away(encoder):
    results = [r for r, _ in followed(encoder, "drift", (1, 59))]
    early, late = ((r.intervals[:-1, 2] - r.intervals[:-1, 1]).mean() for r in results)
    assert late > 1.5 * early


@pytest.mark.parametrize("scenario", ["transformation", "particles"])
def test_a_transformation_is_no_drift(encoder, scenario):
    *_, (result, monitor) = followed(encoder, scenario, (2, 20, 40, 59))
    assert result.drift < DRIFTED
    assert monitor.notices == ()
    assert monitor.exposure_changes == 0


def test_a_changed_exposure_is_noticed_at_its_frame(encoder):
    seen = list(followed(encoder, "transformation", (1, 4, 8, 12, 16, 20), brighten=(16, 1.4)))
    monitor = seen[-1][1]
    assert monitor.exposure_changes == 1
    (line,) = (one for one in monitor.notices if "exposure" in one)
    assert "16.tif" in line
    factor = float(line.split("factor of ")[1].split()[0])
    assert factor == pytest.approx(1.4, abs=0.08)


def test_the_monitor_says_each_thing_once_and_lets_go():
    monitor = Monitor()
    said = [monitor.observe("f", measured(drift, LEVEL)) for drift in [0.2] * 3 + [1.5] * 9]
    assert sum(len(lines) for lines in said) == 1
    assert monitor.drift == 1.5
    for _ in range(9):
        monitor.observe("f", measured(0.1, LEVEL))
    assert monitor.notices == ()


def test_only_what_brightens_everything_is_an_exposure():
    monitor = Monitor()
    for _ in range(5):
        monitor.observe("f", measured(0.0, LEVEL))
    monitor.observe("g", measured(0.0, (1400.0, 290.0, 2500.0)))  # another phase, same beam
    assert monitor.exposure_changes == 0
    monitor.observe("h", measured(0.0, (600.0, 180.0, 1500.0)))
    assert monitor.exposure_changes == 1
    assert "0.60" in monitor.notices[0]


def test_frames_without_numbers_change_nothing():
    monitor = Monitor()
    assert monitor.drift == 0.0
    for _ in range(5):
        assert monitor.observe("f", measured(float("nan"), (float("nan"), 0.0, -1.0))) == ()
    assert (monitor.drift, monitor.exposure_changes) == (0.0, 0)
