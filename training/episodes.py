"""Few-shot episodes: the classifier that the embeddings are meant for, inside the loss.

The head is the product's: class means over the cells of a handful of chips, one shared
within-class covariance of the cells, shrunk (Ledoit & Wolf, J. Multivariate Anal. 88, 2004),
applied to chip means. Prototypes after Snell et al., "Prototypical networks for few-shot
learning" (2017); Mahalanobis distance as in Bateni et al., "Improved few-shot visual
classification" (2020).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the customary name

from training.scenes import CHIP, Rng, chip_shares

COVERAGE = 0.8
QUERIES = 16
"""Queries per class and scene."""

Places = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Episode:
    """Places (row, column in cells) of chips; class of each."""

    support: Places
    support_labels: Places
    own: Places
    own_labels: Places
    other: Places
    other_labels: Places


def draw(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], rng: Rng
) -> Episode | None:
    """Draw support and query chips; None if a class has too few.

    Parameters
    ----------
    first, second
        (K, n, n) shares of the classes in the cells of the two scenes.
    """
    shots = int(rng.choice((2, 3, 5, 8), p=(0.1, 0.15, 0.6, 0.15)))
    clustered = rng.uniform() < 0.3
    near, far = chip_shares(first), chip_shares(second)
    support, own, other = [], [], []
    for k in range(len(near)):
        places = np.argwhere(near[k] >= COVERAGE)
        chosen = _pick(places, shots, clustered, rng)
        if len(chosen) < 2:
            return None
        gap = np.abs(places[:, None] - chosen[None]).max(-1).min(1)
        support.append(chosen)
        own.append(_some(places[gap >= 2], rng))
        other.append(_some(np.argwhere(far[k] >= COVERAGE), rng))
    labels = [np.repeat(np.arange(len(p)), [len(q) for q in p]) for p in (support, own, other)]
    parts = [np.concatenate(p) for p in (support, own, other)]
    return Episode(parts[0], labels[0], parts[1], labels[1], parts[2], labels[2])


def _pick(places: Places, shots: int, clustered: bool, rng: Rng) -> Places:
    """Up to `shots` chips that do not overlap by more than half; perhaps all from one place."""
    if len(places) == 0:
        return places
    if clustered:
        centre = places[rng.integers(len(places))]
        order = np.argsort(((places - centre) ** 2).sum(1) + rng.uniform(0, 4, len(places)))
    else:
        order = rng.permutation(len(places))
    chosen: list[npt.NDArray[np.intp]] = []
    for place in places[order]:
        if all(np.abs(place - c).max() >= CHIP // 2 for c in chosen):
            chosen.append(place)
            if len(chosen) == shots:
                break
    return np.stack(chosen)


def _some(places: Places, rng: Rng) -> Places:
    return places[rng.permutation(len(places))[:QUERIES]]


def cells_at(features: torch.Tensor, places: Places) -> torch.Tensor:
    """Cells of chips: (n, 16, D) from (D, rows, columns) features."""
    offsets = np.stack(np.meshgrid(np.arange(CHIP), np.arange(CHIP), indexing="ij"), -1)
    index = places[:, None, :] + offsets.reshape(1, -1, 2)
    rows, columns = torch.from_numpy(index[..., 0]), torch.from_numpy(index[..., 1])
    return features[:, rows, columns].permute(1, 2, 0)


def shrunk(centred: torch.Tensor) -> torch.Tensor:
    """Ledoit-Wolf estimate of the correlation of (n, D) centred, unit-deviation samples."""
    n, d = centred.shape
    sample = centred.T @ centred / n
    with torch.no_grad():
        mu = sample.diagonal().mean()
        squares = (sample**2).sum()
        spread = (centred.square().sum(1) ** 2).sum() / n
        noise = (spread - squares) / (d * n)
        signal = squares / d - mu**2
        weight = (noise.clamp_max(signal) / signal).clamp(0.02, 1.0)
    eye = torch.eye(d, dtype=sample.dtype, device=sample.device)
    return (1 - weight) * sample + weight * mu * eye


def mahalanobis(support: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Half squared distances (q, K) of chips to the classes of support cells (n, 16, D)."""
    count = int(labels.max()) + 1
    means = torch.stack([support[labels == k].mean((0, 1)) for k in range(count)])
    centred = (support - means[labels][:, None]).flatten(0, 1)
    deviation = centred.square().mean(0).add(1e-6).sqrt()
    factor = torch.linalg.cholesky(shrunk(centred / deviation))
    offsets = ((queries[:, None] - means) / deviation).flatten(0, 1)
    white = torch.linalg.solve_triangular(factor, offsets.T, upper=False)
    return 0.5 * white.square().sum(0).reshape(len(queries), count)


def euclidean(support: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Mean squared distances (q, K) of chips to the prototypes."""
    count = int(labels.max()) + 1
    means = torch.stack([support[labels == k].mean((0, 1)) for k in range(count)])
    return (queries[:, None] - means).square().mean(-1)


@dataclass(frozen=True)
class Outcome:
    """Loss of one episode, and how many of the queries were right (own scene, other scene)."""

    loss: torch.Tensor
    own: float
    other: float


def score(
    episode: Episode, first: torch.Tensor, second: torch.Tensor, temperatures: torch.Tensor
) -> Outcome:
    """Classify an episode's queries.

    Parameters
    ----------
    first, second
        (D, n, n) float32 features of the two scenes.
    temperatures
        Two log-temperatures: of the Mahalanobis and the Euclidean head.
    """
    chips = F.avg_pool2d(first[None], CHIP, stride=2)[0].flatten(1)
    mean, deviation = chips.mean(1)[:, None, None], chips.std(1)[:, None, None] + 1e-4
    first, second = (first - mean) / deviation, (second - mean) / deviation
    support = cells_at(first, episode.support)
    labels = torch.from_numpy(episode.support_labels)
    own = cells_at(first, episode.own).mean(1)
    queries = torch.cat([own, cells_at(second, episode.other).mean(1)])
    truth = torch.from_numpy(np.concatenate([episode.own_labels, episode.other_labels]))
    distances = mahalanobis(support, labels, queries)
    scale = temperatures.exp()
    weight = _balance(truth)
    losses = F.cross_entropy(-scale[0] * distances, truth, reduction="none")
    simple = F.cross_entropy(
        -scale[1] * euclidean(support, labels, queries), truth, reduction="none"
    )
    right = (distances.argmin(1) == truth).float()
    split = len(own)
    return Outcome(
        ((losses + 0.3 * simple) * weight).sum(),
        float(right[:split].mean()) if split else float("nan"),
        float(right[split:].mean()) if split < len(truth) else float("nan"),
    )


def _balance(truth: torch.Tensor) -> torch.Tensor:
    """Weights that give every class the same say; they sum to 1."""
    counts = torch.bincount(truth).clamp_min(1).float()
    weight = 1 / counts[truth]
    return weight / weight.sum()
