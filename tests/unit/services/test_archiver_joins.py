"""The archiver goes on while segments of its run are joined."""

import threading

import pytest

from pychip_stream.archive import compaction
from pychip_stream.archive.run import open_run
from tests.support.archive_samples import record
from tests.support.archiver_bench import Closing


@pytest.fixture
def held_join(monkeypatch):
    """Segments are joined after four, and a join goes on for as long as the event is not set."""
    monkeypatch.setattr(compaction, "FAN_IN", 4)
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)
    begun, go = threading.Event(), threading.Event()
    write = compaction.write_segment

    def held(*args):
        begun.set()
        assert go.wait(60)
        write(*args)

    monkeypatch.setattr(compaction, "write_segment", held)
    go.begun = begun
    yield go
    go.set()


def segments(bench):
    return sorted(p.name for p in bench.config.archive.folder.glob("run.segments/seg-*.h5"))


def test_results_are_taken_and_archived_while_segments_are_joined(bench, held_join):
    for number in range(12):
        bench.send(number)
    bench.until(lambda: len(bench.keys) == 12, "frames are acknowledged during the join")
    bench.until(held_join.begun.is_set, "segments are being joined")
    assert segments(bench) == [f"seg-{n:08}-{n:08}.h5" for n in range(1, 7)]
    bench.until(lambda: bench.state == "running", "it says that it is well")
    assert len(open_run(bench.config.run_path)) == 12
    held_join.set()
    bench.until(lambda: "seg-00000001-00000004.h5" in segments(bench), "they are joined")
    for number in range(12, 16):
        bench.send(number)
    bench.until(lambda: "seg-00000005-00000008.h5" in segments(bench), "so are the next four")
    assert "seg-00000001-00000001.h5" not in segments(bench)
    run = open_run(bench.config.run_path)
    assert run.frames["path"].tolist() == [record(n).frame.path for n in range(16)]


def test_closing_waits_for_a_join(bench, held_join, monkeypatch):
    def waiting(work):
        held_join.set()
        return wait(work)

    wait = compaction.wait
    monkeypatch.setattr(compaction, "wait", waiting)
    for number in range(12):
        bench.send(number)
    bench.until(lambda: len(bench.keys) == 12, "two segments more than are joined")
    bench.until(held_join.begun.is_set, "segments are being joined")
    bench.send(12)  # waits in the queue
    assert Closing(bench).ended() is None
    assert held_join.is_set()
    run = open_run(bench.config.run_path)
    assert run.frames["path"].tolist() == [record(n).frame.path for n in range(13)]
    assert not (bench.config.archive.folder / "run.segments").exists()
