"""The worker as a service: what it says while a frame takes long."""

from types import SimpleNamespace

import numpy as np
import zmq

from pychip_stream import config as configuration
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.messages import Ready, Status
from services import inference
from tests.support.ports import free_wire


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
