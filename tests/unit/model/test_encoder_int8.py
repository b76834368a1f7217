"""Convolutions in whole numbers, and an encoder that is made of them."""

import numpy as np
import pytest
import torch
from torch import nn

from pychip_stream.errors import EncoderError
from pychip_stream.model.encoders import device, int8, load_encoder
from pychip_stream.model.encoders.int8 import Int8Conv, Steps
from tests.unit.model.test_encoder_network import RANGE, SMALL, image, saved, trained

pytestmark = pytest.mark.skipif(not int8.available(), reason="this CPU has no VNNI")


def features(channels=16, edge=24, seed=0):
    """What a ReLU gives, with channels of very different strength."""
    torch.manual_seed(seed)
    strength = torch.logspace(-2, 2, channels)[:, None, None]
    return (torch.relu(torch.randn(2, channels, edge, edge)) * strength).contiguous(
        memory_format=torch.channels_last
    )


def layer(channels, filters=16, **kind):
    """A convolution in which weak channels count as much as strong ones."""
    torch.manual_seed(1)
    conv = nn.Conv2d(channels, filters, **kind).requires_grad_(False)
    conv.weight /= torch.logspace(-2, 2, channels)[:, None, None]
    return conv


def off(found, expected):
    """Error in deviations of the expected."""
    return float((found - expected).square().mean().sqrt() / expected.std())


def test_numbers_stand_for_the_features_within_half_a_step():
    x = features() - 0.01  # some are negative
    steps = Steps.covering(x)
    back = steps.low[:, None, None] + steps.step[:, None, None] * steps.numbers(x).float()
    assert ((back - x).abs() <= 0.501 * steps.step[:, None, None]).all()


def test_numbers_beyond_the_steps_take_the_last_one():
    steps = Steps(torch.tensor([0.0]), torch.tensor([0.1]))
    found = steps.numbers(torch.tensor([-3.0, 0.0, 0.26, 25.5, 25.6, 1e6]).view(1, 1, 1, -1))
    assert found.flatten().tolist() == [0, 0, 3, 255, 255, 255]


