"""The guard: code that hangs, crashes or swells costs its call, and nothing else."""

import gc
import os
import re
import subprocess
import sys
import threading
import time
from functools import partial

import numpy as np
import psutil
import pytest

from pychip_stream import config
from pychip_stream.errors import ConfigError, FrameMissingError, GuardError
from pychip_stream.formats import reading
from pychip_stream.guard import Guard, Limits
from tests.support.waiting import wait_for

AMPLE = Limits(60.0, 1 << 30)


@pytest.fixture(scope="module")
def guard():
    with Guard(("pychip_stream.formats.reading",)) as one:
        yield one


def test_a_call_runs_elsewhere_and_arrays_come_back_as_they_were(guard):
    assert guard.call(AMPLE, os.getpid) not in (os.getpid(), os.getppid())
    for count in (0, 10, 1 << 17, 1 << 18, 300):
        found = guard.call(AMPLE, np.arange, count, dtype=np.float32)
        assert found.dtype == np.float32
        assert (found == np.arange(count)).all()
    values, places = guard.call(AMPLE, np.unique, np.arange(1 << 16)[::-1], return_index=True)
    assert (values == places[::-1]).all()


def test_arrays_that_are_kept_are_never_written_over(guard):
    kept = [guard.call(AMPLE, np.full, 50_000, number) for number in range(8)]
    parts = [array[10:20] for array in kept]
    del kept
    gc.collect()
    more = [guard.call(AMPLE, np.full, 50_000, -1) for _ in range(8)]
    assert [int(part[0]) for part in parts] == list(range(8))
    assert all((array == -1).all() for array in more)


def test_memory_is_used_again_when_its_arrays_are_gone(guard):
    process = psutil.Process()
    for _ in range(5):
        guard.call(AMPLE, np.zeros, 1 << 20)
    maps, handles = len(process.memory_maps(grouped=False)), process.num_fds()
    for _ in range(50):
        guard.call(AMPLE, np.zeros, 1 << 20)
    assert len(process.memory_maps(grouped=False)) <= maps + 2
    assert process.num_fds() <= handles + 1


def test_errors_come_back_as_themselves(guard, tmp_path):
    with pytest.raises(FrameMissingError, match=r"gone\.dm4: no such file"):
        guard.call(AMPLE, reading.frame_count, tmp_path / "gone.dm4")
    with pytest.raises(ValueError, match="invalid literal"):
        guard.call(AMPLE, int, "x")
    (tmp_path / "a.yaml").write_text("nothing: 1")
    with pytest.raises(ConfigError, match=r"a\.yaml: .*unknown key") as caught:
        guard.call(AMPLE, config.load, tmp_path / "a.yaml")
    assert len(caught.value.problems) == 2
    with pytest.raises(SystemExit):
        guard.call(AMPLE, sys.exit, 3)


# Holds the interpreter's lock for ever.
_HANG = (re.match, r"(a+)+$", "a" * 80 + "b")


@pytest.mark.parametrize(
    ("kind", "said", "call"),
    [
        ("time", "took more than 1 s", _HANG),
        ("time", "took more than 1 s", (time.sleep, 600)),
        ("memory", "took more than 200 MiB of memory", (bytearray, 1 << 33)),
        ("memory", "took more than 200 MiB of memory", (np.ones, 1 << 30)),
        ("crash", "SIGABRT", (os.abort,)),
        ("crash", "exit code 7", (os._exit, 7)),
    ],
)
def test_what_hangs_swells_or_crashes_costs_its_call(guard, kind, said, call):
    with pytest.raises(GuardError, match=said) as caught:
        guard.call(Limits(1.0 if kind == "time" else 60.0, 200 << 20), *call)
    assert caught.value.kind == kind
    assert guard.call(AMPLE, abs, -1) == 1


def _gone(child):
    return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_died_at_rest_is_replaced_unnoticed(guard):
    for _ in range(2):
        child = psutil.Process(guard.call(AMPLE, os.getpid))
        child.kill()
        wait_for(partial(_gone, child), "dead")
        assert guard.call(AMPLE, abs, -2) == 2


def test_closing_ends_a_call_that_is_under_way():
    one, errors = Guard(), []

    def ask():
        try:
            one.call(Limits(600.0, 1 << 30), time.sleep, 600)
        except GuardError as error:
            errors.append(error)

    one.call(AMPLE, abs, -1)
    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(one._lock.locked, "it has begun")
    one.close()
    thread.join(60)
    assert len(errors) == 1
    assert one.call(AMPLE, abs, -1) == 1
    one.close()


def test_threads_may_share_a_guard(guard):
    answers = []

    def ask(number):
        full = [guard.call(AMPLE, np.full, 20_000, number) for _ in range(20)]
        answers.extend((number, int(array[-1])) for array in full)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 80
    assert all(asked == told for asked, told in answers)


PARENT = """
import os, re
from pychip_stream.guard import Guard, Limits
guard = Guard()
print(guard.call(Limits(60, 1 << 30), os.getpid), flush=True)
guard.call(Limits(600, 1 << 30), re.match, r"(a+)+$", "a" * 80 + "b")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends with the call")
def test_it_dies_with_its_parent_in_the_middle_of_native_code():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        wait_for(lambda: child.cpu_times().user > 0.3, "it is at work")
        parent.kill()
        wait_for(partial(_gone, child), "dead")


def test_nothing_is_imported_from_where_the_user_stands(tmp_path, monkeypatch):
    for name in ("numpy", "psutil", "yaml"):
        (tmp_path / f"{name}.py").write_text("import pathlib; pathlib.Path('read').touch()")
    monkeypatch.chdir(tmp_path)
    with Guard(("yaml",)) as one:
        assert one.call(AMPLE, abs, -1) == 1
    assert not (tmp_path / "read").exists()
