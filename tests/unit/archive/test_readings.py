"""Readings in a run: raw with their own times, joined when they are asked for."""

import csv

import h5py
import numpy as np
import pytest

from pychip_stream.archive import gathered
from pychip_stream.archive import readings as stored
from pychip_stream.archive.clock_offsets import set_offset
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.readings import ReadingJournal, StimulusFiles, add_readings
from pychip_stream.archive.repair import damage
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.signals import Readings, Signal, in_order
from pychip_stream.errors import ArchiveError
from pychip_stream.export.tables import export_quantities
from tests.support.archive_samples import fill, make_run, record
from tests.support.failing_disks import QuickDisk

COUNT = 6


def readings(time, value, *, source="furnace", name="temperature", unit="degC", kind="number"):
    values = np.asarray(value, float)
    return Readings(source, np.asarray(time, float), (Signal(name, unit, kind, values),))


def ramp(path, offset=0.0, **names):
    """Readings that are those of a ramp of a degree per second from the first frame on."""
    start = open_run(path).start
    steps = np.arange(-2.0, COUNT + 60)
    return readings(start + steps - offset, steps, **names)


@pytest.fixture(params=["closed", "live"])
def path(request, tmp_path):
    return make_run(tmp_path, COUNT, close=request.param == "closed")


def add(path, *some):
    return add_readings(RunPlaces.of(path), open_run(path).run_id, some)


def seconds(path):
    run = open_run(path)
    return run.columns("time")["time"] - run.start


