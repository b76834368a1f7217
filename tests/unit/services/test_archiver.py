"""The archiver as a service: what it acknowledges, and what it says when it cannot write."""

import errno
import os
import runpy
import shutil
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from pychip_stream import config as configuration
from pychip_stream.archive.marks import change_mark, events_of
from pychip_stream.archive.run import open_run
from pychip_stream.wire.messages import (
    Event,
    FrameMoved,
    KeysWanted,
    Measurement,
)
from pychip_stream.wire.result import to_message
from services import archiver
from tests.support.archive_samples import record, result, support
from tests.support.archiver_bench import Closing


def test_it_pauses_while_the_disk_is_full_and_goes_on(bench):
    bench.send(0)
    bench.send(1)
    bench.until(lambda: len(bench.keys) == 2, "two frames are acknowledged")
    bench.until(lambda: bench.state == "running", "it says that it is well")
    bench.disk.broken = True
    bench.send(2)
    bench.send(3)
    bench.until(lambda: bench.state == "paused", "the pause is said")
    assert "No space left" in bench.detail
    failures = bench.disk.failures
    bench.until(lambda: bench.disk.failures > failures + 2, "it tries again")
    assert bench.keys == [record(n).frame.path for n in range(2)]
    assert len(open_run(bench.config.run_path)) == 2
    bench.disk.broken = False
    bench.until(lambda: len(bench.keys) == 4, "it goes on by itself")
    bench.until(lambda: bench.state == "running", "and says so")
    assert bench.keys == [record(n).frame.path for n in range(4)]


def test_a_frame_that_comes_twice_is_archived_once(bench):
    for number in (0, 0, 1, 1, 0, 2, 3):
        bench.send(number)
    bench.until(lambda: len(bench.keys) == 4, "four frames are acknowledged")
    table = open_run(bench.config.run_path).frames
    assert table["path"].tolist() == [record(n).frame.path for n in range(4)]


def test_lost_acknowledgements_are_given_again(bench):
    bench.send(0, device="cuda/float16")
    bench.send(1)
    bench.until(lambda: len(bench.keys) == 2, "two frames are acknowledged")
    bench.keys.clear()
    bench.watcher.send(KeysWanted(start=0), to=bench.peer)
    bench.until(lambda: len(bench.keys) == 2, "they are acknowledged again")
    run = open_run(bench.config.run_path)
    assert run.columns("device")["device"].tolist() == [b"cuda/float16", b""]
    assert run.config["archive"]["segment_frames"] == 2


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_what_cannot_be_merged_waits_for_the_disk(bench, number):
    bench.send(0)
    bench.send(1)
    bench.until(lambda: len(bench.keys) == 2, "two frames are acknowledged")
    bench.disk.broken, bench.disk.number = True, number
    bench.send(2)  # waits in the queue
    closing = Closing(bench)
    closing.wait_refused(os.strerror(number))
    assert len(open_run(bench.config.run_path)) == 2
    assert not bench.config.run_path.exists()
    bench.disk.broken = False
    assert closing.ended() is None
    assert len(open_run(bench.config.run_path)) == 3
    assert not (bench.config.archive.folder / "run.segments").exists()


def test_who_is_in_a_hurry_finds_the_run_in_its_segments(bench):
    bench.send(0)
    bench.send(1)
    bench.until(lambda: len(bench.keys) == 2, "two frames are acknowledged")
    bench.disk.broken = True
    closing = Closing(bench)
    closing.wait_refused("No space left")
    bench.hurry.set()
    assert "frames are safe in run.segments" in str(closing.ended())
    assert not bench.config.run_path.exists()
    assert len(open_run(bench.config.run_path)) == 2


def odd_messages():
    """Well-formed results that no camera makes, as (changed fields, changed arrays)."""
    names = tuple(f"class {n}" for n in range(300))

    def grid(*shape):
        return {
            "label_map": np.zeros(shape, np.uint8),
            "probabilities": np.zeros((*shape, 2), np.float16),
            "distances": np.zeros((*shape, 2), np.float16),
            "novelty": np.zeros(shape, np.float16),
        }

    yield {"shape": (1 << 40, 1 << 40)}, {}
    yield {"chip_size": (1 << 40, 1)}, {}
    yield {}, grid(0, 0)
    yield {}, grid(0, 5)
    yield {"names": ("unknown", "beta")}, {}
    yield {"names": ("al\0pha", "beta")}, {}
    yield {"names": ("x" * 3_000_000, "beta")}, {}
    yield (
        {"names": ()},
        {
            "label_map": np.zeros((3, 4), np.uint8),
            "probabilities": np.zeros((3, 4, 0), np.float16),
            "distances": np.zeros((3, 4, 0), np.float16),
            "intervals": np.zeros((1, 3)),
        },
    )
    yield (
        {"names": names},
        {
            "probabilities": np.zeros((3, 4, 300), np.float16),
            "distances": np.zeros((3, 4, 300), np.float16),
            "intervals": np.zeros((301, 3)),
        },
    )
    yield {"device": "d" * 3_000_000, "read": float("inf"), "classified": float("-inf")}, {}


