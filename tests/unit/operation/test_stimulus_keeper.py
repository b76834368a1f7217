"""Readings of a live run: logs followed, senders bounded, values for live frames."""

import numpy as np
import pytest

from pychip_stream import config as configuration
from pychip_stream.archive.clock_offsets import set_offset
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.marks import EVENTS, events_of
from pychip_stream.archive.run import open_run
from pychip_stream.errors import ArchiveError
from pychip_stream.operation import stimulus_keeper
from pychip_stream.operation.health import RunHealth
from pychip_stream.operation.stimulus_keeper import MOST_PER_SECOND, StimulusKeeper
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Measurement
from tests.support.archive_samples import make_run
from tests.support.waiting import wait_for

START = 1.7e9


@pytest.fixture
def made(tmp_path):
    path = make_run(tmp_path, 6, close=False)
    keepers = []

    def make(**source):
        stimulus = [{"zone": "UTC", **source}] if source else []
        tree = {"watch": {"root": "."}, "stimulus": stimulus}
        config = configuration.parse(tree, "test", tmp_path)
        keepers.append(StimulusKeeper(config, path, open_run(path).run_id))
        return keepers[-1]

    yield path, make
    for keeper in keepers:
        keeper.close()


def log_of(folder, *values, begin=0):
    with (folder / "oven.csv").open("a") as file:
        if file.tell() == 0:
            file.write("time,T (°C)\n")
        for n, value in enumerate(values, begin):
            file.write(f"{START + n},{value}\n")


def taken(keeper, count):
    replies = []

    def step():
        replies.extend(keeper.keep())

    wait_for(lambda: keeper.counters().get("readings", 0) >= count, "it reads on", step=step)
    return replies


def test_a_log_is_followed_over_restarts_and_nothing_is_kept_twice(made, tmp_path):
    path, make = made
    log_of(tmp_path, 10, 11)
    first = make(log="oven.csv")
    taken(first, 2)
    log_of(tmp_path, 12, begin=2)
    taken(first, 3)
    first.close()
    log_of(tmp_path, 13, begin=3)
    second = make(log="oven.csv")
    taken(second, 1)
    (series,) = open_run(path).stimulus.series
    assert series.values.tolist() == [10, 11, 12, 13]
    (raw,) = open_run(path).stimulus.raw.values()
    assert len(raw.came[0]) == 4
    assert second.counters()["stimulus_silence"] < 60


def test_the_longest_silence_of_all_sources_is_counted(made, monkeypatch):
    _, make = made
    keeper, now = make(), [1000.0]
    monkeypatch.setattr(stimulus_keeper.time, "monotonic", lambda: now[0])
    for source, later in (("oven", 30.0), ("gas", 5.0)):
        keeper.add(Measurement(source=source, name="T", value=1.0, time=START), b"s")
        list(keeper.keep())
        now[0] += later
    assert keeper.counters()["stimulus_silence"] == 35.0
    keeper.add(Measurement(source="oven", name="T", value=1.0, time=START + 1), b"s")
    list(keeper.keep())
    assert keeper.counters()["stimulus_silence"] == 5.0


def test_notes_are_events_whatever_became_of_the_archiver_after_them(made, tmp_path, monkeypatch):
    path, make = made
    (tmp_path / "oven.csv").write_text(f"time,T,note\n{START},1,\n{START + 1},2,gas on\n")
    first = make(log="oven.csv")
    broken = ArchiveError("no space")

    def full(*_):
        raise broken

    with monkeypatch.context() as patch:
        patch.setattr(first._journal, "add", full)
        with pytest.raises(ArchiveError, match="no space"):
            taken(first, 1)
    first.close()
    second = make(log="oven.csv")
    taken(second, 2)
    second.close()
    for file in EVENTS.files(RunPlaces.of(path)):
        file.unlink()  # as those of a run that had no frame yet and is another now
    third = make(log="oven.csv")
    wait_for(
        lambda: EVENTS.files(RunPlaces.of(path)),
        "it is read again",
        step=lambda: list(third.keep()),
    )
    assert [(e.time, e.text, e.who) for e in events_of(open_run(path))] == [
        (START + 1, "gas on", "oven")
    ]
    (raw,) = open_run(path).stimulus.raw.values()
    assert len(raw.came[0]) == 2
    assert "readings" not in third.counters()


def test_live_frames_have_the_newest_value_until_the_next_and_follow_the_offset(made, monkeypatch):
    path, make = made
    monkeypatch.setattr(stimulus_keeper, "_LOOK_S", 0.0)
    keeper = make()
    for n in range(2):
        keeper.add(Measurement(source="oven", name="T", unit="K", value=n, time=START + n), b"s")
    assert [(r.ok, s) for r, s in keeper.keep()] == [(True, b"s")] * 2
    assert keeper.at(START + 0.5) == {"t_K": 0.5}
    assert keeper.at(START + 9.0) == {"t_K": 1.0}
    assert keeper.at(START + 12.0) == {}
    set_offset(RunPlaces.of(path), open_run(path).run_id, "oven", 5.0, who="ann")
    assert keeper.at(START + 5.5) == {"t_K": 0.5}


def test_a_sender_that_floods_is_refused_what_is_too_much(made):
    _, make = made
    keeper = make()
    one = Measurement(source="oven", name="T", value=1.0, time=START)
    for _ in range(MOST_PER_SECOND + 5):
        keeper.add(one, b"flood")
    keeper.add(one, b"another")
    answers = list(keeper.keep())
    assert next(r.detail for r, _ in answers if not r.ok).startswith("more than 1000")
    assert sum(not r.ok for r, _ in answers) == 5
    assert (True, b"another") in [(r.ok, s) for r, s in answers]
    assert keeper.counters()["readings_refused"] == 5.0


def test_what_is_shown_is_watched_by_rules(made):
    _, make = made
    keeper = make()
    keeper.add(Measurement(source="oven", name="T", unit="K", value=400.5, time=START), b"s")
    list(keeper.keep())
    health = RunHealth()
    ((message, arrays),) = keeper.shown()
    assert keeper.shown() == []
    health.take(Received(Packet(message, arrays), b"", b"stimulus"))
    assert health.values()["t_K", ""] == 400.5
    np.testing.assert_array_equal(arrays["time"], [START])


def test_a_log_that_is_not_there_or_not_understood_is_said(made, tmp_path):
    _, make = made
    keeper = make(log="none.csv", name="oven")
    wait_for(lambda: "is not there (yet)" in keeper.detail, "it is said")
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    odd = make(log="odd.csv")
    wait_for(lambda: "time_column" in odd.detail, "it is said")
