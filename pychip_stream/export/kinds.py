"""Export kind: what there is to know of a kind of file that can be had of a run."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pychip_stream.config import WatchConfig
from pychip_stream.domain.frames import inside
from pychip_stream.domain.progress import Progress
from pychip_stream.errors import ArchiveError, PychipError

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run
    from pychip_stream.formats.guarded import GuardedReader


PixelReader = Callable[[str, int], npt.NDArray[np.generic] | None]
"""(path, index) → (H, W) counts, or None where they are gone."""


_TAKEN = (
    "path",
    "run",
    "scoring",
    "frames",
    "fps",
    "max_frames",
    "iso_times",
    "excluded",
    "against",
    "as_json",
    "json",
    "help",
)
"""Other words of the `export` command and its document."""


@dataclass(frozen=True)
class ExportSource:
    """What is exported, and how.

    Attributes
    ----------
    shown
        Number of the frame that is on the screen; -1: none is, the newest counts.
    fps, max_frames
        Of films; None: as is usual for their kind.
    iso_times
        Tables of frames tell the moment, too, as ISO 8601 with the zone of this computer.
    against
        Quantity that fractions are drawn against; None: time.
    """

    run: Run
    read_pixels: PixelReader
    shown: int = -1
    fps: float | None = None
    max_frames: int | None = None
    iso_times: bool = False
    against: str | None = None

    @property
    def frame(self) -> int:
        """Number of the frame that single pictures show: the one shown, else the newest."""
        if self.shown >= 0:
            return self.shown
        covered = self.run.covered
        if not len(covered):
            raise ArchiveError(f"{self.run.path}: has no classified frame to draw")
        return int(covered[-1])


@dataclass(frozen=True)
class ExportKind:
    """A kind of file, or of folder.

    Attributes
    ----------
    name
        Letters, digits and underscores; its option on the command line has dashes instead.
        None of the command's other words.
    meaning
        What it is, in a few words.
    suffix, media
        End of the file's name after that of the run, and media type; empty for a folder.
    make
        Writes it whole or not at all: (source, file to write, progress).
    label
        Of its button on the page; empty: not offered there.
    option
        Whether the command line offers it.
    pixels
        Whether the frames' pixels are looked at.
    strict
        Whether a file of another suffix would be one of another kind.
    film
        Whether it shows frame after frame; not offered for single ones.
    against
        Whether it can show the fractions against a quantity.
    place
        Among all kinds, in the order in which they are offered.
    """

    name: str
    meaning: str
    suffix: str
    media: str
    make: Callable[[ExportSource, Path, Progress], object]
    label: str = ""
    option: bool = True
    pixels: bool = False
    strict: bool = False
    film: bool = False
    against: bool = False
    place: int = 100

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name in _TAKEN:
            raise ValueError(f"{self.name!r} cannot be the name of an export")


def pixel_reader(
    run: Run,
    root: Path | None = None,
    *,
    moved: bool = False,
    reader: GuardedReader | None = None,
) -> PixelReader:
    """Return a function that reads the pixels of a run's frames.

    No frame is read that needs more memory than `watch.max_frame_mb` of the run allows.

    Parameters
    ----------
    root
        Acquisition folder where the run does not know its own.
    moved
        The frames are in `root` now, whatever the run knows.
    reader
        Reads in a process of its own, within its own limit; default: one that goes
        with the function.
    """
    base = root if moved else run.root or root
    told, detector = run.watch.get("max_frame_mb"), str(run.watch.get("detector") or "")
    usual = WatchConfig.model_fields["max_frame_mb"].default
    known = told if isinstance(told, (int, float)) and 0 < told < np.inf else usual
    own = reader is None
    if reader is None:
        from pychip_stream.formats.guarded import GuardedReader

        reader = GuardedReader(int(known * 2**20))

    def read(path: str, index: int) -> npt.NDArray[np.generic] | None:
        if base is None:
            return None
        try:
            return reader.read_frame(inside(base, path), index, detector).pixels
        except (PychipError, OSError):
            return None

    if own:
        weakref.finalize(read, reader.close)
    return read
