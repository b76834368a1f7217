"""Course: how the run went so far, frame by frame, as its curves show it.

The feed's threads write; sessions read whole immutable values. No Panel here.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pychip_stream.archive.exclusions import BLANK, Exclusion
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.archive.marks import CHANGE, MARK, Event
from pychip_stream.domain.caveats import shows_nothing
from pychip_stream.domain.clock import Stamps, newness, on_one_clock
from pychip_stream.wire.messages import Live

from .frame_pictures import FramePicture, Key
from .history import Curves, History, plotted, triples
from .recent import Recent
from .words import AS_ACQUIRED

LIVE_POINTS = 600
RUN_POINTS = 800
_RECENT = 256


class Mark(NamedTuple):
    """When another support set took effect."""

    time: float
    version: str


class RunCurves(NamedTuple):
    """Fractions as measured, others beside them (`Course.beside`), and quantities of frames."""

    measured: Curves
    beside: Curves
    quantities: Curves


class Course:
    """Values and times of all frames that are known; `len` is their number.

    Attributes
    ----------
    scoring
        Which labels the curves show: "acquired", or a support set's under which the past was
        labelled again.
    scoring_name
        That support set as people know it.
    changes
        Grows whenever a curve, or what is drawn on it, may have changed.
    marks, events
        Other support sets, and marks of people.
    left_out
        Frames that are left out of the curves, by whom and when.
    displaced
        Own time and place on the curves of frames whose time is not of this run.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._history, self._truth, self._quantities = History(), History(), History()
        self._former = History()  # as acquired, where the past was labelled again
        self._stamps = History()  # own time, file's time, and when it was seen, of each frame
        self._recent = Recent[Key, FramePicture](_RECENT)
        self._truth_by_key: dict[Key, dict[str, float]] = {}
        self._curves: dict[float | None, tuple[int, RunCurves]] = {}
        self._clock_of = 0
        self.changes = 0
        self.scoring, self.scoring_name = ACQUIRED, ""
        self.marks: tuple[Mark, ...] = ()
        self.events: Sequence[Event] = ()
        self.left_out: Mapping[Key, Exclusion] = {}
        self.displaced: Mapping[Key, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self._history)

    @property
    def simulated(self) -> bool:
        """Whether the true fractions of some frames are known."""
        return bool(self._truth_by_key)

    @property
    def beside(self) -> str:
        """What the curves beside the measured ones are, for people."""
        return AS_ACQUIRED if len(self._former) else "true"

    @property
    def _drawn(self) -> tuple[History, ...]:
        return self._history, self._truth, self._quantities, self._former

    def record(self, live: Live, picture: FramePicture | None) -> None:
        """Take a frame into the curves, and keep its labels until they are certainly archived.

        None: its file has another name now, under which it is there, too.
        """
        key = live.frame.path, live.frame.index
        with self._lock:
            self.changes += 1
            if picture is None:
                for history in (*self._drawn, self._stamps):
                    history.drop(key)
                return
            self._history.put(key, picture.time, picture.fractions)
            # As the archive does, and says soon.
            if shows_nothing(live.measured) and key not in self.left_out:
                out = Exclusion("", *key, True, BLANK, live.classified)
                self._leave_out({**self.left_out, key: out})
            frame = live.frame
            self._stamps.put(key, frame.time, {"": (frame.time, frame.mtime_ns / 1e9, frame.seen)})
            drawn = plotted(live.names, live.measured)
            values = {n: (v, v, v) for n, v in live.measured.items() if n in drawn}
            if values:
                self._quantities.put(key, picture.time, values)
            self._mark(newness(frame), live.support_version)
            self._put_truth(key, picture.time)
            self._recent.put(key, picture)

    def recall(
        self,
        keys: list[Key],
        times: npt.NDArray[np.float64],
        fractions: dict[str, npt.NDArray[np.float64]],
        quantities: dict[str, npt.NDArray[np.float64]],
        versions: Sequence[str],
        stamps: npt.NDArray[np.float64],
        scoring: str = ACQUIRED,
        former: Mapping[str, npt.NDArray[np.float64]] | None = None,
    ) -> None:
        """Take in what the archive knows and was not heard live; see `History.extend`.

        `stamps`: (n, 3) own time, time of the file, and when it was seen, in seconds since 1970.
        Under another scoring than before it replaces what was known of these frames; quantities
        it replaces always: those of readings depend on what came after, and on the clocks.
        `former`: (n, 3) fractions by name as they were acquired, where these are others.
        """
        with self._lock:
            self.changes += 1
            anew = scoring != self.scoring
            if anew:
                self.scoring, self.marks = scoring, ()
                self._recent.clear()
                self._former = History()
            self._stamps.extend(keys, times, {"": stamps})
            self._history.extend(keys, times, fractions, replace=anew)
            if former is not None:
                self._former.extend(keys, times, former, replace=True)
                self._former.leave_out(self.left_out)
            drawn = {n: triples(v) for n, v in quantities.items()}
            self._quantities.extend(keys, times, drawn, replace=True)
            for key, moment, version in zip(keys, times, versions, strict=True):
                self._mark(float(moment), version)
                self._put_truth(key, float(moment))

    def reveal(self, rows: list[tuple[Key, dict[str, float]]]) -> None:
        """Take in true fractions of a simulation."""
        if not rows:
            return
        with self._lock:
            self._truth_by_key.update(rows)
            for key, _ in rows:
                if (moment := self._history.time_of(key)) is not None:
                    self._put_truth(key, moment)
            self.changes += 1

    def leave_out(self, frames: Mapping[Key, Exclusion]) -> None:
        """Draw the curves without these frames, and with all others, from now on."""
        with self._lock:
            self.changes += 1
            self._leave_out(frames)

    def tell(self, events: Sequence[Event]) -> None:
        """Draw these marks of people from now on."""
        marks = [one for one in events if one.kind in (MARK, CHANGE)]
        with self._lock:
            if marks != self.events:
                self.events = marks
                self.changes += 1

    def curves(self, minutes: float | None) -> RunCurves:
        """Curves of the whole run, or of its last minutes.

        Computed once for all viewers that ask for the same.
        """
        with self._lock:
            known = self._curves.get(minutes)
            if known is not None and known[0] == self.changes:
                return known[1]
            self._set_clock()
            since, points = None, RUN_POINTS
            if minutes is not None:
                points = LIVE_POINTS
                newest = self._history.newest_time()
                since = None if newest is None else newest - 60 * minutes
            second = self._former if len(self._former) else self._truth
            shown = (self._history, second, self._quantities)
            found = RunCurves(*(history.curves(points, since) for history in shown))
            self._curves[minutes] = (self.changes, found)
            return found

    def recent(self, key: Key) -> FramePicture | None:
        """Labels of a frame that was classified a short while ago."""
        return self._recent.get(key)

    def nearest(self, moment: float) -> Key | None:
        """Frame whose time is nearest to this one, in seconds since 1970."""
        with self._lock:
            return self._history.nearest(moment)

    def key_at(self, number: int) -> Key | None:
        """Frame by its number in order of time; negative from the end."""
        with self._lock:
            return self._history.key_at(number)

    def number_of(self, key: Key) -> int | None:
        """Return the number of a frame in order of time; None where it is not in the run yet."""
        with self._lock:
            return self._history.number_of(key)

    def truth_of(self, key: Key) -> dict[str, float]:
        """Return the true fractions of a frame, where a simulation told them."""
        with self._lock:
            return self._truth_by_key.get(key, {})

    def _leave_out(self, frames: Mapping[Key, Exclusion]) -> None:
        self.left_out = frames
        for history in self._drawn:
            history.leave_out(frames)

    def _set_clock(self) -> None:
        """Put all frames on one clock, by the same rule as the archive does."""
        keys, stamps = self._stamps.rows("")
        if self._clock_of == self.changes or not keys:
            return
        self._clock_of = self.changes
        paths = np.array([path for path, _ in keys], object)
        placed = on_one_clock(Stamps(stamps[:, 0], stamps[:, 1], stamps[:, 2], paths))
        moved = np.flatnonzero(placed != stamps[:, 0]).tolist()
        times = {keys[row]: float(placed[row]) for row in moved}
        back = {key: own for key, (own, _) in self.displaced.items() if key not in times}
        for history in self._drawn:
            history.set_times(times | back)
        self.displaced = {keys[row]: (float(stamps[row, 0]), float(placed[row])) for row in moved}

    def _mark(self, moment: float, version: str) -> None:
        """Keep a mark where the version differs from that of the frame before."""
        marks = self.marks
        if not version or (marks and marks[-1].version == version):
            return
        if marks and moment < marks[-1].time:
            return  # an older frame that was caught up later, before the change
        self.marks = (*marks, Mark(moment, version))

    def _put_truth(self, key: tuple[str, int], moment: float) -> None:
        row = self._truth_by_key.get(key)
        if row is not None and self._truth.time_of(key) is None:
            self._truth.put(key, moment, {n: (v, v, v) for n, v in row.items()})
