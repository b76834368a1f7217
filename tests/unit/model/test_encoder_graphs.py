"""CUDA graphs of windows, with a recorder that is no GPU."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from pychip_stream.model.encoders import device


class Recorder:
    """Stands in for torch.cuda: what is recorded is computed anew by `replay`."""

    def __init__(self, refuses=False):
        self.refuses = refuses
        self.recording = None
        self.graphs = 0

    def install(self, monkeypatch):
        class Stream:
            def __init__(self, *_device):
                pass

            def wait_stream(self, _other):
                pass

        class Graph:
            replays = ()

            def replay(self):
                given, found = self.replays
                found.copy_(double(given))

        @contextmanager
        def record(graph, pool):
            assert pool == "pool"
            self.recording = graph
            try:
                yield
                self.graphs += 1
            finally:
                self.recording = None

        for name, stand_in in {
            "Stream": Stream, "current_stream": Stream, "CUDAGraph": Graph, "graph": record,
            "stream": lambda _stream: nullcontext(), "graph_pool_handle": lambda: "pool",
        }.items():  # fmt: skip
            monkeypatch.setattr(torch.cuda, name, stand_in)

    def network(self, x):
        if self.recording is None:
            return double(x)
        if self.refuses:
            raise RuntimeError("operation not permitted when stream is capturing")
        found = torch.full_like(x, torch.nan)  # nothing is computed while recording
        self.recording.replays = x, found
        return found


def double(x):
    return 2 * x


@pytest.fixture
def cuda(monkeypatch):
    recorder = Recorder()
    recorder.install(monkeypatch)
    return recorder


def windows(*edges):
    return [torch.rand(1, 1, edge, edge) for edge in edges]


def test_each_shape_is_recorded_once_and_replayed_on_new_windows(cuda):
    forward = device.Graphs(cuda.network)
    for window in windows(4, 6, 4, 6, 4):
        assert torch.equal(forward(window), double(window))
    assert cuda.graphs == 2


def test_a_network_that_cannot_be_recorded_is_launched(cuda):
    cuda.refuses = True
    forward = device.Graphs(cuda.network)
    for window in windows(4, 6, 4):
        assert torch.equal(forward(window), double(window))
    assert cuda.graphs == 0


def test_only_so_many_shapes_keep_memory(cuda, monkeypatch):
    monkeypatch.setattr(device, "_GRAPHS", 2)
    forward = device.Graphs(cuda.network)
    for window in windows(4, 6, 8, 10, 8):
        assert torch.equal(forward(window), double(window))
    assert cuda.graphs == 2


def test_other_devices_launch(cuda):
    place = device.Placement(torch.device("cpu"))
    (window,) = windows(4)
    assert place.recorded(cuda.network)(window).dtype == torch.float32
    assert cuda.graphs == 0
