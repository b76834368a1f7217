"""Phases of a specimen, by what tells them apart."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from training.textures import Rng, Texture, neighbour, sample_component, sample_texture

Phases = tuple[Texture, ...]


def sample_phases(count: int, rng: Rng) -> Phases:
    """Draw the phases of a specimen."""
    return FAMILIES[int(rng.choice(len(FAMILIES), p=SHARES))](count, rng)


def _any(count: int, rng: Rng) -> Phases:
    """Draw anything, most pairs being neighbours."""
    phases = [sample_texture(rng)]
    while len(phases) < count:
        hard = rng.uniform() < 0.6
        phases.append(
            neighbour(phases[int(rng.integers(len(phases)))], rng) if hard else sample_texture(rng)
        )
    return tuple(phases)


def _equal_greys(count: int, rng: Rng) -> Phases:
    """Draw phases of one mean grey value, so that only the texture tells."""
    mean = float(rng.uniform(0.25, 0.75))
    phases = [replace(sample_texture(rng, least=1), mean=mean)]
    while len(phases) < count:
        old = phases[int(rng.integers(len(phases)))]
        new = neighbour(old, rng) if rng.uniform() < 0.5 else sample_texture(rng)
        if all(new.components != phase.components for phase in phases):
            phases.append(replace(new, mean=mean + float(rng.normal(0, 0.01))))
    return tuple(phases)


def _overlapping_greys(count: int, rng: Rng) -> Phases:
    """Let grey values overlap: steps of the mean as small as what varies within a phase."""
    spread = float(np.exp(rng.uniform(np.log(0.03), np.log(0.15))))
    wide = replace(
        sample_component(rng), kind="power", amplitude=spread, scale=float(rng.uniform(8, 40))
    )
    means = 0.5 + spread * rng.uniform(0.5, 1.5) * (np.arange(count) - (count - 1) / 2)
    first = sample_texture(rng)
    textures = [first, *(neighbour(first, rng) for _ in range(count - 1))]
    return tuple(
        Texture(float(mean), (wide, *texture.components))
        for mean, texture in zip(means, textures, strict=True)
    )


def _ordered_and_amorphous(count: int, rng: Rng) -> Phases:
    """Make a lattice, amorphous material of the same graininess, perhaps other lattices."""
    mean = float(rng.uniform(0.3, 0.7))
    lattice = replace(
        sample_component(rng),
        kind="lattice" if rng.uniform() < 0.8 else "stripes",
        amplitude=float(np.exp(rng.uniform(np.log(0.02), np.log(0.15)))),
        scale=float(np.exp(rng.uniform(np.log(3), np.log(16)))),
    )
    amorphous = replace(
        lattice,
        kind="band",
        amplitude=lattice.amplitude * float(np.exp(rng.normal(0, 0.4))),
        scale=lattice.scale * float(np.exp(rng.normal(0, 0.3))),
        shape=0.0,
    )
    turned = replace(
        lattice,
        angle=lattice.angle + float(rng.uniform(0.3, 1.2)),
        scale=lattice.scale * float(np.exp(rng.normal(0, 0.25))),
    )
    beneath = replace(amorphous, amplitude=amorphous.amplitude * float(rng.uniform(0.2, 0.8)))
    kinds = [(lattice, beneath), (amorphous,), (turned, beneath), ()]
    return tuple(Texture(mean + float(rng.normal(0, 0.02)), kinds[i]) for i in range(count))


FAMILIES: tuple[Callable[[int, Rng], Phases], ...] = (
    _any,
    _equal_greys,
    _overlapping_greys,
    _ordered_and_amorphous,
)
"""Ways in which the phases of a specimen differ, by number of classes."""
SHARES = (0.55, 0.2, 0.12, 0.13)
