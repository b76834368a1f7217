"""Frames on workers: in order, few at a time, and one that kills workers costs itself."""

import numpy as np
import pytest
import tifffile
import torch
from distributed.scheduler import KilledWorker

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.classification import Batch, classify, classify_by, settle_sums
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.batch import shared_frames as batch_frames
from pychip_stream.batch.shared_frames import Crew, Done, crew
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.records import FrameRecord
from pychip_stream.errors import ClusterError
from tests.support.simple_encoder import SimpleEncoder
from tests.support.simple_runs import ENCODER, FIRST, pixels


class Work:
    """What a worker was asked to do, and what came of it."""

    def __init__(self, ref):
        self.ref = ref
        self.outcome = None


class Imagined:
    """A cluster of one worker with two threads, which dies over some frames in either."""

    slots = 2
    attempts = 3

    def __init__(self, deadly=()):
        self.deadly = set(deadly)
        self.open = []
        self.most = 0

    def submit(self, _work, _name, ref, resources):
        self.open.append(Work(ref))
        self.most = max(self.most, len(self.open))
        return self.open[-1]

    def settle(self, works):
        for work in works:
            if work.outcome is None:
                company = {other.ref for other in self.open[:2]} | {work.ref}
                died = self.deadly & company
                done = Done(FrameRecord.failed(work.ref, "done", read=0.0), ("one line",))
                work.outcome = KilledWorker(work.ref.path, None, 0) if died else done
                self.open.remove(work)

    def result(self, work):
        self.settle([work])
        if isinstance(work.outcome, KilledWorker):
            raise work.outcome
        return work.outcome


def refs(count):
    return (FrameRef(path=f"{n:03}") for n in range(count))


def records(cluster, count=40):
    return list(Crew(cluster, "x", "cpu", None).analyse(refs(count), None))


def test_records_come_in_order_and_few_are_on_the_way(caplog):
    cluster = Imagined()
    taken, source = [], refs(1000)

    def counted():
        for ref in source:
            taken.append(ref)
            yield ref

    for number, record in enumerate(Crew(cluster, "x", "cpu", None).analyse(counted(), None)):
        assert record.frame.path == f"{number:03}"
        assert len(taken) - number <= 9
    assert number == 999
    assert cluster.most == 8
    assert [r.getMessage() for r in caplog.records] == ["000: one line"]


def test_a_frame_that_kills_workers_fails_and_the_others_are_done():
    bad = FrameRef(path="005")
    cluster = Imagined(deadly=[bad])
    made = records(cluster)
    assert [r.frame.path for r in made] == [f"{n:03}" for n in range(40)]
    failed = [r.frame.path for r in made if "workers died over it" in r.reason]
    assert failed == ["005"]
    assert "3 workers died" in made[5].reason


@pytest.fixture
def frames(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    for n in range(6):
        tifffile.imwrite(folder / f"{n}.tif", pixels(n))
    (folder / "7.tif").write_text("this is not a picture at all")
    return Batch.of([folder])


@pytest.fixture
def simple(monkeypatch):
    loaded = []

    def load(config, precision=None):
        loaded.append(config.device)
        return SimpleEncoder()

    monkeypatch.setattr(batch_frames, "open_encoder", load)
    return loaded


def by_crew(threads, frames, target, support=FIRST):
    with crew(threads, frames, support, EncoderConfig(), ClassifyConfig(), target) as many:
        return classify_by(many.analyse, frames, support, RunWriter(target.parent, target.stem))


def test_an_archive_by_workers_is_that_of_one_process(threads, frames, tmp_path, simple):
    analyst = Analyst.of(FIRST, ENCODER, ClassifyConfig())
    classify(frames, analyst, RunWriter(tmp_path, "here"))
    by_crew(threads, frames, tmp_path / "there.h5")
    with open_run(tmp_path / "here.h5") as here, open_run(tmp_path / "there.h5") as there:
        assert here.frames["path"].tolist() == there.frames["path"].tolist()
        assert here.sequence.tolist() == there.sequence.tolist()
        assert here.failed["reason"].tolist() == there.failed["reason"].tolist()
        assert len(there.failed) == 1
        np.testing.assert_array_equal(here.intervals, there.intervals)
        for number in range(here.count):
            np.testing.assert_array_equal(here.label_map(number), there.label_map(number))
    assert simple == [None, "nowhere/float32", "nowhere/float32"]  # chosen once, for both


def test_nothing_stays_on_the_workers(threads, frames, tmp_path, simple):
    by_crew(threads, frames, tmp_path / "there.h5")
    left = threads.client.run(lambda dask_worker: [*dask_worker.plugins])
    assert not any(name.startswith("pychip") for names in left.values() for name in names)


def test_workers_that_do_not_see_the_folder_say_so(threads, frames, tmp_path, simple):
    frames.root.rename(tmp_path / "elsewhere")
    with pytest.raises(ClusterError, match="a worker does not see this folder"):
        by_crew(threads, frames, tmp_path / "there.h5")


def test_workers_with_other_weights_are_refused(threads, frames, tmp_path, monkeypatch):
    seeds = iter([1, 2, 2])
    monkeypatch.setattr(batch_frames, "open_encoder", lambda *_: SimpleEncoder(seed=next(seeds)))
    with pytest.raises(ClusterError, match="on one worker and"):
        by_crew(threads, frames, tmp_path / "there.h5")


def test_what_is_done_is_kept_when_the_cluster_is_lost(threads, frames, tmp_path):
    def lost(wanted, _reader):
        analyst = Analyst.of(FIRST, ENCODER, ClassifyConfig())
        for number, ref in enumerate(wanted):
            if number == 3:
                raise ClusterError("gone")
            yield analyst.analyse(frames.root, ref)

    with pytest.raises(ClusterError, match="gone"):
        classify_by(lost, frames, FIRST, RunWriter(tmp_path, "run"))
    with open_run(tmp_path / "run.h5") as run:
        assert (run.live, len(run)) == (True, 3)
    RunWriter(tmp_path, "run").release()  # its lock was let go


@pytest.mark.parametrize(("given", "taken"), [(0, 2), (1, 2), (3, 3)])
def test_sums_are_made_by_two_threads_at_the_least(given, taken):
    before = torch.get_num_threads()
    try:
        settle_sums(given)
        assert torch.get_num_threads() == taken
    finally:
        torch.set_num_threads(before)
