"""State of the run as the viewers see it: plain objects, one writer, versioned pull.

The feed's thread writes; sessions read whole immutable values and compare their numbers with the
one they have sent last. No Panel here.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.support import UNKNOWN, UNKNOWN_COLOR, SupportSet
from pychip_stream.operation.health import LatencySplit
from pychip_stream.wire.messages import Live, Status

from .history import Curves, History

Light = Literal["live", "behind", "stalled", "idle", "waiting", "lost"]

SILENT_S = 5.0
"""A service that says nothing for this long is taken for gone."""
STALLED_S = 5.0
"""Frames wait and none has come for this long."""
_IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class Liveness:
    """A state in a word, and in a sentence for people."""

    light: Light
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Pulse:
    """What liveness is judged from; times are seconds of one clock.

    Attributes
    ----------
    heard_at
        When the hub was last heard; None: never.
    shown_at
        When the last frame was classified and shown here; None: never.
    seen_at
        When the watcher last saw a new frame; None: never.
    behind
        Frames seen and not archived.
    gap_s
        Usual time between two frames.
    started_at
        When listening began.
    """

    heard_at: float | None
    shown_at: float | None
    seen_at: float | None
    behind: int
    gap_s: float
    started_at: float


def judge(pulse: Pulse, now: float, clock: str = "") -> Liveness:
    """Say how fresh the page is.

    Parameters
    ----------
    now
        On the clock of `pulse`.
    clock
        Time of day of the newest frame, for the text.
    """
    if now - (pulse.heard_at or pulse.started_at) > SILENT_S:
        return Liveness("lost", "no connection to the run", "the hub is silent; it is restarted")
    since = f" since {clock}" if clock else ""
    if pulse.shown_at is None and pulse.behind == 0:
        return Liveness("waiting", "waiting for the first frame")
    quiet_s = now - max(pulse.shown_at or pulse.started_at, pulse.started_at)
    if pulse.behind > 0 and quiet_s > max(STALLED_S, 3 * pulse.gap_s):
        return Liveness("stalled", f"stalled{since}", f"{_frames(pulse.behind)} waiting")
    if pulse.behind > _IN_FLIGHT:
        return Liveness("behind", f"{_frames(pulse.behind)} behind", "the newest is shown first")
    if quiet_s > max(STALLED_S, 5 * pulse.gap_s):
        return Liveness("idle", f"no new frame{since}", "everything is analysed")
    return Liveness("live", "live")


def troubles(statuses: Mapping[str, Status], heard: Mapping[str, float], now: float) -> list[str]:
    """One line for every service that is not well."""
    lines = []
    for instance, status in sorted(statuses.items()):
        if now - heard[instance] > SILENT_S:
            lines.append(f"{instance} is silent")
        elif status.state not in ("running", "starting"):
            lines.append(
                f"{instance} {status.state}" + (f": {status.detail}" * bool(status.detail))
            )
    return lines


def _frames(count: int) -> str:
    return f"{count} frame" + "s" * (count != 1)


LIVE_POINTS = 600
RUN_POINTS = 800
_GAPS = 20
_MOST_ALERTS = 200
_RECENT = 256


@dataclass(frozen=True, eq=False)
class Shot:
    """One classified frame, ready for any number of viewers.

    Attributes
    ----------
    number
        Grows with every shot; what a session has sent is compared with it.
    live
        What the archiver said of the frame.
    label_map
        (rows, columns) uint8 index into `live.names`; their number means unknown.
    intervals
        (K + 1, 3) fraction, low, high; the last row is unknown.
    jpeg
        The picture; empty where the file could not be read any more.
    skipped
        Frames that were classified since the last shot and not shown, newest first.
    """

    number: int
    live: Live
    label_map: npt.NDArray[np.uint8] = field(repr=False)
    intervals: npt.NDArray[np.float64] = field(repr=False)
    jpeg: bytes = field(default=b"", repr=False)
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that the operator should know.

    Attributes
    ----------
    key
        A later alert of the same key replaces this one.
    level
        "info", "warning" or "critical".
    ended
        When it was over, in seconds since 1970; None: it still holds.
    """

    key: str
    level: str
    text: str
    time: float
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """When another support set took effect."""

    time: float
    version: str


