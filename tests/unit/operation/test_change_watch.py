"""Change points of a live run: watched by the sentinel, told as events, and a value for rules."""

import re

import numpy as np
import pytest
import zmq

from pychip_stream import config as configuration
from pychip_stream.domain.frames import FrameRef
from pychip_stream.errors import ConfigError
from pychip_stream.operation.change_watch import AUTHOR, ChangeWatch
from pychip_stream.wire.channel import Channel, Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Event, Live
from services.sentinel import Sentinel
from tests.support.ports import free_wire
from tests.support.waiting import wait_for

START = 1.7e9


def live(number, version="v", **measured):
    return Live(
        frame=FrameRef(path=f"{number}.tif", time=START + number, seen=START + number),
        names=("alpha", "beta"), colors=(), support_version=version, chip_size=(8, 8),
        shape=(16, 16), status="ok", received=START + number, measured=measured,
    )  # fmt: skip


def shares(beta):
    return {"alpha": 1 - beta, "beta": beta, "unknown": 0.0}


def test_a_step_is_told_of_each_curve_at_its_moment():
    watch = ChangeWatch(("fraction", "intensity_mean"))
    random, found = np.random.default_rng(4), []
    for n in range(200):
        beta = 0.2 + 0.2 * (n >= 120) + random.normal(0, 0.01)
        mean = 500.0 + 40 * (n >= 160) + random.normal(0, 3)
        found += watch.take(live(n, intensity_mean=mean), shares(beta))
    assert [one.text.split()[:2] for one in found] == [
        ["alpha", "falls"], ["beta", "rises"], ["intensity_mean", "rises"]
    ]  # fmt: skip
    assert [one.time - START for one in found] == pytest.approx([120, 120, 160], abs=2)
    assert {(one.kind, one.author) for one in found} == {("change", AUTHOR)}
    said = (
        r"(\S+) (?:falls below|rises above) its course: (\S+) \S+ instead of (\S+) \S+ after \d+ f"
    )
    told = {m[1]: (float(m[2]), float(m[3])) for m in (re.match(said, one.text) for one in found)}
    assert told["alpha"] == pytest.approx((60, 80), abs=2)
    assert told["beta"] == pytest.approx((40, 20), abs=2)
    assert told["intensity_mean"] == pytest.approx((540, 500), abs=5)
    assert watch.recent == 3


def test_a_bend_is_told_against_the_line_before_it():
    watch, random, found = ChangeWatch(("fraction",)), np.random.default_rng(4), []
    for n in range(200):
        beta = 0.1 + 0.003 * min(n, 150) + random.normal(0, 0.01)
        found += watch.take(live(n), shares(beta))
    (told,) = [one.text for one in found if one.text.startswith("beta falls")]
    now, expected = map(float, re.findall(r"(\d+\.\d) %", told))
    assert now == pytest.approx(55, abs=1.5)
    assert now + 1.5 < expected < 60


def test_other_examples_are_no_change_of_the_specimen():
    watch = ChangeWatch(("fraction",))
    random = np.random.default_rng(5)
    for n in range(200):
        beta = 0.2 + 0.3 * (n >= 120) + random.normal(0, 0.01)
        assert not watch.take(live(n, "v" if n < 120 else "w"), shares(beta))


def test_a_beam_that_was_off_is_no_change_of_the_specimen():
    watch, random = ChangeWatch(("fraction", "intensity_mean")), np.random.default_rng(6)
    for n in range(200):
        off = 80 <= n < 120
        beta, mean = (0.0, 5.0) if off else (0.4, 500.0)
        told = shares(beta + random.normal(0, 0.01))
        frame = live(n, intensity_mean=mean + random.normal(0, 3), blank=float(off))
        assert not watch.take(frame, told)


def test_only_what_there_is_can_be_watched(tmp_path):
    for name in ("nonsense", "domains"):
        tree = {"watch": {"root": "."}, "alerts": {"changes": [name]}}
        with pytest.raises(ConfigError, match="changes"):
            configuration.parse(tree, "test", tmp_path)


def test_the_sentinel_sends_change_points_until_archived_and_rules_see_them(tmp_path):
    rule = {"name": "it changes", "quantity": "change_points", "above": 0}
    tree = {"watch": {"root": "."}, "wire": free_wire(), "alerts": {"rules": [rule]}}
    config = configuration.parse(tree, "test", tmp_path)
    context = zmq.Context()
    archiver = Channel(context, zmq.ROUTER, 100)
    archiver.bind(config.wire.endpoint("results"))
    sentinel = Sentinel(config)
    try:
        for n in range(100):
            beta = 0.2 + 0.3 * (n >= 80) + 0.01 * (n % 2)
            told = shares(beta)
            arrays = {"intervals": np.array([[v, 0, 1] for v in told.values()])}
            sentinel._health.take(Received(Packet(live(n), arrays), b"", b""))
            sentinel._watch_changes()
        sentinel._look()
        assert sentinel._last["it changes"].state == "on"
        sent = []
        wait_for(lambda: sent.extend(archiver.drain(10)) or len(sent) >= 3, "they are sent")
        events = [m for one in sent if isinstance(m := one.packet.message, Event)]
        assert {one.text.split()[0] for one in events} == {"alpha", "beta"}
        assert {one.id for one in events} <= set(sentinel._waiting)
    finally:
        sentinel._waiting.clear()
        sentinel.close()
        archiver.close()
        context.term()
