"""Scenes, and the scenarios: what happens to the specimen during a run.

In a scene every place of the specimen changes its class at most once, at a known time. It is drawn
on a canvas larger than the frame, so that the specimen can drift; intensities are relative to the
beam.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pychip_stream.sim.matter import (
    MARGIN,
    Canvas,
    Ground,
    Labels,
    Nucleus,
    arrival_times,
    growth,
    hexagonal,
    level_for_share,
    rectangular,
    scattered,
)
from pychip_stream.sim.textures import Field, blend, smooth_noise


@dataclass(frozen=True, slots=True)
class Drift:
    """Path of the specimen under the beam: a slow sway and a steady part.

    Attributes
    ----------
    sway
        Amplitude of the sway in pixels.
    steady
        Displacement (down, right) from the start to the end of the run, in pixels.
    phase
        Phase of the sway in radians.
    """

    sway: float
    steady: tuple[float, float] = (0.0, 0.0)
    phase: float = 0.0

    def __post_init__(self) -> None:
        if 2.0 * self.sway + max(abs(v) for v in self.steady) > MARGIN - 1:
            raise ValueError(f"drift leaves the canvas, which has {MARGIN} pixels to spare")

    def at(self, progress: float) -> tuple[int, int]:
        """Displacement (down, right) in whole pixels; none at the start of the run."""
        turn = 2.0 * np.pi * progress
        down = np.sin(1.3 * turn + self.phase) - np.sin(self.phase)
        right = np.sin(0.9 * turn + 2.0 * self.phase) - np.sin(2.0 * self.phase)
        return (
            round(float(self.sway * down + self.steady[0] * progress)),
            round(float(self.sway * right + self.steady[1] * progress)),
        )


@dataclass(frozen=True, eq=False)
class Scene:
    """A specimen and how it changes while progress goes from 0 to 1.

    Attributes
    ----------
    names
        Class names; labels are positions in it.
    before, after
        (H, W) uint8 labels of the canvas before and after the change.
    arrival
        (H, W) float32 progress at which the change arrives; infinite where it never does.
    textures
        One (H, W) float32 relative intensity per class.
    drift
        Path of the specimen.
    blur
        Standard deviation of the point spread in pixels, at the start and at the end.
    """

    names: tuple[str, ...]
    before: Labels
    after: Labels
    arrival: Field
    textures: tuple[Field, ...]
    drift: Drift
    blur: tuple[float, float] = (0.7, 0.7)

    def labels(self, progress: float) -> Labels:
        """(H, W) uint8 class of every pixel that the camera sees."""
        part = self._window(progress)
        changed = self.arrival[part] <= np.float32(progress)
        return np.where(changed, self.after[part], self.before[part])

    def intensity(self, progress: float, labels: Labels) -> Field:
        """(H, W) float32 relative intensity, before the microscope blurs it."""
        part = self._window(progress)
        return blend([texture[part] for texture in self.textures], labels)

    def _window(self, progress: float) -> tuple[slice, slice]:
        """Part of the canvas that the camera sees."""
        down, right = self.drift.at(progress)
        height, width = self.before.shape
        return (
            slice(MARGIN - down, height - MARGIN - down),
            slice(MARGIN - right, width - MARGIN - right),
        )


def transformation(rng: np.random.Generator, canvas: Canvas) -> Scene:
    """Crystal alpha turns into beta; the amorphous rim recedes; vacuum beyond it."""
    ground = Ground.with_edge(rng, canvas, vacuum=0.17, rim=0.20)
    arrival, grains = growth(rng, ground, start=0.17, end=0.84)
    # The rim recrystallises from its inner side, a third of it during the run.
    reach = -level_for_share(ground.depth, 0.67, ground.rim & canvas.inside)
    recession = np.where(ground.rim, -ground.depth / max(reach, 1e-6), np.inf)
    before = np.where(ground.vacuum, 3, np.where(ground.rim, 2, 0)).astype(np.uint8)
    after = np.where(ground.vacuum, 3, np.where(ground.rim, 0, 1)).astype(np.uint8)
    return Scene(
        names=("alpha", "beta", "amorphous", "vacuum"),
        before=before,
        after=after,
        arrival=np.where(ground.crystal, arrival, recession).astype(np.float32),
        textures=(
            ground.crystalline(rng, rectangular(rng)),
            ground.grown(rng, hexagonal(rng), grains),
            ground.amorphous(rng),
            ground.empty(),
        ),
        drift=Drift(sway=5.0, steady=(4.0, -3.0), phase=float(rng.uniform(0.0, 6.0))),
    )


def newphase(rng: np.random.Generator, canvas: Canvas) -> Scene:
    """Half-way through, a phase appears that no earlier frame shows."""
    ground = Ground.with_edge(rng, canvas, vacuum=0.17, rim=0.20)
    arrival, grains = growth(rng, ground, start=0.0, end=0.6)
    later = 0.5 + 0.5 * np.maximum(arrival, 1e-3)
    before = np.where(ground.vacuum, 2, np.where(ground.rim, 1, 0)).astype(np.uint8)
    return Scene(
        names=("alpha", "amorphous", "vacuum", "gamma"),
        before=before,
        after=np.where(ground.crystal, 3, before).astype(np.uint8),
        arrival=np.where(ground.crystal, later, np.inf).astype(np.float32),
        textures=(
            ground.crystalline(rng, rectangular(rng)),
            ground.amorphous(rng),
            ground.empty(),
            ground.grown(rng, hexagonal(rng), grains),
        ),
        drift=Drift(sway=5.0, phase=float(rng.uniform(0.0, 6.0))),
    )


def amorphisation(rng: np.random.Generator, canvas: Canvas) -> Scene:
    """Let the beam destroy a crystal: the rim advances, patches form until they meet."""
    ground = Ground.with_edge(rng, canvas, vacuum=0.15, rim=0.15)
    seen = ground.crystal & canvas.inside
    patches = smooth_noise(rng, canvas.shape, 24.0 * canvas.scale)
    resistance = ground.depth / (150.0 * canvas.scale) - patches
    start, end = (level_for_share(resistance, share, seen) for share in (0.04, 0.75))
    before = np.where(ground.vacuum, 2, np.where(ground.rim, 1, 0)).astype(np.uint8)
    arrival = np.where(ground.crystal, (resistance - start) / (end - start), np.inf)
    return Scene(
        names=("crystal", "amorphous", "vacuum"),
        before=before,
        after=np.where(ground.crystal, 1, before).astype(np.uint8),
        arrival=arrival.astype(np.float32),
        textures=(
            ground.crystalline(rng, rectangular(rng)),
            ground.amorphous(rng),
            ground.empty(),
        ),
        drift=Drift(sway=4.0, phase=float(rng.uniform(0.0, 6.0))),
    )


def particles(rng: np.random.Generator, canvas: Canvas) -> Scene:
    """Faceted particles grow on a holey amorphous support."""
    shape, scale = canvas.shape, canvas.scale
    holes = smooth_noise(rng, shape, 48.0 * scale)
    vacuum = holes > level_for_share(holes, 0.82, canvas.inside)
    ground = Ground.of(rng, canvas, vacuum, np.ones(shape, np.float32))
    seen = ~vacuum & canvas.inside
    room = level_for_share(holes, 0.6, canvas.inside)
    places = scattered(rng, seen & (holes < room), 9)
    births = [0.0, 0.0, 0.0, *rng.uniform(40.0 * scale, 75.0 * scale, len(places) - 3)]
    nuclei = [
        Nucleus(y, x, float(birth), float(rng.uniform(0.0, np.pi)), int(rng.choice([5, 6, 8])))
        for (y, x), birth in zip(places, births, strict=True)
    ]
    times, grains = arrival_times(rng, shape, nuclei, roughness=1.5 * scale, roundness=0.2)
    start, end = (level_for_share(times, share, seen) for share in (0.12, 0.55))
    before = np.where(vacuum, 2, 1).astype(np.uint8)
    return Scene(
        names=("particle", "support", "vacuum"),
        before=before,
        after=np.where(vacuum, 2, 0).astype(np.uint8),
        arrival=np.where(vacuum, np.inf, (times - start) / (end - start)).astype(np.float32),
        textures=(
            ground.grown(rng, rectangular(rng), grains),
            ground.amorphous(rng),
            ground.empty(),
        ),
        drift=Drift(sway=5.0, phase=float(rng.uniform(0.0, 6.0))),
    )


def drift(rng: np.random.Generator, canvas: Canvas) -> Scene:
    """Nothing changes but place and focus: what must not look like a transformation."""
    moving = transformation(rng, canvas)
    frozen = np.where(moving.arrival <= np.float32(0.4), moving.after, moving.before)
    return Scene(
        names=moving.names,
        before=frozen,
        after=frozen,
        arrival=np.full(canvas.shape, np.inf, np.float32),
        textures=moving.textures,
        drift=Drift(sway=8.0, steady=(20.0, 26.0), phase=float(rng.uniform(0.0, 6.0))),
        blur=(0.7, 1.7),
    )


SCENARIOS: dict[str, Callable[[np.random.Generator, Canvas], Scene]] = {
    "transformation": transformation,
    "particles": particles,
    "amorphisation": amorphisation,
    "newphase": newphase,
    "drift": drift,
}
"""How each scenario is drawn, by name."""
