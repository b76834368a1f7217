from dataclasses import asdict

import numpy as np
import pytest
import torch

from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.domain.normalization import Normalization
from pychip_stream.errors import EncoderError
from pychip_stream.model.encoders import checkpoint, load_encoder, weights_files
from pychip_stream.model.encoders.filters import Responses
from pychip_stream.model.encoders.network import CellNet, Design

RANGE = Normalization("range", 0.0, 255.0)
SMALL = Design(stem=(8, 8, 8), down=8, middle=8, deep=16, dim=12)


def image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Blobs of two textures with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    phase = np.sin(x / 31.0) + np.cos(y / 23.0) > 0
    grey = np.where(phase, 90 + 30 * np.sin(x * 0.9), 150 + 25 * np.sin(y * 0.35))
    return np.clip(grey + rng.normal(0, 6, grey.shape), 0, 255).astype(np.uint8)


def trained(design: Design, seed: int = 0) -> CellNet:
    """A network whose normalisations have seen something."""
    torch.manual_seed(seed)
    network = CellNet(design)
    network.train()
    with torch.no_grad():
        network(torch.rand(4, 1, 128, 128))
    return network.eval()


def saved(path, design=SMALL, seed=0, **changes):
    state = {k: v for k, v in trained(design, seed).state_dict().items() if "num_batches" not in k}
    metadata = {"architecture": "cells", "design": asdict(design), **changes}
    checkpoint.write(path, state, metadata)
    return path


def test_folding_the_normalisations_changes_nothing():
    network = trained(SMALL)
    x = torch.rand(1, 1, 96, 128)
    with torch.inference_mode():
        torch.testing.assert_close(network.folded()(x), network(x), atol=1e-4, rtol=1e-4)


def test_exported_weights_embed_as_the_network_does(tmp_path):
    encoder = load_encoder(str(saved(tmp_path / "own.pt")), device="cpu/float32")
    z = encoder.embed(image(128, 192), 64, RANGE)
    dim = SMALL.dim + Responses.dim
    assert z.shape == (2, 3, dim)
    x = torch.from_numpy(RANGE.apply(image(128, 192)))
    margin = CellNet.margin
    padded = np.pad(x.numpy(), margin, mode="reflect")[None, None]
    with torch.inference_mode():
        cells = trained(SMALL)(torch.from_numpy(padded))[0][:, 2:-2, 2:-2]
    expected = cells.reshape(dim, 2, 4, 3, 4).mean((2, 4)).permute(1, 2, 0)
    np.testing.assert_allclose(z, expected.numpy(), atol=1e-4)


def test_other_weights_have_another_hash(tmp_path):
    one = load_encoder(str(saved(tmp_path / "a.pt", seed=0)), device="cpu/float32")
    two = load_encoder(str(saved(tmp_path / "b.pt", seed=1)), device="cpu/float32")
    again = load_encoder("bundled", weights=tmp_path / "a.pt", device="cpu/float32")
    assert one.weights_hash != two.weights_hash
    assert again.weights_hash == one.weights_hash


def test_a_design_that_does_not_fit_its_weights(tmp_path):
    path = saved(tmp_path / "own.pt", design=SMALL)
    state, metadata = checkpoint.read(path)
    checkpoint.write(path, state, {**metadata, "design": asdict(Design())})
    with pytest.raises(EncoderError, match="do not fit together"):
        load_encoder(str(path))
    checkpoint.write(path, state, {**metadata, "design": {"width": 3}})
    with pytest.raises(EncoderError, match="do not fit together"):
        load_encoder(str(path))


def test_missing_tensors_of_an_own_file(tmp_path):
    path = saved(tmp_path / "own.pt")
    state, metadata = checkpoint.read(path)
    del state["project.weight"]
    checkpoint.write(path, state, metadata)
    with pytest.raises(EncoderError, match=r"project\.weight"):
        load_encoder(str(path))


def test_the_bundled_weights_are_small_and_say_what_made_them():
    assert weights_files.BUNDLED.stat().st_size < 5_000_000
    _, metadata = checkpoint.read(weights_files.BUNDLED)
    assert {"commit", "settings", "design", "step"} <= metadata.keys()


def test_plain_intensity_gives_no_response_of_the_stems():
    network = trained(SMALL).folded()
    for stem in network.stems:
        assert stem.weight.sum((1, 2, 3)).abs().max() < 1e-3


def test_bundled_sees_the_same_chip_in_its_frame_and_in_a_support_patch():
    encoder = load_encoder("bundled", device="cpu/float32")
    frame = image(256, 320)
    whole = encoder.embed(frame, 64, RANGE)
    spread = whole.reshape(-1, encoder.dim).std(0)
    for row, column in ((0, 0), (2, 3), (3, 4)):
        patch = Grid.of(frame.shape, ChipSize(64, 64)).patch(frame, row, column, (64, 64))
        alone = encoder.embed(patch, 64, RANGE)[1, 1]
        # The patch ends where the frame goes on; that may shift features a little (on micrographs
        # by 0.02 to 0.09 deviations on average).
        assert (np.abs(alone - whole[row, column]) / spread).mean() < 0.15


def test_precisions_agree_on_the_nearest_prototype():
    frame = image(640, 640)
    y, x = np.mgrid[:640, :640]
    phase = (np.sin(x / 31.0) + np.cos(y / 23.0) > 0).reshape(20, 32, 20, 32).mean((1, 3))
    labels = []
    for precision in ("float32", "bfloat16"):
        z = load_encoder("bundled", device="cpu", precision=precision).embed(frame, 32, RANGE)
        z = (z - z.mean((0, 1))) / z.std((0, 1))
        prototypes = np.stack([z[phase < 0.1][:5].mean(0), z[phase > 0.9][:5].mean(0)])
        labels.append(((z[:, :, None] - prototypes) ** 2).sum(-1).argmin(-1))
    assert 0.2 < labels[0].mean() < 0.8
    assert (labels[0] == labels[1]).mean() >= 0.995
