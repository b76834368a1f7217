"""A file is whole or not there."""

import pytest

from pychip_stream.archive import hdf
from pychip_stream.archive.disk import Disk, writing
from pychip_stream.archive.run import open_run
from pychip_stream.errors import ArchiveError
from pychip_stream.export import tables
from tests.support.archive_samples import make_run
from tests.support.failing_disks import FailingDisk


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_gets_its_name_once_it_is_whole(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with Disk().atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_what_fails_in_the_middle_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(error), Disk().atomic(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("kind", ["sync", "replace"])
def test_a_disk_that_fails_at_the_end_leaves_the_old_file_alone(tmp_path, kind):
    disk, path = FailingDisk(kinds=(kind,)), tmp_path / "x"
    path.write_text("old")
    disk.broken = True
    with pytest.raises(OSError, match="No space"), disk.atomic(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_a_new_file_never_takes_the_place_of_another(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(FileExistsError), Disk().atomic(path, new=True) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_a_file_is_synced_before_it_gets_its_name(tmp_path):
    disk, calls = Disk(), []
    disk.sync = lambda _: calls.append("sync")
    disk.replace = lambda *_: calls.append("replace")
    for sync in (True, False):
        with disk.atomic(tmp_path / "x", sync=sync) as temporary:
            temporary.touch()
    assert calls == ["sync", "replace", "replace"]


def test_a_file_that_was_asked_for_is_named_where_it_fails(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ArchiveError, match="file/x: cannot be written"),
        writing(tmp_path / "file" / "x"),
    ):
        pass


def test_a_summary_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    run = open_run(make_run(tmp_path / "run", 3))
    path = tmp_path / "summary.csv"
    tables.write_summary(run, path)
    old = path.read_bytes()

    def failing(text):
        raise OSError(28, "No space left")

    monkeypatch.setattr(tables, "harmless", failing)
    with pytest.raises(ArchiveError, match="cannot be written"):
        tables.write_summary(run, path)
    assert path.read_bytes() == old
    assert not list(tmp_path.glob("*.tmp"))


def test_a_file_in_memory_leaves_nothing_where_one_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with hdf.new_image() as file:
        file["x"] = 1
        assert hdf.image(file).startswith(b"\x89HDF")
    assert names(tmp_path) == []
