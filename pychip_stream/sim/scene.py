"""A scene: a specimen in which every place changes its class at most once, at a known time.

A scene is drawn on a canvas larger than the frame, so that the specimen can drift. Intensities
are relative to the beam.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pychip_stream.sim.textures import Field, Shape, blend

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
