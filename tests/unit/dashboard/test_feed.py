"""What the page hears: an odd message costs itself."""

import dataclasses
import threading

import numpy as np
import pytest
import tifffile
import zmq

from dashboard.work import feed as feed_module
from dashboard.work.course import Mark
from dashboard.work.feed import Feed
from dashboard.work.frame_pictures import FramePicture
from dashboard.work.history import plotted
from dashboard.work.opened_run import PastFrames
from dashboard.work.state import RunState
from dashboard.work.workbench import Workbench
from pychip_stream import config as configuration
from pychip_stream.archive.run import open_run
from pychip_stream.archive.scorings import add_scoring
from pychip_stream.domain.frames import FrameRef
from pychip_stream.operation.edited_rules import EditedRules
from pychip_stream.wire import messages
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.messages import PixelSizeChanged, Seen, Status, Stimulus, SupportChanged
from tests.support import run_samples
from tests.support.archive_samples import failed, make_run, pieces, result, support
from tests.support.failing_disks import QuickDisk
from tests.support.live_frames import HALF, LABELS, live, replaced
from tests.support.ports import free_wire
from tests.support.waiting import wait_for

GOOD = {"label_map": LABELS, "intervals": HALF}
ODD = {
    "intervals of one axis": (live("odd.tif"), GOOD | {"intervals": np.zeros(3)}),
    "too few intervals": (live("odd.tif"), GOOD | {"intervals": HALF[:1]}),
    "labels of three axes": (live("odd.tif"), GOOD | {"label_map": np.zeros((2, 2, 2), np.uint8)}),
    "no labels": (live("odd.tif"), {}),
    "a name twice": (live("odd.tif", names=("alpha", "alpha")), GOOD),
    "a class called unknown": (live("odd.tif", names=("unknown",)), GOOD),
    "texts for labels": (live("odd.tif"), GOOD | {"label_map": np.array([["x"]])}),
    "no time": (live("odd.tif", time=float("nan")), GOOD),
    "infinitely late": (live("odd.tif", time=float("inf")), GOOD),
    "no colours": (replaced(live("odd.tif"), colors=()), GOOD),
    "chips of no size": (replaced(live("odd.tif"), chip_size=(0, 0)), GOOD),
    "no support set": (SupportChanged(version="x", names=()), {}),
}


class Channel:
    """Messages that wait."""

    dropped = 0

    def __init__(self, messages):
        self._waiting = [Received(Packet(m, a), b"", b"") for m, a in messages]

    def receive(self, _wait_s):
        return self._waiting.pop(0) if self._waiting else None

    def drop(self, _why):
        self.dropped += 1


class Beacon:
    def status(self, _state, counters):
        self.counters = counters


def step(feed, *messages, beacon=None):
    """One round, and what it has the archive looked at for."""
    feed._tidy.hurry()
    feed._step(channel := Channel(messages), beacon or Beacon())
    feed._looking.result(60)
    return channel


@pytest.fixture
def feed(tmp_path):
    (tmp_path / "acquisition").mkdir()
    tree = {"watch": {"root": "acquisition"}, "wire": free_wire()}
    config = configuration.parse(tree, "test", tmp_path)
    bench = Workbench(config)
    state = RunState()
    made = Feed(config, state, bench, PastFrames(config, state.course, bench), EditedRules(config))
    yield made
    made.stop()
    bench.close()


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_message_costs_itself_and_never_the_round(feed, odd):
    """B20: the messages of the same round were forgotten with it."""
    first, last = (live("first.tif", 1.0), GOOD), (live("last.tif", 3.0), GOOD)
    channel = Channel([first, ODD[odd], last])
    feed._step(channel, beacon := Beacon())
    state = feed._state
    assert state.course.recent(("first.tif", 0)) is not None
    assert state.shot.picture.key == ("last.tif", 0)
    assert len(state.course.curves(None).measured) in (2, 3)
    assert all(picture_can_be_shown(state, path) for path in ("first.tif", "odd.tif", "last.tif"))
    assert beacon.counters["dropped"] == channel.dropped
    assert np.isfinite(state.course.curves(None).measured.times).all()


