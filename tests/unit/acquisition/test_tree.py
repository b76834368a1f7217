"""The tree: what is found by looking alone."""

import os
import sys

import pytest

from pychip_stream.acquisition import tree as entries
from pychip_stream.acquisition.tree import Tree
from tests.support.waiting import wait_for

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")


def put(path, data=b"x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def look(tree):
    """One whole look; what is new in it."""
    tree.look_at_frontier()
    while tree.explore(1.0):
        pass
    for _ in tree.reconcile():
        pass
    return tree.take()


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_frames_anywhere_below_the_root_are_found_once(tree, tmp_path):
    names = ["a.dm4", "b.TIF", "one/c.Dm3", "one/two/d.tiff", "one/two/three/e.PNG"]
    for name in names:
        put(tmp_path / name)
    assert set(look(tree).found) == set(names)
    assert not look(tree).found
    assert tree.file_count == len(names)


def test_hidden_temporary_and_foreign_names_are_left_alone(tree, tmp_path):
    for name in ("a.tmp", ".b.dm4", "c.dm4.tmp", "~d.dm4", "e.txt", ".hidden/f.dm4", "g"):
        put(tmp_path / name)
    put(tmp_path / "h.dm4")
    assert set(look(tree).found) == {"h.dm4"}
    tree.look_at(".hidden/f.dm4")
    tree.look_at(".b.dm4")
    assert not tree.take().found


@needs_links
def test_links_to_folders_are_not_followed_and_loops_do_no_harm(tree, tmp_path):
    put(tmp_path / "one/a.dm4")
    (tmp_path / "one/loop").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path / "one")
    (tmp_path / "one/self.dm4").symlink_to("self.dm4")
    (tmp_path / "one/nothing.dm4").symlink_to("nowhere.dm4")
    (tmp_path / "one/b.dm4").symlink_to("a.dm4")
    assert set(look(tree).found) == {"one/a.dm4", "one/b.dm4"}
    tree.look_at("again/a.dm4")
    tree.look_at("again")
    assert not tree.take().found
    assert not tree.unreadable


@needs_links
def test_junctions_of_windows_are_links_too(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path)
    assert entries.is_link(str(tmp_path / "link"))
    assert not entries.is_link(str(tmp_path))
    assert not entries.is_link(str(tmp_path / "nothing"))


def test_a_folder_that_cannot_be_listed_is_reported_and_hides_nothing_else(
    tree, tmp_path, monkeypatch
):
    put(tmp_path / "locked/a.dm4")
    put(tmp_path / "open/b.dm4")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert set(look(tree).found) == {"open/b.dm4"}
    assert tree.unreadable == {"locked": "Permission denied"}
    monkeypatch.undo()
    assert set(look(tree).found) == {"locked/a.dm4"}
    assert not tree.unreadable


