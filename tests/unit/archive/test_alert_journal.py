import json

import numpy as np
import pytest

from pychip_stream.archive.alert_journal import AlertRow, read_alerts
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.errors import ArchiveError


def row(number, state="on"):
    return AlertRow(
        id=f"a-{number}",
        rule="beta <b>appears</b>",
        level="warning",
        state=state,
        quantity="fraction of β",
        value=0.06,
        limit=float("nan") if number % 2 else 0.05,
        reason="fraction of β 6.0% is above 5.0%",
        time=1000.0 + number,
        path="a.dm4",
        dry_run=bool(number % 2),
    )


def frame(number):
    return FrameRecord(
        frame=FrameRef(path=f"{number}.tif", size=1, mtime_ns=number + 1),
        shape=(4, 4), chip_size=(2, 2),
        result=FrameResult(
            names=("a", "b"), label_map=np.zeros((2, 2), np.uint8),
            probabilities=np.zeros((2, 2, 2), np.float32),
            distances=np.zeros((2, 2, 2), np.float32), novelty=np.zeros((2, 2), np.float32),
            intervals=np.zeros((3, 3)), support_version="",
        ),
    )  # fmt: skip


def same(found, expected):
    assert [r.id for r in found] == [r.id for r in expected]
    for a, b in zip(found, expected, strict=True):
        for name in AlertRow.__slots__:
            x, y = getattr(a, name), getattr(b, name)
            assert x == y or (x != x and y != y), name


def test_alerts_survive_restarts_and_the_merge(tmp_path):
    rows = [row(0), row(1, "off"), row(2)]
    writer = RunWriter(tmp_path, "run")
    assert writer.add_alert(rows[0])
    assert not writer.add_alert(rows[0])
    writer.release()  # killed: nothing was closed
    writer = RunWriter(tmp_path, "run")
    assert not writer.add_alert(rows[0])
    assert writer.add_alert(rows[1])
    writer.append(frame(0))
    same(read_alerts(RunPlaces(tmp_path, "run")), rows[:2])
    writer.close()
    same(read_alerts(RunPlaces(tmp_path, "run")), rows[:2])
    assert not (tmp_path / "run.segments").exists()
    writer = RunWriter(tmp_path, "run")  # goes on
    assert not writer.add_alert(rows[1])
    assert writer.add_alert(rows[2])
    same(read_alerts(RunPlaces(tmp_path, "run")), rows)
    writer.close()  # no new frame, and yet
    table = open_run(tmp_path / "run.h5").alerts
    assert list(table["id"]) == ["a-0", "a-1", "a-2"]
    assert list(table["state"]) == ["on", "off", "on"]
    assert table["reason"][0] == rows[0].reason


def test_a_line_that_was_cut_short_costs_nothing_else(tmp_path):
    writer = RunWriter(tmp_path, "run")
    writer.add_alert(row(0))
    journal = tmp_path / "run.segments" / "alerts.jsonl"
    whole = journal.read_bytes()
    writer.add_alert(row(1))
    data = journal.read_bytes()
    writer.release()
    for length in range(len(whole), len(data)):
        journal.write_bytes(data[:length])
        writer = RunWriter(tmp_path, "run")
        writer.add_alert(row(1))
        writer.release()
        same(read_alerts(RunPlaces(tmp_path, "run")), [row(0), row(1)])


def test_alerts_of_a_run_without_frames_stay(tmp_path):
    writer = RunWriter(tmp_path, "run")
    writer.add_alert(row(0))
    writer.close()
    same(read_alerts(RunPlaces(tmp_path, "run")), [row(0)])


def test_a_foreign_line_is_ignored(tmp_path):
    writer = RunWriter(tmp_path, "run")
    journal = tmp_path / "run.segments" / "alerts.jsonl"
    journal.write_text('{"id": 1}\n[]\nnonsense\n' + json.dumps({"spam": 2}) + "\n")
    writer.add_alert(row(0))
    writer.release()
    same(read_alerts(RunPlaces(tmp_path, "run")), [row(0)])


class FullDisk(Disk):
    full = False

    def write_some(self, descriptor, data):
        if self.full:
            raise OSError(28, "No space left on device")
        return super().write_some(descriptor, data[:7])


def test_a_full_disk_is_said_and_it_can_be_tried_again(tmp_path):
    disk = FullDisk()
    writer = RunWriter(tmp_path, "run", disk=disk)
    disk.full = True
    with pytest.raises(ArchiveError, match="No space left"):
        writer.add_alert(row(0))
    disk.full = False
    assert writer.add_alert(row(0))
    same(read_alerts(RunPlaces(tmp_path, "run")), [row(0)])
    writer.release()