def test_a_reading_that_arrives_is_a_quantity_of_the_next_frame(feed):
    """The feed did not listen for them: nobody could choose the temperature of a furnace."""
    heat = Stimulus(source="oven", quantities=("oven_C",), units=("degC",))
    readings = {"time": np.array([1.0]), "values": np.array([[150.0]])}
    frame = live("a.tif", 1.0, oven_C=150.0)
    with Endpoints(feed._config.wire) as endpoints:
        hub = endpoints.listen("events", zmq.XPUB, 100)
        feed.start()
        assert all(hub.raw.poll(60_000) and hub.raw.recv() for _ in feed_module._TOPICS)
        hub.send(heat, readings, to=messages.STIMULUS)
        hub.send(frame, GOOD | {"confidence": LABELS, "novelty": LABELS}, to=messages.LIVE)
        wait_for(lambda: len(feed._state.course), "the frame did not come", timeout_s=30.0)
        feed.stop()
        feed.join()
    (told,) = feed._state.course.curves(None).quantities.columns["oven_C"][:, 0]
    assert told == 150.0
    assert plotted((), {"oven_C"})["oven_C"].unit == "degC"


def test_frames_that_failed_are_named_with_their_reasons(feed, tmp_path):
    """S11: heard of now, or in the archive since before this page's server started."""
    folder = feed._config.archive.folder
    name, lost = feed._config.archive.name, failed(9, "x")
    run_samples.make_run(folder, tmp_path / "acquisition", 2, name, extra=[lost])
    torn = replaced(live("torn.tif"), status="failed", reason="not an image")
    watcher = Status(
        service="watcher", instance="watcher", state="running", time=1.0,
        counters={"archived": 4.0, "failed": 2.0},
    )  # fmt: skip
    step(feed, (torn, {}), (watcher, {}))
    assert {(f.path, f.reason) for f in feed._state.failures} == {
        ("torn.tif", "not an image"), (lost.frame.path, "x"),
    }  # fmt: skip


def test_a_page_that_serves_nobody_does_not_say_that_it_is_well(feed):
    """Its event loop hangs, while the feed goes on: the heart must not say "running"."""
    feed._step(Channel([]), Beacon())
    feed._step(Channel([]), beacon := Beacon())
    assert not hasattr(beacon, "counters")
    feed.serving()
    feed._step(Channel([]), beacon)
    assert "dropped" in beacon.counters


def test_frames_go_on_while_the_archive_is_looked_at(feed, monkeypatch):
    """S4: that took six seconds once; Live stood still, and the page was said to hang."""
    go_on, looked = threading.Event(), []
    monkeypatch.setattr(feed, "_fill_gaps", lambda: looked.append(go_on.wait(20)))
    feed._step(Channel([]), Beacon())
    feed.serving()
    feed._step(Channel([(live("a.tif", 1.0), GOOD)]), beacon := Beacon())
    assert feed._state.shot.picture.key == ("a.tif", 0)
    assert "dropped" in beacon.counters
    assert looked == []
    go_on.set()
    feed._looking.result(60)
    assert looked == [True]


def test_what_comes_from_the_archive_covers_no_frame_that_came_live(feed, monkeypatch):
    older = FramePicture(key=("older.tif", 0), shape=(8, 8))

    def late(_key):
        feed._step(Channel([(live("a.tif", 9e9), GOOD)]), Beacon())
        return older

    monkeypatch.setattr(feed._past, "picture", late)
    archived(feed, 2)
    assert feed._state.shot.picture.key == ("a.tif", 0)


