"""What a file holds, however it has grown and whatever it is called."""

import os
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from pychip_stream.acquisition import identity as module
from pychip_stream.acquisition.identity import Identity, answer
from pychip_stream.acquisition.ledger import Ledger
from pychip_stream.acquisition.settling import Sighting
from pychip_stream.domain.frames import FrameRef
from pychip_stream.formats.reading import frame_hashes, read_checked

RAMP = np.arange(8 * 12, dtype=np.uint16).reshape(8, 12)


def ref(path, index=0, mtime_ns=1, size=10):
    return FrameRef(path=path, index=index, size=size, mtime_ns=mtime_ns, time=float(mtime_ns))


def renamed(identity, root, now=0.0):
    """What is found, and which frames that concerns."""
    questions = identity.questions(now)
    if questions is None:
        return {}
    found = answer(questions, root, frame_hashes)
    identity.learn(found, now)
    return {
        (path, to): [frame.index for frame in identity.common(path, to)]
        for path, to in found.renamed.items()
    }


@pytest.fixture
def root(tmp_path):
    for name in ("here.tif", "day/here.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_file_that_is_gone_and_archived_under_another_name_was_renamed(root):
    identity = Identity()
    identity.archived(ref("gone.tif"), "ab")
    identity.archived(ref("other.tif"), "cd")
    assert renamed(identity, root) == {}
    identity.archived(ref("day/here.tif"), "ab")
    assert renamed(identity, root) == {("gone.tif", "day/here.tif"): [0]}
    assert identity.questions(1.0) is None
    assert renamed(identity, root, 2.0)  # told again until that is archived
    identity.moved(ref("gone.tif"))
    assert renamed(identity, root, 4.0) == {("gone.tif", "day/here.tif"): []}
    assert identity.questions(100.0) is None


@pytest.mark.parametrize("other", [{"digest": "cd"}, {"mtime_ns": 2}, {"path": "day/here.tif"}])
def test_what_differs_in_content_or_time_or_is_still_there_was_not_renamed(root, other):
    identity = Identity()
    identity.archived(ref(other.get("path", "gone.tif"), mtime_ns=other.get("mtime_ns", 1)), "ab")
    identity.archived(ref("here.tif"), other.get("digest", "ab"))
    assert renamed(identity, root) == {}
    assert identity.questions(100.0) is None  # nothing is asked again


def test_a_copy_becomes_the_frame_when_its_original_is_deleted(root):
    identity = Identity()
    identity.archived(ref("here.tif"), "ab")
    identity.archived(ref("day/here.tif"), "ab")
    assert renamed(identity, root) == {}
    identity.vanished("here.tif")  # a share went and came back
    assert renamed(identity, root) == {}
    (root / "here.tif").unlink()
    identity.vanished("here.tif")
    assert renamed(identity, root) == {("here.tif", "day/here.tif"): [0]}


def test_a_file_that_failed_is_known_by_its_size_and_time(root):
    identity = Identity()
    identity.archived(ref("gone.tif"), "")
    identity.archived(ref("other.tif", size=11), "")
    identity.archived(ref("here.tif"), "")
    assert renamed(identity, root) == {("gone.tif", "here.tif"): [0]}


def test_a_stack_that_grew_before_it_was_renamed(root):
    identity = Identity()
    for index, digest in enumerate(("a", "b", "c")):
        identity.archived(ref("gone.tif", index, mtime_ns=index), digest)
    for index, digest in enumerate(("a", "b", "c", "d")):
        identity.archived(ref("here.tif", index, mtime_ns=9), digest)
    assert renamed(identity, root) == {("gone.tif", "here.tif"): [0, 1, 2]}
    identity.moved(ref("gone.tif", 1))
    assert renamed(identity, root, 2.0) == {("gone.tif", "here.tif"): [0, 2]}


def test_stacks_of_a_beam_that_is_off_are_not_taken_for_each_other(root):
    identity = Identity()
    for index in range(3):
        identity.archived(ref("gone.tif", index, mtime_ns=1), "dark")
        identity.archived(ref("here.tif", index, mtime_ns=9), "dark")
    assert renamed(identity, root) == {}


def test_a_folder_that_cannot_be_listed_now_decides_nothing(root, monkeypatch):
    identity = Identity()
    identity.archived(ref("gone.tif"), "ab")
    identity.archived(ref("day/here.tif"), "ab")

    def refuse(_folder):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(module.os, "listdir", refuse)
        assert renamed(identity, root) == {}
    assert renamed(identity, root, 2.0) == {("gone.tif", "day/here.tif"): [0]}


def test_when_the_whole_folder_is_away_nothing_was_renamed(root):
    identity = Identity()
    identity.archived(ref("gone.tif"), "ab")
    identity.archived(ref("here.tif"), "ab")
    assert renamed(identity, root / "away") == {}


class Growing:
    """A TIFF to which pages are added, its ledger, and what the archive got."""

    def __init__(self, root):
        self.root, self.ledger, self.rows = root, Ledger(), []
        self.frames = 0

    def append(self, page):
        tifffile.imwrite(self.root / "a.tif", page, append=self.frames > 0)
        self.frames += 1
        os.utime(self.root / "a.tif", ns=(0, self.frames * 10**9))

    def sighting(self):
        stat = (self.root / "a.tif").stat()
        return Sighting(
            FrameRef(path="a.tif", size=stat.st_size, mtime_ns=stat.st_mtime_ns), self.frames
        )

    def work(self):
        """Hand out, look up and archive until nothing is left; indices that were analysed."""
        done = []
        while True:
            while (lease := self.ledger.lease("w", 0.0)) is not None:
                frame = lease.frame
                read, digest = read_checked(
                    self.root / frame.path, frame.index, frame.size, frame.mtime_ns
                )
                self.rows.append((frame, read.frame_hash or digest))
                self.ledger.archived(frame, digest=self.rows[-1][1])
                done.append(frame.index)
            questions = self.ledger.identity.questions(0.0)
            if questions is None:
                return done
            self.ledger.learn(answer(questions, self.root, frame_hashes), 0.0)

    def restart(self):
        self.ledger = Ledger()


def test_of_a_stack_that_grows_only_what_is_new_is_done(tmp_path):
    stack, done = Growing(tmp_path), []
    for number in range(12):
        stack.append(RAMP + np.uint16(number))
        stack.ledger.add(stack.sighting())
        done += stack.work()
        assert stack.ledger.counts["behind"] == 0
    assert done == list(range(12))


@pytest.mark.parametrize("keys_first", [True, False])
def test_after_a_restart_only_what_is_new_is_done(tmp_path, keys_first):
    stack = Growing(tmp_path)
    for number in range(5):
        stack.append(RAMP + np.uint16(number))
        if number in (0, 2):
            stack.ledger.add(stack.sighting())
            stack.work()
    stack.restart()
    for turn in (keys_first, not keys_first):
        if turn:
            for frame, digest in stack.rows:
                stack.ledger.archived(frame, digest=digest)
        else:
            stack.ledger.add(stack.sighting())
    assert stack.work() == [4, 3]


def test_a_section_whose_bytes_changed_is_done_again(tmp_path):
    stack = Growing(tmp_path)
    for number in range(4):
        stack.append(RAMP + np.uint16(number))
    stack.ledger.add(stack.sighting())
    assert sorted(stack.work()) == [0, 1, 2, 3]
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        at = file.pages[2].dataoffsets[0]
    with (tmp_path / "a.tif").open("r+b") as file:
        file.seek(at)
        file.write(b"\xff")
    stack.append(RAMP)
    stack.ledger.add(stack.sighting())
    assert sorted(stack.work()) == [2, 4]


def test_a_stack_that_cannot_be_compared_is_done_again(tmp_path):
    stack = Growing(tmp_path)
    for number in range(2):
        stack.append(RAMP + np.uint16(number))
        stack.ledger.add(stack.sighting())
        if number == 0:
            stack.work()
    ledger = stack.ledger
    assert ledger.lease("w", 0.0).frame.index == 1
    assert ledger.lease("w", 0.0) is None  # it waits for an answer
    ledger.learn(answer(ledger.identity.questions(0.0), tmp_path / "away", frame_hashes), 0.0)
    assert ledger.lease("w", 0.0).frame.index == 0


def test_a_name_that_comes_back_is_a_frame_again():
    ledger, file = Ledger(), Sighting(ref("a.tif"))
    ledger.archived(ref("a.tif"), digest="ab")
    ledger.archived(ref("a.tif"), moved=True)
    assert ledger.counts["archived"] == 0
    ledger.add(file)
    assert ledger.lease("w", 0.0).frame == ref("a.tif")


def test_a_name_that_came_back_before_it_was_known_is_done_then():
    ledger = Ledger()
    ledger.archived(ref("a.tif"), digest="ab")
    ledger.add(replace(Sighting(ref("a.tif"))))
    assert ledger.lease("w", 0.0) is None
    ledger.archived(ref("a.tif"), moved=True)
    assert ledger.lease("w", 0.0).frame == ref("a.tif")
