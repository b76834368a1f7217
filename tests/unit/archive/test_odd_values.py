"""Values that cannot be kept cost their frame: never the batch, the run or the archiver."""

from dataclasses import replace

import numpy as np
import pytest

from pychip_stream.archive import compaction, live, writer
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.frames import FrameRef
from tests.support.archive_samples import NAMES, record, result
from tests.support.at_once import OneThread
from tests.support.failing_disks import QuickDisk


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """The live view is renewed, and segments are joined, at once."""
    monkeypatch.setattr(live, "PAUSE_S", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    monkeypatch.setattr(compaction, "FAN_IN", 4)
    monkeypatch.setattr(compaction, "ThreadPoolExecutor", OneThread)
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)


def named(*names):
    return record(1, result=result(1, names))


def without(part, value):
    return record(1, result=replace(result(1), **{part: value}))


ODD = {
    "a shape beyond int32": record(1, shape=(1 << 40, 10)),
    "a negative shape": record(1, shape=(-1, 10)),
    "a chip size beyond int32": record(1, chip_size=(1 << 40, 16)),
    "no class": record(1, result=replace(
        result(1, ("a",)), names=(), probabilities=np.zeros((3, 4, 0), np.float32),
        distances=np.zeros((3, 4, 0), np.float32), intervals=np.zeros((1, 3)),
        label_map=np.zeros((3, 4), np.uint8),
    )),
    "a class called unknown": named("alpha", "unknown"),
    "NUL in a class": named("alpha", "be\0ta"),
    "a class with a line break": named("alpha", "be\nta"),
    "a class without a name": named("alpha", ""),
    "twice the same class": named("alpha", "alpha"),
    "300 classes": named(*(f"class {n}" for n in range(300))),
    "a class name of 3 MB": named("alpha", "b" * 3_000_000),
    "a label without a class": without("label_map", np.full((3, 4), 9, np.uint8)),
    "probabilities of another grid": without("probabilities", np.zeros((2, 4, 2), np.float32)),
    "intervals of another shape": without("intervals", np.zeros((2, 3))),
    "labels that are no numbers": without("label_map", np.full((3, 4), "x")),
    "a device of 3 MB": record(1, device="d" * 3_000_000),
    "a unit with NUL": record(1, unit="n\0m"),
    "a quantity called like a column": record(1, measured={"sequence": 7.0}),
    "a quantity with NUL": record(1, measured={"a\0b": 7.0}),
    "too many quantities": record(1, measured={f"q{n}": 7.0 for n in range(100_000)}),
    "a quantity that is a word": record(1, measured={"drift": "far"}),
    "a pixel size that is a word": record(1, pixel_size="small"),
    "a time that is a word": record(1, read="noon"),
}  # fmt: skip


def test_an_odd_value_costs_its_frame(tmp_path):
    """Each in the middle of a batch of others."""
    made = RunWriter(tmp_path, "run", segment_frames=3, disk=QuickDisk())
    wrong = {}
    for n, (kind, odd) in enumerate(ODD.items()):
        bad = replace(odd, frame=record(3 * n + 1).frame)
        wrong[bad.frame.path] = kind
        for one in (record(3 * n), bad, record(3 * n + 2)):
            made.append(one)
        assert len(made.publish()) == 3, kind
    with open_run(made.close()) as run:
        failed = run.failed
        assert {wrong.pop(path) for path in failed["path"]} == set(ODD)
        assert all("cannot be archived" in reason for reason in failed["reason"])
        assert failed["reason"].str.len().max() < 300
        good = [n for n in range(3 * len(ODD)) if n % 3 != 1]
        assert run.count == len(good)
        assert run.names == NAMES
        assert all((run.label_map(i) == result(n).label_map).all() for i, n in enumerate(good))


@pytest.mark.parametrize("frame", [FrameRef(path="x" * 5_000), FrameRef(path="a\0b"),
                                   FrameRef(path="a", index=1 << 40),
                                   FrameRef(path="a", size=1 << 70)])  # fmt: skip
