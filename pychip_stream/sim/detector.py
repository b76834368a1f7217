"""The camera: from relative intensity to counts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.sim.textures import Field, Shape, smooth_noise


@dataclass(frozen=True, eq=False)
class Detector:
    """A counting camera with an uneven gain that does not move with the specimen.

    Attributes
    ----------
    dose
        Electrons per pixel and frame in vacuum.
    sensitivity
        (H, W) float32 gain of every pixel relative to the mean.
    counts_per_electron
        Mean gain.
    offset
        Counts without beam.
    readout
        Standard deviation of the readout noise in counts.
    """

    dose: float
    sensitivity: Field
    counts_per_electron: float = 40.0
    offset: float = 120.0
    readout: float = 12.0

    @classmethod
    def uneven(cls, rng: np.random.Generator, size: Shape, dose: float) -> "Detector":
        """Give a camera 2 % of shading and 0.5 % of fixed pattern."""
        shading = 1.0 + 0.02 * np.clip(smooth_noise(rng, size, 0.3 * min(size)), -2.0, 2.0)
        pattern = 1.0 + 0.005 * rng.standard_normal(size, dtype=np.float32)
        return cls(dose, (shading * pattern).astype(np.float32))

    def expose(
        self, rng: np.random.Generator, intensity: Field, blur: float
    ) -> npt.NDArray[np.uint16]:
        """Take a frame.

        Parameters
        ----------
        intensity
            (H, W) relative intensity.
        blur
            Standard deviation of the point spread in pixels.

        Returns
        -------
        (H, W) uint16 counts: Poisson noise of the dose, gain, readout noise, offset.
        """
        blurred = scipy.ndimage.gaussian_filter(intensity, blur, mode="nearest", truncate=3.0)
        electrons = rng.poisson(np.maximum(blurred, 0.0) * self.dose)
        counts = electrons * (self.sensitivity * np.float32(self.counts_per_electron))
        counts += self.offset
        counts += self.readout * rng.standard_normal(intensity.shape, dtype=np.float32)
        return np.asarray(np.clip(np.rint(counts), 0, 65535), np.uint16)
