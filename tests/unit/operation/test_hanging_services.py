"""What the supervisor does about services that hang."""

import pytest

from pychip_stream.config import SupervisionConfig
from pychip_stream.operation import health
from pychip_stream.operation import supervisor as module
from pychip_stream.operation.health import RunHealth
from pychip_stream.wire.channel import Received
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Status
from tests.support.children import child
from tests.support.waiting import wait_for


class Said:
    """What services say of themselves, and a clock that only the test moves."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        self.health = RunHealth()
        monkeypatch.setattr(health, "time", self)
        monkeypatch.setattr(module, "time", self)

    def monotonic(self):
        return self.now

    def time(self):
        return self.now

    def hear(self, instance, state="running"):
        service = instance.partition("-")[0]
        status = Status(service=service, instance=instance, state=state, time=0.0)
        self.health.take(Received(Packet(status, {}), b"", b""))

    def pass_time(self, supervisor, seconds, **states):
        """Step every half second; those named say how they are meanwhile."""
        for _ in range(int(seconds * 2)):
            self.now += 0.5
            for instance, state in states.items():
                self.hear(instance.replace("_", "-"), state)
            supervisor.step(0.0, self.health)


@pytest.fixture
def hanging(supervisor, monkeypatch):
    """A worker and the hub, with a patience of 30 s."""
    patient = SupervisionConfig(patience_s=30.0)
    monkeypatch.setattr(supervisor, "_supervision", patient)
    said = Said(monkeypatch)
    for name, instance in (("inference", "worker-1"), ("hub", "hub")):
        one = child(name, "import time; time.sleep(600)")
        one.instance = instance
        supervisor.children.append(one)
    supervisor._looked = said.now
    supervisor.start()
    return said, supervisor, supervisor.children[0]


def test_a_service_that_falls_silent_is_killed_and_started_again(hanging):
    said, supervisor, worker = hanging
    said.pass_time(supervisor, 5, worker_1="running", hub="running")
    first = worker.process
    said.pass_time(supervisor, 30, hub="running")
    assert first.poll() is None  # it counts from when it was missed
    said.pass_time(supervisor, 10, hub="running")
    wait_for(lambda: first.poll() is not None)
    said.pass_time(supervisor, 5, hub="running")
    assert worker.process is not None
    assert worker.process is not first


def test_a_service_whose_main_loop_hangs_is_killed(hanging):
    said, supervisor, worker = hanging
    said.pass_time(supervisor, 5, worker_1="running", hub="running")
    first = worker.process
    said.pass_time(supervisor, 29, worker_1="stalled", hub="running")
    assert first.poll() is None
    said.pass_time(supervisor, 5, worker_1="stalled", hub="running")
    wait_for(lambda: first.poll() is not None)


def test_a_page_that_hangs_is_started_again_for_ever_and_ends_nothing(hanging):
    said, supervisor, worker = hanging
    page = child("dashboard", "import time; time.sleep(600)")
    page.instance, page.failures = "dashboard", 1000
    supervisor.children.append(page)
    supervisor._start(page)
    said.pass_time(supervisor, 5, worker_1="running", hub="running", dashboard="running")
    first, before = page.process, worker.process
    said.pass_time(supervisor, 40, worker_1="running", hub="running", dashboard="stalled")
    wait_for(lambda: first.poll() is not None)
    said.pass_time(supervisor, 20, worker_1="running", hub="running")
    assert page.process not in (None, first)
    assert worker.process is before


@pytest.mark.parametrize("state", ["starting", "stopping"])
def test_what_takes_as_long_as_it_takes_is_left_alone(hanging, state):
    said, supervisor, worker = hanging
    first = worker.process
    said.pass_time(supervisor, 200, hub="running")  # it loads its libraries, and was never heard
    said.pass_time(supervisor, 5, worker_1=state, hub="running")
    said.pass_time(supervisor, 200, hub="running")
    assert first.poll() is None
    assert worker.process is first


def test_without_the_hub_nobody_but_the_hub_is_killed(hanging):
    said, supervisor, worker = hanging
    said.pass_time(supervisor, 5, worker_1="running", hub="running")
    first, hub = worker.process, supervisor.children[1].process
    said.pass_time(supervisor, 40)
    wait_for(lambda: hub.poll() is not None)
    assert first.poll() is None


def test_while_nobody_looked_nobody_hung(hanging, caplog):
    """The supervisor itself was stopped for a minute, or the machine slept."""
    said, supervisor, worker = hanging
    said.pass_time(supervisor, 5, worker_1="running", hub="running")
    said.now += 600.0
    supervisor.step(0.0, said.health)
    said.pass_time(supervisor, 20, worker_1="running", hub="running")
    assert "killing it" not in caplog.text
    assert worker.process.poll() is None
