"""A frame that takes longer than everybody's patience: a watcher and its only worker, both real."""

import time
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import zmq

from pychip_stream.analysis import analyst
from pychip_stream.config import EncoderConfig, InferenceConfig
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.support import SupportSet
from pychip_stream.formats import ahead
from pychip_stream.model import scoring
from pychip_stream.model.encoders.dense import DenseEncoder
from pychip_stream.model.scoring import Scorer
from pychip_stream.wire.channel import Channel
from services import inference, watcher
from tests.support.waiting import wait_for

CHIP = 8
LARGE, SMALL = (49 * CHIP, 4 * CHIP), (4 * CHIP, 4 * CHIP)
PARTS = 3


def put(table, name, shape):
    pixels = np.random.default_rng(0).integers(0, 200, shape)
    pixels[:, : shape[1] // 2] //= 4
    tifffile.imwrite(table.root / name, pixels.astype(np.uint8))
    return Frame(pixels.astype(np.uint8))


@pytest.fixture
def pair(table, monkeypatch):
    """Both, all leases that were given, all results; who does not get on soon loses his."""
    monkeypatch.setattr(watcher, "_STUCK_S", 0.3)
    monkeypatch.setattr(inference, "_READY_S", 0.02)
    monkeypatch.setattr(analyst, "_UNUSUAL", 1.0)  # noise is like nothing, and is looked at twice
    encoder = EncoderConfig(device="cpu/float32")
    config = table.config.model_copy(update={"encoder": encoder})
    monkeypatch.setattr(table.ledger, "_lease_s", 1.0)
    leases, lease = [], table.ledger.lease

    def told(*args):
        one = lease(*args)
        leases.extend([] if one is None else [one.frame.path])
        return one

    monkeypatch.setattr(table.ledger, "lease", told)
    archiver = Channel(table.context, zmq.ROUTER, 100)
    archiver.bind(config.wire.endpoint("results"))
    worker = inference.Worker(config, "2")  # the first is played by the table
    picks = {"dark": [(0, 0), (1, 1)], "bright": [(0, 3), (1, 2)]}
    frame = put(table, "small.tif", SMALL)
    (table.root / "small.tif").unlink()
    support = SupportSet.from_picks(frame, CHIP, picks)
    worker._analyst = analyst.Analyst.of(
        support, worker._encoder, config.classify, progress=worker._go_on
    )
    results = []

    def step():
        worker.step()
        table.step()
        results.extend(one.packet.message for one in archiver.drain(10))

    table.wait_synced()
    yield SimpleNamespace(worker=worker, leases=leases, results=results, step=step, table=table)
    worker.close()
    archiver.close()


def slow_reading(pair, pause, monkeypatch):
    told = []

    def read(path, *args):
        """Be done when it was told three times that it is not."""
        if path.name == "large.tif":
            wait_for(lambda: len(told) == PARTS)
        return pair.worker._reader.read_checked(path, *args)

    def progress(*args):
        pause()
        pair.worker._go_on(*args)
        told.append(args)

    monkeypatch.setattr(ahead, "_LOOK_S", 0.01)
    pair.worker._ahead = ahead.ReadAhead(read, progress)


def slow_embedding(_pair, pause, monkeypatch):
    work = DenseEncoder._features

    def features(self, plane, *args):
        if plane.shape == LARGE:
            pause()
        return work(self, plane, *args)

    monkeypatch.setattr(DenseEncoder, "_features", features)


def slow_scoring(_pair, pause, monkeypatch):
    work = Scorer._look

    def look(self, embeddings, sample):
        if embeddings.shape[1] > 16:
            pause()
        return work(self, embeddings, sample)

    monkeypatch.setattr(scoring, "_BLOCK", 50)
    monkeypatch.setattr(Scorer, "_look", look)


@pytest.fixture(params=[slow_reading, slow_embedding, slow_scoring])
def slow(pair, request, monkeypatch):
    """Let each part of the large frame take as long as a worker may be silent."""

    def pause():
        until = time.monotonic() + 0.4
        while time.monotonic() < until:
            pair.table.step()

    request.param(pair, pause, monkeypatch)


def test_a_frame_that_takes_long_is_done_once(pair, slow):
    put(pair.table, "large.tif", LARGE)
    wait_for(lambda: pair.results, step=pair.step)
    assert pair.table.ledger.counts["leased"] == 1  # it was never taken from its worker
    pair.table.archive(pair.results[0].frame)
    put(pair.table, "small.tif", SMALL)
    wait_for(lambda: len(pair.results) == 2, step=pair.step)
    assert [one.frame.path for one in pair.results] == pair.leases == ["large.tif", "small.tif"]


def test_a_frame_that_takes_too_long_costs_itself(pair, monkeypatch):
    once = InferenceConfig(patience_s=1e-6)
    monkeypatch.setattr(
        pair.worker, "_config", pair.worker._config.model_copy(update={"inference": once})
    )
    put(pair.table, "large.tif", LARGE)
    wait_for(lambda: pair.results, step=pair.step)
    assert pair.results[0].status == "failed"
    assert "takes longer than 1e-06 s (inference.patience_s)" in pair.results[0].reason
    pair.worker._go_on(0, 1)  # between frames nobody's patience ends
    monkeypatch.undo()
    put(pair.table, "small.tif", SMALL)
    wait_for(lambda: len(pair.results) == 2, step=pair.step)
    assert pair.results[1].status == "ok"


def test_a_watcher_that_reads_a_long_frame_says_how_it_is(table, monkeypatch):
    """Where workers do not see the folder: one that says nothing for long is killed."""
    pixels = InferenceConfig(frames="pixels")
    monkeypatch.setattr(
        table.watcher, "_config", table.config.model_copy(update={"inference": pixels})
    )
    monkeypatch.setattr(ahead, "_LOOK_S", 0.01)
    told, say, read = [], table.watcher._say, table.watcher._reader.read_checked

    def waiting(*args):
        before = len(told)
        wait_for(lambda: len(told) > before + PARTS, timeout_s=20.0)
        return read(*args)

    monkeypatch.setattr(table.watcher, "_say", lambda: told.append(say()))
    monkeypatch.setattr(table.watcher._ahead, "_read", waiting)
    put(table, "large.tif", LARGE)
    table.wait_synced()
    assert table.take()[0].image is not None
