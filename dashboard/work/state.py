"""State of the run as the viewers see it: what pages add to `RunHealth`.

The feed's threads write; sessions read whole immutable values and compare their numbers with the
one they have sent last. No Panel here.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from pychip_stream.domain.clock import newness
from pychip_stream.domain.colors import UNKNOWN_COLOR, shown_color, told_apart
from pychip_stream.domain.support import UNKNOWN, SupportSet
from pychip_stream.operation.health import RunHealth
from pychip_stream.operation.latency import LatencySplit
from pychip_stream.wire.messages import Alert, Live

from .course import Course
from .frame_pictures import FramePicture, Key
from .recent import Recent

FAILURES = 100
"""Frames that could not be analysed and are remembered, the newest."""
_LEVELS = {"critical": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame on its way to the viewers.

    Attributes
    ----------
    number
        Grows with every shot; what a session has sent is compared with it.
    live
        What the archiver said of the frame when it was classified; None: it was not just now.
    skipped
        Frames that were classified since the last shot and not shown.
    """

    live: Live | None
    picture: FramePicture
    skipped: int = 0
    number: int = 0


@dataclass(frozen=True)
class Failure:
    """A frame that could not be analysed."""

    path: str
    index: int
    reason: str


class Alarm(NamedTuple):
    """What an operator must know of: a rule that fires, a service that is not well.

    Attributes
    ----------
    acknowledged
        By whom; empty while by nobody.
    """

    name: str
    level: str
    text: str
    acknowledged: str


class RunState:
    """What is known of the run.

    Attributes
    ----------
    health
        What its services publish.
    course
        Its frames so far, as the curves show them.
    shot
        The newest one.
    pixel_size
        Given by hand while the run goes on; empty: none was.
    ended
        Where the run is now that it is over; empty while it goes on.
    colors
        Of all classes, those of the support set in force as it says; no two are the same.
    """

    def __init__(self, expected: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._failures = Recent[Key, Failure](FAILURES)
        self._latency = LatencySplit()
        self.health, self.course = RunHealth(expected), Course()
        self.shot: Shot | None = None
        self.support: SupportSet | None = None
        self.pixel_size = self.ended = ""
        self._acknowledged: dict[str, tuple[str, str]] = {}
        self._given: dict[str, str] = {UNKNOWN: UNKNOWN_COLOR}
        self.colors = self._given

    # Written by the feed.

    def use(self, support: SupportSet) -> None:
        """Note the support set that is in force from now on."""
        self.support = support
        self.paint({c.name: shown_color(c.color) for c in support.classes})

    def paint(self, colors: Mapping[str, str]) -> None:
        """Give classes the colours that their support set says, so far as no other has them."""
        with self._lock:
            self._given = self._given | dict(colors)
            names = self.support.names if self.support is not None else tuple(colors)
            self.colors = told_apart(self._given, (UNKNOWN, *names))

    def fail(self, failure: Failure) -> None:
        """Note a frame that could not be analysed."""
        self._failures.put((failure.path, failure.index), failure)

    def show(self, shot: Shot, *, meanwhile: bool = False) -> None:
        """Make this the newest shot; `meanwhile`: unless a classified frame is shown by now."""
        with self._lock:
            if not (meanwhile and self.shot and self.shot.picture.version):
                self.shot = replace(shot, number=self.shot.number + 1 if self.shot else 1)

    # Written by the sessions.

    def painted(self, shot: Shot, moment: float) -> None:
        """Note when (seconds since 1970) a browser had painted a shot."""
        with self._lock:
            if shot.live is not None:
                self._latency.add({"shown": max(moment - shot.live.received, 0.0)})

    # Read by the sessions and the feed.

    def latency_counters(self) -> dict[str, float]:
        """Percentiles of the seconds until browsers had painted frames, for the status."""
        with self._lock:
            return self._latency.counters()

    @property
    def alerts(self) -> list[Alert]:
        """Alerts that are to be shown, the latest last."""
        return [a for a in self.health.alerts.values() if a.banner and not a.dry_run]

    @property
    def failures(self) -> list[Failure]:
        """Frames that could not be analysed, the latest last."""
        return self._failures.values()

    def alarms(self) -> list[Alarm]:
        """List what is wrong now: what nobody has acknowledged, then the worst, then the latest."""
        known = self._acknowledged
        told = [(a.rule, a.level, a.reason, a.id) for a in self.alerts if a.state == "on"]
        if not self.health.unsupported:
            told += [(name, "warning", text, text) for name, text in self.health.troubles()]
        found = []
        for name, level, text, firing in reversed(told):
            who, what = known.get(name, ("", ""))
            found.append(Alarm(name, level, text, who if what == firing else ""))
        return sorted(found, key=lambda a: (bool(a.acknowledged), _LEVELS.get(a.level, 9)))

    def acknowledge(self, name: str, who: str) -> None:
        """Note that somebody knows of an alarm; when it comes again it calls again."""
        firings = {a.rule: a.id for a in self.health.alerts.values()} | dict(self.health.troubles())
        if name in firings:
            self._acknowledged = self._acknowledged | {name: (who, firings[name])}

    def newest_key(self) -> Key | None:
        """Newest frame in the folder; None while there is none."""
        seen, shot = self.health.seen, self.shot
        if shot is None or seen is None:
            newer = shot is not None
        else:
            moment = newness(shot.live.frame) if shot.live else shot.picture.time
            newer = moment > newness(seen)
        if shot is not None and newer:
            return shot.picture.key
        return None if seen is None else (seen.path, seen.index)
