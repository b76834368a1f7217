"""Frames that were left out: kept, numbered, and absent from whatever goes over the frames."""

import csv
import errno
import json
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest

from pychip_stream.analysis.audit import chips_per_class, draw_chips
from pychip_stream.analysis.rescoring import rescore, uncovered
from pychip_stream.archive import files
from pychip_stream.archive.exclusions import BLANK, changes, exclude
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.joining import merge_scorings
from pychip_stream.archive.repair import damage, repair_run
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.output import run_document
from pychip_stream.domain.records import FrameRecord
from pychip_stream.errors import ArchiveError, StorageError
from pychip_stream.export.curves import curve_of, export_svg
from pychip_stream.export.film import chosen_frames
from pychip_stream.export.pictures import export_png
from pychip_stream.export.tables import (
    export_chips_csv,
    export_csv,
    export_pychip_csv,
    export_quantities,
    summarise,
)
from tests.support import simple_runs
from tests.support.archive_samples import fill, make_run, record, result
from tests.support.failing_disks import QuickDisk

COUNT = 6


def key(number):
    return f"Hour_00/frame_{number:06d}.dm4", 0


def leave_out(path, *numbers, undo=False, who="ann"):
    run = open_run(path)
    exclude(RunPlaces.of(path), run.run_id, [key(n) for n in numbers], who=who, undo=undo)


def left_out(path):
    return open_run(path).exclusions["frame"].tolist()


@pytest.fixture(params=["closed", "live"])
def path(request, tmp_path):
    return make_run(tmp_path, COUNT, close=request.param == "closed")


def rows_of(file):
    with file.open(newline="") as text:
        return list(csv.DictReader(text))


def test_others_keep_their_numbers_and_every_table_is_without_it(path, tmp_path):
    before = open_run(path).fractions
    leave_out(path, 2)
    run = open_run(path)
    assert run.count == COUNT
    assert run.fractions["frame"].tolist() == [0, 1, 3, 4, 5] == run.fractions.index.tolist()
    assert run.fractions.equals(before.drop(index=2))
    assert np.isnan(run.intervals[2]).all()
    assert not np.isnan(np.delete(run.intervals, 2, 0)).any()
    assert run.covered.tolist() == [0, 1, 3, 4, 5]
    assert run.frames["excluded"].tolist() == [n == 2 for n in range(COUNT)]
    assert run.label_map(2).shape == run.label_map(3).shape  # who asks for it gets it
    assert len(curve_of(run).time) == COUNT - 1
    assert chosen_frames(run, 100) == [0, 1, 3, 4, 5]
    assert {chip.frame for chip in draw_chips(run, 60)} == {0, 1, 3, 4, 5}
    assert sum(chips_per_class(run)) == 12 * (COUNT - 1)
    assert [entry["frames"] for entry in summarise(run)] == [COUNT - 1] * 3
    for write in (export_csv, export_quantities, export_chips_csv):
        write(run, tmp_path / "out.csv")
        assert {int(row["frame"]) for row in rows_of(tmp_path / "out.csv")} == {0, 1, 3, 4, 5}
    export_pychip_csv(run, tmp_path / "out.csv")
    assert not any("frame_000002" in row[""] for row in rows_of(tmp_path / "out.csv"))
    files = export_png(run, tmp_path / "png", lambda *_: None)
    assert [file.name[:6] for file in files] == [f"{n:06d}" for n in (0, 1, 3, 4, 5)]
    assert run.to_xarray()["frame"].values.tolist() == [0, 1, 3, 4, 5]


