"""The practice microscope: takes the frames of an experiment and stores them at a rate."""

import itertools
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pychip_stream.domain.chips import ChipSize
from pychip_stream.errors import UsageError
from pychip_stream.sim.frame_files import FORMATS, Exposure, encode, insitu_path
from pychip_stream.sim.specimen import Experiment, SimulatedFrame
from pychip_stream.sim.storage import Delivery, MakeStorage, Storage, play
from pychip_stream.sim.truth import TruthLog, TruthRow

TRUTH_NAME = "truth.csv"
"""Table of the true fractions, in the root of the acquisition folder."""

TRUTH_MAPS = ".truth"
"""Folder of the true class maps; its dot keeps watchers out."""


class Microscope:
    """Writes an experiment into an acquisition folder, as Gatan's in-situ software lays it out.

    Parameters
    ----------
    out
        Acquisition folder; made if it is not there.
    rate_hz
        Frames per second, on the wall clock and in the names of the files.
    formats
        One of "dm4", "tiff", "png", or several that take turns.
    name
        Of the series; default: the scenario, with a number where it is taken.
    stack
        Frames per file (not for png).
    chip_size
        For the true fractions, which are those of the area that the chips cover.
    truth_maps
        Also write the class of every pixel, as `.truth/NAME/frame_000000.png`.
    started
        Time of the first frame in seconds since 1970; default: when `run` is called.
    storage
        How files are put into the acquisition folder; default: without faults.

    Raises
    ------
    UsageError
        For impossible options, or a series that is already there.
    """

    def __init__(
        self,
        out: Path,
        experiment: Experiment,
        rate_hz: float = 2.0,
        formats: Sequence[str] = ("dm4", "tiff"),
        *,
        name: str | None = None,
        stack: int = 1,
        chip_size: ChipSize = ChipSize(32, 32),  # noqa: B008  (frozen)
        truth_maps: bool = False,
        started: float | None = None,
        storage: MakeStorage = Storage,
    ) -> None:
        self.name = name or _free_name(out, experiment.scenario)
        check_formats(formats, stack)
        if not 0 < rate_hz <= 10_000:
            raise UsageError(f"rate {rate_hz:g}: choose frames per second above 0, up to 10000")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise UsageError(f"name {self.name!r}: use letters, digits, '.', '_' and '-'")
        if (out / self.name).exists():
            raise UsageError(f"{out / self.name}: is there already; choose another folder or name")
        self._experiment, self._rate, self._formats = experiment, float(rate_hz), tuple(formats)
        self._stack, self._chip_size, self._started = stack, chip_size, started
        self._maps = out / TRUTH_MAPS / self.name if truth_maps else None
        self._experiment.true_fractions(0, chip_size)  # a chip must fit
        out.mkdir(parents=True, exist_ok=True)
        self._storage = storage(out, TruthLog(out / TRUTH_NAME, experiment.names))

    @property
    def names(self) -> tuple[str, ...]:
        """Class names, in the order of the columns of the truth."""
        return self._experiment.names

    def run(
        self,
        stop: threading.Event | None = None,
        on_file: Callable[[Delivery], None] | None = None,
    ) -> int:
        """Take all frames, or until `stop` is set.

        Parameters
        ----------
        on_file
            Called after each file.

        Returns
        -------
        Number of frames taken.

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        taken = 0

        def count(delivery: Delivery) -> None:
            nonlocal taken
            taken += len(delivery.rows)
            if on_file is not None:
                on_file(delivery)

        play(self.deliveries(), self._storage, stop or threading.Event(), count)
        return taken

    def deliveries(self) -> Iterator[Delivery]:
        """Take the frames one file at a time, as fast as they are asked for."""
        started = time.time() if self._started is None else self._started
        second, within = -1, 0
        for number, first in enumerate(range(0, len(self._experiment), self._stack)):
            moment = int(first / self._rate + 1e-9)
            within = within + 1 if moment == second else 0
            second = moment
            kind = self._formats[number % len(self._formats)]
            path = insitu_path(self.name, second, within, kind)
            yield self._delivery(number, first, path, started)

    def _delivery(self, number: int, first: int, path: str, started: float) -> Delivery:
        numbers = range(first, min(first + self._stack, len(self._experiment)))
        frames = [self._experiment.frame(i) for i in numbers]
        rows = tuple(
            TruthRow(i, i - first, path, i / self._rate, self._fractions(i)) for i in numbers
        )
        if self._maps is not None:
            for i, frame in zip(numbers, frames, strict=True):
                _save_map(self._maps / f"frame_{i:06}.png", frame)
        exposure = Exposure(
            pixel_size_nm=frames[0].pixel_size_nm,
            time=started + first / self._rate,
            exposure_s=1.0 / self._rate,
            interval_s=1.0 / self._rate,
        )
        stem, _, kind = path.rpartition("/")[2].rpartition(".")
        pixels = np.stack([frame.pixels for frame in frames])
        pixels = pixels if self._stack > 1 else pixels[0]
        return Delivery(
            number,
            path,
            data=encode(kind, pixels, exposure, stem),
            rows=rows,
            due_s=rows[-1].time_s,
            draft=lambda: encode(kind, pixels // 2, exposure, stem),
        )

    def _fractions(self, i: int) -> tuple[float, ...]:
        return tuple(self._experiment.true_fractions(i, self._chip_size).values())


def check_formats(formats: Sequence[str], stack: int) -> None:
    """Refuse formats that cannot be written, or not as stacks.

    Raises
    ------
    UsageError
        If there is one.
    """
    if not formats:
        raise UsageError(f"formats: name at least one of {', '.join(FORMATS)}")
    for kind in formats:
        if kind not in FORMATS:
            raise UsageError(f"format {kind!r} is unknown; choose {', '.join(FORMATS)}")
    if stack < 1:
        raise UsageError(f"stack {stack}: a file needs at least 1 frame")
    if stack > 1 and "png" in formats:
        raise UsageError("png holds single frames only; choose dm4 or tiff for stacks")


def _free_name(out: Path, name: str) -> str:
    """Choose the first of NAME, NAME-2, NAME-3, … that is no series yet."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(one for one in names if not (out / one).exists())


def _save_map(path: Path, frame: SimulatedFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(frame.truth).save(path, "PNG", compress_level=1)
