import sys
import time

import pytest
import zmq

from pychip_stream.config import WireConfig
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.heartbeat import Beacon
from tests.support.waiting import wait_for


@pytest.fixture
def hub():
    with Endpoints(WireConfig()) as endpoints:
        channel = endpoints.listen("requests", zmq.ROUTER, 100)
        port = int(channel.raw.getsockopt_string(zmq.LAST_ENDPOINT).rsplit(":", 1)[1])
        yield channel, WireConfig(requests=port)


def heard(channel, condition):
    def listen():
        received = channel.receive(1.0)
        return received and condition(received.packet.message) and received.packet.message

    return wait_for(listen, "heard", pause_s=0.0)


def test_the_heart_beats_while_the_main_loop_is_busy(hub):
    channel, config = hub
    with Endpoints(config) as endpoints:
        beacon = Beacon(endpoints, "inference", "worker-1", patience_s=1.5)
        beacon.status("running", {"done": 3.0})
        first = heard(channel, lambda m: m.state == "running")
        assert first.counters["done"] == 3.0
        assert first.counters["rss_mb"] > 1.0
        late = heard(channel, lambda m: m.state == "stalled")
        assert "hangs" in late.detail
        assert late.counters["busy_s"] > 1.5
        beacon.status("running", {})
        heard(channel, lambda m: m.state == "running")
        beacon.status("stopping", {}, "merging the run")  # may take its time
        heard(channel, lambda m: m.state == "stopping" and m.counters["busy_s"] > 1.5)
        beacon.status("running", {"done": 4.0})
        beacon.close()
    last = heard(channel, lambda m: m.state == "stopped")  # also when its sockets are closed
    assert last.counters["done"] == 4.0
    assert channel.receive(0.2) is None


def test_who_ends_by_an_error_does_not_say_that_it_was_stopped(hub):
    channel, config = hub
    with Endpoints(config) as endpoints:
        beacon = Beacon(endpoints, "archiver", "archiver")
        beacon.status("running", {})
        heard(channel, lambda m: m.state == "running")
        with pytest.raises(OSError, match="full"):
            try:
                raise OSError("full")
            finally:
                beacon.close()
    left = [received.packet.message.state for received in channel.drain(wait_s=0.2)]
    assert set(left) <= {"running"}


@pytest.mark.skipif(sys.platform == "win32", reason="handles are not limited there")
def test_the_heart_goes_on_after_a_moment_without_handles(hub):
    import resource

    channel, config = hub
    with Endpoints(config) as endpoints:
        beacon = Beacon(endpoints, "archiver", "archiver")
        beacon.status("running", {})
        heard(channel, lambda m: m.state == "running")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            for number in range(3):
                beacon.status("paused", {}, f"{number}")
                heard(channel, lambda m: m.state == "paused" and "handles" not in m.counters)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        beacon.status("running", {}, "again")
        assert heard(channel, lambda m: m.detail == "again").counters["handles"] > 0
        beacon.close()


def test_a_heart_that_cannot_beat_tries_again(hub, monkeypatch):
    channel, config = hub
    failures = iter([OSError(24, "Too many open files"), MemoryError()])
    judge = Beacon._judge

    def failing(self, *words):
        for error in failures:
            raise error
        return judge(self, *words)

    monkeypatch.setattr(Beacon, "_judge", failing)
    with Endpoints(config) as endpoints:
        beacon = Beacon(endpoints, "archiver", "archiver")
        beacon.status("running", {})
        heard(channel, lambda m: m.state == "running")
        beacon.close()


def test_a_change_is_said_at_once_and_nothing_waits_for_the_hub(hub):
    _, config = hub
    with Endpoints(config.model_copy(update={"requests": 9})) as endpoints:
        beacon = Beacon(endpoints, "x", "x")
        start = time.monotonic()
        for number in range(500):
            beacon.status(f"state {number}", {})
        assert time.monotonic() - start < 20.0
        beacon.close()
