"""What specimens look like at high resolution: lattices, amorphous speckle, smooth fields.

All fields are (H, W) float32 arrays; lengths are pixels, angles radians.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

Field = npt.NDArray[np.float32]
Shape = tuple[int, int]


def smooth_noise(rng: np.random.Generator, shape: Shape, length: float) -> Field:
    """Draw a Gaussian random field of zero mean and unit deviation.

    `length` is its correlation length (standard deviation of the Gaussian kernel), in pixels.
    """
    frequency = _frequencies(shape)
    return _filtered(rng, shape, np.exp(-2.0 * (np.pi * frequency * length) ** 2))


def amorphous_speckle(
    rng: np.random.Generator, shape: Shape, finest: float = 3.2, first_ring: float = 7.0
) -> Field:
    """Draw the phase contrast of an amorphous film, zero mean and unit deviation.

    Parameters
    ----------
    finest
        Information limit: periods shorter than this are damped away, in pixels.
    first_ring
        Period at which the contrast transfer has its first maximum, in pixels.

    Notes
    -----
    White noise seen through a weak-phase contrast transfer function, sin(χ) with χ ∝ k²
    and a Gaussian envelope (Williams & Carter, Transmission Electron Microscopy, ch. 28).
    """
    frequency = _frequencies(shape)
    transfer = np.sin(0.5 * np.pi * (frequency * first_ring) ** 2)
    return _filtered(rng, shape, transfer * np.exp(-((frequency * finest) ** 2)))


@dataclass(frozen=True, slots=True)
class Lattice:
    """Fringes of a crystal along a zone axis.

    Attributes
    ----------
    periods
        Spacing of each set of fringes in pixels.
    angles
        Direction across each set of fringes, in radians from the x axis.
    weights
        Relative amplitude of each set.
    """

    periods: tuple[float, ...]
    angles: tuple[float, ...]
    weights: tuple[float, ...]

    @classmethod
    def rectangular(cls, a: float, b: float, angle: float) -> "Lattice":
        """Two sets of fringes at right angles, with their sum and difference."""
        diagonal = 1.0 / np.hypot(1.0 / a, 1.0 / b)
        tilt = float(np.arctan2(1.0 / b, 1.0 / a))
        return cls(
            (a, b, diagonal, diagonal),
            (angle, angle + np.pi / 2, angle + tilt, angle - tilt),
            (1.0, 0.85, 0.3, 0.3),
        )

    @classmethod
    def hexagonal(cls, d: float, angle: float) -> "Lattice":
        """Three sets of fringes at 60°, with the next order across them."""
        third = np.pi / 3
        first = tuple(angle + i * third for i in range(3))
        second = tuple(angle + np.pi / 6 + i * third for i in range(3))
        return cls((d,) * 3 + (d / np.sqrt(3.0),) * 3, first + second, (1.0,) * 3 + (0.3,) * 3)

    def rotated(self, angle: float) -> "Lattice":
        """Return the same lattice turned in the image plane."""
        return Lattice(self.periods, tuple(a + angle for a in self.angles), self.weights)

    def render(self, rng: np.random.Generator, shape: Shape, strain: float = 0.6) -> Field:
        """Draw the fringes, zero mean and unit deviation where the crystal is flat.

        `strain` is the deviation of the smooth displacement of the atoms, in pixels. The amplitude
        varies smoothly over the image, as it does with local thickness and tilt.
        """
        y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
        origin = rng.uniform(0.0, 2.0 * max(self.periods), 2).astype(np.float32)
        x += origin[0] + np.float32(strain) * smooth_noise(rng, shape, 40.0)
        y += origin[1] + np.float32(strain) * smooth_noise(rng, shape, 40.0)
        total = np.zeros(shape, np.float32)
        for period, angle, weight in zip(self.periods, self.angles, self.weights, strict=True):
            k = 2.0 * np.pi / period
            across = np.float32(k * np.cos(angle)) * x + np.float32(k * np.sin(angle)) * y
            total += np.float32(weight) * np.cos(across)
        total /= np.float32(np.sqrt(0.5 * np.sum(np.square(self.weights))))
        envelope = 1.0 + 0.18 * np.clip(smooth_noise(rng, shape, 60.0), -2.0, 2.0)
        return np.asarray(total * envelope, np.float32)


def fresnel_fringes(inside: npt.NDArray[np.bool_], period: float = 5.0) -> Field:
    """Intensity that the edge of a specimen adds: a bright rim and decaying fringes.

    Parameters
    ----------
    inside
        (H, W) True where there is specimen; the fringes lie on the vacuum side and fade
        quickly on the other.
    period
        Width of the first fringe in pixels; the further ones get narrower.
    """
    if inside.all() or not inside.any():
        return np.zeros(inside.shape, np.float32)
    out = scipy.ndimage.distance_transform_edt(~inside)
    depth = scipy.ndimage.distance_transform_edt(inside)
    # Fringes of a straight edge follow the Fresnel integrals: phase ∝ distance².
    wave = np.cos(np.pi * ((out / period) ** 2 / 2.0 - 0.25)) * np.exp(-out / (2.0 * period))
    rim = -np.exp(-depth / (0.5 * period))
    return np.asarray(np.where(inside, 0.8 * rim, wave), np.float32)


def blend(fields: Sequence[Field], which: npt.NDArray[np.uint8]) -> Field:
    """Take field number `which` (H, W) at every pixel."""
    out = fields[0].copy()
    for number, values in enumerate(fields[1:], start=1):
        np.copyto(out, values, where=which == number)
    return out


def _frequencies(shape: Shape) -> npt.NDArray[np.float64]:
    """Spatial frequency of every coefficient of a real transform, in cycles per pixel."""
    fy = np.fft.fftfreq(shape[0])[:, None]
    fx = np.fft.rfftfreq(shape[1])[None, :]
    return np.asarray(np.hypot(fy, fx))


def _filtered(rng: np.random.Generator, shape: Shape, transfer: npt.NDArray[np.float64]) -> Field:
    white = rng.standard_normal(shape, dtype=np.float32)
    values = scipy.fft.irfft2(scipy.fft.rfft2(white) * transfer.astype(np.float32), s=shape)
    values -= values.mean()
    deviation = float(values.std())
    return np.asarray(values / (deviation or 1.0), np.float32)
