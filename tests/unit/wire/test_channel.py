import socket
import time
from contextlib import closing

import pytest
import zmq

from pychip_stream.config import WireConfig
from pychip_stream.errors import PychipError
from pychip_stream.wire import channel as module
from pychip_stream.wire import codec
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.endpoints import Endpoints, request
from pychip_stream.wire.messages import KeysWanted, Ready
from tests.support.ports import free_wire


@pytest.fixture
def context():
    context = zmq.Context()
    yield context
    context.destroy(0)


@pytest.fixture
def pair(context):
    router, dealer = Channel(context, zmq.ROUTER, 10), Channel(context, zmq.DEALER, 10)
    dealer.connect(router.bind("tcp://127.0.0.1:0"), identity="me")
    yield router, dealer
    router.close()
    dealer.close()


def test_a_router_answers_who_asked(pair):
    router, dealer = pair
    assert dealer.send(Ready(worker="w", credit=1))
    received = router.receive(5.0)
    assert received.sender == b"me"
    assert router.send(KeysWanted(start=3), to=received.sender)
    assert dealer.receive(5.0).packet.message.start == 3


def test_bad_messages_are_counted_and_dropped(pair):
    router, dealer = pair
    dealer.raw.send_multipart([b"nonsense"])
    dealer.raw.send_multipart([b"nonsense", b"more", b"x" * 5000])
    dealer.raw.send_multipart([codec.MAGIC, b"\xc1"])
    dealer.send(Ready(worker="w", credit=2))
    assert router.receive(5.0).packet.message.credit == 2
    assert router.dropped == 3


@pytest.mark.parametrize("port", ["results", "requests", "events"])
def test_a_receiver_that_takes_nothing_for_long_loses_nothing_and_lives(monkeypatch, port):
    monkeypatch.setattr(module, "BEAT_MS", 50)
    monkeypatch.setattr(module, "SILENCE_MS", 200)
    config = WireConfig(**free_wire())
    with Endpoints(config) as here, Endpoints(config) as there:
        if port == "events":  # what the hub publishes while the queue is full is dropped
            sender = here.listen(port, zmq.XPUB, 4).raw
            receiver = there.reach(port, zmq.SUB, 4, topics=[b"0"]).raw
            assert sender.poll(10_000)
        else:
            receiver = here.listen(port, zmq.ROUTER, 4).raw
            sender = there.reach(port, zmq.DEALER, 4, identity="sender").raw
        sent, end = 0, time.monotonic() + 1.5  # many silences
        while time.monotonic() < end:
            if sender.poll(100, zmq.POLLOUT):
                sender.send_multipart([b"0", b"%d" % sent, bytes(200_000)])
                sent += 1
            if port == "events":
                time.sleep(0.01)
        found = []
        while receiver.poll(1000):
            found.append(int(receiver.recv_multipart()[-2]))
    assert len(found) > 8
    if port == "events":
        assert found == sorted(set(found))
    else:
        assert found == list(range(sent))


def test_an_unknown_receiver_is_said(pair):
    router, _ = pair
    assert not router.send(KeysWanted(start=0), to=b"nobody")


def test_a_full_queue_is_said_instead_of_growing(context):
    with closing(Channel(context, zmq.DEALER, 2)) as dealer:
        dealer.connect("tcp://127.0.0.1:9")  # nobody listens there
        sent = [dealer.send(Ready(worker="w", credit=1)) for _ in range(10)]
    assert sent.count(True) == 2
    assert not sent[-1]


def test_a_port_in_use_is_one_clear_line(context, pair):
    router, _ = pair
    address = router.raw.getsockopt_string(zmq.LAST_ENDPOINT)
    with (
        closing(Channel(context, zmq.ROUTER, 1)) as second,
        pytest.raises(PychipError, match="cannot listen"),
    ):
        second.bind(address)


def test_a_request_that_nobody_answers_ends():
    with pytest.raises(PychipError, match="no answer"):
        request(WireConfig(requests=9), KeysWanted(start=0), timeout_s=0.2)


def test_a_flood_of_bad_messages_does_not_hold_up_its_receiver(pair, monkeypatch):
    router, dealer = pair
    for _ in range(9):
        dealer.raw.send_multipart([b"nonsense"])
    slow = module.codec.decode

    def decode(frames):
        time.sleep(0.05)
        dealer.raw.send_multipart([b"nonsense"])  # there is always one more
        return slow(frames)

    monkeypatch.setattr(module.codec, "decode", decode)
    assert router.receive(0.0) is None or router.receive(0.0) is None
    assert router.receive(0.1) is None
    assert 1 <= router.dropped < 50


def test_who_connects_and_says_nothing_is_cut_off_soon(pair):
    router, _ = pair
    assert router.raw.getsockopt(zmq.HANDSHAKE_IVL) <= 5000  # 30 s by itself
    address = router.raw.getsockopt_string(zmq.LAST_ENDPOINT)
    with socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])), 60) as silent:
        while silent.recv(100):
            pass  # its greeting, and then the end
