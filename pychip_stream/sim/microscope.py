"""What fills acquisition folders: the practice microscope, and the replay of real files."""

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from pychip_stream.acquisition import series
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import natural
from pychip_stream.errors import UsageError
from pychip_stream.formats import reading
from pychip_stream.sim.frame_files import FORMATS, Exposure, encode, insitu_path
from pychip_stream.sim.furnace import HolderLog
from pychip_stream.sim.specimen import Experiment
from pychip_stream.sim.storage import Delivery, MakeStorage, Source, Storage, check_rate
from pychip_stream.sim.truth import NAME, TruthLog, TruthRow

TRUTH_MAPS = ".truth"
"""Folder of the true class maps; its dot keeps watchers out."""


class Microscope(Source):
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
    storage
        How files are put into the acquisition folder; default: without faults.
    holder
        Keeps a log of what it does to the specimen as long as frames are taken.

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
        storage: MakeStorage = Storage,
        holder: HolderLog | None = None,
    ) -> None:
        self._holder = holder
        self.name = name or _free_name(out, experiment.scenario)
        _check_formats(formats, stack)
        self._rate = check_rate(rate_hz)
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", self.name):
            raise UsageError(f"name {self.name!r}: use letters, digits, '.', '_' and '-'")
        if (out / self.name).exists():
            raise UsageError(f"{out / self.name}: is there already; choose another folder or name")
        self._experiment, self._formats = experiment, tuple(formats)
        self._stack, self._chip_size = stack, chip_size
        self._maps = out / TRUTH_MAPS / self.name if truth_maps else None
        experiment.true_fractions(0, chip_size)  # a chip must fit
        out.mkdir(parents=True, exist_ok=True)
        super().__init__(storage(out, TruthLog(out / NAME, experiment.names)))

    def deliveries(self) -> Iterator[Delivery]:
        """Take the frames one file at a time, as fast as they are asked for."""
        started = time.time()
        second, within = -1, 0
        for number, first in enumerate(range(0, len(self._experiment), self._stack)):
            moment = int(first / self._rate + 1e-9)
            within = within + 1 if moment == second else 0
            second = moment
            kind = self._formats[number % len(self._formats)]
            path = insitu_path(self.name, second, within, kind)
            delivery = self._delivery(number, first, path, started)
            if self._holder is not None:
                self._holder.write_until(started, delivery.due_s)
            yield delivery

    def _delivery(self, number: int, first: int, path: str, started: float) -> Delivery:
        numbers = range(first, min(first + self._stack, len(self._experiment)))
        frames = [self._experiment.frame(i) for i in numbers]
        rows = tuple(
            TruthRow(i, i - first, path, i / self._rate, self._fractions(i)) for i in numbers
        )
        if self._maps is not None:
            self._maps.mkdir(parents=True, exist_ok=True)
            for i, frame in zip(numbers, frames, strict=True):
                there = self._maps / f"frame_{i:06}.png"
                Image.fromarray(frame.truth).save(there, "PNG", compress_level=1)
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


def _check_formats(formats: Sequence[str], stack: int) -> None:
    """Refuse formats that cannot be written, or not as stacks."""
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


class Replay(Source):
    """Copies the frames of a folder into an acquisition folder, in order of time.

    Parameters
    ----------
    source
        Folder of frames; its layout is kept.
    out
        Acquisition folder; made if it is not there.
    rate_hz
        Files per second.
    files
        End after this many; None: all.
    storage
        How files are put into the acquisition folder; default: without faults.

    Raises
    ------
    UsageError
        If there is nothing to replay, or `out` lies in the folder or holds such a file already.
    """

    def __init__(
        self,
        source: Path,
        out: Path,
        rate_hz: float = 2.0,
        *,
        files: int | None = None,
        storage: MakeStorage = Storage,
    ) -> None:
        self._rate = check_rate(rate_hz)
        if not source.is_dir():
            raise UsageError(f"{source}: is no folder; give the folder to replay")
        if out.resolve().is_relative_to(source.resolve()):
            raise UsageError(f"{out}: lies in the folder that is replayed; choose another")
        self._source = source
        self._paths = in_order_of_time(source)[:files]
        if not self._paths:
            raise UsageError(f"{source}: holds no frames (dm3, dm4, tif, tiff, png, …)")
        taken = next((path for path in self._paths if (out / path).exists()), None)
        if taken is not None:
            raise UsageError(f"{out / taken}: is there already; choose another folder")
        out.mkdir(parents=True, exist_ok=True)
        super().__init__(storage(out, None))

    def __len__(self) -> int:
        return len(self._paths)

    def deliveries(self) -> Iterator[Delivery]:
        """Read the files one at a time, as fast as they are asked for."""
        for number, path in enumerate(self._paths):
            data = (self._source / path).read_bytes()
            yield Delivery(number, path, data, due_s=number / self._rate)


def in_order_of_time(folder: Path) -> list[str]:
    """Find the frames below a folder, oldest first.

    Returns
    -------
    Paths relative to `folder`, with forward slashes. In-situ series are ordered by their names,
    which tell the time to the frame; anything else by the time of the last change, and names
    (numbers by value) where that is the same, as in a copy.
    """
    found = [path.relative_to(folder).as_posix() for path in reading.frames_below(folder)]
    moments = {path: series.parse(path) for path in found}
    if all(moment is not None for moment in moments.values()):
        return sorted(found, key=lambda path: (moments[path], path))
    return sorted(found, key=lambda path: ((folder / path).stat().st_mtime_ns, natural(path)))