def test_odd_results_cost_themselves(bench):
    for number, (fields, arrays) in enumerate(odd_messages()):
        made = record(number, result=result(number, version=support().version), embeddings=False)
        message, usual = to_message(made, "worker")
        odd = msgspec.structs.replace(message, **fields)
        assert bench.worker.send_waiting(odd, usual | arrays, 10)
        bench.step()
    for number in (100, 101, 102, 103):
        bench.send(number)
    wanted = {record(number).frame.path for number in (100, 101, 102, 103)}
    bench.until(lambda: wanted <= set(bench.keys), "the good frames are acknowledged")
    run = open_run(bench.config.run_path)
    assert run.names == ("alpha", "beta")
    assert run.count >= 4
    assert all("cannot be archived" in reason for reason in run.failed["reason"])
    bench.until(lambda: bench.state == "running", "it says that it is well")


def test_segments_that_somebody_removes_are_noticed_and_done_again(bench):
    bench.send(0)
    bench.send(1)
    bench.until(lambda: len(bench.keys) == 2, "two frames are acknowledged")
    bench.until(lambda: getattr(bench, "count", 0) == 2, "the watcher is told")
    shutil.rmtree(bench.config.archive.folder / "run.segments")
    bench.until(lambda: bench.count < 2, "the watcher is told that there are fewer")
    bench.keys.clear()
    for number in range(4):
        bench.send(number)
    bench.until(lambda: len(bench.keys) == 4, "all are acknowledged, again or at last")
    assert len(open_run(bench.config.run_path)) == 4
    bench.until(lambda: bench.state == "running", "it says that it is well")


def test_a_frame_that_was_moved_is_acknowledged_as_that(bench):
    bench.send(0, frame_hash="own")
    bench.send(0, path="b.dm4")
    bench.until(lambda: len(bench.acknowledged) == 2, "two frames are acknowledged")
    assert [key.digest for key in bench.acknowledged] == ["own", record(0).content_hash]
    message = FrameMoved(frame=record(0).frame, to="b.dm4")
    for _ in range(3):
        bench.watcher.send(message, to=bench.peer)
    bench.send(1)
    bench.until(lambda: len(bench.acknowledged) == 4, "the note and another frame")
    assert sorted(key.moved for key in bench.acknowledged) == [False, False, False, True]
    paths = open_run(bench.config.run_path).frames["path"].tolist()
    assert paths == ["b.dm4", record(1).frame.path]


def test_a_reading_is_acknowledged_once_it_is_on_disk_and_joined_to_frames(bench):
    start = record(0).frame.time
    for n in range(3):
        reading = Measurement(
            source="oven", name="heat", value=20.0 + n, unit="degC", time=start - 1 + n
        )
        assert bench.worker.send_waiting(reading, None, 10)
    replies = []
    bench.until(
        lambda: replies.extend(bench.worker.drain(10)) or len(replies) == 3, "it is acknowledged"
    )
    assert all(one.packet.message.ok for one in replies)
    bench.send(0)
    bench.send(1)
    bench.until(lambda: len(bench.keys) == 2, "the frames are archived")
    found = open_run(bench.config.run_path).frames["heat_C"].tolist()
    assert found == [21.0, 22.0]
    assert bench.live[-1].measured["heat_C"] == 22.0
    assert {one.quantities for one in bench.stimulus} == {("heat_C",)}


def test_a_reading_of_a_very_long_name_keeps_no_frame_from_being_shown(bench):
    reading = Measurement(
        source="oven", name="n/" * 100, value=20.0, unit="m/" * 100, time=record(0).frame.time
    )
    assert bench.worker.send_waiting(reading, None, 10)
    bench.until(lambda: list(bench.worker.drain(10)), "it is acknowledged")
    bench.send(0)
    bench.until(lambda: bench.live, "the frame is shown")
    assert max(map(len, bench.live[-1].measured)) > 200


def answers(bench, *events):
    """What the archiver says to each of these events, sent one after the other."""
    replies = []
    for event in events:
        assert bench.worker.send_waiting(event, None, 10)
        count = len(replies) + 1
        bench.until(
            lambda n=count: replies.extend(bench.worker.drain(10)) or len(replies) == n, "a reply"
        )
    found = [one.packet.message for one in replies]
    return [(one.ok, one.detail, one.refused) for one in found]