def test_frames_are_shown_as_they_are_until_there_are_examples(feed):
    """B3: Live stayed black."""
    root = feed._config.watch.root
    for name in ("a.tif", "b.tif"):
        tifffile.imwrite(root / name, np.arange(4096, dtype=np.uint16).reshape(64, 64))
        feed._step(Channel([(Seen(frame=FrameRef(path=name, seen=1.0)), {})]), Beacon())
        shot = feed._state.shot
        assert (shot.picture.key, shot.live) == ((name, 0), None)
        assert shot.picture.jpeg
    feed._step(Channel([(live("c.tif", 3.0), GOOD)]), Beacon())
    feed._step(Channel([(Seen(frame=FrameRef(path="a.tif", seen=2.0)), {})]), Beacon())
    assert feed._state.shot.picture.key == ("c.tif", 0)


def archived(feed, count):
    """A run of the feed's configuration with frames in it, as the watcher tells of it."""
    path = make_run(feed._config.archive.folder, count)
    assert path == feed._config.run_path
    counters = {"archived": float(count), "seen": float(count)}
    status = Status(
        service="watcher", instance="watcher", state="running", time=0.0, counters=counters
    )
    step(feed, (status, {}))
    return path


def test_after_a_restart_the_last_frame_is_shown(feed):
    """S8: the curve was there, the picture was black."""
    path = archived(feed, 3)
    with open_run(path) as run:
        last = run.fractions["path"].iloc[-1]
    assert feed._state.shot.picture.key == (last, 0)
    assert feed._state.shot.picture.label_map is not None


def test_labels_made_anew_change_the_curve_that_everybody_sees(feed):
    """S4: only the archive had them."""
    path = archived(feed, 3)
    before = feed._state.course.curves(None).measured
    other = support(("gold", "rest"), 3)
    results = [result(90 + n, ("gold", "rest"), version=other.version) for n in range(3)]
    version = add_scoring(path, other, np.arange(3), pieces(results), disk=QuickDisk())
    step(feed)
    after = feed._state.course.curves(None).measured
    assert feed._state.course.scoring == version
    assert len(after) == len(before) == 3
    assert np.isnan(after.columns["alpha"]).all()
    np.testing.assert_allclose(after.columns["gold"][:, 0], [r.intervals[0, 0] for r in results])
    assert np.isfinite(before.columns["alpha"]).all()
    assert feed._state.course.marks == (Mark(before.times[0], version),)
    beside = feed._state.course.curves(None).beside
    assert feed._state.course.beside == "as acquired"
    np.testing.assert_array_equal(beside.columns["alpha"], before.columns["alpha"])
    assert feed._state.course.scoring_name.startswith("set 3 · ")
    assert feed._bench.sets.called(version) == "set 3"
    nameless = dataclasses.replace(other, note="")  # M7: a hash stood on the curve
    feed._bench.sets.know(nameless)
    assert feed._bench.sets.called(nameless.version) == "gold, rest"
    assert feed._state.colors["gold"] == other.classes[0].color
    (key, *_), _ = feed._state.course._former.rows("alpha")
    feed._state.course.leave_out({key: None})
    assert len(feed._state.course.curves(None).beside) == 2


def picture_can_be_shown(state, path):
    picture = state.course.recent((path, 0))
    return picture is None or picture.message(1)["type"] == "frame"


def test_a_pixel_size_that_was_set_is_that_of_the_frames_that_are_read(feed, tmp_path):
    tifffile.imwrite(tmp_path / "acquisition" / "a.tif", np.zeros((64, 64), np.uint16))
    bench = feed._bench
    assert bench.picture(("a.tif", 0)).pixel_size is None
    for size, known in (("0.5 nm", 0.5), ("", None)):
        feed._step(Channel([(PixelSizeChanged(size=size), {})]), Beacon())
        assert feed._state.pixel_size == size
        picture = bench.picture(("a.tif", 0))
        assert (picture.pixel_size, picture.by_hand) == (known, known is not None)
