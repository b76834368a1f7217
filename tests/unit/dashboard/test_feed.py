"""What the page hears: an odd message costs itself."""

import numpy as np
import pytest

from dashboard.work.feed import Feed
from dashboard.work.state import RunState
from dashboard.work.workbench import Workbench
from pychip_stream import config as configuration
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Status, SupportChanged
from tests.support.archive_samples import failed
from tests.support.live_frames import HALF, LABELS, live, replaced
from tests.support.run_samples import make_run

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


@pytest.fixture
def feed(tmp_path):
    (tmp_path / "acquisition").mkdir()
    config = configuration.parse({"watch": {"root": "acquisition"}}, "test", tmp_path)
    bench = Workbench(config)
    yield Feed(config, RunState(), bench)
    bench.close()


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_an_odd_message_costs_itself_and_never_the_round(feed, odd):
    """B20: the messages of the same round were forgotten with it."""
    first, last = (live("first.tif", 1.0), GOOD), (live("last.tif", 3.0), GOOD)
    channel = Channel([first, ODD[odd], last])
    feed._step(channel, beacon := Beacon())
    state = feed._state
    assert state.recent(("first.tif", 0)) is not None
    assert state.shot.picture.key == ("last.tif", 0)
    assert len(state.curves(None).measured) in (2, 3)
    assert all(picture_can_be_shown(state, path) for path in ("first.tif", "odd.tif", "last.tif"))
    assert beacon.counters["dropped"] == channel.dropped
    assert np.isfinite(state.curves(None).measured.times).all()


def test_frames_that_failed_are_named_with_their_reasons(feed, tmp_path):
    """S11: heard of now, or in the archive since before this page's server started."""
    folder = feed._config.archive.folder
    make_run(folder, tmp_path / "acquisition", 2, feed._config.archive.name, extra=[failed(9, "x")])
    torn = replaced(live("torn.tif"), status="failed", reason="not an image")
    watcher = Status(
        service="watcher", instance="watcher", state="running", time=1.0,
        counters={"archived": 4.0, "failed": 2.0},
    )  # fmt: skip
    feed._step(Channel([(torn, {}), (watcher, {})]), Beacon())
    assert {(f.path, f.reason) for f in feed._state.failures} == {
        ("torn.tif", "not an image"), (failed(9, "x").frame.path, "x"),
    }  # fmt: skip


def test_a_page_that_serves_nobody_does_not_say_that_it_is_well(feed):
    """Its event loop hangs, while the feed goes on: the heart must not say "running"."""
    feed._step(Channel([]), Beacon())
    feed._step(Channel([]), beacon := Beacon())
    assert not hasattr(beacon, "counters")
    feed.serving()
    feed._step(Channel([]), beacon)
    assert "dropped" in beacon.counters


def picture_can_be_shown(state, path):
    picture = state.recent((path, 0))
    return picture is None or picture.message(1)["type"] == "frame"
