"""Opened run: an archive, frame by frame; every method may take long and belongs on a thread."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pychip_stream.analysis.run_sample import SampledFrame, sample_run
from pychip_stream.archive import hdf
from pychip_stream.archive.exclusions import exclude
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.archive.marks import events_of
from pychip_stream.archive.run import Run, open_run
from pychip_stream.config import Config
from pychip_stream.domain.frames import inside
from pychip_stream.domain.support import UNKNOWN, SupportSet, scale_of
from pychip_stream.errors import ArchiveError, FrameError, PychipError
from pychip_stream.export.kinds import PixelReader, pixel_reader
from pychip_stream.export.pictures import Rect

from . import display
from .course import Course
from .frame_pictures import Counts, FramePicture, Key
from .history import Curves, History, measured, triples
from .readers import Readers
from .recent import Every, Recent
from .words import AS_ACQUIRED, support_name
from .workbench import Workbench

logger = logging.getLogger(__name__)

BINS = 20
"""Of the histogram of confidence, from 0 to 1."""
_FRAMES_KEPT = 48
_SAMPLED = 200
_SAMPLES_KEPT = 4
_SAMPLE_S = 30.0
"""For so long frames that were read for suggestions serve the next ones."""
POINTS = 800
"""Most moments of a curve."""
_GEOMETRY = (
    "height", "width", "chip_height", "chip_width", "pixel_size", "unit", "pixel_size_from",
)  # fmt: skip


class OpenedRun:
    """A run under one of its scorings.

    Frames that are left out can be looked at like the others; curves and exports are without them.

    Parameters
    ----------
    path
        As for `open_run`.
    root
        Acquisition folder where the run does not know its own.
    scoring
        None: the one that the run shows.
    readers
        Look at its files first, and read its frames; None: here, for what this program has made.

    Attributes
    ----------
    scorings
        Name for people of each scoring of the run.
    """

    def __init__(
        self,
        path: Path,
        root: Path,
        scoring: str | None = None,
        readers: Readers | None = None,
    ) -> None:
        self._readers = readers
        if readers is not None:
            readers.check_run(path)
        run = open_run(path, everything=True)
        self.run: Run = run if scoring is None else run.with_scoring(scoring)
        self._root = root
        self._lock = threading.RLock()
        self._called: Mapping[str, str] = {}
        self._kept = Recent[int, FramePicture](_FRAMES_KEPT)
        self._scale = cache(lambda version: scale_of(self.run.support_set, version))
        self.scorings: dict[str, str] = {}
        self._take()

    def _take(self) -> None:
        run = self.run
        self.scorings = {s: self.scorings.get(s) or scoring_name(run, s) for s in run.scorings}
        own = (*run.names, UNKNOWN)
        self.names = tuple(self._called.get(name, name) for name in own)
        self.colors = {called: run.colors[n] for n, called in zip(own, self.names, strict=True)}
        self.table = run.fractions
        self.intervals = run.intervals
        self._read_pixels = self.pixel_reader()
        self._geometry = run.columns(*_GEOMETRY)
        places = zip(self.table["path"], self.table["index"], strict=True)
        self.keys: list[Key] = [(str(path), int(index)) for path, index in places]
        self._times = run.start + self.table["time_s"].to_numpy(np.float64)
        self.left_out = run.left_out
        self.events = events_of(run)
        self._quantities: History | None = None
        self.history = self._history(0.0)
        self._kept.clear()

    def call(self, names: Mapping[str, str]) -> None:
        """Show classes under the names that they have in another run, by their own.

        A name that two classes would have is not taken over.
        """
        with self._lock:
            taken = {*self.run.names, UNKNOWN}
            self._called = {}
            for own, called in names.items():
                if own in self.run.names and called not in taken:
                    self._called[own] = called
                    taken.add(called)
            self._take()

    def pixel_reader(self) -> PixelReader:
        """Make what reads the pixels of its frames."""
        if self._readers is None:
            return pixel_reader(self.run, self._root)
        return self._readers.pixel_reader(self.run, self._root)

    @property
    def count(self) -> int:
        """Number of frames that can be shown."""
        return len(self.table)

    @property
    def label(self) -> str:
        """Name of run and scoring."""
        return f"{self.run.path.stem} ({self.scorings[self.run.scoring]})"

    def refresh(self) -> bool:
        """Take in what a live run has got since; whether there was anything."""
        with self._lock:
            if self._readers is not None:
                self._readers.check_run(self.run.path)
            if not self.run.refresh():
                return False
            self._take()
            return True

    def leave_out(self, keys: list[Key], who: str, *, undo: bool) -> None:
        """Leave frames out of curves and exports (`undo`: take them back), for everybody.

        Raises
        ------
        ArchiveError
            If the run is not archived yet, or that cannot be written.
        """
        self.edit(lambda run: exclude(RunPlaces.of(run.path), run.run_id, keys, who=who, undo=undo))

    def edit(self, act: Callable[[Run], object]) -> None:
        """Change something of the run, for everybody, and take in what came of it."""
        with self._lock:
            act(self.run)
            self.refresh()

    def exported(self) -> Run:
        """Return the run as it is exported."""
        return self.run.with_scoring(self.run.scoring, everything=False)

    def curves(self, since: float | None = None, until: float | None = None) -> Curves:
        """Fractions over time in at most 800 moments."""
        with self._lock:
            return self.history.curves(POINTS, since, until)

    def curves_from(self, start: float) -> Curves:
        """Return the same curves as if the run had begun at `start`, in seconds since 1970."""
        with self._lock:
            if not self.count:
                return self.curves()
            return self._history(start - self.run.start).curves(POINTS)

    def quantities(self, since: float | None = None, until: float | None = None) -> Curves:
        """Quantities of the frames over time, in at most as many moments."""
        with self._lock:
            if self._quantities is None:
                self._quantities = History()
                values = {n: triples(v) for n, v in measured(self.run).items()}
                self._quantities.extend(self.keys, self._times, values)
                self._quantities.leave_out(self.left_out)
            return self._quantities.curves(POINTS, since, until)

    def nearest(self, moment: float) -> int | None:
        """Frame whose time is nearest to this one, in seconds since 1970."""
        with self._lock:
            return int(np.abs(self._times - moment).argmin()) if self.count else None

    def picture(self, number: int) -> FramePicture:
        """Return a frame; the last few dozen are remembered."""
        with self._lock:
            return self._kept.get(number) or self._kept.put(number, self._make(number))

    def _make(self, number: int) -> FramePicture:
        known = {name: values[number] for name, values in self._geometry.items()}
        result = self.run.result(number)
        labels = result.label_map
        pixels = self._read_pixels(*self.keys[number])
        version = self.run.support_version(number)
        chip = (int(known["chip_width"]), int(known["chip_height"]))
        shape = (int(known["height"]), int(known["width"]))
        if min(*shape, *chip) < 1:  # not known
            chip, shape = (1, 1), (labels.shape[0], labels.shape[1])
        size = float(known["pixel_size"])
        picture = FramePicture(
            key=self.keys[number],
            shape=shape,
            chip_size=chip,
            pixel_size=size if np.isfinite(size) else None,
            unit=hdf.decode(known["unit"]) or None,
            time=float(self._times[number]),
            names=self.names,
            colors=tuple(self.colors[n] for n in self.names),
            label_map=labels,
            intervals=self.intervals[number],
            version=version,
            number=number,
            confidence=histogram(result.confidence),
            layers=result.levels,
            by_hand=known["pixel_size_from"] == b"hand",
        )
        if pixels is None:
            return picture
        return display.with_pixels(picture, pixels, self._scale(version))

    def repaint(self, picture: FramePicture, contrast: display.Contrast) -> FramePicture:
        """Return a picture in another contrast; the same where its file is out of reach."""
        pixels = self._read_pixels(*picture.key)
        if pixels is None:
            return picture
        return display.with_pixels(picture, pixels, self._scale(picture.version), contrast)

    def crop(self, picture: FramePicture, rect: Rect) -> bytes:
        """JPEG of a part of a frame as it was recorded; empty where its file is out of reach."""
        pixels = self._read_pixels(*picture.key)
        if pixels is None:
            return b""
        return display.crop(picture, pixels, self._scale(picture.version), rect)

    def confidence(self) -> tuple[Counts, int]:
        """Chips by confidence over up to 200 evenly spaced frames, and how many frames."""
        counted = np.flatnonzero(~self.table["excluded"])
        places = np.unique(np.linspace(0, max(len(counted) - 1, 0), _SAMPLED).astype(int))
        total = np.zeros(BINS, np.int64)
        used = 0
        for number in counted[places[: len(counted)]].tolist():
            try:
                with self._lock:
                    total += histogram(self.run.confidence(number))
                used += 1
            except PychipError:
                continue  # not covered by this scoring
        return total, used

    def _history(self, shift: float) -> History:
        history = History()
        if self.keys:
            curves = {n: self.intervals[:, i] for i, n in enumerate(self.names)}
            history.extend(self.keys, self._times + shift, curves)
            history.leave_out(self.left_out)
        return history


class PastFrames:
    """Pictures of past frames of the run that is being made; it is read by one thread at a time."""

    def __init__(self, config: Config, course: Course, bench: Workbench) -> None:
        self._config = config
        self._course = course
        self._bench = bench
        self._lock = threading.Lock()
        self._opened: OpenedRun | None = None
        self._numbers: dict[Key, int] = {}
        self._samples = Recent[object, tuple[SampledFrame, ...]](_SAMPLES_KEPT)
        self._sampling = Every(_SAMPLE_S)

    def sample(self, support: SupportSet) -> tuple[SampledFrame, ...]:
        """Frames of the run for whoever improves a support set; see `sample_run`.

        Those that were left out, or whose file has gone, are not among them; none where the run
        cannot be read.
        """
        embedding = support.embedding
        if embedding is None:
            return ()
        key = embedding.encoder_hash, support.chip_size, support.normalization
        if self._sampling.due(time.monotonic()):
            self._samples.clear()
        found = self._samples.get(key)
        if found is None:
            try:
                found = sample_run(self.exported(), support, self._at_hand)
            except PychipError as error:
                logger.info("no frames of the run for suggestions: %s", error)
                found = ()
            self._samples.put(key, found)
        gone = self._course.left_out
        return tuple(f for f in found if f.key not in gone and self._at_hand(f.key))

    def picture(self, key: Key) -> FramePicture:
        """Return a frame; its picture is empty where the file is gone.

        Raises
        ------
        ArchiveError
            If nothing is known of it.
        """
        recent = self._course.recent(key)
        if recent is None:
            with self._lock:
                return self._archived(key)
        try:
            frame = self._bench.frame(key)
        except FrameError:
            return recent
        return display.with_pixels(recent, frame.pixels, self._bench.sets.scale_of(recent.version))

    def leave_out(self, key: Key, who: str, *, undo: bool) -> None:
        """Leave a frame out of the curves of all viewers; see `OpenedRun.leave_out`."""
        with self._lock:
            opened = self._open()
            opened.refresh()
            opened.leave_out([key], who, undo=undo)
            self._numbers = {}
            self._course.leave_out(opened.left_out)

    def edit(self, act: Callable[[Run], object]) -> None:
        """Change something of the run, for all viewers; see `OpenedRun.edit`."""
        with self._lock:
            opened = self._open()
            opened.refresh()
            opened.edit(act)
            self._numbers = {}
            self._course.tell(opened.events)

    def exported(self) -> Run:
        """Return the run as it is now; see `OpenedRun.exported`."""
        with self._lock:
            opened = self._open()
            if opened.refresh():
                self._numbers = {}
            return opened.exported()

    def _at_hand(self, key: Key) -> bool:
        try:
            return inside(self._config.watch.root, key[0]).is_file()
        except (FrameError, OSError):
            return False

    def _open(self) -> OpenedRun:
        if self._opened is None:
            root, readers = self._config.watch.root, self._bench.readers
            self._opened = OpenedRun(self._config.run_path, root, readers=readers)
            self._numbers = {}
        return self._opened

    def _archived(self, key: Key) -> FramePicture:
        opened = self._open()
        if key not in self._numbers and opened.refresh():
            self._numbers = {}
        if not self._numbers:
            self._numbers = {known: n for n, known in enumerate(opened.keys)}
        if key not in self._numbers:
            raise ArchiveError(f"{key[0]}: is not in the archive yet; try again in a moment")
        return opened.picture(self._numbers[key])


def scoring_name(run: Run, scoring: str) -> str:
    """Name of a scoring for people: that of the support set behind it."""
    if scoring == ACQUIRED:
        return AS_ACQUIRED
    try:
        return support_name(run.support_set(scoring))
    except PychipError:
        return f"{scoring[:8]} (its support set cannot be read)"


def histogram(confidence: npt.NDArray[np.floating]) -> Counts:
    """(BINS,) number of chips by confidence; NaN is left out."""
    values = confidence[np.isfinite(confidence)].astype(np.float64)
    return np.histogram(np.clip(values, 0, 1), BINS, (0.0, 1.0))[0].astype(np.int64)
