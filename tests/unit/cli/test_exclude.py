import csv

import numpy as np
import pytest

from pychip_stream.archive.run import open_run
from tests.support.archive_samples import failed, fill, make_run, record, result
from tests.support.command import call_here
from tests.support.failing_disks import QuickDisk

COUNT = 8


@pytest.fixture
def run(tmp_path):
    return make_run(tmp_path, COUNT)


def numbers(document):
    return [row["frame"] for row in document["excluded"]]


def path_of(number):
    return f"Hour_00/frame_{number:06d}.dm4"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["3"], [3]),
        (["2-4", "6"], [2, 3, 4, 6]),
        ([path_of(5)], [5]),
        ([f"{path_of(5)}#0", "5", "1"], [1, 5]),
    ],
)
def test_frames_are_named_by_number_range_or_path(run, words, expected):
    document = call_here("exclude", run, *words, "--json").document
    assert numbers(document) == sorted(document["changed"]) == expected
    assert set(document["excluded"][0]) == {"frame", "path", "index", "who", "when"}
    assert numbers(call_here("exclude", run, "--json").document) == expected


def test_they_are_taken_back(run):
    call_here("exclude", run, "1-3")
    document = call_here("exclude", run, "2", "5", "--undo", "--json").document
    assert document["changed"] == [2]
    assert numbers(document) == [1, 3]
    again = call_here("exclude", run, "1", "--json").document
    assert again["changed"] == []
    listed = call_here("exclude", run).out.splitlines()
    assert listed[0].startswith(f"1  {path_of(1)}")
    assert listed[-1] == f"{run}: 2 frames are left out"


@pytest.mark.parametrize(
    "words", [["8"], ["5-9"], ["5-3"], ["nothing.dm4"], ["--", "-1"], ["1", "99"], ["--undo"]]
)
def test_what_is_no_frame_changes_nothing(run, words):
    called = call_here("exclude", run, *words)
    assert called.code == 2
    assert len(called.err.strip().splitlines()) == 1
    assert numbers(call_here("exclude", run, "--json").document) == []


def test_a_failed_frame_is_none_and_a_path_means_all_of_its_frames(tmp_path):
    from pychip_stream.archive.writer import RunWriter

    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    stack = [record(n, path="stack.tif", index=n, result=result(n)) for n in range(3)]
    fill(writer, [*stack, record(3, path="one.tif", result=result(3)), failed(4)])
    path = writer.close()
    assert call_here("exclude", path, path_of(4)).code == 2
    assert call_here("exclude", path, "stack.tif#1", "--json").document["changed"] == [1]
    assert numbers(call_here("exclude", path, "stack.tif", "--json").document) == [0, 1, 2]


def test_exports_are_without_them_unless_asked(run, tmp_path):
    call_here("exclude", run, "2", "3")
    table = tmp_path / "out.csv"

    def written(*options):
        assert call_here("export", run, "--csv", table, *options).code == 0
        with table.open(newline="") as file:
            return list(csv.DictReader(file))

    assert [row["frame"] for row in written()] == ["0", "1", "4", "5", "6", "7"]
    assert "excluded" not in written()[0]
    everything = written("--excluded")
    assert [row["frame"] for row in everything if row["excluded"] == "1"] == ["2", "3"]
    assert len(everything) == COUNT
    document = call_here("export", run, "--json").document
    assert [row["frame"] for row in document["fractions"]] == [0, 1, 4, 5, 6, 7]
    assert numbers(document) == [2, 3]
    iso = written("--excluded", "--iso-times")
    assert list(iso[0])[3:6] == ["time_s", "time", "excluded"]
    summary = tmp_path / "summary.csv"
    call_here("export", run, "--summary", summary)
    with summary.open(newline="") as file:
        means = {row["class"]: float(row["mean"]) for row in csv.DictReader(file)}
    kept = np.delete(open_run(run, everything=True).intervals[:, 0, 0], [2, 3])
    assert means["alpha"] == pytest.approx(kept.mean())
