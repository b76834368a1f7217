import os
import subprocess
import sys
import threading

import psutil
import pytest

from pychip_stream import lifecycle
from pychip_stream.errors import ConfigError, PychipError


class Steps:
    def __init__(self, stop, error=None):
        self.stop, self.error, self.log = stop, error, []

    def step(self):
        self.log.append("step")
        if self.error:
            raise self.error
        if len(self.log) == 3:
            self.stop.set()

    def close(self):
        self.log.append("close")


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 0), (PychipError("x"), 1), (ConfigError("f", ["k: y"]), 2), (ZeroDivisionError(), 1)],
)
def test_a_service_is_closed_and_its_failure_is_its_exit_code(error, code):
    stop = threading.Event()
    service = Steps(stop, error)
    assert lifecycle.run(lambda: service, stop) == code
    assert service.log[-1] == "close"
    assert service.log.count("step") == (3 if error is None else 1)


def test_a_service_that_cannot_start_says_so():
    def refuse():
        raise PychipError("no")

    assert lifecycle.run(refuse, threading.Event()) == 1


CHILD = """
import sys
from pychip_stream import lifecycle
stop = lifecycle.stop_event()
print("up", flush=True)
sys.exit(0 if stop.wait(60) else 3)
"""


def test_a_service_stops_when_its_parent_is_gone():
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    token = f"{parent.pid}:{psutil.Process(parent.pid).create_time():.3f}"
    environment = {**os.environ, lifecycle.PARENT_VARIABLE: token}
    with subprocess.Popen(
        [sys.executable, "-c", CHILD],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    ) as child:
        assert child.stdout.readline().strip() == b"up"
        assert child.poll() is None
        parent.kill()
        parent.communicate()
        assert child.wait(20) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM between processes")
def test_a_service_stops_on_sigterm():
    with subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline().strip() == b"up"
        child.terminate()
        assert child.wait(20) == 0
