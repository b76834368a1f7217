"""SIGKILL at random moments, over and over: nothing acknowledged is lost, nothing is twice."""

import logging
import multiprocessing
import os
import random
import sys
import time

import numpy as np
import pytest

from pychip_stream.archive.convert import label_stack
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from tests.conftest import ROOT
from tests.support.archive_samples import DIM, record, result
from tests.support.killed_archiver import archive
from tests.support.waiting import wait_for

KILLS = int(os.environ.get("PYCHIP_STREAM_KILLS", "40"))
KILLS_PER_RUN = 20
LONGEST_S = 0.06


@pytest.fixture
def processes(monkeypatch):
    """Processes that start within milliseconds, where the system can."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    # The server that forks them imports the archive once; it must find the module.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.killed_archiver"])
    return context


def acknowledged_bytes(folder):
    return (folder / "acknowledged").stat().st_size


def kill_once(context, folder, rng):
    started = context.Event()
    child = context.Process(target=archive, args=(folder, rng.random(), started))
    child.start()
    assert started.wait(60)
    if rng.random() < 0.5:  # a slow machine must get beyond starting, too
        before = acknowledged_bytes(folder)
        wait_for(lambda: acknowledged_bytes(folder) > before, "acknowledged", pause_s=0.001)
    time.sleep(rng.uniform(0, LONGEST_S))
    assert child.is_alive(), "it ended by itself"
    child.kill()
    child.join()
    child.close()


def whole(run):
    """Every frame is what was archived, and there once; returns their paths."""
    paths = list(run.frames["path"])
    assert len(paths) == len(set(paths))
    numbers = [int(path[-10:-4]) for path in run.fractions["path"]]
    if numbers:
        assert (label_stack(run) == [result(n).label_map for n in numbers]).all()
    for mine, block in run.embedding_blocks():
        expected = [record(numbers[n]).embeddings.reshape(-1, DIM) for n in mine]
        assert (block.arrays["values"] == np.concatenate(expected)).all()
    return set(paths)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_random_kills_under_load(tmp_path, processes):
    rng = random.Random(4)
    kills = acknowledged = 0
    while kills < KILLS:
        folder = tmp_path / f"run-{kills}"
        folder.mkdir()
        for _ in range(KILLS_PER_RUN):
            kill_once(processes, folder, rng)
            kills += 1
        wanted = set((folder / "acknowledged").read_text().split())
        # What is on disk after the last kill, then after going on and closing.
        assert wanted <= whole(open_run(folder / "run.h5"))
        RunWriter(folder, "run").close()
        run = open_run(folder / "run.h5")
        assert wanted <= whole(run)
        assert len(run) == run.count
        acknowledged += len(wanted)
    logging.info("%d kills, %d acknowledged frames, none lost, none twice", kills, acknowledged)
    assert acknowledged >= KILLS