def test_it_is_there_where_everything_is_asked_for(path, tmp_path):
    before = open_run(path)
    leave_out(path, 0, 4)
    run = open_run(path, everything=True)
    assert np.array_equal(run.intervals, before.intervals)
    assert run.fractions["excluded"].tolist() == [True, False, False, False, True, False]
    # The first one does not count, so the seconds begin with the second, for both.
    assert run.fractions["time_s"].tolist() == [-1, 0, 1, 2, 3, 4]
    assert open_run(path).fractions["time_s"].tolist() == [0, 1, 2, 4]
    assert open_run(path).start == run.start == before.start + 1
    for write in (export_csv, export_quantities):
        write(run, tmp_path / "out.csv")
        rows = rows_of(tmp_path / "out.csv")
        assert [row["excluded"] for row in rows] == ["1", "0", "0", "0", "1", "0"]
        assert list(rows[0])[:5] == ["frame", "index", "path", "time_s", "excluded"]
    assert not run.with_scoring("acquired", everything=False).everything


def test_who_and_when_are_known_and_the_last_change_counts(path):
    leave_out(path, 1, 3)
    leave_out(path, 3, who="bob", undo=True)
    leave_out(path, 5, who="bob")
    found = open_run(path).exclusions
    assert found[["frame", "path", "who"]].values.tolist() == [
        [1, key(1)[0], "ann"], [5, key(5)[0], "bob"],
    ]  # fmt: skip
    assert (found["when"] > 1.7e9).all()


def test_a_run_that_is_open_learns_of_it(path):
    run = open_run(path)
    assert not run.refresh()
    leave_out(path, 1)
    assert run.refresh()
    assert len(run.fractions) == COUNT - 1
    assert not run.refresh()


def test_it_survives_restarts_and_the_merge_with_its_history(tmp_path):
    path = make_run(tmp_path, COUNT, close=False)
    leave_out(path, 1, 2)
    leave_out(path, 2, who="bob", undo=True)
    writer = RunWriter(tmp_path, "run", segment_frames=4, disk=QuickDisk())
    fill(writer, [record(n, result=result(n)) for n in range(COUNT, COUNT + 4)])
    assert left_out(path) == [1]
    assert writer.close() == path
    assert not (tmp_path / "run.scorings").exists()
    assert left_out(path) == [1]
    leave_out(path, 7)  # of the closed run
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())  # goes on, has nothing new
    assert left_out(path) == [1, 7]
    writer.close()
    assert left_out(path) == [1, 7]
    with h5py.File(path) as file:
        group = file["entry/exclusions"]
        history = zip(group["path"].asstr()[:], group["excluded"][:], group["who"].asstr()[:],
                      strict=True)  # fmt: skip
        assert list(history) == [
            (key(1)[0], 1, "ann"), (key(2)[0], 1, "ann"), (key(2)[0], 0, "bob"),
            (key(7)[0], 1, "ann"),
        ]  # fmt: skip
        # Other programs draw the curve without it, too.
        curve = file["entry/fractions/alpha"][:]
        assert np.flatnonzero(np.isnan(curve)).tolist() == [1, 7]


def test_one_that_comes_while_the_run_is_merged_stays(tmp_path, monkeypatch):
    path = make_run(tmp_path, COUNT, close=False)
    leave_out(path, 1)

    class Late(QuickDisk):
        def replace(self, temporary, final):
            if final == path:
                leave_out(path, 4)
            super().replace(temporary, final)

    RunWriter(tmp_path, "run", disk=Late()).close()
    assert len(changes(RunPlaces.of(path))) == 1
    assert left_out(path) == [1, 4]


def test_a_frame_that_is_analysed_again_stays_out(tmp_path):
    path = make_run(tmp_path, COUNT, close=False)
    leave_out(path, 2)
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    fill(writer, [record(2, result=result(2), size=5, time=1.7e9 + 2)])
    writer.close()
    run = open_run(path)
    assert run.exclusions["frame"].tolist() == [2]
    assert run.frames["revision"].tolist()[2] == 2


def test_it_survives_a_repair(tmp_path):
    path = make_run(tmp_path, COUNT)
    leave_out(path, 2)
    merge_scorings(path)
    leave_out(path, 3)
    with h5py.File(path, "r+") as file:
        file["entry/frames/pixel_size"][1] = 9.0
    assert repair_run(path).columns == ["pixel_size"]
    assert left_out(path) == [2, 3]


