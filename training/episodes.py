"""Few-shot episodes: the classifier that the embeddings are meant for, inside the loss.

The head is the product's: class means over the cells of a handful of chips, one shared
within-class covariance of the cells, shrunk (Ledoit & Wolf, J. Multivariate Anal. 88, 2004),
applied to chip means. Prototypes after Snell et al., "Prototypical networks for few-shot
learning" (2017); Mahalanobis distance as in Bateni et al., "Improved few-shot visual
classification" (2020).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the customary name

from training.scenes import CHIP, Rng, chip_shares

COVERAGE = 0.8
QUERIES = 16
"""Queries per class and scene."""
CLASSES, SHOTS = 4, 8
"""At most, in an episode."""
_ABSENT = -1e4
"""Logit of a class that an episode does not have."""

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


@dataclass(frozen=True)
class Batch:
    """Episodes side by side, padded to the most classes, shots and queries there can be.

    Attributes
    ----------
    support, own, other
        (E, n, 2) int64 places of chips in cells.
    support_labels, own_labels, other_labels
        (E, n) int64 class of each, -1 where there is none.
    """

    support: torch.Tensor
    support_labels: torch.Tensor
    own: torch.Tensor
    own_labels: torch.Tensor
    other: torch.Tensor
    other_labels: torch.Tensor

    @classmethod
    def of(cls, episodes: Sequence[Episode], device: torch.device) -> "Batch":
        """Put episodes side by side on a device."""
        columns = []
        for name, most in (("support", SHOTS), ("own", QUERIES), ("other", QUERIES)):
            places = np.zeros((len(episodes), CLASSES * most, 2), np.int64)
            labels = np.full(places.shape[:2], -1, np.int64)
            for number, episode in enumerate(episodes):
                found = getattr(episode, f"{name}_labels")
                places[number, : len(found)] = getattr(episode, name)
                labels[number, : len(found)] = found
            columns += [torch.from_numpy(places).to(device), torch.from_numpy(labels).to(device)]
        return cls(*columns)


def cells_at(features: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Cells of chips: (E, n, 16, D) from (E, D, rows, columns) features and (E, n, 2) places."""
    steps = torch.arange(CHIP, device=places.device)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    index = places[:, :, None, :] + offsets
    flat = index[..., 0] * features.shape[-1] + index[..., 1]
    found = features.flatten(2).gather(
        2, flat.flatten(1)[:, None].expand(-1, features.shape[1], -1)
    )
    return found.unflatten(2, flat.shape[1:]).permute(0, 2, 3, 1)


def shrunk(centred: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Ledoit-Wolf estimate of the correlation of (E, n, D) centred, unit-deviation samples.

    Only `count` (E,) of the samples of an episode are there, the others are zero.
    """
    d = centred.shape[-1]
    n = count[:, None, None]
    sample = centred.mT @ centred / n
    with torch.no_grad():
        mu = sample.diagonal(dim1=1, dim2=2).mean(1)
        squares = sample.square().sum((1, 2))
        spread = centred.square().sum(2).square().sum(1) / count
        noise = (spread - squares) / (d * count)
        signal = squares / d - mu**2
        weight = (torch.minimum(noise, signal) / signal).clamp(0.02, 1.0)[:, None, None]
    eye = torch.eye(d, dtype=sample.dtype, device=sample.device)
    return (1 - weight) * sample + weight * mu[:, None, None] * eye


def _members(labels: torch.Tensor) -> torch.Tensor:
    """(E, n, K) 1 where a chip is of a class; -1 is of none."""
    return F.one_hot(labels + 1, CLASSES + 1)[..., 1:]


def prototypes(support: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(E, K, D) means of the support cells (E, n, 16, D) of each class."""
    members = _members(labels).to(support.dtype)
    return members.mT @ support.mean(2) / members.sum(1).clamp_min(1)[..., None]


def mahalanobis(support: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Half squared distances (E, q, K) of chips to the classes of support cells (E, n, 16, D)."""
    there = labels >= 0
    means = prototypes(support, labels)
    own = means.gather(1, labels.clamp_min(0)[..., None].expand(-1, -1, means.shape[-1]))
    centred = ((support - own[:, :, None]) * there[..., None, None]).flatten(1, 2)
    count = there.sum(1) * support.shape[2]
    deviation = (centred.square().sum(1) / count[:, None]).add(1e-6).sqrt()[:, None]
    factor = torch.linalg.cholesky_ex(shrunk(centred / deviation, count)).L
    offsets = ((queries[:, :, None] - means[:, None]) / deviation[:, None]).flatten(1, 2)
    white = torch.linalg.solve_triangular(factor, offsets.mT, upper=False)
    return 0.5 * white.square().sum(1).unflatten(1, (queries.shape[1], CLASSES))


def euclidean(support: torch.Tensor, labels: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
    """Mean squared distances (E, q, K) of chips to the prototypes."""
    means = prototypes(support, labels)
    return (queries[:, :, None] - means[:, None]).square().mean(-1)


@dataclass(frozen=True)
class Outcome:
    """Mean loss of a batch, and how many of the queries were right (own scene, other scene)."""

    loss: torch.Tensor
    own: torch.Tensor
    other: torch.Tensor


def score(
    batch: Batch, first: torch.Tensor, second: torch.Tensor, temperatures: torch.Tensor
) -> Outcome:
    """Classify the queries of episodes.

    Parameters
    ----------
    first, second
        (E, D, n, n) float32 features of the two scenes of each episode.
    temperatures
        Two log-temperatures: of the Mahalanobis and the Euclidean head.
    """
    chips = F.avg_pool2d(first, CHIP, stride=2).flatten(2)
    mean, deviation = chips.mean(2)[..., None, None], chips.std(2)[..., None, None] + 1e-4
    first, second = (first - mean) / deviation, (second - mean) / deviation
    support = cells_at(first, batch.support)
    queries = torch.cat(
        [cells_at(first, batch.own).mean(2), cells_at(second, batch.other).mean(2)], 1
    )
    truth = torch.cat([batch.own_labels, batch.other_labels], 1)
    absent = _members(batch.support_labels).sum(1) == 0
    weight = _balance(truth)
    losses, right = [], []
    for scale, head in zip(temperatures.exp(), (mahalanobis, euclidean), strict=True):
        distances = head(support, batch.support_labels, queries)
        logits = (-scale * distances).masked_fill(absent[:, None], _ABSENT)
        each = F.cross_entropy(logits.mT, truth, ignore_index=-1, reduction="none")
        losses.append((each * weight).sum(1).mean())
        right.append(logits.argmax(2) == truth)
    split = batch.own.shape[1]
    return Outcome(
        losses[0] + 0.3 * losses[1],
        _mean(right[0][:, :split], batch.own_labels),
        _mean(right[0][:, split:], batch.other_labels),
    )


def _mean(right: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Share of the queries that are right."""
    return right[truth >= 0].float().mean()


def _balance(truth: torch.Tensor) -> torch.Tensor:
    """Weights (E, q) that give every class of an episode the same say; they sum to 1."""
    members = _members(truth).float()
    weight = (members / members.sum(1, keepdim=True).clamp_min(1)).sum(2)
    return weight / weight.sum(1, keepdim=True)
