"""Experiments: simulated in-situ runs whose truth is known at every pixel."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import UsageError
from pychip_stream.sim.detector import Detector
from pychip_stream.sim.scene import Canvas
from pychip_stream.sim.scenes import SCENARIOS
from pychip_stream.sim.truth import class_shares, clean_chips, majority_labels, spread_out

SMALLEST, LARGEST = 64, 8192
"""Allowed edge lengths of a frame in pixels."""


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

    Raises
    ------
    UsageError
        For an unknown scenario or impossible numbers.
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
        """Take frame `i`, from 0.

        Raises
        ------
        UsageError
            If the run has no such frame.
        """
        progress = self._progress(i)
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
        return self._scene.labels(self._progress(i))

    def true_fractions(self, i: int, chip_size: ChipSize) -> dict[str, float]:
        """Share of each class among the pixels that the chips of frame `i` cover."""
        shares = class_shares(self.truth(i), len(self.names), chip_size).mean(axis=(0, 1))
        return dict(zip(self.names, map(float, shares), strict=True))

    def true_chip_fractions(self, i: int, chip_size: ChipSize) -> dict[str, float]:
        """Share of each class among the chips of frame `i`, each counted as its majority."""
        labels = self.true_labels(i, chip_size)
        counts = np.bincount(labels.ravel(), minlength=len(self.names)) / labels.size
        return dict(zip(self.names, map(float, counts), strict=True))

    def true_labels(self, i: int, chip_size: ChipSize) -> npt.NDArray[np.uint8]:
        """(rows, columns) uint8 class that covers most of each chip of frame `i`."""
        return majority_labels(class_shares(self.truth(i), len(self.names), chip_size))

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
        (row, column) pairs, from 0, for each class that has a clean chip in frame `i`;
        a class that is not there (yet) is left out.
        """
        shares = class_shares(self.truth(i), len(self.names), chip_size)
        found = {}
        for number, name in enumerate(self.names):
            places = clean_chips(shares[:, :, number], coverage)
            if places:
                found[name] = spread_out(places, per_class, rng)
        return found

    def _progress(self, i: int) -> float:
        if not 0 <= i < self.frames:
            raise UsageError(f"frame {i}: the run has frames 0 to {self.frames - 1}")
        return i / max(self.frames - 1, 1)

    def _random(self, stream: int, number: int = 0) -> np.random.Generator:
        return np.random.default_rng([*self._key, stream, number])
