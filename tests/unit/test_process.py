import gc
import os
import subprocess
import sys
import threading

import pytest

from pychip_stream import process
from pychip_stream.errors import ConfigError, PychipError
from tests.support.ports import free_wire


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
    assert process.run(lambda: service, stop) == code
    assert service.log[-1] == "close"
    assert service.log.count("step") == (3 if error is None else 1)


def test_what_stands_when_a_service_starts_is_not_searched_for_garbage():
    stop, before = threading.Event(), gc.get_freeze_count()
    service = Steps(stop)
    service.step = lambda: (service.log.append(gc.get_freeze_count() - before), stop.set())
    assert process.run(lambda: service, stop) == 0
    assert service.log[0] > 1000
    assert gc.get_freeze_count() == before


def test_a_service_that_cannot_start_says_so():
    def refuse():
        raise PychipError("no")

    assert process.run(refuse, threading.Event()) == 1


BUSY = """
import threading
from concurrent.futures import ThreadPoolExecutor
from pychip_stream import process
ThreadPoolExecutor(1).submit(threading.Event().wait)
process.leave(5)
"""


def test_work_on_threads_does_not_keep_a_process_that_leaves():
    """M19: a page that was left in the middle of some work had to be killed."""
    with subprocess.Popen([sys.executable, "-c", BUSY]) as child:
        try:
            assert child.wait(20) == 5
        finally:
            child.kill()


CHILD = """
import os, sys
from pychip_stream import process
stop = process.stop_event()
print("up", process.LIFELINE_VARIABLE in os.environ, flush=True)
ended = stop.wait(60)
print("ended", ended, flush=True)
sys.exit(0 if ended else 3)
"""
LIFELINE = {**os.environ, process.LIFELINE_VARIABLE: "stdin"}


def service(code=CHILD, **options):
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def test_a_service_stops_when_its_lifeline_is_let_go():
    with service(stdin=subprocess.PIPE, env=LIFELINE) as child:
        assert child.stdout.readline() == "up False\n"  # what it starts has no part in it
        assert child.poll() is None
        child.stdin.close()
        assert child.wait(20) == 0


def test_a_service_is_asked_and_then_hurried_by_its_lifeline():
    asked_twice = CHILD.replace("sys.exit", "stop.clear(); print(stop.wait(60)); sys.exit")
    with service(asked_twice, stdin=subprocess.PIPE, env=LIFELINE) as child:
        assert child.stdout.readline() == "up False\n"
        child.stdin.write("stop\n")
        child.stdin.flush()
        assert child.stdout.readline() == "ended True\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(3 * process._LOOK_S)  # it closes at its leisure
        assert child.communicate(timeout=20)[0] == "True\n"  # which closes the lifeline


def test_a_service_stops_when_its_parent_is_killed():
    parent = (
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdin=subprocess.PIPE)\n"
        "child.wait()"
    )
    with service(parent, stdin=subprocess.DEVNULL, env=LIFELINE) as middle:
        assert middle.stdout.readline().startswith("up")
        middle.kill()
        assert middle.communicate(timeout=20)[0] == "ended True\n"


def test_a_service_that_is_started_by_hand_has_no_lifeline():
    with service(stdin=subprocess.DEVNULL) as child:
        assert child.stdout.readline().startswith("up")
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1)
        child.kill()


SWELLING = """
import sys, time
from pychip_stream import process
class Swelling:
    def __init__(self, config):
        self.taken = []
    def step(self):
        self.taken.append(b"x" * (20 << 20))
        time.sleep(0.02)
        assert len(self.taken) < 200
    def close(self):
        print("closed", flush=True)
sys.exit(process.main(sys.argv[1], Swelling, [sys.argv[2]]))
"""


def test_a_service_ends_before_a_message_without_an_end_fills_the_machine(tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(f"watch: {{root: .}}\nsupervision: {{memory_mb: 400}}\nwire: {free_wire()}\n")
    command = [sys.executable, "-c", SWELLING, "archiver", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "takes more than 400 MB (supervision.memory_mb); ending" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM between processes")
def test_a_service_stops_on_sigterm():
    with service() as child:
        assert child.stdout.readline().startswith("up")
        child.terminate()
        assert child.wait(20) == 0


BENT = """
import itertools, psutil, time
steps = itertools.count()
def bent(real):
    return lambda *words: real(*words) + 3600 * next(steps)
time.time = bent(time.time)
psutil.boot_time = bent(psutil.boot_time)
psutil.Process.create_time = bent(psutil.Process.create_time)
if hasattr(psutil, "_pslinux"):
    psutil._pslinux.boot_time = bent(psutil._pslinux.boot_time)
"""


def test_steps_of_the_clock_end_nothing():
    """Whoever watches a parent by the time of its start takes a step of the clock for its end."""
    with service(BENT + CHILD, stdin=subprocess.PIPE, env=LIFELINE) as child:
        assert child.stdout.readline() == "up False\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(5 * process._LOOK_S)
        child.stdin.close()
        assert child.wait(20) == 0


def test_the_lifeline_is_watched_on_after_a_moment_without_handles(monkeypatch):
    looks = iter([OSError(24, "Too many open files"), MemoryError(), b"", None])

    def look():
        found = next(looks)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(process, "_heard", look)
    monkeypatch.setattr(process, "_LOOK_S", 0.01)
    stop = threading.Event()
    process._watch_lifeline(stop)
    assert stop.is_set()
    assert list(looks) == []


@pytest.mark.skipif(sys.platform == "win32", reason="handles are not limited there")
def test_a_service_may_use_all_handles_there_are():
    import resource

    code = (
        "import resource as r; from pychip_stream import process\n"
        "_, most = r.getrlimit(r.RLIMIT_NOFILE); r.setrlimit(r.RLIMIT_NOFILE, (64, most))\n"
        "process.use_all_handles(); print(r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    with service(code) as child:
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        assert child.communicate(timeout=60)[0].split() == [str(most)]
