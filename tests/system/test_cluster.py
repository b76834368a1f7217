"""A Dask scheduler with workers as processes, one of which is killed in mid-run each time."""

import functools
import json
import shutil
import subprocess
import sys
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import tifffile
from distributed import Client

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.classification import Batch, classify, classify_by
from pychip_stream.analysis.rescoring import rescore
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_from_bytes, support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.batch import shared_runs
from pychip_stream.batch.cluster import open_cluster
from pychip_stream.batch.shared_frames import crew
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.model.encoders import load_encoder
from tests.support.command import call_here
from tests.support.simple_runs import archive, picked, pixels
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow]

FRAMES = 24
OTHER = picked(2, seed=5)
DASK = "distributed.cli.dask"


@contextmanager
def started(*words):
    """A process of Dask."""
    process = subprocess.Popen(
        [sys.executable, "-m", *words, "--no-dashboard"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Address of a scheduler, and the processes of its three workers; each test kills one."""
    tmp_path = tmp_path_factory.mktemp("dask")
    told = tmp_path / "scheduler.json"
    with ExitStack() as stack:
        stack.enter_context(
            started(f"{DASK}_scheduler", "--host=127.0.0.1", "--port=0", f"--scheduler-file={told}")
        )
        wait_for(told.exists, "the scheduler")
        address = json.loads(told.read_text())["address"]
        here = f"--local-directory={tmp_path}"
        alike = (f"{DASK}_worker", address, "--no-nanny", "--nthreads=1", here)
        processes = [stack.enter_context(started(*alike)) for _ in range(3)]
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(3, timeout=90)
        yield address, processes


def test_a_worker_that_is_killed_costs_nothing_and_labels_are_those_of_one_process(
    workers, tmp_path
):
    address, processes = workers
    (tmp_path / "frames").mkdir()
    for n in range(FRAMES):
        tifffile.imwrite(tmp_path / "frames" / f"{n:02}.tif", pixels(n % 6) + n)
    batch = Batch.of([tmp_path / "frames"])
    support = support_from_bytes(support_to_bytes(picked(0, encoder=None)))  # as out of its file
    chosen, settings = EncoderConfig(device="cpu/float32"), ClassifyConfig()

    def kill_one(done, _total):
        if done == 3:
            processes.pop().kill()

    with open_cluster(address) as cluster:
        with crew(cluster, batch, support, chosen, settings, tmp_path / "many.h5") as many:
            writer = RunWriter(tmp_path, "many")
            classify_by(many.analyse, batch, support, writer, kill_one)
        assert len(cluster.workers()) == len(processes)
    encoder = load_encoder(device="cpu/float32")
    classify(batch, Analyst.of(support, encoder, settings), RunWriter(tmp_path, "one"))
    with open_run(tmp_path / "one.h5") as one, open_run(tmp_path / "many.h5") as there:
        assert there.frames["path"].tolist() == [f"{n:02}.tif" for n in range(FRAMES)]
        assert not len(there.failed)
        # Labels are the same; the last digits of sums depend on the threads of a process.
        np.testing.assert_allclose(one.intervals, there.intervals, atol=1e-6)
        for number in range(FRAMES):
            np.testing.assert_array_equal(one.label_map(number), there.label_map(number))


def test_runs_are_scored_although_a_worker_is_killed_and_labels_are_those_of_one_process(
    workers, tmp_path, monkeypatch
):
    address, processes = workers
    monkeypatch.setattr(shared_runs, "BLOCK_CHIPS", 1)  # every frame by itself
    run = archive(tmp_path, count=FRAMES)
    shutil.copy(run, tmp_path / "one.h5")
    alive = len(processes)

    def kill_one(done, _total):
        if done == 3:
            processes.pop().kill()

    with open_cluster(address) as cluster:
        score = functools.partial(shared_runs.score_on, cluster)
        rescore(run, OTHER, None, score=score, progress=kill_one)
        assert len(cluster.workers()) == len(processes) == alive - 1
    rescore(tmp_path / "one.h5", OTHER, None)
    with open_run(tmp_path / "one.h5") as one, open_run(run) as there:
        assert one.scoring == there.scoring == OTHER.version
        # Labels are the same; the last digits of sums depend on the threads of a process.
        np.testing.assert_allclose(one.intervals, there.intervals, atol=1e-6)
        for number in range(FRAMES):
            np.testing.assert_array_equal(one.label_map(number), there.label_map(number))


def test_one_command_has_a_run_scored_by_the_workers(workers, tmp_path):
    address, _ = workers
    run = archive(tmp_path)
    shutil.copy(run, tmp_path / "one.h5")
    support = tmp_path / "other.h5"
    support.write_bytes(support_to_bytes(OTHER))
    with Client(address, set_as_default=False) as client:

        def executed():
            return sum(client.run(lambda dask_worker: dask_worker.state.executed_count).values())

        before = executed()
        called = call_here("rescore", run, "--support", support, "--cluster", address, "--json")
        assert called.document["scoring"] == OTHER.version
        assert executed() > before
    rescore(tmp_path / "one.h5", OTHER, None)
    with open_run(tmp_path / "one.h5") as one, open_run(run) as there:
        assert one.scoring == there.scoring == OTHER.version
        # Labels are the same; the last digits of sums depend on the threads of a process.
        np.testing.assert_allclose(one.intervals, there.intervals, atol=1e-6)
        for number in range(one.count):
            np.testing.assert_array_equal(one.label_map(number), there.label_map(number))
