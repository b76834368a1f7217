"""The furnace of the practice microscope, and the logs that its holder keeps."""

import numpy as np
import pytest

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.signals import series_of
from pychip_stream.errors import UsageError
from pychip_stream.sim.furnace import DIALECTS, HeatingProgram, HolderLog
from pychip_stream.sim.microscope import Microscope
from pychip_stream.sim.specimen import Experiment
from pychip_stream.stimulus.follower import LogFollower
from pychip_stream.stimulus.log_reading import read_log
from pychip_stream.stimulus_settings import StimulusConfig

START = 1.79e9


def collected(found):
    blocks = [block.readings for block in found]
    time = np.concatenate([b.time for b in blocks])
    values = np.concatenate(
        [next(s for s in b.signals if s.name.casefold() == "temperature").values for b in blocks]
    )
    return series_of("holder", "temperature", "degC", "number", 1.0, time, values)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_log_tells_the_program_on_its_own_clock(tmp_path, dialect):
    program = HeatingProgram(40.0)
    path = tmp_path / "exp_raw.csv"
    log = HolderLog(path, program, dialect, offset_s=37.0, pause_at_s=10.0)
    for second in range(41):
        log.write_until(START, float(second))
    found = collected(read_log(path, StimulusConfig(log=path)))
    step_s = 60.0 if dialect == "digiheater" else 2e-3
    assert found.time[0] + 37.0 == pytest.approx(START, abs=step_s)
    assert np.diff(found.time).max() == pytest.approx(3.2, abs=0.01)
    times = found.time[0] + np.array([0.0, 5.0, 11.5, 30.0])
    wanted = [program.temperature_at(t) for t in (0.0, 5.0, 30.0)]
    values = found.at(times)
    np.testing.assert_allclose(values[[0, 1, 3]], wanted, atol=0.1)
    assert np.isnan(values[2])
    told = [one for b in read_log(path, StimulusConfig(log=path)) for one in b.notes]
    if dialect in ("csv", "protochips"):
        ((moment, text),) = told
        assert (moment, text) == (pytest.approx(found.time[0] + 13.0), "log paused for 3 s")
    else:
        assert told == []


def test_a_restart_of_the_holder_is_followed(tmp_path):
    path = tmp_path / "exp_raw.csv"
    log = HolderLog(path, HeatingProgram(40.0), "protochips", restart_at_s=20.0)
    follower = LogFollower([StimulusConfig(log=path)], {})
    found = []
    for second in range(41):
        log.write_until(START, float(second))
        if second % 7 == 0 or second == 40:
            follower.look()
            found += [block for _, block in follower.take()]
    assert len({block.origin for block in found}) == 2
    steps = np.diff(collected(found).time)
    assert steps.max() == pytest.approx(0.2, abs=0.01)


def test_heat_drives_the_change_and_the_pause_stops_it(tmp_path):
    program = HeatingProgram(60.0)
    experiment = Experiment(frames=60, size=(128, 128), furnace=program)
    progress = np.array([experiment.progress(i) for i in range(60)])
    assert progress[-1] == pytest.approx(1.0, abs=0.1)
    assert np.ptp(progress[29:35]) == 0.0
    microscope = Microscope(
        tmp_path / "frames", experiment, 50.0, ["tiff"], chip_size=ChipSize(32, 32),
        holder=HolderLog(tmp_path / "holder.csv", program),
    )  # fmt: skip
    assert microscope.run() == 60
    log = tmp_path / "holder.csv"
    assert len(collected(read_log(log, StimulusConfig(log=log))).time) >= 5
    with pytest.raises(UsageError, match="choose csv"):
        HolderLog(tmp_path / "x", program, "nonsense")


def test_what_heat_does_comes_with_its_frame_not_half_a_frame_early():
    program = HeatingProgram(15.0)
    specimen = Experiment(seed=1, frames=121, size=(64, 64), interval_s=0.125, furnace=program)
    fine = np.cumsum([program.speed_at(n / 800) for n in range(12001)]) / 12000
    reached = np.array([specimen.progress(n) for n in range(121)])
    assert np.abs(reached - np.minimum(fine[::100], 1.0)).max() < 2e-3
