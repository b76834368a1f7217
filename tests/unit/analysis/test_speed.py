import numpy as np
import pytest
import torch

from pychip_stream.analysis import benchmark as speed
from pychip_stream.model.encoders import load_encoder


def test_the_best_round_counts():
    contender = speed.Contender(lambda: None, work=10.0)
    contender.seconds = 2.0
    assert contender.rate() == 5.0
    speed.take_turns([contender], 0.0)
    assert contender.seconds < 2.0


def test_contenders_take_turns_after_warming_up():
    calls = []
    contenders = [speed.Contender(lambda n=n: calls.append(n), 1.0) for n in "ab"]
    speed.take_turns(contenders, 0.0, least=2)
    assert calls == list("ababab")


def test_any_clock_can_be_used():
    ticks = iter(range(100))
    contender = speed.Contender(lambda: None, work=3.0)
    speed.take_turns([contender], 0.0, clock=lambda: float(next(ticks)))
    assert contender.rate() == 3.0


def test_a_quick_run_leaves_out_frames_that_take_long(monkeypatch):
    monkeypatch.setattr(speed, "_EDGES", (128, 256))

    class Quick:
        def embed(self, frame, chip, normalization):
            return np.zeros((frame.shape[0] // chip, frame.shape[1] // chip, 1))

    assert set(speed._frames(Quick(), 16.0, quick=True)) == {"128/32", "128/64", "256/64"}
    assert set(speed._frames(Quick(), 16.0, quick=False)) == {
        "128/32", "128/64", "256/32", "256/64",
    }  # fmt: skip


def test_the_work_of_the_network_is_counted():
    encoder = load_encoder("bundled", device="cpu/float32")
    contender = speed._network_call(encoder)
    # 16 x 16 chips; a ResNet-18 needs about 0.3 GFLOP for one.
    assert 0.005e9 < contender.work / 256 < 0.06e9


@pytest.mark.slow
def test_ratios_are_what_their_parts_say(monkeypatch):
    monkeypatch.setattr(speed, "_BATCHES", (2,))
    monkeypatch.setattr(speed, "_EDGES", (512,))
    turns = speed.take_turns
    monkeypatch.setattr(speed, "take_turns", lambda c, *_, **__: turns(c, 0.0, least=1))
    found = speed.measure_speed(load_encoder("bundled", device="cpu/float32"), quick=True)
    assert found["ratio_resnet18_64"] == pytest.approx(
        found["chips_per_s"] / found["resnet18_64_per_s"]
    )
    assert found["ratio_paper"] == pytest.approx(found["chips_per_s"] / found["paper_per_s"])
    assert found["gemm_share"] > 0
    assert "512/64" in found["frames_per_s"]
    assert torch.is_grad_enabled()
