"""The file of the next frame is read before it is asked for."""

import threading

import pytest

from pychip_stream.domain.frames import FrameRef
from pychip_stream.errors import FrameError, FrameLostError
from pychip_stream.formats import ahead as module
from pychip_stream.formats.ahead import ReadAhead, with_following


class Files:
    """Reads by name; `asked` has the names in order."""

    def __init__(self):
        self.asked = []
        self.changed = threading.Condition()

    def read(self, path, index, size, mtime_ns):
        with self.changed:
            self.asked.append(path.name)
            self.changed.notify_all()
        if path.name == "bad.tif":
            raise FrameLostError("bad.tif: it is damaged")
        return path.name, str((index, size, mtime_ns))

    def wait_for(self, *names):
        with self.changed:
            assert self.changed.wait_for(lambda: self.asked == list(names), 10)


def ref(name):
    return FrameRef(path=name, index=1, size=2, mtime_ns=3)


@pytest.fixture
def files():
    return Files()


@pytest.fixture
def ahead(files):
    ahead = ReadAhead(files.read)
    yield ahead
    ahead.close()


def read(ahead, root, name, following=None):
    return ahead.then(root, following and ref(following))(root / name, 1, 2, 3)


def test_the_next_file_is_read_before_it_is_asked_for_and_only_once(ahead, files, tmp_path):
    assert read(ahead, tmp_path, "one.tif", "two.tif") == ("one.tif", "(1, 2, 3)")
    files.wait_for("one.tif", "two.tif")
    assert read(ahead, tmp_path, "two.tif", "three.tif") == ("two.tif", "(1, 2, 3)")
    files.wait_for("one.tif", "two.tif", "three.tif")


def test_what_comes_instead_is_read_itself(ahead, files, tmp_path):
    read(ahead, tmp_path, "one.tif", "two.tif")
    assert read(ahead, tmp_path, "three.tif") == ("three.tif", "(1, 2, 3)")
    assert read(ahead, tmp_path, "two.tif") == ("two.tif", "(1, 2, 3)")
    assert sorted(files.asked) == ["one.tif", "three.tif", "two.tif", "two.tif"]


def test_what_is_wrong_with_a_file_is_said_when_it_is_asked_for(ahead, files, tmp_path):
    assert read(ahead, tmp_path, "one.tif", "bad.tif")[0] == "one.tif"
    files.wait_for("one.tif", "bad.tif")
    with pytest.raises(FrameLostError, match=r"bad\.tif"):
        read(ahead, tmp_path, "bad.tif", "two.tif")
    assert read(ahead, tmp_path, "two.tif", "../outside.tif")[0] == "two.tif"
    assert files.asked == ["one.tif", "bad.tif", "two.tif"]  # nothing from outside


def test_what_was_begun_is_read_again_when_it_is_to_be_read_in_another_way(ahead, files, tmp_path):
    read(ahead, tmp_path, "one.tif", "two.tif")
    files.wait_for("one.tif", "two.tif")
    ahead.forget()
    read(ahead, tmp_path, "two.tif")
    assert files.asked == ["one.tif", "two.tif", "two.tif"]


def test_who_waits_for_a_long_file_is_told_so_and_may_leave(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    told, enough = [], threading.Event()

    def progress(done, total):
        told.append((done, total))
        if len(told) == 3:
            enough.set()
        if len(told) == 10:
            raise FrameError("takes too long")

    ahead = ReadAhead(lambda *_: enough.wait(30.0), progress)
    assert read(ahead, tmp_path, "one.tif") is True
    assert told[:3] == [(0, 1)] * 3
    enough.clear()
    with pytest.raises(FrameError, match="takes too long"):
        read(ahead, tmp_path, "two.tif")
    enough.set()
    ahead.close()


def test_each_frame_is_given_with_its_follower():
    one, two = ref("one.tif"), ref("two.tif")
    assert list(with_following(iter([one, two]))) == [(one, two), (two, None)]
    assert list(with_following([])) == []