def test_frames_that_are_left_out_are_scored_again_like_others(tmp_path):
    path = simple_runs.archive(tmp_path)
    run = open_run(path)
    exclude(RunPlaces.of(path), run.run_id, [("1.tif", 0)], who="ann")
    other = simple_runs.picked(0, seed=3)
    done = rescore(path, other, lambda *_: simple_runs.ENCODER)
    assert done.frames == simple_runs.COUNT
    assert uncovered(path, other) == 0
    scored = open_run(path)
    assert scored.scoring == other.version
    assert scored.covered.tolist() == [0, 2, 3, 4]
    exclude(RunPlaces.of(path), run.run_id, [("1.tif", 0)], who="ann", undo=True)
    assert open_run(path).covered.tolist() == [0, 1, 2, 3, 4]
    assert not np.isnan(open_run(path).intervals).any()


def test_what_belongs_to_another_run_or_is_none_is_ignored(path, caplog):
    exclude(RunPlaces.of(path), "of another", [key(0)], who="ann")
    (file,) = changes(RunPlaces.of(path))
    name = re.sub(r"\d{19}", "9" * 19, file.name)
    for odd in ("", "{}", '{"run": 1}', "[" * 10_000):
        file.with_name(name).write_text(odd)
        assert left_out(path) == []
        assert "is no change of a run" in caplog.text
        caplog.clear()
    file.with_name(name).unlink()
    leave_out(path, 3)
    assert left_out(path) == [3]


def test_damaged_exclusions_cost_only_themselves(tmp_path, caplog):
    path = make_run(tmp_path, COUNT, close=False)
    leave_out(path, 2)
    RunWriter(tmp_path, "run", disk=QuickDisk()).close()
    with h5py.File(path, "r+") as file:
        del file["entry/exclusions/who"]
    assert left_out(path) == []
    assert "its exclusions cannot be read" in caplog.text


@pytest.fixture
def closed(tmp_path):
    """A closed run that holds what was left out of it."""
    path = make_run(tmp_path, COUNT, close=False)
    leave_out(path, 2)
    RunWriter(tmp_path, "run", disk=QuickDisk()).close()
    assert damage(path) == []
    return path


@pytest.mark.parametrize(("column", "value"), [("path", key(3)[0]), ("excluded", 0), ("index", 1)])
def test_other_exclusions_than_were_written_are_told_and_not_used(closed, caplog, column, value):
    with h5py.File(closed, "r+") as file:
        file[f"entry/exclusions/{column}"][0] = value
    assert left_out(closed) == []
    assert f"its exclusions cannot be read (is damaged (column {column}))" in caplog.text
    assert damage(closed) == ["run.h5: exclusions"]
    assert repair_run(closed).tables == ["exclusions"]
    assert damage(closed) == []
    assert closed.with_name("run.h5.damaged").exists()


def test_damaged_exclusions_are_kept_aside_when_the_run_goes_on(closed):
    with h5py.File(closed, "r+") as file:
        file["entry/exclusions/excluded"][0] = 0
    leave_out(closed, 4)
    merge_scorings(closed)
    assert left_out(closed) == [4]
    with h5py.File(closed.with_name("run.h5.damaged")) as file:
        assert file["entry/exclusions/path"].asstr()[:].tolist() == [key(2)[0]]


def test_exclusions_of_before_have_no_hashes_and_count(closed):
    with h5py.File(closed, "r+") as file:
        del file["entry/exclusions"].attrs["digest"]
    assert left_out(closed) == [2]
    assert damage(closed) == []


def test_clocks_that_disagree_turn_no_order_round(path, monkeypatch):
    leave_out(path, 3)
    monkeypatch.setattr("pychip_stream.archive.exclusions.time.time", lambda: 1.0)
    leave_out(path, 3, undo=True)
    assert left_out(path) == []


def test_nothing_is_drawn_where_all_are_left_out(path, tmp_path):
    leave_out(path, *range(COUNT))
    run = open_run(path)
    assert not len(run.fractions)
    assert np.isfinite(run.start)
    with pytest.raises(ArchiveError, match="no classified frame to draw"):
        export_svg(run, tmp_path / "x.svg")
    with pytest.raises(ArchiveError, match="no classified frame to draw"):
        chosen_frames(run, 10)