def told(bench):
    run = open_run(bench.config.run_path)
    return [(e.event, e.time, e.kind, e.text, e.who) for e in events_of(run)]


def test_an_event_is_on_disk_when_it_is_acknowledged_and_its_author_alone_changes_it(bench):
    bench.send(0)
    bench.send(1)
    bench.until(lambda: len(bench.keys) == 2, "the frames are archived")
    moment = record(0).frame.time + 0.5
    valve = Event(id="v1", author="ada", text="valve open", time=moment)
    again = msgspec.structs.replace(valve, text="valve half open", time=0.0)
    other = msgspec.structs.replace(valve, text="mine", author="eve")
    found = answers(bench, valve, valve, other, again)
    assert [ok for ok, *_ in found] == [True, True, False, True]
    assert "ada, who alone" in found[2][1]
    assert [refused for *_, refused in found] == ["", "", "v1", ""]
    assert told(bench) == [("v1", moment, "mark", "valve half open", "ada")]
    assert len(list(bench.config.run_path.parent.rglob("event-*.json"))) == 2
    change_mark(open_run(bench.config.run_path), "v1", who="ada", text="valve shut")
    assert told(bench)[0][3] == "valve shut"
    assert answers(bench, msgspec.structs.replace(valve, removed=True)) == [(True, "v1", "")]
    assert told(bench) == []


def test_what_is_acknowledged_before_the_first_frame_outlives_a_kill(bench):
    start = record(0).frame.time
    valve = Event(id="v1", author="ada", text="valve open", time=start)
    heat = Measurement(
        source="oven", name="heat", value=20.0, unit="degC", time=start, kind="state"
    )
    assert [ok for ok, *_ in answers(bench, valve, heat)] == [True, True]
    bench.kill()
    bench.start()
    for number in range(2):
        bench.send(number)
    bench.until(lambda: len(bench.keys) == 2, "the frames are archived")
    assert [one[3:] for one in told(bench)] == [("valve open", "ada")]
    assert open_run(bench.config.run_path).frames["heat_C"].tolist() == [20.0, 20.0]


def test_nothing_is_acknowledged_while_it_is_not_known_whose_it_is(bench):
    """The disk refuses what identifies the run, but would take the event."""
    bench.kill()
    (bench.config.archive.folder / "run.segments" / "run.json").unlink()
    bench.disk.broken = True
    bench.start()
    valve = Event(id="v1", author="ada", text="valve open", time=1.7e9)
    assert bench.worker.send_waiting(valve, None, 10)
    bench.until(lambda: bench.state == "paused", "the pause is said")
    assert bench.worker.receive() is None
    bench.disk.broken = False
    bench.until(lambda: bench.worker.receive(), "it is acknowledged")
    run_id = bench.service._writer.run_id
    bench.kill()
    bench.start()
    assert bench.service._writer.run_id == run_id


def test_a_sender_of_too_many_events_is_told(bench, monkeypatch):
    monkeypatch.setattr(archiver, "_EVENTS_PER_SECOND", 2)
    bench.service._event_rates = archiver.Rates(2)
    events = [Event(id=f"{n}", author="a", text="x", time=1.7e9) for n in range(3)]
    for event in events:
        assert bench.worker.send_waiting(event, None, 10)
    replies = []
    bench.until(lambda: replies.extend(bench.worker.drain(10)) or len(replies) == 3, "replies")
    found = [one.packet.message for one in replies]
    assert [one.ok for one in found] == [True, True, False]
    assert found[2].refused == ""  # a later try may do


@pytest.mark.parametrize(
    ("script", "words", "seen"),
    [
        ("send_measurement.py", ("heat", "21.5", "degC"), lambda run: run.stimulus.sources),
        ("send_event.py", ("oven", "valve open"), events_of),
    ],
)
def test_the_examples_of_senders_are_acknowledged(bench, monkeypatch, capsys, script, words, seen):
    bench.send(0)
    bench.send(1)
    bench.until(lambda: len(bench.keys) == 2, "the frames are archived")
    path = Path(__file__).parents[3] / "examples" / script
    config = bench.config.run_path.with_name("c.yaml")
    config.write_text(configuration.dump(bench.config), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [script, str(config), *words])
    thread = threading.Thread(target=runpy.run_path, args=(str(path),))
    thread.start()
    bench.until(lambda: not thread.is_alive(), "the example ends")
    assert "ok=True" in capsys.readouterr().out
    assert seen(open_run(bench.config.run_path))
