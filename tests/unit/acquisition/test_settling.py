"""From found to complete, step by step; the clock is turned by hand."""

import os
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from pychip_stream.acquisition import settling
from pychip_stream.acquisition.settling import Settler
from pychip_stream.acquisition.tree import Tree
from pychip_stream.errors import FrameLostError
from pychip_stream.formats.reading import contents
from tests.support.material import FRAME, put


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def time(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    one = Clock()
    monkeypatch.setattr(settling, "time", one)
    return one


@pytest.fixture
def writers(monkeypatch):
    """What the system says of writers: name → answer; False if nothing is set."""
    answers = {}
    monkeypatch.setattr(settling, "being_written", lambda path: answers.get(Path(path).name, False))
    return answers


class Bench:
    """A tree, a settler, and the loop that joins them."""

    def __init__(self, root, clock, **options):
        self.root, self.clock = root, clock
        self.tree = Tree(root)
        defaults = {"quiet_s": 1.0, "incomplete_s": 20.0, "pause_s": 0.1, "local": True}
        self.settler = Settler(self.tree, contents, **(defaults | options))

    def turn(self, after_s=0.0):
        """Let time pass, look, settle; what settled, by name."""
        self.clock.now += after_s
        for _ in self.tree.reconcile():
            pass
        for name in list(self.tree._folders[""].files):
            self.tree.look_at(name)
        changes = self.tree.take()
        for path in changes.gone:
            self.settler.drop(path)
        for path, found in changes.found.items():
            self.settler.add(path, found)
        return {one.frame.path: one for one in self.settler.step(10.0)}

    def reasons(self):
        return {c.path: c.reason for c in self.settler.unfinished()}


@pytest.fixture
def bench(tmp_path, clock, writers):
    return lambda **options: Bench(tmp_path, clock, **options)


def test_a_closed_file_is_handed_on_at_once(bench, tmp_path):
    table = bench()
    put(tmp_path / "a.dm4")
    settled = table.turn()["a.dm4"]
    assert (settled.frames, settled.problem) == (1, None)
    assert (settled.frame.size, settled.frame.mtime_ns) == (
        len(FRAME),
        (tmp_path / "a.dm4").stat().st_mtime_ns,
    )
    assert len(table.settler) == 0


def test_a_file_is_not_handed_on_while_it_is_open_for_writing(bench, tmp_path, writers):
    table = bench()
    put(tmp_path / "a.dm4")
    writers["a.dm4"] = True
    assert not table.turn()
    assert not table.turn(1000.0)  # whole, quiet for long, and still being written
    assert "open in the program" in table.reasons()["a.dm4"]
    writers["a.dm4"] = False
    assert set(table.turn(2.0)) == {"a.dm4"}


def test_a_hint_of_the_closing_shortens_the_wait(bench, tmp_path, writers):
    table = bench()
    put(tmp_path / "a.dm4")
    writers["a.dm4"] = True
    table.turn()
    table.turn(100.0)
    writers["a.dm4"] = False
    assert not table.turn(0.01)
    table.settler.nudge("a.dm4")
    assert set(table.turn(0.01)) == {"a.dm4"}


def test_without_a_word_of_the_system_quiet_time_decides(bench, tmp_path, writers):
    table = bench()
    writers["a.dm4"] = None
    put(tmp_path / "a.dm4")
    assert not table.turn()
    assert not table.turn(0.6)
    os.utime(tmp_path / "a.dm4", ns=(1, 1))  # changed again: the time begins anew
    assert not table.turn(0.6)
    assert not table.turn(0.6)
    assert set(table.turn(0.6)) == {"a.dm4"}


def test_on_a_share_the_system_is_not_asked(bench, tmp_path, writers):
    table = bench(local=False)
    put(tmp_path / "a.dm4")
    writers["a.dm4"] = False
    assert not table.turn()
    assert set(table.turn(1.1)) == {"a.dm4"}


def test_a_file_with_holes_is_waited_for_although_nobody_has_it_open(bench, tmp_path):
    table = bench()
    with (tmp_path / "a.dm4").open("wb") as file:
        file.write(FRAME[:100])
        file.truncate(1 << 20)
    if (tmp_path / "a.dm4").stat().st_blocks * 512 >= 1 << 20:
        pytest.skip("no sparse files here")
    assert not table.turn()
    assert table.reasons()["a.dm4"] == "was changed just now"


def test_a_preallocated_file_is_not_handed_on_before_it_is_filled(bench, tmp_path, writers):
    table = bench()
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.arange(4096, dtype=np.uint16).reshape(64, 64))
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(len(whole) // 2)
        file.write(bytes(len(whole) - len(whole) // 2))
    writers["a.tif"] = True
    assert not table.turn(5.0)  # its structure is whole: the directory comes first
    path.write_bytes(whole)
    writers["a.tif"] = False
    assert set(table.turn(5.0)) == {"a.tif"}


def test_an_incomplete_file_is_reported_after_a_while_and_taken_when_it_completes(bench, tmp_path):
    table = bench()
    path = put(tmp_path / "a.dm4", FRAME[:-50])
    assert not table.turn()
    assert "still being written or was cut off" in table.reasons()["a.dm4"]
    assert not table.turn(19.0)
    settled = table.turn(2.0)["a.dm4"]
    assert (settled.frames, "was cut off" in settled.problem) == (1, True)
    assert not table.turn(60.0)
    path.write_bytes(FRAME)
    assert table.turn()["a.dm4"].problem is None


def test_a_slow_writer_is_not_given_up_while_it_writes(bench, tmp_path):
    table = bench(incomplete_s=5.0)
    for share in range(1, 20):
        put(tmp_path / "a.dm4", FRAME[: len(FRAME) * share // 20])
        assert not table.turn(2.0)
    put(tmp_path / "a.dm4")
    assert table.turn(2.0)["a.dm4"].problem is None


def test_a_damaged_file_is_reported_once_it_is_quiet(bench, tmp_path):
    table = bench()
    put(tmp_path / "a.dm4", b"nothing that anybody knows at all")
    assert not table.turn()
    assert "no known image format" in table.turn(1.1)["a.dm4"].problem


def test_a_file_without_rights_is_waited_for_for_ever_and_said(bench, tmp_path, monkeypatch):
    table = bench(incomplete_s=5.0)
    path = put(tmp_path / "a.dm4")
    kind = type(path)
    original = kind.open

    def refuse(self, *args, **kwargs):
        if self.name == "a.dm4":
            raise PermissionError(13, "Permission denied")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(kind, "open", refuse)
    for _ in range(5):
        assert not table.turn(100.0)
    assert "Permission denied" in table.reasons()["a.dm4"]
    monkeypatch.undo()


def test_an_error_of_our_own_costs_one_file_some_time(bench, tmp_path, monkeypatch, caplog):
    table = bench()
    put(tmp_path / "a.dm4")
    put(tmp_path / "b.dm4")

    def stumble(path, size, final):
        if path.endswith("a.dm4"):
            raise RuntimeError("a mistake")
        return contents(path, size, final)

    table.settler._look_into = stumble
    assert set(table.turn()) == {"b.dm4"}
    assert "a mistake" in table.reasons()["a.dm4"]
    table.settler._look_into = contents
    assert set(table.turn(5.0)) == {"a.dm4"}


def test_a_file_at_which_looks_are_lost_has_failed_after_some_of_them(bench, tmp_path):
    table = bench()
    put(tmp_path / "a.dm4")
    looks = []

    def lose(path, size, final):
        looks.append(path)
        raise FrameLostError(f"{path}: crashed its reader")

    table.settler._look_into = lose
    settled = [found for _ in range(20) for found in table.turn(3.0).values()]
    assert [one.problem for one in settled] == [f"{tmp_path / 'a.dm4'}: crashed its reader"]
    assert len(looks) == 3


def test_the_newest_are_looked_at_first_and_nothing_is_lost_when_time_is_short(bench, tmp_path):
    table = bench()
    for number in range(30):
        os.utime(put(tmp_path / f"{number:02}.dm4"), ns=(number, number))
    for _ in table.tree.reconcile():
        pass
    for path, found in table.tree.take().found.items():
        table.settler.add(path, found)
    order = []
    while len(order) < 30:
        step = [one.frame.path for one in table.settler.step(0.0)]
        assert len(step) <= 1
        order += step
        table.clock.now += 0.01
    assert order == [f"{number:02}.dm4" for number in reversed(range(30))]


def test_many_unfinished_files_do_not_keep_new_ones_waiting(bench, tmp_path):
    table = bench()
    for number in range(50):
        put(tmp_path / f"cut{number}.dm4", FRAME[:-50])
    table.turn()
    put(tmp_path / "new.dm4")
    table.clock.now += 10.0  # all of them are due
    table.settler.add("new.dm4", (len(FRAME), (tmp_path / "new.dm4").stat().st_mtime_ns))
    assert [one.frame.path for one in table.settler.step(0.0)] == ["new.dm4"]


def test_many_new_files_do_not_keep_unfinished_ones_waiting(bench, tmp_path):
    table = bench()
    put(tmp_path / "slow.dm4", FRAME[:-50])
    table.turn()
    put(tmp_path / "slow.dm4")
    for number in range(50):
        put(tmp_path / f"new{number}.dm4")
        table.settler.add(f"new{number}.dm4", (len(FRAME), number))
    table.clock.now += 10.0
    step = [one.frame.path for _ in range(2) for one in table.settler.step(1e-9)]
    step += [one.frame.path for one in table.settler.step(10.0)]
    assert "slow.dm4" in step[:4]


def test_a_file_that_is_deleted_while_it_is_waited_for_is_forgotten(bench, tmp_path):
    table = bench()
    path = put(tmp_path / "a.dm4", FRAME[:-50])
    table.turn()
    path.unlink()
    table.turn(3.0)
    assert len(table.settler) == 0
    assert table.settler.pause() == float("inf") or not table.turn(10.0)


def test_of_a_stack_that_was_cut_off_the_missing_are_told_when_it_was_left_for_long(
    bench, tmp_path
):
    table = bench(incomplete_s=5.0)
    stack = np.zeros((6, 8, 8), np.uint16)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(stack)
    put(tmp_path / "a.mrc", (tmp_path / "a.mrc").read_bytes()[:-10])
    assert not table.turn()
    assert not table.turn(4.0)
    assert "5 of 6 frames" in table.reasons()["a.mrc"]
    sighting = table.turn(4.0)["a.mrc"]
    assert (sighting.frames, sighting.problem, list(sighting.missing)) == (6, None, [5])
