import csv
from datetime import datetime

import pytest

from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from tests.support.archive_samples import fill, record, result, support
from tests.support.command import call_here
from tests.support.failing_disks import QuickDisk

COUNT = 60


@pytest.fixture
def run(tmp_path):
    """A run that is heated from 25 to 100 degC at its 40th frame."""
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    made = support()
    writer.add_support(support_to_bytes(made), made.version)
    frames = []
    for n in range(COUNT):
        measured = {"stage_temperature_C": 25.0 if n < 40 else 100.0}
        frames.append(record(n, result=result(n % 2, version=made.version), measured=measured))
    fill(writer, frames)
    return writer.close()


def listed(run, *words):
    document = call_here("events", run, *words, "--json").document
    return [(round(e["time_s"], 6), e["kind"], e["text"]) for e in document["events"]]


def test_moments_are_marked_changed_and_taken_back(run):
    start = open_run(run).start
    here = datetime.fromtimestamp(start + 12.5).isoformat()
    assert listed(run, "--mark", "gas on", "--at", "7.25") == [(7.25, "mark", "gas on")]
    both = listed(run, "--mark", "gas off", "--at", here)
    assert both == [(7.25, "mark", "gas on"), (12.5, "mark", "gas off")]
    event = call_here("events", run, "--json").document["events"][0]["event"]
    assert listed(run, "--change", event, "--mark", "H2 on")[0][2] == "H2 on"
    assert listed(run, "--remove", event) == [(12.5, "mark", "gas off")]
    assert "gas off" in call_here("events", run).out


@pytest.mark.parametrize(
    "words",
    [
        ["--mark", "x"],
        ["--mark", "x", "--at", "1", "--change", "e"],
        ["--mark", "x", "--at", "soon"],
        ["--mark", "x", "--at", "nan"],
        ["--mark", "", "--at", "1"],
        ["--change", "e"],
        ["--remove", "nothing"],
        ["--take"],
    ],
)
def test_what_cannot_be_is_refused(run, words):
    assert call_here("events", run, *words).code == 2
    assert listed(run) == []


def test_changes_are_proposed_and_kept_when_they_are_taken(run):
    (point,) = call_here("events", run, "--propose", "--json").document["proposed"]
    assert point["name"] == "stage_temperature_C"
    assert point["time_s"] == pytest.approx(39.5) and point["step"] == pytest.approx(75)
    assert listed(run) == []
    ((moment, kind, text),) = listed(run, "--propose", "--take")
    assert (moment, kind) == (pytest.approx(39.5), "change") and text == point["text"]


def test_they_are_in_the_csv_and_in_the_figure(run, tmp_path):
    call_here("events", run, "--mark", "=gas on", "--at", "7.25")
    table, figure = tmp_path / "e.csv", tmp_path / "f.svg"
    assert call_here("export", run, "--events", table, "--svg", figure).code == 0
    with table.open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["time_s"], row["kind"], row["text"]) == ("7.25", "mark", "'=gas on")
    moment = datetime.fromisoformat(row["time"]).timestamp()
    assert moment == pytest.approx(open_run(run).start + 7.25, abs=1e-5)
    assert "=gas on" in figure.read_text(encoding="utf-8")
