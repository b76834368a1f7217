from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf

from pychip_stream.model.encoders import checkpoint, load_encoder
from pychip_stream.model.encoders.filters import Responses
from pychip_stream.model.encoders.network import Design
from training import run as run_module
from training.episodes import Batch, cells_at, draw, euclidean, mahalanobis, score, shrunk
from training.export import export
from training.phases import FAMILIES
from training.run import Run, Settings
from training.scenes import (
    CELL,
    chip_shares,
    make_pair,
    observe,
    room,
    sample_instrument,
    vary,
)
from training.stream import make
from training.textures import KINDS, Component, drift, neighbour, render, sample_texture

SMALL = Design(stem=(8, 8, 8), down=8, middle=8, deep=16, dim=12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_component_has_structure_and_repeats(kind):
    component = Component(kind, 0.1, 9.0, 0.7, 0.4, 1.0)
    one, two = (KINDS[kind](component, 128, np.random.default_rng(3)) for _ in range(2))
    assert one.shape == (128, 128)
    assert np.isfinite(one).all()
    assert 0.1 < one.std() < 3
    np.testing.assert_array_equal(one, two)


def test_a_neighbour_differs_and_a_drifted_texture_keeps_its_components():
    rng = np.random.default_rng(0)
    for _ in range(20):
        texture = sample_texture(rng)
        assert neighbour(texture, rng) != texture
        moved = drift(texture, rng)
        assert [c.kind for c in moved.components] == [c.kind for c in texture.components]
        assert abs(moved.mean - texture.mean) < 0.1
    assert render(texture, 64, rng).dtype == np.float32


def pair(seed: int, size: int = 256):
    rng = np.random.default_rng(seed)
    while (found := make_pair(size, rng)) is None:
        pass
    return found


def test_scenes_have_room_for_chips_of_every_class_and_repeat():
    first, second = pair(1)
    again, _ = pair(1)
    np.testing.assert_array_equal(first.image, again.image)
    assert first.image.shape == second.image.shape == (256, 256)
    assert (room(first) >= 8).all()
    np.testing.assert_allclose(first.shares.sum(0), 1, atol=1e-5)
    assert first.image.min() >= -0.5
    assert first.image.max() <= 1.5


def test_an_episode_takes_covered_chips_and_asks_about_others():
    first, second = pair(2)
    episode = draw(first.shares, second.shares, np.random.default_rng(0))
    assert episode is not None
    near, far = chip_shares(first.shares), chip_shares(second.shares)
    for (row, column), k in zip(episode.support, episode.support_labels, strict=True):
        assert near[k, row, column] >= 0.8
        same = episode.own[episode.own_labels == k]
        assert (np.abs(same - [row, column]).max(1) >= 2).all()
    for (row, column), k in zip(episode.other, episode.other_labels, strict=True):
        assert far[k, row, column] >= 0.8


def test_cells_of_a_chip_are_its_own():
    features = torch.arange(36.0).view(1, 6, 6)
    cells = cells_at(torch.stack([features, -features]), torch.tensor([[[1, 2]], [[0, 1]]]))
    assert torch.equal(cells[0, 0, :, 0], features[0, 1:5, 2:6].reshape(-1))
    assert torch.equal(cells[1, 0, :, 0], -features[0, 0:4, 1:5].reshape(-1))


def test_shrinkage_is_that_of_ledoit_and_wolf():
    x = np.random.default_rng(0).normal(size=(60, 10)) @ np.diag(np.linspace(0.5, 2, 10))
    x -= x.mean(0)
    expected, _ = ledoit_wolf(x, assume_centered=True)
    padded = torch.from_numpy(np.stack([np.pad(x, ((0, 20), (0, 0)))] * 2))
    found = shrunk(padded, torch.tensor([60, 60]))
    np.testing.assert_allclose(found[1].numpy(), expected, atol=1e-6)


def test_the_mahalanobis_head_looks_where_the_classes_differ():
    """Large nuisance variance in one component must not outvote a small clear difference."""
    rng = np.random.default_rng(0)
    labels = torch.tensor([0] * 5 + [1] * 5 + [-1] * 3)

    def chips(classes):
        noise = rng.normal(size=(len(classes), 1, 2)) * [5.0, 0.1]
        cells = noise + rng.normal(size=(len(classes), 16, 2)) * [5.0, 0.1]
        cells[..., 1] += np.asarray(classes)[:, None]
        return torch.from_numpy(cells)[None]

    support, truth = chips(labels.numpy()), rng.integers(0, 2, 200)
    queries = chips(truth).mean(2)
    guess = mahalanobis(support, labels[None], queries)[0, :, :2].argmin(1).numpy()
    simple = euclidean(support, labels[None], queries)[0, :, :2].argmin(1).numpy()
    assert (guess == truth).mean() > 0.98
    assert (simple == truth).mean() < 0.9


def test_the_score_has_a_gradient_that_lowers_it():
    first, second = pair(3)
    episodes = [draw(first.shares, second.shares, np.random.default_rng(i)) for i in range(2)]
    batch = Batch.of([e for e in episodes if e is not None], torch.device("cpu"))
    torch.manual_seed(0)
    n = first.shares.shape[1]
    features = torch.randn(2, len(batch.own), 6, n, n, requires_grad=True)
    temperatures = torch.zeros(2)
    before = score(batch, *features, temperatures)
    before.loss.backward()
    assert 0 <= before.own <= 1
    with torch.no_grad():
        moved = features - 5.0 * features.grad
    assert score(batch, *moved, temperatures).loss < before.loss


def test_what_pads_a_batch_changes_nothing():
    """An episode of two classes beside one of more gets the loss that it gets alone."""
    rng = np.random.default_rng(0)
    episodes: dict[int, tuple] = {}
    for seed in range(2, 30):
        first, second = pair(seed)
        episode = draw(first.shares, second.shares, rng)
        if episode is not None:
            episodes.setdefault(int(episode.support_labels.max()), (episode, first))
        if len(episodes) > 1:
            break
    (few, scene), (more, _) = (episodes[k] for k in sorted(episodes)[:2])
    n = scene.shares.shape[1]
    torch.manual_seed(0)
    features, temperatures = torch.randn(2, 2, 6, n, n), torch.zeros(2)
    alone = [
        score(Batch.of([e], torch.device("cpu")), *features[:, i : i + 1], temperatures).loss
        for i, e in enumerate((few, more))
    ]
    both = score(Batch.of([few, more], torch.device("cpu")), *features, temperatures).loss
    assert both == pytest.approx(float(sum(alone)) / 2, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_phases_that_differ(family):
    for count in (2, 3, 4):
        for seed in range(10):
            phases = family(count, np.random.default_rng(seed))
            assert len(set(phases)) == count


def test_another_session_may_swap_bright_and_dark():
    rng = np.random.default_rng(0)
    specimen = np.full((64, 64), 0.5, np.float32)
    specimen[:, 32:] = 0.7
    plain = replace(
        sample_instrument(rng), dose=1e9, readout=0.0, gradient=0, lines=0, scratches=0, zoom=1.0
    )
    swapped = observe(specimen, replace(plain, contrast=-1.0), rng)
    assert swapped[:, :20].mean() > swapped[:, 44:].mean()
    assert any(vary(plain, rng).contrast < 0 for _ in range(200))


class _Pool:
    """Two ready pairs instead of worker processes."""

    def __init__(self, *_args):
        rng = np.random.default_rng(0)
        self.pairs = [made for _ in range(6) if (made := make(256, rng)) is not None][:2]

    def fill(self, _least):
        return 0

    def draw(self, rng):
        a, b, episodes = self.pairs[int(rng.integers(2))]
        return a, b, episodes[0]

    def close(self):
        pass


def test_a_run_trains_resumes_and_exports(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "Pool", _Pool)
    threads = torch.get_num_threads()
    try:
        settings = Settings(steps=2, batch=2, size=256, threads=2)
        first = Run(tmp_path, settings, SMALL)
        before = first.network.project.weight.detach().clone()
        first.train()
        assert first.step > 0
        assert not torch.equal(first.network.project.weight, before)
        second = Run(tmp_path, Settings(steps=3, batch=2, size=256, threads=2), SMALL)
        assert second.step == first.step
        assert torch.equal(second.network.project.weight, first.network.project.weight)
        second.train()
        assert second.step > first.step
    finally:
        torch.set_num_threads(threads)
    export(tmp_path, tmp_path / "encoder.pt")
    _, metadata = checkpoint.read(tmp_path / "encoder.pt")
    assert metadata["step"] == second.step
    z = load_encoder(str(tmp_path / "encoder.pt"), device="cpu/float32").embed(
        pair(4)[0].image, 4 * CELL
    )
    assert z.shape == (4, 4, SMALL.dim + Responses.dim)


def test_turning_a_batch_leaves_its_places_where_they_are(tmp_path):
    class Means(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            both = torch.cat([x, x.square()], 1)
            return self.gain * torch.nn.functional.avg_pool2d(both, CELL)

    threads = torch.get_num_threads()
    run = Run(tmp_path, Settings(batch=2, size=256, device="cpu", rate=0.0), SMALL)
    torch.set_num_threads(threads)
    run.network = run.average = Means()
    images, batch, _ = run._batch(_Pool(), np.random.default_rng(0))
    losses = [
        run._step(images, batch, _Rng(turns, flip))[0] for turns in range(4) for flip in (0, 1)
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-4)
    assert losses[0] > 0


class _Rng:
    """Turns and mirrors as told, inverts nothing."""

    def __init__(self, turns, flip):
        self.turns, self.flip = turns, flip

    def integers(self, _most):
        return self.turns

    def uniform(self, size=None):
        return 1 - self.flip if size is None else np.ones(size)