def test_what_is_added_afterwards_is_a_quantity_like_any_other(path, tmp_path):
    assert add(path, ramp(path)) == COUNT + 62
    run = open_run(path)
    assert run.stimulus.sources == ("furnace",)
    assert run.stimulus.quantities == {"temperature_C": "degC"}
    np.testing.assert_allclose(run.columns("temperature_C")["temperature_C"], seconds(path))
    assert np.isfinite(run.frames["temperature_C"]).all()
    export_quantities(run, tmp_path / "q.csv")
    with (tmp_path / "q.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["temperature_C"]) for row in rows] == pytest.approx(seconds(path), abs=1e-6)


def test_an_offset_changes_values_and_no_frame(path):
    add(path, ramp(path, offset=37.0))
    before = open_run(path)
    assert not np.allclose(before.columns("temperature_C")["temperature_C"], seconds(path))
    shown = before.stimulus.shifted("furnace", 37.0).columns(before.columns("time")["time"])
    np.testing.assert_allclose(shown["temperature_C"], seconds(path), atol=1e-6)
    set_offset(RunPlaces.of(path), before.run_id, "furnace", 36.0, who="ann")
    set_offset(RunPlaces.of(path), before.run_id, "furnace", 37.0, who="ben", how="a step")
    run = open_run(path)
    np.testing.assert_allclose(run.columns("temperature_C")["temperature_C"], seconds(path))
    assert [(o.who, o.offset_s, o.how) for o in run.stimulus.changes] == [
        ("ann", 36.0, "by hand"), ("ben", 37.0, "a step"),
    ]  # fmt: skip
    assert run.stimulus.offsets["furnace"].who == "ben"
    assert (run.intervals == before.intervals).all()
    assert before.refresh()
    assert not before.refresh()


def test_a_live_run_is_merged_with_its_readings(tmp_path):
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    fill(writer, map(record, range(COUNT)))
    writer.publish()
    places = RunPlaces.of(writer.path)
    journal = ReadingJournal(places)
    one = ramp(writer.path)
    journal.add(readings(one.time[:9], one.signals[0].values[:9]), origin="log", end=500)
    run = open_run(writer.path)
    assert np.isfinite(run.columns("temperature_C")["temperature_C"]).any()
    journal.add(readings(one.time[9:], one.signals[0].values[9:]), origin="log", end=900)
    journal.add(readings([run.start], [1.0], source="gas", name="valve", unit="", kind="state"))
    assert run.refresh()
    assert ReadingJournal(places).position("log") == 900
    set_offset(places, run.run_id, "furnace", 1.0, who="ann")
    live = open_run(writer.path).frames
    closed = writer.close()
    assert not (tmp_path / "run.segments").exists()
    assert not (tmp_path / "run.scorings").exists()
    after = open_run(closed)
    assert after.frames["temperature_C"].tolist() == live["temperature_C"].tolist()
    assert after.frames["valve"].tolist()[0] == 1.0
    assert after.stimulus.offset_s("furnace") == 1.0
    assert ReadingJournal(places).position("log") == 900
    with h5py.File(closed) as file:
        log = file["entry/stimulus/000_temperature_C/value_log"]
        assert log.attrs["NX_class"] == "NXlog"
        assert log["time"].attrs["units"] == "s"
        assert log["value"].attrs["units"] == "degC"
        assert log["value"][:].tolist() == one.signals[0].values.tolist()
        joined = file["entry/frames/temperature_C"]
        assert joined.attrs["units"] == "degC"
        assert np.isfinite(joined[:]).all()
    add(closed, readings([after.start], [5.0], name="bias", unit="V"))
    merge_scorings(closed)
    assert not (tmp_path / "run.scorings").exists()
    last = open_run(closed)
    assert last.stimulus.quantities.keys() == {"temperature_C", "valve", "bias_V"}
    assert last.frames["temperature_C"].tolist() == live["temperature_C"].tolist()


def test_a_line_that_was_cut_short_costs_itself(tmp_path):
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    fill(writer, map(record, range(2)))
    writer.publish()
    places = RunPlaces.of(writer.path)
    ReadingJournal(places).add(readings([1.0], [1.0]))
    with stored.journal(places).open("ab") as file:
        file.write(b'{"source":"furnace","names":[["x"')
    run = open_run(writer.path)
    ReadingJournal(places).add(readings([2.0], [2.0]))
    with stored.journal(places).open("ab") as file:
        file.write(b'{"source":"f","names":[["x","","number"]],"time":"AAAA","values":[]}\n')
    run.refresh()
    assert [series.time.tolist() for series in run.stimulus.series] == [[1.0, 2.0]]
    writer.release()


def test_a_line_of_the_journal_costs_what_is_new_and_changes_nothing_given_away(
    tmp_path, monkeypatch
):
    places = RunPlaces.of(make_run(tmp_path, 2, close=False))
    ordered = []

    def counting(times, values):
        ordered.append(len(times))
        return in_order(times, values)

    monkeypatch.setattr(gathered, "in_order", counting)
    journal, files = ReadingJournal(places), StimulusFiles(places)
    given, lines = [], 40
    for n in range(lines):
        journal.add(readings([2.0 * n, 2.0 * n + 1], [n, n + 0.5]))
        given.append(files.read("").series[0])
        assert files.read("").series[0] is given[-1]
    assert sum(ordered) == 2 * lines
    for n, one in enumerate(given):
        assert one.time.tolist() == list(range(2 * n + 2))
    journal.add(readings([np.nan, 0.5, 3.0], [7, 7, 7]))  # runs backwards, and the last counts
    late = files.read("").series[0]
    assert late.time.tolist()[:5] == [0.0, 0.5, 1.0, 2.0, 3.0]
    assert late.values.tolist()[:5] == [0.0, 7.0, 0.5, 1.0, 7.0]
    assert given[-1].values.tolist()[:4] == [0.0, 0.5, 1.0, 1.5]
    again = StimulusFiles(places).read("").series[0]
    assert (again.time.tolist(), again.values.tolist()) == (
        late.time.tolist(),
        late.values.tolist(),
    )


def test_a_run_that_holds_nothing_yet_has_no_offset(tmp_path):
    with pytest.raises(ArchiveError, match="holds nothing yet"):
        set_offset(RunPlaces(tmp_path, "run"), "", "furnace", 1.0, who="ann")
    assert not list(tmp_path.iterdir())


def test_readings_of_another_run_and_full_disks(tmp_path):
    path = make_run(tmp_path, COUNT)
    add_readings(RunPlaces.of(path), "another", [ramp(path)])
    assert not open_run(path).stimulus.raw
    with pytest.raises(ArchiveError, match="cannot be written"):
        ReadingJournal(RunPlaces(tmp_path / "nowhere", "run")).add(readings([1.0], [1.0]))


def test_a_name_that_frames_have_stands_behind_its_source(tmp_path):
    path = make_run(tmp_path, COUNT)
    add(path, ramp(path, name="stage temperature"), ramp(path, name="index", unit=""))
    run = open_run(path)
    frames = run.frames
    assert frames["furnace_stage_temperature_C"].tolist() == pytest.approx(seconds(path))
    assert frames["index"].tolist() == [0] * COUNT
    assert {"furnace_stage_temperature_C", "furnace_index"} == run.stimulus.quantities.keys()


def test_damaged_readings_are_told_and_cost_nothing_else(tmp_path):
    path = make_run(tmp_path, COUNT)
    add(path, ramp(path))
    merge_scorings(path)
    with h5py.File(path, "r+") as file:
        file["entry/stimulus/000_temperature_C/value_log/value"][3] = 99.0
    assert "stimulus" in str(damage(path))
    run = open_run(path)
    assert run.count == COUNT
    assert not run.stimulus.raw