def test_a_folder_that_stops_answering_halfway_loses_nothing(tree, tmp_path, monkeypatch):
    for number in range(10):
        put(tmp_path / f"one/{number}.dm4")
    assert len(look(tree).found) == 10
    scandir = os.scandir

    class Half:
        def __init__(self, path):
            self.entries = list(scandir(path))[:3]

        def __enter__(self):
            return self._give()

        def __exit__(self, *_):
            return False

        def _give(self):
            yield from self.entries
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(
        os, "scandir", lambda path: Half(path) if str(path).endswith("one") else scandir(path)
    )
    assert look(tree).gone == []
    assert tree.unreadable == {"one": "Input/output error"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_names_that_cannot_travel_are_reported(tree, tmp_path):
    put(tmp_path / "caf\udce9.dm4")
    put(tmp_path / "back\\slash.dm4")
    put(tmp_path / "fold\udce9r/a.dm4")
    put(tmp_path / "µ 1 ½.dm4")  # a no-break space is a name like any other
    assert set(look(tree).found) == {"µ 1 ½.dm4"}
    assert len(tree.unreadable) == 3
    "".join(tree.unreadable).encode()
    tree.look_at("caf\udce9.dm4")
    assert not tree.take().found
    (tmp_path / "caf\udce9.dm4").rename(tmp_path / "caf.dm4")
    assert set(look(tree).found) == {"caf.dm4"}
    assert len(tree.unreadable) == 2


def test_renamed_deleted_and_replaced_files(tree, tmp_path):
    put(tmp_path / "one/a.dm4")
    put(tmp_path / "b.tmp")
    look(tree)
    (tmp_path / "one/a.dm4").rename(tmp_path / "one/c.dm4")
    (tmp_path / "b.tmp").rename(tmp_path / "b.dm4")
    changes = look(tree)
    assert set(changes.found) == {"one/c.dm4", "b.dm4"}
    assert changes.gone == ["one/a.dm4"]
    (tmp_path / "one").rename(tmp_path / "two")
    changes = look(tree)
    assert set(changes.found) == {"two/c.dm4"}
    assert changes.gone == ["one/c.dm4"]
    assert tree.file_count == 2


def test_hints_are_followed_at_once(tree, tmp_path):
    put(tmp_path / "one/a.dm4")
    look(tree)
    put(tmp_path / "one/a.dm4", b"longer")
    put(tmp_path / "one/b.dm4")
    put(tmp_path / "two/three/c.dm4")
    put(tmp_path / "two/d.dm4")
    for path in ("one/a.dm4", "one/b.dm4", "two/three/c.dm4", "nothing.dm4", "two/three"):
        tree.look_at(path)
    while tree.explore(1.0):
        pass
    changes = tree.take()
    assert set(changes.found) == {"one/a.dm4", "one/b.dm4", "two/three/c.dm4", "two/d.dm4"}
    (tmp_path / "one/a.dm4").unlink()
    (tmp_path / "two").rename(tmp_path / "four")
    for path in ("one/a.dm4", "two", "four"):
        tree.look_at(path)
    while tree.explore(1.0):
        pass
    changes = tree.take()
    assert sorted(changes.gone) == ["one/a.dm4", "two/d.dm4", "two/three/c.dm4"]
    assert set(changes.found) == {"four/d.dm4", "four/three/c.dm4"}
    tree.look_at("")
    assert not tree.take().found


def test_a_rewritten_file_is_found_by_looking_at_sizes_now_and_then(tree, tmp_path):
    put(tmp_path / "one/a.dm4")
    look(tree)
    put(tmp_path / "one/a.dm4", b"longer")
    found = {}
    for _ in range(8):  # every folder has its turn within eight passes
        found |= look(tree).found
    assert set(found) == {"one/a.dm4"}


def test_a_file_that_became_a_folder(tree, tmp_path):
    put(tmp_path / "a.dm4")
    look(tree)
    (tmp_path / "a.dm4").unlink()
    put(tmp_path / "a.dm4/b.dm4")
    found = {}
    for _ in range(9):
        found |= look(tree).found
    assert set(found) == {"a.dm4/b.dm4"}
    assert tree.file_count == 1


def test_a_deep_tree_does_not_exhaust_anything(tree, tmp_path):
    deep = tmp_path
    for _ in range(400):
        deep = deep / "d"
    deep.mkdir(parents=True)
    put(deep / "a.dm4")
    tree.look_at_frontier()
    while tree.explore(0.01):
        pass
    assert len(tree.take().found) == 1
    (tmp_path / "d").rename(tmp_path / ".d")
    assert len(look(tree).gone) == 1
    assert tree.file_count == 0


def test_the_newest_folders_are_seen_without_looking_at_the_whole_tree(tree, tmp_path, monkeypatch):
    for second in range(30):
        put(tmp_path / f"run/Minute_00/Second_{second:02}/a.dm4")
    look(tree)
    listed = []
    original = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(str(path)) or original(path))
    put(tmp_path / "run/Minute_00/Second_29/b.dm4")
    put(tmp_path / "run/Minute_00/Second_30/a.dm4")
    newest = "run/Minute_00/Second_"
    wanted = {f"{newest}29/b.dm4", f"{newest}30/a.dm4"}
    found = set()

    def step():
        tree.look_at_frontier()
        tree.explore(1.0)
        found.update(tree.take().found)

    wait_for(lambda: found >= wanted, "the new files", step=step)  # a folder rests when listed
    assert found == wanted
    assert not {path for path in listed if "Second_0" in path}


def test_folder_times_that_are_coarse_hide_nothing(tree, tmp_path, monkeypatch):
    monkeypatch.setattr("pychip_stream.acquisition.tree._SETTLED_S", 600.0)
    put(tmp_path / "one/a.dm4")
    look(tree)
    times = (tmp_path / "one").stat()
    put(tmp_path / "one/b.dm4")
    os.utime(tmp_path / "one", ns=(times.st_atime_ns, times.st_mtime_ns))
    found = wait_for(lambda: tree.take().found, "the new file", step=tree.look_at_frontier)
    assert set(found) == {"one/b.dm4"}


def test_an_unreachable_root_raises_and_drops_nothing(tree, tmp_path):
    put(tmp_path / "one/a.dm4")
    look(tree)
    tmp_path.rename(tmp_path.with_name("away"))
    with pytest.raises(OSError, match="No such file"):
        look(tree)
    assert not tree.take().gone
    tmp_path.with_name("away").rename(tmp_path)
    changes = look(tree)
    assert not changes.gone
    assert not changes.found
