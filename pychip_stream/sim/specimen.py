"""Experiments: simulated in-situ runs whose truth is known at every pixel."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy  # its parts load when they are used

from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import UsageError
from pychip_stream.sim.matter import Canvas
from pychip_stream.sim.scenes import SCENARIOS
from pychip_stream.sim.textures import Field, Shape, smooth_noise
from pychip_stream.sim.truth import class_shares, clean_chips, majority_labels, spread_out

SMALLEST, LARGEST = 64, 8192
"""Allowed edge lengths of a frame in pixels."""
NORMAL_C = 300.0
"""Temperature at which an experiment takes its usual time."""
FROZEN_C = 200.0
"""At and below this temperature nothing changes."""
_DOUBLING_C = 25.0


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
        """Take a frame of (H, W) relative intensity.

        `blur` is the standard deviation of the point spread in pixels; the counts have Poisson
        noise of the dose, gain, readout noise and offset.
        """
        blurred = scipy.ndimage.gaussian_filter(intensity, blur, mode="nearest", truncate=3.0)
        electrons = rng.poisson(np.maximum(blurred, 0.0) * self.dose)
        counts = electrons * (self.sensitivity * np.float32(self.counts_per_electron))
        counts += self.offset
        counts += self.readout * rng.standard_normal(intensity.shape, dtype=np.float32)
        return np.asarray(np.clip(np.rint(counts), 0, 65535), np.uint16)


class Furnace:
    """Lets somebody set the temperature while an experiment runs: {"temperature_c": 275} in a file.

    A file that is missing or cannot be read leaves the temperature as it was, so that a half
    written one does no harm.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temperature_c = NORMAL_C

    @property
    def temperature_c(self) -> float:
        """Temperature in degrees Celsius, within 0 … 1000."""
        try:
            value = float(json.loads(self._path.read_text(encoding="utf-8"))["temperature_c"])
        except (OSError, ValueError, TypeError, KeyError):
            return self._temperature_c
        if 0.0 <= value <= 1000.0:
            self._temperature_c = value
        return self._temperature_c

    def speed_at(self, _time_s: float) -> float:
        """How fast the specimen changes now, as `pace` tells."""
        return pace(self.temperature_c)


def pace(temperature_c: float) -> float:
    """How fast the specimen changes, 1 at `NORMAL_C`; doubles every 25 degrees."""
    if temperature_c <= FROZEN_C:
        return 0.0
    return float(min(2.0 ** ((temperature_c - NORMAL_C) / _DOUBLING_C), 64.0))


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """One exposure and what is really there.

    Attributes
    ----------
    pixels
        (H, W) uint16 counts.
    truth
        (H, W) uint8 positions in the experiment's `names`.
    pixel_size_nm
        Edge of a pixel in nanometres.
    time_s
        Seconds since the start of the run.
    """

    pixels: npt.NDArray[np.uint16] = field(repr=False)
    truth: npt.NDArray[np.uint8] = field(repr=False)
    pixel_size_nm: float
    time_s: float


