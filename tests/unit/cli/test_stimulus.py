"""`stimulus`: logs added to runs of the past, and clocks set."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pychip_stream.analysis import offset_suggestion
from pychip_stream.analysis.offset_suggestion import Suggestion, suggested
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.marks import events_of
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.main import main
from pychip_stream.sim.furnace import HeatingProgram, HolderLog
from tests.support.archive_samples import GRID, fill, record, result
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


def test_chips_that_come_nearer_to_a_class_tell_the_clock_before_they_turn(tmp_path, monkeypatch):
    """Labels are chance and counts are steady: the distances of the chips alone tell."""
    grown = np.cumsum([PROGRAM.speed_at(float(n)) for n in range(COUNT)]) / COUNT
    writer, records = RunWriter(tmp_path, "run", disk=QuickDisk()), []
    for n in range(COUNT):
        far = np.float32([2 + 3 * grown[n], 5 - 3 * grown[n]])
        far = far + np.random.default_rng(n).normal(0, 0.2, (*GRID, 2)).astype(np.float32)
        records.append(record(n, result=replace(result(n), distances=far)))
    fill(writer, records)
    path, log = writer.close(), tmp_path / "furnace.csv"
    HolderLog(log, PROGRAM, "protochips", offset_s=37.0).write_until(START, COUNT)
    run("stimulus", path, log)
    found = suggested(open_run(path), "furnace")
    assert found.offset_s == pytest.approx(37.0, abs=1.0)
    assert "alpha, beta" in found.how
    monkeypatch.setattr(offset_suggestion, "_MOST_CHIPS", 100)  # then by the labels
    assert not getattr(suggested(open_run(path), "furnace"), "sure", False)


@pytest.mark.parametrize("sure", [True, False])
def test_what_is_not_clear_is_shown_and_never_taken_by_itself(
    path, tmp_path, monkeypatch, capsys, sure
):
    log = tmp_path / "furnace.csv"
    HolderLog(log, PROGRAM).write_until(START, 20)
    told = Suggestion(37.25, 0.5, sure, "T against beta", 1.5)
    monkeypatch.setattr(offset_suggestion, "suggested", lambda *_: told)
    run("stimulus", path, log)
    words = "  suggested" if sure else "  nothing clear; look at the curves; the best is"
    assert f"{words} +37.2 s ± 1.5 s: T against beta\n" in capsys.readouterr().out
    run("stimulus", path, "--offset", "furnace=auto", code=0 if sure else 2)
    assert open_run(path).stimulus.offset_s("furnace") == (37.25 if sure else 0.0)


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
