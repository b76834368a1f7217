"""Matter: where the specimen lies on the canvas, and what each phase of it looks like."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pychip_stream.sim.textures import (
    Field,
    Lattice,
    Shape,
    amorphous_speckle,
    blend,
    fresnel_fringes,
    smooth_noise,
)

Labels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

MARGIN = 48
"""Pixels of canvas beyond every edge of the frame."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """The area that is drawn: a frame of `size` (height, width) with a margin all around."""

    size: Shape

    @property
    def shape(self) -> Shape:
        """Height and width of the canvas in pixels."""
        return self.size[0] + 2 * MARGIN, self.size[1] + 2 * MARGIN

    @property
    def scale(self) -> float:
        """Size of the frame relative to 512 pixels; features grow with it, lattices do not."""
        return min(self.size) / 512

    @property
    def inside(self) -> Mask:
        """(H, W) True where the frame lies when nothing has drifted."""
        mask = np.zeros(self.shape, bool)
        mask[MARGIN:-MARGIN, MARGIN:-MARGIN] = True
        return mask


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
    (H, W) float32 times, in units of time in which a front advances one pixel, and (H, W) uint8
    number of the nucleus that arrives first.

    Notes
    -----
    Nucleation and growth at constant speed until impingement: the geometry behind Kolmogorov
    (1937), Johnson & Mehl (1939) and Avrami (1939), whose sigmoid the transformed share follows.
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


CRYSTAL, AMORPHOUS, VACUUM = 0.62, 0.65, 0.9
"""Mean intensities relative to the beam (bright field)."""


@dataclass(frozen=True, eq=False)
class Ground:
    """A specimen with a curved edge, and an amorphous rim along it.

    Attributes
    ----------
    depth
        (H, W) float32 distance inwards from the inner border of the rim, in pixels;
        negative in the rim.
    vacuum, rim
        (H, W) bool, where there is nothing, and where the amorphous rim is at the start.
    bending
        (H, W) float32 factor of the intensity from bend contours and thickness.
    relief
        (H, W) float32 intensity that the edge adds.
    """

    canvas: Canvas
    depth: Field
    vacuum: Mask
    rim: Mask
    bending: Field
    relief: Field

    @property
    def crystal(self) -> Mask:
        """(H, W) bool, what is neither vacuum nor rim."""
        return np.asarray(~(self.vacuum | self.rim))

    @classmethod
    def with_edge(
        cls, rng: np.random.Generator, canvas: Canvas, vacuum: float, rim: float
    ) -> "Ground":
        """Lay the edge across the canvas so that vacuum and rim have these shares of the frame."""
        shape, scale, inside = canvas.shape, canvas.scale, canvas.inside
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        angle = rng.uniform(0.0, 2.0 * np.pi)
        across = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
        edge = across + np.float32(12 * scale) * smooth_noise(rng, shape, 45.0 * scale)
        inner = across + np.float32(14 * scale) * smooth_noise(rng, shape, 30.0 * scale)
        empty = edge > level_for_share(edge, 1.0 - vacuum, inside)
        inner = np.where(empty, np.float32(1e6), inner)
        depth = level_for_share(inner, 1.0 - vacuum - rim, inside) - inner
        return cls.of(rng, canvas, empty, depth.astype(np.float32))

    @classmethod
    def of(cls, rng: np.random.Generator, canvas: Canvas, vacuum: Mask, depth: Field) -> "Ground":
        """Bend and edge a specimen whose shape is known."""
        bends = smooth_noise(rng, canvas.shape, 90.0 * canvas.scale)
        return cls(
            canvas=canvas,
            depth=depth,
            vacuum=vacuum,
            rim=(depth < 0) & ~vacuum,
            bending=(1.0 + 0.07 * np.clip(bends, -2.0, 2.0)).astype(np.float32),
            relief=np.float32(0.1) * fresnel_fringes(~vacuum),
        )

    def crystalline(
        self,
        rng: np.random.Generator,
        lattice: Lattice,
        base: float = CRYSTAL,
        contrast: float = 0.13,
    ) -> Field:
        """Intensity of a crystal with the damaged layer that every thin specimen carries."""
        fringes = contrast * lattice.render(rng, self.canvas.shape)
        layer = 0.025 * amorphous_speckle(rng, self.canvas.shape)
        return np.asarray((base + fringes + layer) * self.bending + self.relief, np.float32)

    def amorphous(self, rng: np.random.Generator, base: float = AMORPHOUS) -> Field:
        """Intensity of an amorphous film."""
        speckle = 0.085 * amorphous_speckle(rng, self.canvas.shape)
        return np.asarray((base + speckle) * self.bending + self.relief, np.float32)

    def empty(self) -> Field:
        """Intensity of the beam through vacuum, with the fringes of the edge."""
        return np.asarray(VACUUM + self.relief, np.float32)

    def grown(self, rng: np.random.Generator, lattice: Lattice, grains: Labels) -> Field:
        """Intensity of grown crystals, each other one turned by a few degrees."""
        turned = lattice.rotated(float(rng.normal(0.0, 0.05)))
        pair = [self.crystalline(rng, lattice), self.crystalline(rng, turned)]
        return blend(pair, (grains % 2).astype(np.uint8))


def rectangular(rng: np.random.Generator) -> Lattice:
    """Lattice of the parent phase: rectangular, fringes of about 7 and 8 pixels."""
    a = rng.uniform(6.6, 7.6)
    return Lattice.rectangular(a, a * rng.uniform(1.1, 1.2), rng.uniform(0.0, np.pi))


def hexagonal(rng: np.random.Generator) -> Lattice:
    """Lattice of the product phase: hexagonal, fringes of about 10 pixels."""
    return Lattice.hexagonal(rng.uniform(9.4, 10.8), rng.uniform(0.0, np.pi / 3))


def growth(
    rng: np.random.Generator, ground: Ground, start: float, end: float
) -> tuple[Field, Labels]:
    """Progress at which a phase that grows into the crystal arrives, and its grains.

    It fills the share `start` of the crystal at progress 0, from one old nucleus, and `end` at
    progress 1, when younger nuclei have joined.
    """
    canvas = ground.canvas
    seen = ground.crystal & canvas.inside
    deep = seen & (ground.depth > level_for_share(ground.depth, 0.7, seen))
    (first,) = scattered(rng, deep, 1)
    facets, angle = int(rng.choice([4, 6])), float(rng.uniform(0.0, np.pi))
    old = Nucleus(*first, angle=angle, facets=facets)
    front = int(rng.integers(2**32))  # the same rough fronts in both passes
    alone, _ = arrival_times(np.random.default_rng(front), canvas.shape, [old])
    begin, crossing = (level_for_share(alone, share, seen) for share in (start, end))
    free = seen & (alone > begin + 0.2 * (crossing - begin))
    count = int(rng.integers(3, 6))
    births = rng.uniform(begin, begin + 0.45 * (crossing - begin), count)
    young = [
        Nucleus(y, x, float(birth), angle + float(rng.normal(0.0, 0.1)), facets)
        for (y, x), birth in zip(scattered(rng, free, count), births, strict=True)
    ]
    times, grains = arrival_times(np.random.default_rng(front), canvas.shape, [old, *young])
    begin, finish = (level_for_share(times, share, seen) for share in (start, end))
    return np.asarray((times - begin) / max(finish - begin, 1e-6), np.float32), grains


def scattered(rng: np.random.Generator, where: Mask, number: int) -> list[tuple[float, float]]:
    """Choose places (y, x) inside a region, preferring those far from one another."""
    points = np.argwhere(where[::4, ::4]) * 4.0
    if not len(points):
        points = np.argwhere(where).astype(np.float64)
    chosen = [points[rng.integers(len(points))]]
    while len(chosen) < number:
        gap = np.min([np.sum((points - c) ** 2, axis=1) for c in chosen], axis=0)
        weight = gap / gap.sum() if gap.sum() > 0 else None
        chosen.append(points[rng.choice(len(points), p=weight)])
    return [(float(y), float(x)) for y, x in chosen]
