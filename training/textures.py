"""Procedural textures: what a phase looks like inside.

A texture is a mean grey value plus a few components; every component is described by plain
numbers, so that a neighbouring (hard to tell) texture is the same numbers slightly changed.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage
from scipy.spatial import cKDTree

Image = npt.NDArray[np.float32]
Rng = np.random.Generator


@dataclass(frozen=True)
class Component:
    """One ingredient of a texture.

    Attributes
    ----------
    kind
        A key of `KINDS`.
    amplitude
        Deviation (or height, for sparse kinds) in grey values of the specimen.
    scale
        Characteristic length in pixels.
    angle
        Orientation in radians.
    shape
        Kind-specific number in 0…1: anisotropy, density, sharpness.
    sign
        +1 bright, -1 dark.
    """

    kind: str
    amplitude: float
    scale: float
    angle: float
    shape: float
    sign: float


@dataclass(frozen=True)
class Texture:
    """Mean grey value (0…1) and components."""

    mean: float
    components: tuple[Component, ...]


def coloured_noise(size: int, rng: Rng, response: Image) -> Image:
    """White noise through a frequency response (size, size // 2 + 1); unit deviation."""
    spectrum = fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    out = fft.irfft2(spectrum * response, s=(size, size))
    out -= out.mean()
    return np.asarray(out / (out.std() + 1e-9), dtype=np.float32)


def frequencies(size: int, angle: float, stretch: float) -> Image:
    """Length of every frequency (cycles per pixel) after stretching along an angle."""
    fy = fft.fftfreq(size).astype(np.float32)[:, None]
    fx = fft.rfftfreq(size).astype(np.float32)[None]
    along = fx * math.cos(angle) + fy * math.sin(angle)
    across = -fx * math.sin(angle) + fy * math.cos(angle)
    return np.sqrt((along * stretch) ** 2 + across**2).astype(np.float32)


def smooth_noise(
    size: int, rng: Rng, scale: float, angle: float = 0.0, stretch: float = 1.0
) -> Image:
    """Noise without structure below about `scale` pixels."""
    f = frequencies(size, angle, stretch)
    return coloured_noise(size, rng, np.exp(-((f * scale) ** 2) * 4).astype(np.float32))


def _band(c: Component, size: int, rng: Rng) -> Image:
    f = frequencies(size, c.angle, 1 + 3 * c.shape)
    centre = 1 / max(c.scale, 2.2)
    return coloured_noise(size, rng, np.exp(-(((f - centre) / (0.35 * centre)) ** 2)))


def _power(c: Component, size: int, rng: Rng) -> Image:
    f = frequencies(size, c.angle, 1 + 2 * c.shape)
    return coloured_noise(
        size, rng, (1 / (f + 1 / (4 * c.scale)) ** (1 + c.shape)).astype(np.float32)
    )


def _contour(c: Component, size: int, rng: Rng) -> Image:
    noise = smooth_noise(size, rng, c.scale, c.angle, 1 + 2 * c.shape)
    level = 1.2 * c.shape
    return c.sign * np.tanh((noise - level) * 6)


def _ridges(c: Component, size: int, rng: Rng) -> Image:
    noise = smooth_noise(size, rng, 2.5 * c.scale, c.angle, 1 + 4 * c.shape)
    return c.sign * 2 * np.exp(-((noise / 0.12) ** 2))


def _lattice(c: Component, size: int, rng: Rng) -> Image:
    period = max(c.scale, 2.5)
    second = c.angle + math.pi * (0.33 + 0.17 * c.shape)
    ratio = 1 + 0.6 * (c.shape - 0.5)
    y, x = np.mgrid[:size, :size].astype(np.float32)
    strain = smooth_noise(size, rng, size / 3) * 0.08 * period
    phase = rng.uniform(0, 2 * math.pi, 2)
    u = np.cos(
        2 * math.pi / period * (x * math.cos(c.angle) + y * math.sin(c.angle) + strain) + phase[0]
    )
    v = np.cos(
        2 * math.pi / (period * ratio) * (x * math.cos(second) + y * math.sin(second)) + phase[1]
    )
    peaks = np.exp(1.2 * (u + v - 2))
    return np.asarray(c.sign * (peaks - peaks.mean()) / (peaks.std() + 1e-6), dtype=np.float32)


def _stripes(c: Component, size: int, rng: Rng) -> Image:
    y, x = np.mgrid[:size, :size].astype(np.float32)
    bend = smooth_noise(size, rng, size / 4) * c.shape * c.scale
    wave = np.cos(
        2 * math.pi / max(c.scale, 2.5) * (x * math.cos(c.angle) + y * math.sin(c.angle) + bend)
    )
    return np.asarray(1.4 * wave, dtype=np.float32)


def _particles(c: Component, size: int, rng: Rng) -> Image:
    """Discs, ellipses or rings at random places."""
    radius = max(0.35 * c.scale, 1.2)
    count = rng.poisson((0.03 + 0.3 * c.shape) * size**2 / (math.pi * radius**2))
    points = np.zeros((size, size), np.float32)
    np.add.at(points, tuple(rng.integers(0, size, (2, count))), 1.0)
    reach = math.ceil(radius * 1.6) + 1
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    along = x * math.cos(c.angle) + y * math.sin(c.angle)
    across = -x * math.sin(c.angle) + y * math.cos(c.angle)
    distance = np.sqrt((along / 1.4) ** 2 + (across * 1.1) ** 2)
    disc = 1 / (1 + np.exp((distance - radius) * 2))
    if c.amplitude > 0.1 and int(c.scale * 7) % 4 == 0:  # every fourth kind is hollow
        disc = disc * np.clip((distance / radius) ** 2, 0, 1)
    full = np.zeros((size, size), np.float32)
    full[: 2 * reach + 1, : 2 * reach + 1] = disc
    hit = fft.irfft2(fft.rfft2(points) * fft.rfft2(full), s=(size, size))
    return np.asarray(c.sign * 2 * np.clip(hit, 0, 1.3), dtype=np.float32)


def _grains(c: Component, size: int, rng: Rng) -> Image:
    """Grains (Voronoi cells) of different grey values, with or without boundaries."""
    half = size // 2
    spacing = max(c.scale, 5.0) / 2 * 1.6
    count = max(int(half**2 / spacing**2), 4)
    seeds = rng.uniform(0, half, (count, 2))
    places = np.indices((half, half)).reshape(2, -1).T
    distance, nearest = cKDTree(seeds).query(places, k=2)
    tone = rng.standard_normal(count)[nearest[:, 0]] * (1 - c.shape)
    edge = np.exp(-(((distance[:, 1] - distance[:, 0]) / 1.2) ** 2)) * 2.5 * c.shape * c.sign
    small = (tone + edge).reshape(half, half).astype(np.float32)
    return ndimage.zoom(small, 2, order=1, grid_mode=True, mode="nearest")


def _fibres(c: Component, size: int, rng: Rng) -> Image:
    noise = smooth_noise(size, rng, c.scale, c.angle, 10.0)
    return c.sign * 2 * np.clip((noise - 1.0 + c.shape) * 3, 0, 1)


KINDS = {
    "band": _band, "power": _power, "contour": _contour, "ridges": _ridges, "lattice": _lattice,
    "stripes": _stripes, "particles": _particles, "grains": _grains, "fibres": _fibres,
}  # fmt: skip
_NAMES = tuple(KINDS)
_WEIGHTS = np.array([2, 2, 1.5, 1, 2, 1, 3, 1, 1])


def sample_component(rng: Rng) -> Component:
    """Draw a component at random."""
    return Component(
        kind=str(rng.choice(_NAMES, p=_WEIGHTS / _WEIGHTS.sum())),
        amplitude=float(np.exp(rng.uniform(np.log(0.01), np.log(0.2)))),
        scale=float(np.exp(rng.uniform(np.log(2.5), np.log(40)))),
        angle=float(rng.uniform(0, math.pi)),
        shape=float(rng.uniform()),
        sign=float(rng.choice((-1, 1))),
    )


def sample_texture(rng: Rng, least: int = 0) -> Texture:
    """Draw a texture at random; some phases are plain, if `least` is 0."""
    count = max(int(rng.choice((0, 1, 2, 3), p=(0.15, 0.4, 0.3, 0.15))), least)
    return Texture(float(rng.uniform(0.1, 0.9)), tuple(sample_component(rng) for _ in range(count)))


def neighbour(texture: Texture, rng: Rng) -> Texture:
    """Change one or two things a little: the pair that is hard to tell apart."""
    changed = texture
    for _ in range(int(rng.integers(1, 3))):
        changed = _change(changed, rng)
    return changed


def drift(texture: Texture, rng: Rng, strength: float = 1.0) -> Texture:
    """Return the same phase somewhere else: small changes of everything."""

    def move(c: Component) -> Component:
        return replace(
            c,
            amplitude=c.amplitude * float(np.exp(rng.normal(0, 0.08 * strength))),
            scale=c.scale * float(np.exp(rng.normal(0, 0.04 * strength))),
            angle=c.angle + float(rng.normal(0, 0.05 * strength)),
            shape=float(np.clip(c.shape + rng.normal(0, 0.03 * strength), 0, 1)),
        )

    mean = float(texture.mean + rng.normal(0, 0.012 * strength))
    return Texture(mean, tuple(move(c) for c in texture.components))


def _change(texture: Texture, rng: Rng) -> Texture:
    parts = list(texture.components)
    choice = int(rng.integers(0, 6))
    if choice == 0 or (not parts and choice in (1, 2, 3)):
        step = float(rng.choice((-1, 1)) * rng.uniform(0.02, 0.2))
        return replace(texture, mean=float(np.clip(texture.mean + step, 0.02, 0.98)))
    if choice == 5 and parts:
        parts.pop(int(rng.integers(len(parts))))
    elif choice in (4, 5):
        parts.append(sample_component(rng))
    else:
        which = int(rng.integers(len(parts)))
        parts[which] = _altered(parts[which], choice, rng)
    return replace(texture, components=tuple(parts))


def _altered(c: Component, choice: int, rng: Rng) -> Component:
    factor = float(np.exp(rng.choice((-1, 1)) * rng.uniform(0.2, 0.8)))
    if choice == 1:
        return replace(c, scale=float(np.clip(c.scale * factor, 2.2, 60)))
    if choice == 2:
        return replace(c, amplitude=c.amplitude * factor)
    return replace(c, angle=c.angle + float(rng.uniform(0.3, 1.5)), shape=float(rng.uniform()))


def render(texture: Texture, size: int, rng: Rng) -> Image:
    """Draw a texture: (size, size) float32 grey values."""
    out = np.full((size, size), texture.mean, np.float32)
    for c in texture.components:
        out += c.amplitude * KINDS[c.kind](c, size, rng)
    return out
