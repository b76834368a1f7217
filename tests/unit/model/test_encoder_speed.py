import pytest
import torch

from pychip_stream.model import speed
from pychip_stream.model.encoder import load_encoder


def test_the_best_round_counts():
    contender = speed.Contender(lambda: None, work=10.0)
    contender.seconds = 2.0
    assert contender.rate() == 5.0
    speed._time([contender], rounds=2)
    assert contender.seconds < 2.0


def test_the_work_of_the_network_is_counted():
    encoder = load_encoder("bundled", device="cpu/float32")
    call, operations = speed._network_call(encoder)
    assert callable(call)
    # 16 x 16 chips; a ResNet-18 needs about 0.3 GFLOP for one.
    assert 0.005e9 < operations / 256 < 0.06e9


@pytest.mark.slow
def test_ratios_are_what_their_parts_say(monkeypatch):
    monkeypatch.setattr(speed, "_BATCHES", (2,))
    found = speed.measure_speed(load_encoder("bundled", device="cpu/float32"), quick=True)
    assert found["ratio_resnet18_64"] == pytest.approx(
        found["chips_per_s"] / found["resnet18_64_per_s"]
    )
    assert found["ratio_paper"] == pytest.approx(found["chips_per_s"] / found["paper_per_s"])
    assert found["gemm_share"] > 0
    assert set(found["frames_per_s"]) == {"512/32", "512/64", "1024/32", "1024/64"}
    assert torch.is_grad_enabled()
