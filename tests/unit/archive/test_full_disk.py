"""A disk that fills, or refuses, while HDF5 itself writes: one line, nothing lost, no traces."""

import errno
import os
import subprocess
import sys

import pytest

from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import ArchiveError, StorageError
from tests.support.archive_samples import fill, make_run, record, result
from tests.support.failing_disks import FailingDisk, QuickDisk

CLOSE = """
import pathlib, sys
from pychip_stream.archive import joining
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import ArchiveError
joining.check_room = lambda *_: None  # the space was taken after it was looked for
writer = RunWriter(pathlib.Path(sys.argv[1]), "run")
{limit}
try:
    writer.close()
except ArchiveError as error:
    print(error)
    sys.exit(1)
"""
SIZE = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))
"""


def closing(folder, limit=""):
    return subprocess.run(
        [sys.executable, "-c", CLOSE.format(limit=limit), str(folder)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def told_in_one_line(done, words):
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "HDF5" not in done.stderr
    assert words in done.stdout
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.parametrize("size", [9_000, 60_000])
def test_files_that_may_not_grow(tmp_path, size):
    make_run(tmp_path, 40, close=False)
    told_in_one_line(closing(tmp_path, SIZE.format(size)), os.strerror(errno.EFBIG))
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".lock") in (
        ["run.live.h5", "run.segments"], ["run.segments"],
    )  # fmt: skip
    assert len(open_run(tmp_path / "run")) == 40
    assert closing(tmp_path).returncode == 0
    with open_run(tmp_path / "run.h5") as run:
        assert all((run.label_map(n) == result(n).label_map).all() for n in range(40))


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
@pytest.mark.parametrize("share", [1.04, 1.15])
def test_a_disk_that_fills_in_the_middle_of_the_merge(tmp_path, share):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no rights to mount a small file system")
    try:
        writer = RunWriter(folder, "run", segment_frames=4)
        fill(writer, [record(n) for n in range(60)])
        writer.release()
        used = sum(p.stat().st_blocks * 512 for p in folder.rglob("*"))
        room = int(used * share) // 4096 * 4
        subprocess.run(["mount", "-o", f"remount,size={room}k", str(folder)], check=True)
        told_in_one_line(closing(folder), os.strerror(errno.ENOSPC))
        assert len(open_run(folder / "run")) == 60
        assert not list(folder.glob("*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=64m", str(folder)], check=True)
        done = closing(folder)
        assert done.returncode == 0, done.stderr
        assert len(open_run(folder / "run.h5")) == 60
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.EIO, errno.ENOENT]
)
@pytest.mark.parametrize("kind", ["sync", "replace"])
def test_what_the_system_refuses_at_the_end(tmp_path, number, kind):
    make_run(tmp_path, 6, close=False)
    disk = FailingDisk(number, (kind,))
    writer = RunWriter(tmp_path, "run", disk=disk)
    disk.broken = True
    with pytest.raises(ArchiveError, match=os.strerror(number)):
        writer.close()
    assert len(open_run(tmp_path / "run")) == 6
    disk.broken = False
    writer.close()
    assert len(open_run(tmp_path / "run.h5")) == 6


@pytest.mark.parametrize("where", ["flush", "close"])
def test_hdf5_that_fails_at_the_very_end(tmp_path, monkeypatch, where):
    """h5py raises RuntimeError when what it held back cannot be written."""
    import h5py

    make_run(tmp_path, 6, close=False)
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    real = getattr(h5py.File, where)

    def refused(self):
        merging = bool(self) and self.driver == "fileobj"
        real(self)
        if merging:
            raise RuntimeError("Can't flush (file write failed: errno = 28, error message = ...)")

    with monkeypatch.context() as patch:
        patch.setattr(h5py.File, where, refused)
        with pytest.raises(ArchiveError, match=os.strerror(errno.ENOSPC)):
            writer.close()
    assert len(open_run(tmp_path / "run")) == 6
    writer.close()
    assert len(open_run(tmp_path / "run.h5")) == 6


@pytest.mark.skipif(sys.platform != "linux", reason="needs a small file system of its own")
def test_a_disk_that_has_no_names_left(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=40", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no rights to mount a small file system")
    try:
        writer = RunWriter(folder, "run", segment_frames=4)
        fill(writer, [record(n) for n in range(8)])
        taken = []
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            while True:
                taken.append(folder / f"ballast-{len(taken)}")
                taken[-1].touch()
        writer.append(record(8))
        for attempt in (writer.publish, writer.close):
            with pytest.raises(StorageError, match=os.strerror(errno.ENOSPC)):
                attempt()
        assert len(open_run(folder / "run")) == 8
        for path in taken:
            path.unlink(missing_ok=True)
        assert len(open_run(writer.close())) == 9
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("where", ["block_of", "merge_run"])
def test_memory_that_is_short_for_a_moment(tmp_path, monkeypatch, where):
    make_run(tmp_path, 6, close=False)
    writer = RunWriter(tmp_path, "run", disk=QuickDisk())
    writer.append(record(6))

    def refused(*_args, **_options):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(f"pychip_stream.archive.writer.{where}", refused)
        with pytest.raises(StorageError, match=r"memory"):
            writer.close()
    assert len(open_run(tmp_path / "run")) >= 6
    assert len(open_run(writer.close())) == 7


def test_a_folder_with_the_name_of_a_segment_is_none(tmp_path):
    make_run(tmp_path, 6, close=False)
    (tmp_path / "run.segments" / "seg-00000099-00000099.h5").mkdir()
    writer = RunWriter(tmp_path, "run", segment_frames=4, disk=QuickDisk())
    fill(writer, [record(n) for n in range(6, 12)])
    assert len(open_run(tmp_path / "run")) == 12
    assert len(open_run(writer.close())) == 12
