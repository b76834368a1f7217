"""The worker as a service: what it says while a frame takes long."""

from types import SimpleNamespace

import msgspec
import numpy as np
import zmq

from pychip_stream import config as configuration
from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.wire import messages
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.messages import Image, Job, PixelSizeChanged, Ready, Status
from services import inference
from tests.support.ports import free_wire
from tests.support.waiting import wait_for


def test_a_frame_that_takes_long_costs_neither_its_lease_nor_its_worker(tmp_path, monkeypatch):
    """One of 16,384 pixels took a busy computer longer than the patience of all who wait."""
    tree = {"watch": {"root": "."}, "wire": free_wire(), "encoder": {"device": "cpu/float32"}}
    config = configuration.parse(tree, "test", tmp_path)
    with zmq.Context() as context:
        watcher, hub = (Channel(context, zmq.ROUTER, 100) for _ in range(2))
        watcher.bind(config.wire.endpoint("tasks"))
        hub.bind(config.wire.endpoint("requests"))
        worker = inference.Worker(config, "1")
        monkeypatch.setattr(inference, "_READY_S", 0.0)
        worker._encoder.embed(np.zeros((1024, 1024), np.uint8), 16)
        said = [r.packet.message for r in watcher.drain(100, wait_s=20.0)]
        assert len([one for one in said if isinstance(one, Ready)]) > 1
        states = (r.packet.message for r in hub.drain(100, wait_s=20.0))
        assert any(isinstance(one, Status) and one.state == "running" for one in states)
        monitor = SimpleNamespace(drift=2.0, exposure_changes=0)
        worker._analyst = SimpleNamespace(notices=("the chips have moved",), monitor=monitor)
        worker._encoder.embed(np.zeros((1024, 1024), np.uint8), 16)
        told = [r.packet.message.detail for r in hub.drain(100, wait_s=20.0)]
        assert "the chips have moved" in told  # what is wrong with the numbers stays said meanwhile
        worker._analyst = None
        worker.close()
        watcher.close()
        hub.close()


def test_frames_have_the_pixel_size_that_was_set_from_then_on(tmp_path):
    tree = {
        "watch": {"root": ".", "pixel_size": "2 nm"}, "wire": free_wire(),
        "inference": {"frames": "pixels"}, "encoder": {"device": "cpu/float32"},
    }  # fmt: skip
    config = configuration.parse(tree, "test", tmp_path)
    frame = Frame(np.zeros((64, 64), np.uint16), pixel_size=3.0, unit="nm")
    with zmq.Context() as context:
        hub = Channel(context, zmq.XPUB, 100)
        hub.bind(config.wire.endpoint("events"))
        worker = inference.Worker(config, "1")
        hub.raw.recv()  # it listens; first of all to this
        assert worker._reader.sized(frame).pixel_size == 2.0
        for size, known in (("0.5 nm", 0.5), ("", 2.0)):
            hub.send(PixelSizeChanged(size=size), to=messages.PIXEL_SIZE)
            wait_for(lambda known=known: shown(worker, frame) == known, step=worker._follow_hub)
        sized = worker._reader.sized(worker._reader.sized(frame))  # by the watcher, too
        assert sized.metadata["pixel_size_from"] == "hand"
        assert sized.metadata["pixel_size_of_file"] == "3 nm"
        worker.close()
        hub.close()


def shown(worker, frame):
    return worker._reader.sized(frame).pixel_size


def test_the_next_file_is_read_ahead_unless_it_has_cost_a_worker_before(tmp_path):
    frames = [FrameRef(path=f"{name}.tif", index=0, size=1, mtime_ns=1) for name in "abc"]
    first, second, third = (Job(lease=n, frame=frame) for n, frame in enumerate(frames))
    held = SimpleNamespace(_jobs=[first])
    assert inference.Worker._following(held) is None
    for following, begun in (
        (second, second.frame),
        (msgspec.structs.replace(second, attempt=2), None),
        (msgspec.structs.replace(second, image=Image(content_hash="", time=0.0)), None),
    ):
        held = SimpleNamespace(_jobs=[first, following, third])
        assert inference.Worker._following(held) == begun