class Experiment:
    """A simulated in-situ run; every frame is a pure function of the arguments and its number.

    Parameters
    ----------
    scenario
        One of `SCENARIOS`: "transformation", "particles", "amorphisation", "newphase", "drift".
    seed
        Changes the specimen, its path and the noise.
    frames
        Length of the run; the whole change happens within it.
    size
        Width and height of a frame in pixels, width first.
    interval_s
        Time between frames in seconds.
    dose
        Electrons per pixel and frame in vacuum: less is noisier.
    pixel_size_nm
        Edge of a pixel in nanometres (for the files; the lattices are drawn in pixels).
    furnace
        Sets the pace of the change from frame to frame, which have to be asked for in order
        the first time; None: an even pace.

    Raises
    ------
    UsageError
        For an unknown scenario or impossible numbers; in methods, if the run has no such frame.
    """

    def __init__(
        self,
        scenario: str = "transformation",
        seed: int = 0,
        frames: int = 60,
        size: tuple[int, int] = (512, 512),
        *,
        interval_s: float = 1.0,
        dose: float = 100.0,
        pixel_size_nm: float = 0.04,
        furnace: Furnace | None = None,
    ) -> None:
        if scenario not in SCENARIOS:
            raise UsageError(f"scenario {scenario!r} is unknown; choose {', '.join(SCENARIOS)}")
        if frames < 1:
            raise UsageError(f"frames {frames}: a run needs at least 1")
        if seed < 0:
            raise UsageError(f"seed {seed}: choose 0 or more")
        if not all(SMALLEST <= edge <= LARGEST for edge in size):
            raise UsageError(
                f"size {size[0]}x{size[1]}: each edge must be {SMALLEST} to {LARGEST} pixels"
            )
        if not (0 < dose <= 1e4 and interval_s > 0 and pixel_size_nm > 0):
            raise UsageError("dose, interval and pixel size must be positive, dose at most 10000")
        self.scenario, self.seed, self.frames = scenario, int(seed), int(frames)
        self.size = (int(size[0]), int(size[1]))
        self.interval_s, self.pixel_size_nm = float(interval_s), float(pixel_size_nm)
        self._furnace, self._passed = furnace, [0.0]
        self._key = (self.seed, list(SCENARIOS).index(scenario))
        shape = (self.size[1], self.size[0])
        self._scene = SCENARIOS[scenario](self._random(0), Canvas(shape))
        self._detector = Detector.uneven(self._random(1), shape, dose)

    def __len__(self) -> int:
        return self.frames

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, also of classes that appear late; labels are positions in it."""
        return self._scene.names

    def frame(self, i: int) -> SimulatedFrame:
        """Take frame `i`, from 0."""
        progress = self.progress(i)
        truth = self._scene.labels(progress)
        start, end = self._scene.blur
        pixels = self._detector.expose(
            self._random(2, i),
            self._scene.intensity(progress, truth),
            start + (end - start) * progress,
        )
        return SimulatedFrame(pixels, truth, self.pixel_size_nm, i * self.interval_s)

    def truth(self, i: int) -> npt.NDArray[np.uint8]:
        """(H, W) uint8 class of every pixel of frame `i`, without taking the frame."""
        return self._scene.labels(self.progress(i))

    def progress(self, i: int) -> float:
        """How much of the change has happened at frame `i`, 0…1."""
        if not 0 <= i < self.frames:
            raise UsageError(f"frame {i}: the run has frames 0 to {self.frames - 1}")
        last = max(self.frames - 1, 1)
        if self._furnace is None:
            return i / last
        while len(self._passed) <= i:
            # Between two frames the pace is that of the middle, else all would come early.
            speed = self._furnace.speed_at((len(self._passed) - 0.5) * self.interval_s)
            self._passed.append(min(self._passed[-1] + speed / last, 1.0))
        return self._passed[i]

    def true_shares(self, i: int, chip_size: ChipSize) -> npt.NDArray[np.float64]:
        """(rows, columns, classes) share of every class in every chip of frame `i`."""
        return class_shares(self.truth(i), len(self.names), chip_size)

    def true_fractions(self, i: int, chip_size: ChipSize) -> dict[str, float]:
        """Share of each class among the pixels that the chips of frame `i` cover."""
        shares = self.true_shares(i, chip_size).mean(axis=(0, 1))
        return dict(zip(self.names, map(float, shares), strict=True))

    def true_labels(self, i: int, chip_size: ChipSize) -> npt.NDArray[np.uint8]:
        """(rows, columns) uint8 class that covers most of each chip of frame `i`."""
        return majority_labels(self.true_shares(i, chip_size))

    def picks(
        self,
        i: int,
        chip_size: ChipSize,
        per_class: int,
        rng: np.random.Generator,
        coverage: float = 0.9,
    ) -> dict[str, list[tuple[int, int]]]:
        """Choose example chips as an operator would: clean ones, from different places.

        Parameters
        ----------
        per_class
            Chips wanted of each class; fewer where the frame has fewer clean ones.
        coverage
            Share of a chip that its class must cover.

        Returns
        -------
        (row, column) pairs, from 0, for each class that has a clean chip in frame `i`.
        """
        shares = self.true_shares(i, chip_size)
        clean = {n: clean_chips(shares[:, :, k], coverage) for k, n in enumerate(self.names)}
        return {n: spread_out(places, per_class, rng) for n, places in clean.items() if places}

    def _random(self, stream: int, number: int = 0) -> np.random.Generator:
        return np.random.default_rng([*self._key, stream, number])
