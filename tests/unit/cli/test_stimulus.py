"""`stimulus`: logs added to runs of the past, and clocks set."""

import json

import numpy as np
import pytest

from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.marks import events_of
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.main import main
from pychip_stream.sim.furnace import HeatingProgram, HolderLog
from tests.support.archive_samples import fill, record
from tests.support.failing_disks import QuickDisk

COUNT = 120
START = 1.7e9
PROGRAM = HeatingProgram(float(COUNT))


@pytest.fixture
def path(tmp_path):
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    seen = 1000 - 100 * np.cumsum([PROGRAM.speed_at(float(n)) for n in range(COUNT)]) / COUNT
    fill(writer, [record(n, measured={"intensity_mean": seen[n]}) for n in range(COUNT)])
    return writer.close()


def run(*words, code=0):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words)])
    assert ended.value.code == code


def test_a_log_is_added_and_its_clock_found(path, tmp_path, capsys):
    log = tmp_path / "furnace.csv"
    HolderLog(log, PROGRAM, "protochips", offset_s=37.0, pause_at_s=30.0, pause_s=12.0).write_until(
        START, COUNT
    )
    run("stimulus", path, log, "--offset", "furnace=auto", "--json")
    (entry,) = json.loads(capsys.readouterr().out)["sources"]
    assert entry["offset_s"] == pytest.approx(37.0, abs=1.0)
    assert "intensity_mean" in entry["how"]
    assert entry["quantities"] == {"temperature_C": "degC"}
    merge_scorings(path)
    found = open_run(path).columns("temperature_C")["temperature_C"]
    late = float(entry["offset_s"]) - 37.0
    wanted = np.array([PROGRAM.temperature_at(n - late) for n in range(COUNT)])
    known = np.isfinite(found)
    assert 0.85 * COUNT < known.sum() < COUNT - 8
    assert np.mean(np.abs(found - wanted)[known] < 2.0) >= 0.95
    run("stimulus", path, log)  # again, which brings no note twice
    run("stimulus", path, "--offset", "furnace=36.5")
    (note,) = events_of(open_run(path))
    assert (note.text, note.who) == ("log paused for 12 s", "furnace")
    assert note.time == pytest.approx(START + 42.0 - 0.5, abs=0.01)
    assert open_run(path).stimulus.offset_s("furnace") == 36.5


def test_a_log_of_another_day_is_told(path, tmp_path, capsys):
    log = tmp_path / "other.csv"
    HolderLog(log, PROGRAM).write_until(START + 86400 * 3, COUNT)
    run("stimulus", path, log)
    told = capsys.readouterr().out
    assert "0 of 120 frames have values" in told
    assert "another log, or set its zone" in told


@pytest.mark.parametrize(
    "words", [["missing.csv"], ["--offset", "x=1"], ["--offset", "x"], ["--offset", "x=auto"]]
)
def test_what_cannot_be_done_is_wrong_usage(path, words, capsys):
    run("stimulus", path, *words, code=2)
    assert capsys.readouterr().err.count("\n") == 1


def test_settings_come_from_a_list(path, tmp_path, capsys):
    (tmp_path / "odd.txt").write_text("when|T\n1700000000|5\n1700000010|6\n")
    (tmp_path / "s.yaml").write_text(
        "stimulus: [{name: oven, log: odd.txt, time_column: when, columns: {T: 'heat [K]'}}]"
    )
    run("stimulus", path, tmp_path / "s.yaml", "--json")
    assert json.loads(capsys.readouterr().out)["sources"][0]["quantities"] == {"heat_K": "K"}
    words = "start: 2023-11-14T22:13:20, time_column: when, time_format: elapsed, zone: UTC"
    (tmp_path / "s.yaml").write_text(f"stimulus: [{{log: odd.txt, name: other, {words}}}]")
    run("stimulus", path, tmp_path / "s.yaml")  # of which YAML makes a date
    capsys.readouterr()
    (tmp_path / "s.yaml").write_text("stimulus: [{log: odd.txt, zone: Nowhere}]")
    run("stimulus", path, tmp_path / "s.yaml", code=2)