class RunState:
    """What is known of the run: the newest shot, fractions, services, alerts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._heard: float | None = None
        self._shown: float | None = None
        self._seen_at: float | None = None
        self._seen: FrameRef | None = None
        self._arrivals: deque[float] = deque(maxlen=_GAPS)
        self._history = History()
        self._recent: OrderedDict[tuple[str, int], Shot] = OrderedDict()
        self._truth = History()
        self._truth_by_key: dict[tuple[str, int], dict[str, float]] = {}
        self._curves: dict[object, tuple[int, Curves, Curves]] = {}
        self._changes = 0
        self._statuses: dict[str, Status] = {}
        self._status_heard: dict[str, float] = {}
        self._alerts: dict[str, Alert] = {}
        self._latency = LatencySplit()
        self.shot: Shot | None = None
        self.support: SupportSet | None = None
        self.marks: tuple[Mark, ...] = ()
        self.failed: tuple[tuple[str, str], ...] = ()
        self.colors: dict[str, str] = {UNKNOWN: UNKNOWN_COLOR}

    # Written by the feed.

    def hear(self, status: Status | None = None) -> None:
        """Note that the hub lives, and what it says of a service."""
        self._heard = time.monotonic()
        if status is not None:
            with self._lock:
                self._statuses[status.instance] = status
                self._status_heard[status.instance] = self._heard

    def see(self, frame: FrameRef) -> None:
        """Note the newest frame in the folder."""
        if self._seen != frame:
            self._seen, self._seen_at = frame, time.monotonic()
            self._arrivals.append(self._seen_at)

    def use(self, support: SupportSet) -> None:
        """Note the support set that is in force from now on."""
        self.support = support
        self.colors = self.colors | {c.name: c.color for c in support.classes}

    def record(self, live: Live, intervals: npt.NDArray[np.float64] | None) -> None:
        """Take a frame into the curves."""
        key = (live.frame.path, live.frame.index)
        with self._lock:
            self._changes += 1
            if live.status != "ok" or intervals is None:
                rest = tuple(f for f in self.failed if f[0] != live.frame.path)
                self.failed = ((live.frame.path, live.reason), *rest)[:1000]
                return
            names = (*live.names, UNKNOWN)
            self._history.put(key, live.frame.time, dict(zip(names, intervals, strict=True)))
            self.colors = self.colors | dict(zip(live.names, live.colors, strict=False))
            self._mark(live.frame.time, live.support_version)
            self._put_truth(key, live.frame.time)

    def remember(self, shot: Shot) -> None:
        """Keep labels at hand until they are certainly archived."""
        with self._lock:
            self._recent[(shot.live.frame.path, shot.live.frame.index)] = shot
            while len(self._recent) > _RECENT:
                self._recent.popitem(last=False)

    def recall(
        self,
        keys: list[tuple[str, int]],
        times: npt.NDArray[np.float64],
        columns: dict[str, npt.NDArray[np.float64]],
        versions: list[str],
    ) -> None:
        """Take in what the archive knows and was not heard live; see `History.extend`."""
        with self._lock:
            self._changes += 1
            self._history.extend(keys, times, columns)
            for moment, version in zip(times, versions, strict=True):
                self._mark(float(moment), version)
            for key, moment in zip(keys, times, strict=True):
                self._put_truth(key, float(moment))

    def reveal(self, rows: list[tuple[tuple[str, int], dict[str, float]]]) -> None:
        """Take in true fractions of a simulation."""
        if not rows:
            return
        with self._lock:
            self._truth_by_key.update(rows)
            for key, _ in rows:
                if (moment := self._history.time_of(key)) is not None:
                    self._put_truth(key, moment)
            self._changes += 1

    def show(self, shot: Shot) -> None:
        """Make this the newest shot."""
        number = self.shot.number + 1 if self.shot else 1
        self._shown = time.monotonic()
        self.shot = replace(shot, number=number)

    def painted(self, shot: Shot, moment: float) -> None:
        """Note when (seconds since 1970) a browser had painted a shot."""
        with self._lock:
            self._latency.add(shown=max(moment - shot.live.received, 0.0))

    def alert(self, alert: Alert) -> None:
        """Add an alert, or replace (also end) the one with its key."""
        with self._lock:
            self._alerts.pop(alert.key, None)
            self._alerts[alert.key] = alert
            while len(self._alerts) > _MOST_ALERTS:
                self._alerts.pop(next(iter(self._alerts)))

    # Read by the sessions and the feed.

    def latency_counters(self) -> dict[str, float]:
        """Percentiles of the seconds until browsers had painted frames, for the status."""
        with self._lock:
            return self._latency.counters()

    @property
    def statuses(self) -> dict[str, Status]:
        """Newest status of each service instance."""
        with self._lock:
            return dict(self._statuses)

    @property
    def silence(self) -> dict[str, float]:
        """Seconds since each service instance was heard of."""
        now = time.monotonic()
        with self._lock:
            return {name: now - heard for name, heard in self._status_heard.items()}

    @property
    def behind(self) -> int:
        """Frames seen and not archived."""
        watcher = self._statuses.get("watcher")
        return int(watcher.counters.get("behind", 0)) if watcher else 0

    @property
    def rate(self) -> float:
        """Frames per second that arrive, over the last few."""
        gap = self._gap()
        return 1.0 / gap if gap > 0 else 0.0

    @property
    def changes(self) -> int:
        """Grows whenever a curve may have changed."""
        return self._changes

    @property
    def frames(self) -> int:
        """Number of classified frames that are known."""
        return len(self._history)

    @property
    def alerts(self) -> list[Alert]:
        """All alerts, oldest first."""
        with self._lock:
            return list(self._alerts.values())

    def liveness(self) -> Liveness:
        """How fresh this is."""
        shot = self.shot
        clock = ""
        if shot is not None:
            clock = datetime.fromtimestamp(shot.live.received).strftime("%H:%M:%S")
        pulse = Pulse(
            self._heard, self._shown, self._seen_at, self.behind, self._gap(), self._started
        )
        return judge(pulse, time.monotonic(), clock)

    def troubles(self) -> list[str]:
        """One line for every service that is not well."""
        with self._lock:
            return troubles(self._statuses, self._status_heard, time.monotonic())

    def curves(self, minutes: float | None) -> tuple[Curves, Curves]:
        """Measured and true fractions of the whole run, or of its last minutes.

        Computed once for all viewers that ask for the same.
        """
        with self._lock:
            known = self._curves.get(minutes)
            if known is not None and known[0] == self._changes:
                return known[1], known[2]
            since = None
            points = RUN_POINTS
            if minutes is not None:
                points = LIVE_POINTS
                newest = self._history.newest_time()
                since = None if newest is None else newest - 60 * minutes
            found = (self._history.curves(points, since), self._truth.curves(points, since))
            self._curves[minutes] = (self._changes, *found)
            return found

    def recent(self, key: tuple[str, int]) -> Shot | None:
        """Labels of a frame that was classified a short while ago."""
        with self._lock:
            return self._recent.get(key)

    def nearest(self, moment: float) -> tuple[str, int] | None:
        """Frame whose time is nearest to this one, in seconds since 1970."""
        with self._lock:
            return self._history.nearest(moment)

    def newest_key(self) -> tuple[str, int] | None:
        """Path and index of the newest frame in the folder; None while there is none."""
        seen, shot = self._seen, self.shot
        newest = seen
        if shot is not None and (seen is None or shot.live.frame.time > seen.time):
            newest = shot.live.frame
        return None if newest is None else (newest.path, newest.index)

    def key_at(self, number: int) -> tuple[str, int] | None:
        """Path and index of a frame by its number in order of time; negative from the end."""
        with self._lock:
            return self._history.key_at(number)

    def truth_of(self, frame: FrameRef) -> dict[str, float]:
        """Return the true fractions of a frame, where a simulation told them."""
        with self._lock:
            return self._truth_by_key.get((frame.path, frame.index), {})

    def _gap(self) -> float:
        times = list(self._arrivals)
        return float(np.median(np.diff(times))) if len(times) > 1 else 0.0

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
