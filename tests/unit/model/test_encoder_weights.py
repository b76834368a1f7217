import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from pychip_stream.errors import EncoderError
from pychip_stream.model.encoders import checkpoint, load_encoder, resnet

IMAGE = np.random.default_rng(0).integers(0, 255, (128, 192), dtype=np.uint8)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return resnet.torchvision_models().resnet18(weights=None).state_dict()


@pytest.fixture
def saved(state, tmp_path) -> Path:
    path = tmp_path / "r18.pth"
    torch.save(state, path)
    return path


def test_a_torchvision_resnet_from_a_local_state_dict(saved):
    encoder = load_encoder("resnet18", weights=saved, device="cpu/float32")
    z = encoder.embed(IMAGE, 64)
    assert z.shape == (2, 3, 3 + 64 + 128 + 256)
    assert np.isfinite(z).all()


def test_wrapped_and_prefixed_state_dicts_are_the_same_network(state, saved, tmp_path):
    wrapped = tmp_path / "wrapped.pth.tar"
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in state.items()}}, wrapped)
    plain = load_encoder("resnet18", weights=saved, device="cpu/float32")
    other = load_encoder(str(wrapped), device="cpu/float32")
    assert other.weights_hash == plain.weights_hash
    np.testing.assert_array_equal(other.embed(IMAGE, 64), plain.embed(IMAGE, 64))


def test_a_head_of_another_size_does_not_matter(state, tmp_path):
    path = tmp_path / "micrographs.pth"
    torch.save({**state, "fc.weight": torch.zeros(7, 512), "fc.bias": torch.zeros(7)}, path)
    assert load_encoder("resnet18", weights=path, device="cpu").dim == 451


def test_other_weights_have_another_hash_and_other_embeddings(state, saved, tmp_path):
    changed = dict(state)
    changed["layer2.0.conv1.weight"] = changed["layer2.0.conv1.weight"] * 1.5
    path = tmp_path / "changed.pth"
    torch.save(changed, path)
    one = load_encoder("resnet18", weights=saved, device="cpu/float32")
    two = load_encoder("resnet18", weights=path, device="cpu/float32")
    assert one.weights_hash != two.weights_hash
    assert not np.allclose(one.embed(IMAGE, 64), two.embed(IMAGE, 64))


def test_the_hash_depends_on_content_not_on_order():
    state = {"a": torch.arange(3), "b": torch.ones(2)}
    assert checkpoint.weights_hash("x", state) == checkpoint.weights_hash(
        "x", dict(reversed(state.items()))
    )
    assert checkpoint.weights_hash("x", state) != checkpoint.weights_hash("y", state)


def test_weights_of_another_network(saved):
    with pytest.raises(EncoderError, match="another network"):
        load_encoder("resnet50", weights=saved)


def test_missing_tensors_are_named(state, tmp_path):
    path = tmp_path / "part.pth"
    torch.save({k: v for k, v in state.items() if not k.startswith("layer3.1.")}, path)
    with pytest.raises(EncoderError, match=r"tensors are missing \(first: layer3\.1"):
        load_encoder("resnet18", weights=path)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(EncoderError, match="no such weights file"):
        load_encoder("resnet18", weights=tmp_path / "none.pth")


class _Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trap-was-sprung"),))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_of_the_name_holds_nobody_up(tmp_path):
    """An archive of others names the weights that are looked at when it is scored again."""
    os.mkfifo(tmp_path / "weights.pt")
    with pytest.raises(EncoderError, match="is no file"):
        checkpoint.read(tmp_path / "weights.pt")


def test_code_in_a_weights_file_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"conv1.weight": _Trap()}))
    with pytest.raises(EncoderError, match="can be read safely"):
        load_encoder("resnet18", weights=path)
    torch.save({"conv1.weight": _Trap()}, path)
    with pytest.raises(EncoderError, match="can be read safely"):
        load_encoder(str(path))
    assert not (tmp_path / "trap-was-sprung").exists()


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 half a zip"])
def test_damaged_files_are_one_line(tmp_path, content):
    path = tmp_path / "bad.pth"
    path.write_bytes(content)
    with pytest.raises(EncoderError) as caught:
        load_encoder("resnet18", weights=path)
    assert "\n" not in str(caught.value)


def test_tensors_of_no_known_network(tmp_path):
    path = tmp_path / "odd.pth"
    torch.save({"layer.weight": torch.ones(2)}, path)
    with pytest.raises(EncoderError, match="none of the known networks"):
        load_encoder(str(path))


def test_imagenet_weights_that_cannot_be_downloaded_say_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def offline(*_args, **_kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(EncoderError, match=r"copy resnet18-.*\.pth here and name it"):
        load_encoder("resnet18")


def test_metadata_survives_the_file(tmp_path):
    path = tmp_path / "own.pt"
    checkpoint.write(path, {"w": torch.ones(3)}, {"commit": "abc", "steps": 5})
    state, metadata = checkpoint.read(path)
    assert metadata == {"commit": "abc", "steps": 5}
    assert torch.equal(state["w"], torch.ones(3))