def test_a_frame_without_a_usable_name_is_left_out_and_counted(tmp_path, frame, caplog):
    made = RunWriter(tmp_path, "run", disk=QuickDisk())
    assert made.append(record(0))
    assert not made.append(replace(record(1), frame=frame))
    assert made.refused == 1
    assert "cannot be archived" in caplog.text
    with open_run(made.close()) as run:
        assert len(run) == 1


def test_a_run_can_have_so_many_classes_and_no_more(tmp_path):
    made = RunWriter(tmp_path, "run", disk=QuickDisk())
    for n in range(6):
        names = tuple(f"class {n} {i}" for i in range(60))
        made.append(record(n, result=result(n, names)))
        made.publish()
    with open_run(made.close()) as run:
        assert run.count == 4
        assert "more than 250 classes" in run.failed["reason"][0]
        assert run.label_map(3).shape == (3, 4)


def test_infinite_times_are_kept(tmp_path):
    made = RunWriter(tmp_path, "run", disk=QuickDisk())
    odd = FrameRef(path="x", size=1, mtime_ns=1, time=np.inf, seen=-np.inf)
    made.append(replace(record(0), frame=odd, read=np.inf, classified=-np.inf))
    made.append(record(1))
    made.publish()
    with open_run(made.close()) as run:
        assert run.count == 2


def test_grids_of_every_shape_take_no_endless_memory(tmp_path):
    """Labels lie in a stack that every grid fits in: 1 x n and n x 1 make n x n."""
    made = RunWriter(tmp_path, "run", disk=QuickDisk())
    sizes = [(1, 12_000), (12_000, 1)] * 20
    peak = 0
    for n, grid in enumerate(sizes):
        made.append(record(n, result=result(n, grid=grid), embeddings=False))
    while made.pending_count:
        peak = max(peak, len(made.publish()))
    assert peak == 1
    made.release()
    with open_run(tmp_path / "run") as run:
        pieces = [len(rows) for _, rows in run.result_blocks(())]
        assert len(pieces) == len(sizes)


def test_what_nothing_foresaw_costs_its_frame_too(tmp_path, monkeypatch, caplog):
    real = writer.segment_image

    def refusing(header, block):
        if b"Hour_00/frame_000001.dm4" in block.table["path"] and b"ok" in block.table["status"]:
            index = block.table["path"].tolist().index(b"Hour_00/frame_000001.dm4")
            if block.table["status"][index] == b"ok":
                raise RuntimeError("nobody knows")
        return real(header, block)

    monkeypatch.setattr(writer, "segment_image", refusing)
    made = RunWriter(tmp_path, "run", disk=QuickDisk())
    for n in range(3):
        made.append(record(n))
    assert len(made.publish()) == 3
    with open_run(made.close()) as run:
        assert run.count == 2
        assert "nobody knows" in run.failed["reason"][0]


def test_too_little_memory_is_a_pause_and_no_fault_of_the_frames(tmp_path, monkeypatch):
    def full(_header, _block):
        raise MemoryError

    made = RunWriter(tmp_path, "run", disk=QuickDisk())
    made.append(record(0))
    with monkeypatch.context() as patch:
        patch.setattr(writer, "segment_image", full)
        with pytest.raises(writer.ArchiveError, match="memory"):
            made.publish()
    assert len(made.publish()) == 1
    with open_run(made.close()) as run:
        assert run.count == 1


def test_a_run_that_was_poisoned_before_can_be_closed(tmp_path, monkeypatch):
    """Names with NUL that an earlier version let in."""
    made = RunWriter(tmp_path, "run", disk=QuickDisk())
    monkeypatch.setattr(writer, "flaw", lambda *_: "")
    made.append(named("alpha", "be\0ta"))
    made.publish()
    with open_run(made.close()) as run:
        assert run.count == 1
