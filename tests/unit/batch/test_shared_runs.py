"""Runs on workers: the scoring of one process, and what goes wrong costs one run."""

import functools
import shutil

import numpy as np
import pytest
from distributed.scheduler import KilledWorker

from pychip_stream.analysis.rescoring import rescore
from pychip_stream.archive.run import open_run
from pychip_stream.batch import shared_runs
from pychip_stream.batch.cluster import Cluster
from pychip_stream.batch.shared_runs import score_on
from pychip_stream.errors import ArchiveError
from tests.support.simple_runs import COUNT, archive, picked

OTHER = picked(2, seed=5)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return archive(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def run(tmp_path, kept):
    return shutil.copy(kept, tmp_path / "run.h5")


@pytest.fixture
def frame_by_frame(monkeypatch):
    """Every piece of work is one frame."""
    monkeypatch.setattr(shared_runs, "BLOCK_CHIPS", 1)


def by_workers(path, cluster, **options):
    return rescore(path, OTHER, None, score=functools.partial(score_on, cluster), **options)


@pytest.mark.usefixtures("frame_by_frame")
def test_a_scoring_by_workers_is_that_of_one_process(threads, run, tmp_path):
    other = shutil.copy(run, tmp_path / "other.h5")
    told = []
    found = by_workers(run, threads, progress=lambda *numbers: told.append(numbers))
    assert (found.scoring, found.frames) == (OTHER.version, COUNT)
    assert told == [(n + 1, COUNT) for n in range(COUNT)]
    rescore(other, OTHER, None)
    with open_run(run) as there, open_run(other) as here:
        np.testing.assert_array_equal(here.intervals, there.intervals)
        blocks = [list(one.result_blocks(("probabilities", "novelty"))) for one in (here, there)]
        for (_, mine), (_, theirs) in zip(*blocks, strict=True):
            np.testing.assert_array_equal(mine.label_map, theirs.label_map)
            for name, values in mine.arrays.items():
                np.testing.assert_array_equal(values, theirs.arrays[name])
    left = threads.client.run(lambda dask_worker: [*dask_worker.plugins])
    assert not any(name.startswith("pychip") for names in left.values() for name in names)


@pytest.mark.usefixtures("frame_by_frame")
def test_frames_that_kill_workers_are_named_and_nothing_is_written(threads, run, monkeypatch):
    class Dying(Cluster):
        def result(self, future):
            raise KilledWorker("x", None, 0)

    with pytest.raises(ArchiveError, match=r"run\.h5: frames 0 to 0: 3 workers died over it"):
        by_workers(run, Dying(threads.client, 2, 3))
    assert open_run(run).scorings == open_run(run).scorings[:1]


def test_a_worker_that_does_not_see_the_run_says_so(threads, run, monkeypatch):
    def gone(path, **_):
        raise ArchiveError(f"{path}: is not there")

    monkeypatch.setattr(shared_runs, "open_run", gone)
    with pytest.raises(ArchiveError, match=r"run\.h5: a worker does not see this run.*not there"):
        by_workers(run, threads)


def test_a_worker_with_another_run_there_says_so(threads, run, monkeypatch, tmp_path):
    (tmp_path / "x").mkdir()
    other = archive(tmp_path / "x", count=COUNT + 1)
    monkeypatch.setattr(shared_runs, "open_run", lambda _path, **words: open_run(other, **words))
    with pytest.raises(ArchiveError, match="there is another run there"):
        by_workers(run, threads)


def test_frames_that_a_worker_does_not_see_yet_are_not_mistaken(threads, run):
    with open_run(run) as opened, pytest.raises(ArchiveError, match="not see all its frames yet"):
        shared_runs._numbers(opened, np.array([0, 99]))