@pytest.mark.parametrize(
    "kind", [{"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "padding": 1, "stride": 2}]
)
def test_weak_channels_count_as_in_float32(kind):
    x = features()
    conv = layer(16, **kind)
    expected = conv(x)
    assert off(Int8Conv(conv, x)(Steps.covering(x).numbers(x)), expected) < 0.02
    wanted = Steps.covering(torch.relu(expected))
    found = Int8Conv(conv, x, wanted)(Steps.covering(x).numbers(x))
    assert found.dtype == torch.uint8
    assert off(found.float() * wanted.step[:, None, None], torch.relu(expected)) < 0.02


def test_features_below_zero_and_channels_that_are_silent():
    x = features() - 3.0
    x[:, 5] = 0.0
    conv = layer(16, kernel_size=1)
    conv.weight[3] = 0.0
    found = Int8Conv(conv, x)(Steps.covering(x).numbers(x))
    assert off(found, conv(x)) < 0.02
    torch.testing.assert_close(found[:, 3], conv(x)[:, 3], atol=1e-5, rtol=0)


def test_rounding_changes_no_mean():
    x = features()
    conv = layer(16, kernel_size=3, padding=1)
    found = Int8Conv(conv, x)(Steps.covering(x).numbers(x))
    shift = (found - conv(x)).mean((0, 2, 3)) / conv(x).std((0, 2, 3))
    assert shift.abs().max() < 1e-4


def test_a_cpu_that_adds_in_16_bits_stays_in_float32(monkeypatch, tmp_path):
    """Without VNNI; weights of 7 bits, whose sums would fit, cost accuracy."""
    real = int8._convolved
    monkeypatch.setattr(int8, "_convolved", lambda *args: real(*args) / 2)
    refused(monkeypatch, str(saved(tmp_path / "own.pt")))


def refused(monkeypatch, path):
    monkeypatch.setattr(int8, "available", int8.available.__wrapped__)
    with pytest.raises(EncoderError, match="needs a CPU with VNNI; choose cpu/float32"):
        load_encoder(path, device="cpu/int8")


def test_what_is_learnt_is_as_in_float32_and_what_is_fixed_the_same():
    network = trained(SMALL).folded().requires_grad_(False)
    whole = network.in_int8()
    torch.manual_seed(2)
    x = torch.rand(2, 1, 128, 160)
    with torch.inference_mode():
        expected, found = network(x), whole(x)
    assert not torch.equal(found[:, : SMALL.dim], expected[:, : SMALL.dim])
    assert off(found[:, : SMALL.dim], expected[:, : SMALL.dim]) < 0.012
    torch.testing.assert_close(found[:, SMALL.dim :], expected[:, SMALL.dim :])


def test_an_encoder_in_int8_embeds_as_in_float32(tmp_path):
    path = str(saved(tmp_path / "own.pt"))
    encoder = load_encoder(path, device="cpu/int8")
    assert encoder.device == "cpu/int8"
    found, expected = (
        torch.from_numpy(one.embed(image(256, 320), 32, RANGE))
        for one in (encoder, load_encoder(path, device="cpu/float32"))
    )
    assert 0 < off(found, expected) < 0.05
    again = load_encoder(path, device="cpu/int8").embed(image(256, 320), 32, RANGE)
    np.testing.assert_array_equal(again, found.numpy())


def test_chips_that_are_not_half_one_half_the_other_keep_their_names():
    frame = image(640, 640)
    found = []
    for precision in ("float32", "int8"):
        z = load_encoder("bundled", device="cpu", precision=precision).embed(frame, 32, RANGE)
        z = ((z - z.mean((0, 1))) / z.std((0, 1))).reshape(-1, z.shape[-1])
        grey = frame.reshape(20, 32, 20, 32).mean((1, 3)).ravel()
        dark, bright = z[np.argsort(grey)[:5]].mean(0), z[np.argsort(grey)[-5:]].mean(0)
        near, far = (((z - prototype) ** 2).sum(-1) for prototype in (dark, bright))
        found.append((near - far) / (near + far))
    clear = np.abs(found[0]) > 0.02
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found[0][clear] > 0, found[1][clear] > 0)


def test_ranges_do_not_depend_on_the_number_of_threads(monkeypatch):
    network = trained(SMALL).folded().requires_grad_(False)
    threads, seen = torch.get_num_threads(), []
    real = type(network)._learnt

    def learnt(self, *args):
        seen.append(torch.get_num_threads())
        return real(self, *args)

    monkeypatch.setattr(type(network), "_learnt", learnt)
    torch.set_num_threads(3)
    try:
        network.in_int8()
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert set(seen) == {1}


def test_weights_that_do_not_bear_it_are_refused(tmp_path, monkeypatch):
    path = str(saved(tmp_path / "own.pt"))
    assert load_encoder(path, device="cpu/int8").device == "cpu/int8"
    monkeypatch.setattr(Steps, "covering", one_step_for_all)
    with pytest.raises(EncoderError, match=r"moves the embeddings .* cpu/float32"):
        load_encoder(path, device="cpu/int8")


def int8_is_fastest(place, network):
    place.prepare(network)
    return {torch.float32: 1.0, torch.bfloat16: 2.0, torch.int8: 0.5}[place.dtype]


def one_step_for_all(seen):
    """As if all channels were as strong as the strongest."""
    return Steps(torch.zeros(seen.shape[1]), torch.full((seen.shape[1],), float(seen.max()) / 16))


@pytest.mark.parametrize("missing", ["qconv_prepack", "qconv_pointwise"])
def test_a_cpu_without_8_bit_convolutions(monkeypatch, tmp_path, missing):
    def nothing(*_args):
        raise NotImplementedError(f"onednn::{missing}")

    monkeypatch.setattr(torch.ops.onednn, missing, nothing)
    refused(monkeypatch, str(saved(tmp_path / "own.pt")))


def test_a_network_that_has_none(monkeypatch):
    with pytest.raises(EncoderError, match=r"none on cpu; choose cpu/float32"):
        device.Placement(torch.device("cpu"), torch.int8).prepare(nn.Conv2d(1, 1, 1))
    elsewhere = device.Placement(torch.device("meta"), torch.int8)
    with pytest.raises(EncoderError, match=r"none on meta"):
        elsewhere.prepare(trained(SMALL).folded())


def test_it_is_for_who_asks_for_it(monkeypatch):
    """It looked like drift beside examples in float32, and made intervals four times as wide."""
    monkeypatch.setattr(device, "seconds", int8_is_fastest)
    network = trained(SMALL).folded()
    assert device.choose(network, "cpu", None).dtype == torch.float32
    assert device.choose(network, "cpu/int8", None).dtype == torch.int8
