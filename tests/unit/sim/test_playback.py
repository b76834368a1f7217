"""Replays: a folder of real files written again at a rate."""

import os
import threading

import pytest

from pychip_stream.errors import UsageError
from pychip_stream.sim.faults import FaultPlan, FaultyStorage
from pychip_stream.sim.frame_files import insitu_path
from pychip_stream.sim.microscope import Replay, in_order_of_time
from tests.support.material import FRAME, TINY, put


def test_files_are_ordered_by_their_times_or_their_names(tmp_path):
    for number, name in enumerate(["c.dm4", "a/b.tif", "z10.png", "z9.png"]):
        os.utime(put(tmp_path / name), (1000 + number // 2, 1000 + number // 2))
    put(tmp_path / ".hidden/x.dm4")
    put(tmp_path / "notes.txt")
    assert in_order_of_time(tmp_path) == ["a/b.tif", "c.dm4", "z9.png", "z10.png"]


def test_an_in_situ_series_is_ordered_by_its_names(tmp_path):
    paths = [insitu_path("run", second, frame, "dm4") for second in (9, 10) for frame in range(3)]
    for number, path in enumerate(reversed(paths)):
        os.utime(put(tmp_path / path), (1000 + number, 1000 + number))
    assert in_order_of_time(tmp_path) == paths


def test_the_copy_is_the_folder(tmp_path):
    paths = [insitu_path("run", 0, frame, "dm4") for frame in range(5)]
    for number, path in enumerate(paths):
        put(tmp_path / "real" / path, FRAME + bytes(number))
    told = []
    replay = Replay(tmp_path / "real", tmp_path / "out", 1000.0)
    assert len(replay) == 5
    assert replay.run(on_file=lambda delivery: told.append(delivery.path)) == 5
    assert told == paths
    for path in paths:
        assert (tmp_path / "out" / path).read_bytes() == (tmp_path / "real" / path).read_bytes()
    slow = Replay(tmp_path / "real", tmp_path / "slow", 4.0)
    assert [delivery.due_s for delivery in slow.deliveries()] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_replay_can_be_short_and_can_be_stopped(tmp_path):
    for number in range(6):
        put(tmp_path / f"real/{number}.png", TINY)
    assert Replay(tmp_path / "real", tmp_path / "a", 1000.0, files=2).run() == 2
    stop = threading.Event()
    done = Replay(tmp_path / "real", tmp_path / "b", 1000.0).run(stop, lambda _file: stop.set())
    assert done == 1


def test_a_replay_can_suffer_faults(tmp_path):
    for number in range(6):
        put(tmp_path / f"real/{number}.dm4")
    plan = FaultPlan(("missing",), 1.0)
    Replay(
        tmp_path / "real",
        tmp_path / "out",
        1000.0,
        storage=lambda root, truth: FaultyStorage(root, truth, plan),
    ).run()
    assert not list((tmp_path / "out").rglob("*.dm4"))


@pytest.mark.parametrize(
    ("source", "out", "rate", "says"),
    [
        ("real", "out", 0.0, "rate 0"),
        ("nowhere", "out", 1.0, "is no folder"),
        ("real", "real/inside", 1.0, "lies in the folder"),
        ("real", "real", 1.0, "lies in the folder"),
        ("empty", "out", 1.0, "holds no frames"),
        ("real", "taken", 1.0, "is there already"),
    ],
)
def test_what_cannot_be_replayed_is_refused(tmp_path, source, out, rate, says):
    put(tmp_path / "real/a.dm4")
    put(tmp_path / "taken/a.dm4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=says):
        Replay(tmp_path / source, tmp_path / out, rate)
