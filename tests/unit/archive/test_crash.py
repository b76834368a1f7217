"""The archiver dies at every single thing that it asks of the disk."""

import numpy as np
import pytest

from pychip_stream.archive import compaction
from pychip_stream.archive.convert import label_stack
from pychip_stream.archive.hdf import Checksums
from pychip_stream.archive.run import open_run
from pychip_stream.archive.scorings import add_scoring
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from tests.support.archive_samples import (
    DIM,
    ENCODER,
    failed,
    fill,
    pieces,
    record,
    result,
    support,
)
from tests.support.at_once import OneThread
from tests.support.failing_disks import Died, DyingDisk, QuickDisk

FRAMES = 8
SET = support()
OTHER = support(("alpha", "gamma"), 1)


def frames():
    known = [record(n, result=result(n, version=SET.version)) for n in range(FRAMES)]
    known[3] = failed(3)
    return known


def work(folder, disk, acknowledged):
    """A whole life: archive, continue, score, close; dies on the way."""
    writer = RunWriter(folder, "run", segment_frames=2, disk=disk)
    try:
        writer.add_support(support_to_bytes(SET), SET.version)
        for one in frames():
            writer.append(one)
            if writer.full:
                acknowledged += writer.publish()
        acknowledged += writer.publish()
        run = open_run(folder / "run.h5")
        results = [result(100 + n, OTHER.names, version=OTHER.version) for n in range(run.count)]
        add_scoring(folder / "run.h5", OTHER, run.sequence, pieces(results), disk=disk)
        writer.close()
    finally:
        writer.release()  # the system takes the lock from a dead process


@pytest.fixture
def small_fan_in(monkeypatch):
    """Segments are joined after three, at the same moment each time; narrow ones go at once."""
    monkeypatch.setattr(compaction, "ThreadPoolExecutor", OneThread)
    monkeypatch.setattr(compaction, "FAN_IN", 3)
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)


def check(folder, acknowledged):
    """Everything acknowledged is there, whole and once, before and after going on."""
    before = set()
    if acknowledged:
        run = open_run(folder / "run.h5")
        before = {key.path for key in acknowledged}
        whole(run, before)
    acknowledged = []
    work(folder, QuickDisk(), acknowledged)
    assert {key.path for key in acknowledged}.isdisjoint(before)
    run = open_run(folder / "run.h5")
    whole(run, {one.frame.path for one in frames()})
    assert len(run) == FRAMES
    assert not run.live
    assert set(run.scorings) == {"acquired", OTHER.version}
    assert run.support_set(SET.version).version == SET.version
    left = [p.name for p in folder.rglob("*") if p.is_file() and p.parent.name != "run.scorings"]
    assert left == ["run.h5"]
    # Of another process nobody knows whether it still writes; a day later it goes.
    assert all(p.suffix == ".tmp" for p in (folder / "run.scorings").glob("*"))


def whole(run, wanted):
    table = run.frames
    assert wanted <= set(table["path"])
    assert not table["path"].duplicated().any()
    numbers = [int(path[-10:-4]) for path in run.fractions["path"]]
    labels = label_stack(run.with_scoring("acquired"))
    assert (labels == [result(n).label_map for n in numbers]).all()
    for mine, block in run.embedding_blocks():
        expected = [record(numbers[n]).embeddings.reshape(-1, DIM) for n in mine]
        assert (block.arrays["values"] == np.concatenate(expected)).all()
    assert run.embedded[ENCODER].tolist() == list(range(run.count))
    assert {p[-10:-4] for p in run.failed["path"]} <= {"000003"}


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "torn"])
def test_death_at_every_operation(tmp_path, small_fan_in, when):
    """Dying just after one operation is dying before the next.

    A killed process leaves the same files before and after a sync.
    """
    alive = DyingDisk(at=0)
    work(tmp_path / "alive", alive, [])
    every = [at for at in range(1, alive.count + 1) if at - 1 not in alive.syncs]
    moments = every if when == "before" else alive.divisible
    assert len(moments) > 8
    for at in moments:
        folder = tmp_path / str(at)
        acknowledged = []
        with pytest.raises(Died):
            work(folder, DyingDisk(at, when), acknowledged)
        check(folder, acknowledged)


def test_death_between_the_name_and_the_acknowledgement(tmp_path):
    """What was published but not told is neither lost nor done twice."""
    disk = DyingDisk(at=6, when="after")  # write, sync, publish; likewise the identity before
    writer = RunWriter(tmp_path, "run", segment_frames=3, disk=disk)
    for n in range(3):
        writer.append(record(n))
    with pytest.raises(Died):
        writer.publish()
    assert writer.keys == []
    writer.release()
    again = RunWriter(tmp_path, "run", segment_frames=3)
    assert [key.path for key in again.keys] == [record(n).frame.path for n in range(3)]
    assert not any(again.append(record(n)) for n in range(3))
    assert again.append(record(3))
    again.close()
    assert len(open_run(tmp_path / "run.h5")) == 4


def test_death_in_the_middle_of_the_merged_file(tmp_path, monkeypatch):
    """HDF5 itself writes the merged file; the process dies within each of its arrays."""
    put = Checksums.put
    for at in range(1, 6):
        folder = tmp_path / str(at)
        writer = RunWriter(folder, "run", segment_frames=3, disk=QuickDisk())
        fill(writer, [record(n) for n in range(7)])
        calls = iter(range(1, 100))

        def dying(self, dataset, rows, values, calls=calls, at=at):
            if next(calls) == at:
                dataset.file.flush()
                raise Died
            put(self, dataset, rows, values)

        with monkeypatch.context() as patch:
            patch.setattr(Checksums, "put", dying)
            # A killed process removes nothing.
            patch.setattr("pychip_stream.archive.disk.Disk.remove", lambda *_: False)
            with pytest.raises(Died):
                writer.close()
        writer.release()
        assert list(folder.glob("run.h5.*.tmp"))
        assert len(open_run(folder / "run.h5")) == 7
        RunWriter(folder, "run", disk=QuickDisk()).close()
        run = open_run(folder / "run.h5")
        whole(run, {record(n).frame.path for n in range(7)})
        assert sorted(p.name for p in folder.iterdir()) == ["run.h5"]
