"""Writing a run: acknowledged means on disk, once, and in one file at the end."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pychip_stream.archive import compaction, live
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.records import FrameRecord
from pychip_stream.errors import ArchiveError
from tests.support.archive_samples import failed, fill, make_run, record, result, support
from tests.support.failing_disks import FailingDisk, QuickDisk


def writer_of(folder, **options):
    options.setdefault("disk", QuickDisk())
    return RunWriter(folder, "run", segment_frames=4, **options)


def paths(folder):
    return list(open_run(folder / "run.h5").frames["path"])


def test_nothing_is_acknowledged_before_it_is_on_disk(tmp_path):
    writer = writer_of(tmp_path)
    assert not writer.due()
    for n in range(3):
        assert writer.append(record(n))
        assert not writer.full
    assert (writer.pending_count, writer.keys) == (3, [])
    assert len(open_run(tmp_path / "run.h5")) == 0
    assert writer.due(now=1e12)
    assert [key.path for key in writer.publish()] == paths(tmp_path)
    assert writer.publish() == []
    writer.release()


def test_each_revision_is_archived_once_and_the_newest_is_shown(tmp_path):
    writer = writer_of(tmp_path)
    assert writer.append(record(1))
    assert not writer.append(record(1))
    fill(writer, [record(2)])
    assert not writer.append(record(1))
    changed = record(1, size=77, result=result(50), embeddings=None)
    assert writer.append(changed)
    writer.close()
    run = open_run(tmp_path / "run.h5")
    assert (len(run), run.count) == (2, 2)
    assert run.frames["revision"].tolist() == [2, 1]
    assert (run.label_map(0) == result(50).label_map).all()
    again = writer_of(tmp_path)
    assert [key.size for key in again.keys] == [1001, 1002, 77]
    assert not again.known.failed
    again.close()


def test_a_frame_that_was_moved_counts_no_more_until_its_name_comes_back(tmp_path):
    writer = writer_of(tmp_path)
    old, new = record(1), record(1, path="b.dm4")
    note = FrameRecord.moved(old.frame, "b.dm4")
    assert not writer.append(note)  # it is not archived yet
    fill(writer, [old, failed(2), new, note])
    assert not writer.append(note)
    run = open_run(tmp_path / "run.h5")
    assert (run.frames["path"].tolist(), run.count) == (["b.dm4", failed(2).frame.path], 1)
    writer.release()
    writer = writer_of(tmp_path)
    assert (writer.known.moved, len(writer.keys)) == ({3}, 4)
    assert not writer.append(new)
    assert writer.append(old)  # its name has come back
    assert not writer.append(old)
    run = open_run(writer.close())
    assert len(run) == 3
    assert sorted(run.frames["revision"]) == [1, 1, 3]
    assert run.label_map(0).tolist() == run.label_map(1).tolist() == old.result.label_map.tolist()


def test_only_the_newest_revision_of_a_frame_can_be_moved(tmp_path):
    writer = writer_of(tmp_path)
    fill(writer, [record(1), record(1, size=77)])
    assert not writer.append(FrameRecord.moved(record(1).frame, "b.dm4"))
    assert writer.append(FrameRecord.moved(record(1, size=77).frame, "b.dm4"))
    writer.publish()
    assert len(open_run(tmp_path / "run.h5")) == 0
    writer.release()


def test_a_second_archiver_is_refused(tmp_path):
    first = writer_of(tmp_path)
    with pytest.raises(ArchiveError, match="another archiver"):
        writer_of(tmp_path)
    code = (
        "import sys\n"
        "from pychip_stream.archive.writer import RunWriter\n"
        "RunWriter(__import__('pathlib').Path(sys.argv[1]), 'run')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert "another archiver writes this run" in done.stderr
    first.release()
    writer_of(tmp_path).release()
    assert not (tmp_path / "run.lock").exists()


def test_a_lock_file_without_its_process_is_no_obstacle(tmp_path):
    (tmp_path / "run.lock").touch()
    writer_of(tmp_path).close()


def test_a_reader_that_keeps_files_open_does_not_stop_a_restart(tmp_path):
    import h5py

    make_run(tmp_path, 6, close=False)
    held = [h5py.File(p, "r") for p in (tmp_path / "run.segments").glob("seg-*.h5")]
    held.append(h5py.File(tmp_path / "run.live.h5", "r"))
    reader = open_run(tmp_path / "run.h5")
    writer = writer_of(tmp_path)
    fill(writer, [record(n) for n in range(6, 9)])
    writer.close()
    assert (held[0]["entry/frames/path"][0]).startswith(b"Hour_00")
    assert reader.refresh()
    assert len(reader) == 9
    for file in held:
        file.close()


def test_stale_temporary_files_go_at_the_start(tmp_path):
    make_run(tmp_path, 6, close=False)
    stale = [
        tmp_path / "run.segments" / "seg-00000003-00000003.h5.99-1.tmp",
        tmp_path / "run.h5.99-1.tmp",
        tmp_path / "run.live.h5.99-1.tmp",
    ]
    for path in stale:
        path.write_bytes(b"torn")
    other = tmp_path / "another.h5.99-1.tmp"
    other.write_bytes(b"not ours")
    writer_of(tmp_path).release()
    assert not any(path.exists() for path in stale)
    assert other.exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("kinds", [("write_some",), ("sync",), ("publish",)])
def test_a_disk_that_fails_costs_nothing_and_its_end_is_noticed(tmp_path, number, kinds):
    disk = FailingDisk(number, kinds)
    writer = writer_of(tmp_path, disk=disk)
    acknowledged = fill(writer, [record(n) for n in range(5)])
    disk.broken = True
    writer.append(record(5))
    for _ in range(3):
        with pytest.raises(ArchiveError, match=r"seg-.*cannot be written"):
            writer.publish()
        assert {k.path for k in acknowledged} == set(paths(tmp_path))
        assert not list((tmp_path / "run.segments").glob("*.tmp"))
    writer.append(record(6))
    disk.broken = False
    acknowledged += writer.publish()
    acknowledged += writer.publish()
    writer.close()
    assert [k.path for k in acknowledged] == paths(tmp_path)
    assert len(open_run(tmp_path / "run.h5")) == 7


def test_a_full_disk_at_the_end_leaves_the_segments(tmp_path, monkeypatch):
    writer = writer_of(tmp_path)
    fill(writer, [record(n) for n in range(5)])
    usage = type("usage", (), {"free": 1000})
    with monkeypatch.context() as patch:
        patch.setattr("pychip_stream.archive.disk.shutil.disk_usage", lambda _path: usage)
        with pytest.raises(ArchiveError, match="make space"):
            writer.close()
    assert len(paths(tmp_path)) == 5
    writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["run.h5"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_hdf5_that_cannot_write_the_merged_file_loses_nothing(tmp_path):
    """The process may even crash in HDF5 (h5py #914); what is acknowledged is in the segments."""
    writer = writer_of(tmp_path)
    fill(writer, [record(n) for n in range(20)])
    writer.release()
    code = (
        "import resource, signal, sys, pathlib\n"
        "from pychip_stream.archive.writer import RunWriter\n"
        "writer = RunWriter(pathlib.Path(sys.argv[1]), 'run')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))\n"
        "writer.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode != 0
    assert not (tmp_path / "run.h5").exists()
    assert len(paths(tmp_path)) == 20
    writer_of(tmp_path).close()
    run = open_run(tmp_path / "run.h5")
    assert all((run.label_map(n) == result(n).label_map).all() for n in range(20))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
def test_a_disk_that_is_really_full(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no rights to mount a small file system")
    try:
        writer = RunWriter(folder, "run", segment_frames=4)
        acknowledged, number = [], 0
        with pytest.raises(ArchiveError, match=os.strerror(errno.ENOSPC)):
            while number < 400:
                writer.append(record(number))
                number += 1
                if writer.full:
                    acknowledged += writer.publish()
        assert len(acknowledged) >= 4
        wanted = [key.path for key in acknowledged]
        assert list(open_run(folder / "run.h5").frames["path"]) == wanted
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        acknowledged += writer.publish()
        writer.close()
        assert len(acknowledged) == number == len(open_run(folder / "run.h5"))
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_share_that_goes_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(live, "PAUSE_S", 0.0)
    monkeypatch.setattr(live, "SHARE", 1e9)
    folder = tmp_path / "share"
    writer = writer_of(folder)
    fill(writer, [record(n) for n in range(5)])
    folder.rename(tmp_path / "away")
    writer.append(record(5))
    with pytest.raises(ArchiveError, match="cannot be written"):
        writer.publish()
    writer._live._stale = True
    writer._live.catch_up()  # the view cannot be renewed either, which stops nobody
    (tmp_path / "away").rename(folder)
    assert len(writer.publish()) == 1
    writer.close()
    assert len(open_run(folder / "run.h5")) == 6


def test_a_damaged_segment_is_set_aside_and_its_frames_are_done_again(tmp_path):
    make_run(tmp_path, 12, close=False)
    victim = sorted((tmp_path / "run.segments").glob("seg-*.h5"))[1]
    victim.write_bytes(victim.read_bytes()[:3000])
    assert len(open_run(tmp_path / "run.h5")) == 8
    writer = writer_of(tmp_path)
    assert len(writer.keys) == 8
    assert victim.with_name(victim.name + ".damaged").exists()
    fill(writer, [record(n) for n in range(12)])
    writer.close()
    assert sorted(paths(tmp_path)) == [record(n).frame.path for n in range(12)]


def test_a_joined_segment_never_stands_for_one_that_it_does_not_hold(tmp_path, monkeypatch):
    """Noting one segment fails (a share hiccups); joining goes on without hiding it."""
    monkeypatch.setattr(compaction, "FAN_IN", 4)
    monkeypatch.setattr(compaction, "GRACE_S", 0.0)
    writer = writer_of(tmp_path)
    adopt, calls = writer._files.adopt, iter(range(100))

    def hiccup(part):
        if next(calls) == 1:
            raise OSError(errno.EIO, "hiccup")
        adopt(part)

    monkeypatch.setattr(writer._files, "adopt", hiccup)
    fill(writer, [record(n) for n in range(4 * 9)])
    writer.release()
    assert len(paths(tmp_path)) == 36
    writer_of(tmp_path).close()
    assert paths(tmp_path) == [record(n).frame.path for n in range(36)]


def test_segments_of_another_run_are_not_mixed_in(tmp_path):
    make_run(tmp_path / "a", 4)
    make_run(tmp_path / "b", 4, close=False)
    (tmp_path / "a" / "run.h5").rename(tmp_path / "b" / "run.h5")
    with pytest.raises(ArchiveError, match="another run"):
        writer_of(tmp_path / "b")


def test_a_run_without_frames_leaves_no_file(tmp_path):
    writer_of(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ArchiveError, match="cannot be made"):
        writer_of(tmp_path / "file" / "runs")


def test_a_folder_without_room_for_a_lock_is_named(tmp_path):
    (tmp_path / "run.lock").mkdir()
    with pytest.raises(ArchiveError, match="cannot be written") as caught:
        writer_of(tmp_path)
    assert "run.lock" not in str(caught.value)


def test_long_runs_are_compacted_and_closed_in_order_of_time(tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "FAN_IN", 4)
    writer = writer_of(tmp_path)
    order = np.random.default_rng(0).permutation(40)
    fill(writer, [failed(int(n)) if n == 11 else record(int(n)) for n in order])
    assert len(list((tmp_path / "run.segments").glob("seg-*.h5"))) > 10  # old ones linger
    live_paths = paths(tmp_path)
    writer.close()
    assert live_paths == paths(tmp_path) == [record(n).frame.path for n in range(40)]
    run = open_run(tmp_path / "run.h5")
    known = [n for n in range(40) if n != 11]
    assert all((run.label_map(i) == result(n).label_map).all() for i, n in enumerate(known))


def test_classes_may_come_and_go_between_support_sets(tmp_path):
    other = support(("beta", "gamma"), 3)
    writer = writer_of(tmp_path)
    writer.add_support(support_to_bytes(other), other.version)
    fill(writer, [record(0), record(1, result=result(1, other.names, version=other.version))])
    writer.close()
    run = open_run(tmp_path / "run.h5")
    assert run.names == ("alpha", "beta", "gamma")
    assert run.labels(1).tolist() == result(1, other.names).labels.tolist()
    assert np.isnan(run.fractions["gamma"][0])
    assert np.isnan(run.fractions["alpha"][1])
    assert run.support_set(other.version).names == other.names


class TestDisk:
    def test_publishing_never_overwrites(self, tmp_path):
        for name in "ab":
            (tmp_path / name).write_text(name)
        with pytest.raises(FileExistsError):
            Disk().publish(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "b").read_text() == "b"

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows renames without links")
    def test_file_systems_without_hard_links(self, tmp_path, monkeypatch):
        def refuse(source, target):
            raise OSError(errno.EPERM, "no links here")

        monkeypatch.setattr(os, "link", refuse)
        (tmp_path / "a").write_text("a")
        Disk().publish(tmp_path / "a", tmp_path / "b")
        assert (tmp_path / "b").read_text() == "a"
        (tmp_path / "a").write_text("new")
        with pytest.raises(FileExistsError):
            Disk().publish(tmp_path / "a", tmp_path / "b")

    def test_saving_leaves_the_old_file_when_it_fails(self, tmp_path):
        disk = FailingDisk()
        disk.save(tmp_path / "f", b"old")
        disk.broken = True
        with pytest.raises(OSError, match="space"):
            disk.save(tmp_path / "f", b"new" * 100)
        assert (tmp_path / "f").read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["f"]

    @pytest.mark.skipif(sys.platform == "win32", reason="folders cannot be synced there")
    def test_a_new_name_is_on_disk_before_it_counts(self, tmp_path, monkeypatch):
        synced, sync = [], os.fsync

        def watched(descriptor):
            synced.append(os.fstat(descriptor).st_ino)
            sync(descriptor)

        monkeypatch.setattr(os, "fsync", watched)
        Disk().save(tmp_path / "f", b"new")
        inode = (tmp_path / "f").stat().st_ino
        assert synced == [inode, tmp_path.stat().st_ino]

    def test_a_file_held_on_windows_is_waited_for(self, tmp_path, monkeypatch):
        monkeypatch.setattr("pychip_stream.archive.disk._WINDOWS", True)
        attempts = []
        replace = Path.replace

        def held(self, target):
            attempts.append(1)
            if len(attempts) < 3:
                raise PermissionError(errno.EACCES, "held")
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", held)
        (tmp_path / "a").write_text("a")
        Disk().replace(tmp_path / "a", tmp_path / "b")
        assert len(attempts) == 3
        assert (tmp_path / "b").read_text() == "a"
