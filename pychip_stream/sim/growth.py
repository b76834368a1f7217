"""Nucleation and growth: when the new phase reaches each place of the specimen."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pychip_stream.sim.textures import Field, Shape, smooth_noise


@dataclass(frozen=True, slots=True)
class Nucleus:
    """A crystal that grows at constant speed from a place, with its own facets.

    Attributes
    ----------
    y, x
        Where it starts, in pixels.
    birth
        When it starts, in units of time in which the front advances one pixel.
    angle
        Orientation of its facets in radians.
    facets
        Number of facets.
    """

    y: float
    x: float
    birth: float = 0.0
    angle: float = 0.0
    facets: int = 6


def arrival_times(
    rng: np.random.Generator,
    shape: Shape,
    nuclei: list[Nucleus],
    roughness: float = 5.0,
    roundness: float = 0.35,
) -> tuple[Field, npt.NDArray[np.uint8]]:
    """Find when growing crystals reach every pixel, and which one is first.

    Parameters
    ----------
    roughness
        Deviation of the fronts from smooth ones, in pixels.
    roundness
        0: flat facets; 1: circles.

    Returns
    -------
    times
        (H, W) float32, in units of time in which a front advances one pixel.
    grains
        (H, W) uint8 number of the nucleus that arrives first.

    Notes
    -----
    Site-saturated and continuous nucleation with growth at constant speed until
    impingement: the geometry behind Kolmogorov (1937), Johnson & Mehl (1939) and
    Avrami (1939); the transformed share follows their sigmoid without being told to.
    """
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    y += np.float32(roughness) * smooth_noise(rng, shape, 18.0)
    x += np.float32(roughness) * smooth_noise(rng, shape, 18.0)
    times = np.full(shape, np.inf, np.float32)
    grains = np.zeros(shape, np.uint8)
    for number, nucleus in enumerate(nuclei):
        reached = np.float32(nucleus.birth) + _distance(nucleus, y, x, roundness)
        first = reached < times
        times[first] = reached[first]
        grains[first] = number
    return times, grains


def _distance(nucleus: Nucleus, y: Field, x: Field, roundness: float) -> Field:
    """Distance from a nucleus in the norm whose unit ball is its faceted shape."""
    dy, dx = y - np.float32(nucleus.y), x - np.float32(nucleus.x)
    flat = np.zeros_like(dy)
    for facet in range(nucleus.facets):
        angle = nucleus.angle + 2.0 * np.pi * facet / nucleus.facets
        np.maximum(flat, np.float32(np.cos(angle)) * dx + np.float32(np.sin(angle)) * dy, out=flat)
    round_ = np.hypot(dy, dx)
    return np.asarray((1.0 - roundness) * flat + roundness * round_, np.float32)


def level_for_share(
    values: npt.NDArray[np.floating], share: float, within: npt.NDArray[np.bool_] | None = None
) -> float:
    """Return the value below which the given share (0…1) of the pixels lies."""
    chosen = values if within is None else values[within]
    return float(np.quantile(chosen, share))
