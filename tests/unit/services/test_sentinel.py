"""The sentinel as a service: what it sends again until the archive has it, and what it gives up."""

import pytest
import zmq

from pychip_stream import config as configuration
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.messages import Event, Reply
from services import sentinel
from tests.support.ports import free_wire
from tests.support.waiting import wait_for


class Bench:
    """A sentinel with the archive played by the test."""

    def __init__(self, folder):
        tree = {"watch": {"root": "."}, "wire": free_wire()}
        config = configuration.parse(tree, "test", folder)
        self.context = zmq.Context()
        self.archive = Channel(self.context, zmq.ROUTER, 100)
        self.archive.bind(config.wire.endpoint("results"))
        self.service = sentinel.Sentinel(config)
        self.came = []

    def step(self):
        self.service.step()
        self.came += self.archive.drain(100)

    def until(self, condition, what):
        wait_for(condition, what, step=self.step, pause_s=0.0)

    def times(self, name):
        return sum(one.packet.message.id == name for one in self.came)

    def answer(self, **reply):
        self.archive.send(Reply(**reply), to=self.came[-1].sender)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(sentinel, "_RESEND_S", 0.0)
    monkeypatch.setattr(sentinel, "_SETTLE_S", 0.0)
    one = Bench(tmp_path)
    yield one
    one.service._waiting.clear()
    one.service.close()
    one.archive.close()
    one.context.term()


def test_what_is_refused_for_good_is_sent_no_more_and_said_once(bench, caplog):
    for name in ("1", "2", "3"):
        bench.service._send(Event(id=name, author="a", text="x", time=1.7e9))
    bench.until(lambda: bench.times("3") > 2, "they are sent again")
    bench.answer(ok=True, detail="1")
    bench.answer(ok=False, detail="too many in a second")
    bench.answer(ok=False, detail="the run takes no more", refused="2")
    bench.until(lambda: len(bench.service._waiting) == 1, "the answers are heard")
    bench.service._send(Event(id="4", author="a", text="x", time=1.7e9))
    bench.until(lambda: bench.times("4") > 0, "all that was on its way is there")
    bench.came.clear()
    bench.until(lambda: bench.times("3") > 2, "what is not refused is sent again")
    assert bench.times("1") + bench.times("2") == 0
    bench.answer(ok=True, detail="4")
    bench.answer(ok=False, detail="the run takes no more", refused="3")
    bench.until(lambda: not bench.service._waiting, "nothing is left")
    said = [one.getMessage() for one in caplog.records if "not archived" in one.getMessage()]
    assert said == ["Event 2 is not archived: the run takes no more"]