def test_what_cannot_be_written_is_said(path):
    (path.parent / "run.scorings").write_text("in the way")
    with pytest.raises(ArchiveError, match=r"run\.scorings: cannot be written"):
        leave_out(path, 1)


def test_a_file_holds_one_change(path):
    leave_out(path, 1, 2)
    (file,) = changes(RunPlaces.of(path))
    found = json.loads(file.read_text())
    assert found["frames"] == [[*key(1)], [*key(2)]]
    assert (found["run"], found["excluded"], found["who"]) == (open_run(path).run_id, True, "ann")


@pytest.mark.parametrize("close", [True, False])
def test_a_frame_stays_left_out_when_its_file_is_renamed(tmp_path, close):
    path = make_run(tmp_path, COUNT, close=False)
    leave_out(path, 2, 3)
    before = record(2)
    renamed = replace(before, frame=replace(before.frame, path="Hour_01/other.dm4"))
    writer = RunWriter(path.parent, path.stem, disk=QuickDisk())
    fill(writer, [renamed, FrameRecord.moved(before.frame, "Hour_01/other.dm4")])
    if close:
        writer.close()
    run = open_run(path)
    table = run.exclusions
    assert table["path"].tolist() == ["Hour_01/other.dm4", key(3)[0]]
    assert len(run.fractions) == COUNT - 2
    exclude(RunPlaces.of(path), run.run_id, [("Hour_01/other.dm4", 0)], who="bob", undo=True)
    assert open_run(path).exclusions["path"].tolist() == [key(3)[0]]


def test_names_of_before_are_looked_up_once(tmp_path, monkeypatch):
    path = make_run(tmp_path, COUNT)
    leave_out(path, 2)
    before = record(2)
    renamed = replace(before, frame=replace(before.frame, path="Hour_01/other.dm4"))
    writer = RunWriter(path.parent, path.stem, segment_frames=2, disk=QuickDisk())
    fill(writer, [renamed, FrameRecord.moved(before.frame, "Hour_01/other.dm4")])
    read, unpatched = [], files.read_full_table
    monkeypatch.setattr(
        files, "read_full_table", lambda part, n: [read.append(part.path), unpatched(part, n)][1]
    )
    run = open_run(path)
    assert run.exclusions["path"].tolist() == ["Hour_01/other.dm4"]
    assert len(read) == 2  # the archive and the segment
    fill(writer, [record(n, result=result(n)) for n in (COUNT, COUNT + 1)])
    assert run.refresh()
    assert run.exclusions["path"].tolist() == ["Hour_01/other.dm4"]
    assert len(read) == len(set(read)) == 3


def test_a_blank_frame_is_left_out_by_itself_and_can_be_taken_back(tmp_path):
    writer = RunWriter(tmp_path, "run", segment_frames=2, disk=QuickDisk())
    fill(writer, [record(n, measured={"blank": float(n in (1, 3))}) for n in range(4)])
    path = tmp_path / "run.h5"
    assert left_out(path) == [1, 3]
    assert open_run(path).exclusions["who"].tolist() == [BLANK, BLANK]
    leave_out(path, 3, undo=True)
    writer.close()
    assert left_out(path) == [1]
    assert run_document(open_run(path), path)["caveats"] == [
        "1 of 4 frames: blank (no beam?), left out; `exclude RUN FRAME… --undo` takes them back"
    ]


def test_on_a_full_disk_blank_frames_wait_like_all_others(tmp_path):
    disk = QuickDisk()
    writer = RunWriter(tmp_path, "run", disk=disk)
    writer.append(record(0, measured={"blank": 1.0}))
    disk.save = full
    with pytest.raises(StorageError):
        writer.publish()
    del disk.save
    assert writer.publish() == [record(0).frame]
    assert left_out(tmp_path / "run.h5") == [0]


def full(path, _data):
    raise OSError(errno.ENOSPC, "no space left", str(path))
