"""Health of a run: what its services say of themselves and of its frames."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import numpy as np

from pychip_stream.domain.caveats import shows_nothing
from pychip_stream.domain.clock import comes_after
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.quantities import find, split
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.operation.latency import STAGES
from pychip_stream.wire.channel import Arrays, Received
from pychip_stream.wire.messages import Alert, Live, Seen, Status, Stimulus
from pychip_stream.wire.result import newest_readings

logger = logging.getLogger(__name__)

SILENT_S = 3.5
"""A service that has not been heard of for this long is stalled; hearts beat every second."""
_WELL = frozenset({"running", "starting", "stopping", "stopped"})
_CLOSING = frozenset({"stopping", "stopped", "paused"})
"""States of an archiver after whose watcher was stopped; what pauses it is the disk."""
TROUBLED = frozenset({"stalled", "missing", "paused", "failed"})
START_S = 60.0
"""A service that must be there and has not been heard of for this long is missing."""
STALLED_S = 5.0
"""Frames wait, and none was classified for this long."""
IDLE_S = 60.0
"""The longest for which the picture of a slow run counts as fresh."""
_IN_FLIGHT = 2
_STATUS_S = 2.0
"""Counters of two services belong together to within this."""
_RATE_WINDOW_S = 10.0
_GAPS, _FEWEST_GAPS = 20, 2
_MOST_INSTANCES = 300
_MOST_ALERTS = 200

Light = Literal["live", "behind", "stalled", "idle", "waiting", "lost"]


@dataclass(frozen=True, slots=True)
class Liveness:
    """How fresh what is known is: in a word, and in a sentence for people."""

    light: Light
    text: str
    detail: str = ""


class _Progress(NamedTuple):
    """Frames at a moment: all that were seen, archived, and not classified yet."""

    at: float
    seen: float
    archived: float
    waiting: int


class RunHealth:
    """Newest values of everything that a run publishes.

    One thread takes messages in; others may read, since what they see is replaced, not changed.

    Parameters
    ----------
    expected
        Instances that must be there.
    start_s
        For how long one may be silent from the beginning, since it starts, before it is missing.

    Attributes
    ----------
    statuses
        Last status of each instance.
    heard
        When it was heard, on the clock of `time.monotonic`, as are all the moments here.
    heard_at
        When the hub was last heard; None: never.
    seen, seen_at
        Newest frame in the folder, and when it was seen.
    newest
        Classified frame with the latest acquisition time.
    classified_at
        When the last classified frame was heard of.
    fractions
        Of the newest frame: class (and unknown) → 0…1.
    alerts
        Last alert of each rule, the latest last.
    """

    def __init__(self, expected: Iterable[str] = (), start_s: float = START_S) -> None:
        self._expected, self._start_s = frozenset(expected), start_s
        self.statuses: Mapping[str, Status] = {}
        self.heard: Mapping[str, float] = {}
        self.heard_at: float | None = None
        self.seen: FrameRef | None = None
        self.seen_at: float | None = None
        self.newest: Live | None = None
        self.classified_at: float | None = None
        self.fractions: Mapping[str, float] = {}
        self.alerts: Mapping[str, Alert] = {}
        self._begun = time.monotonic()
        self._last: Live | None = None
        self._arrivals: deque[float] = deque(maxlen=_GAPS)
        self._progress: deque[_Progress] = deque(maxlen=600)
        self._moved_at = self._begun
        self._measured: dict[str, deque[float]] = {}

    def take(self, received: Received) -> bool:
        """Take in one message of the hub; whether it was new. Never raises.

        The hub repeats the newest of some messages for whoever joins late.
        """
        self.heard_at = now = time.monotonic()
        try:
            return self._take(received, now)
        except Exception:  # whoever listens must not die of what anybody says
            logger.exception("a message of the run could not be taken in")
            return False

    def _take(self, received: Received, now: float) -> bool:
        message = received.packet.message
        if isinstance(message, Status):
            known = message.instance in self.statuses or message.instance in self._expected
            if not known and len(self.statuses) >= _MOST_INSTANCES:
                return False  # somebody makes up names
            self.heard = {**self.heard, message.instance: now}
            self.statuses = {**self.statuses, message.instance: message}
            if message.service == "watcher":
                self._note_progress(now)
        elif isinstance(message, Seen):
            return self._take_seen(message.frame, now)
        elif isinstance(message, Alert):
            others = {rule: a for rule, a in self.alerts.items() if rule != message.rule}
            for rule in list(others)[: max(len(others) + 1 - _MOST_ALERTS, 0)]:
                del others[rule]
            self.alerts = {**others, message.rule: message}
        elif isinstance(message, Stimulus):
            self._measured |= newest_readings(message, received.packet.arrays)
        elif isinstance(message, Live):
            return self._take_live(message, received.packet.arrays, now)
        return True

    def _note_progress(self, now: float) -> None:
        point = _Progress(now, self.counter("seen"), self.counter("archived"), self.waiting)
        last = self._progress[-1] if self._progress else point
        if point.archived > last.archived or not last.waiting:
            self._moved_at = now
        self._progress.append(point)

    def _take_seen(self, frame: FrameRef, now: float) -> bool:
        if frame == self.seen:
            return False
        # The first may be a repeat of a frame that is older.
        age = max(time.time() - frame.seen, 0.0) if self.seen is None else 0.0
        self.seen, self.seen_at = frame, now - age
        self._arrivals.append(now)
        return True

    def _take_live(self, live: Live, arrays: Arrays, now: float) -> bool:
        last, self._last = self._last, live
        if last is not None and (last.frame, last.received) == (live.frame, live.received):
            return False
        if live.status != "ok" or "intervals" not in arrays:
            return True
        self.classified_at = now
        if comes_after(live.frame, self.newest.frame if self.newest else None):
            self.newest = live
            measured = {"blank": 1.0} if shows_nothing(live.measured) else live.measured
            if measured is live.measured:  # else the frame before tells more of the specimen
                values = np.asarray(arrays["intervals"], np.float64)[:, 0]
                self.fractions = dict(zip((*live.names, UNKNOWN), values.tolist(), strict=False))
            for name, value in measured.items():
                if (quantity := find(name)) is not None and np.isfinite(value):
                    self._measured.setdefault(name, deque(maxlen=quantity.smoothed)).append(value)
            gone = self._measured.keys() - live.measured.keys()
            for name in filter(lambda name: split(name)[1], gone):  # of a class no more there
                del self._measured[name]
        return True

    def counters(self, instance: str) -> Mapping[str, float]:
        """Return what a service counts; nothing until it was heard."""
        status = self.statuses.get(instance)
        return status.counters if status else {}

    def counter(self, name: str, instance: str = "watcher") -> float:
        """Return a counter of a service, 0 until it was heard and where it is no number."""
        value = self.counters(instance).get(name, 0.0)
        return value if math.isfinite(value) else 0.0

    @property
    def missing(self) -> frozenset[str]:
        """Instances that must be there and were never heard of."""
        if time.monotonic() - self._begun < self._start_s:
            return frozenset()
        return self._expected - self.statuses.keys()

    @property
    def complete(self) -> bool:
        """Whether everybody who must be there was heard of."""
        return self._expected <= self.statuses.keys()

    @property
    def instances(self) -> list[str]:
        """Everybody who was heard of or is missing, in order."""
        return sorted({*self.statuses, *self.missing})

    def quiet_s(self, instance: str) -> float:
        """Seconds since a service was heard of, or could have been."""
        return time.monotonic() - self.heard.get(instance, self._begun)

    def silent(self, instance: str) -> bool:
        """Whether a service has said nothing for so long that it is taken for gone."""
        return self.quiet_s(instance) > SILENT_S

    def state(self, instance: str) -> str:
        """Return the state of a service, "stalled" when it has gone silent, or "missing".

        One that was stopped in order may be silent for a while, and all others but the archiver
        for as long as that ends the run.
        """
        status = self.statuses.get(instance)
        if status is None:
            return "missing" if instance in self.missing else "starting"
        if not self.silent(instance):
            return status.state
        stopped = status.state == "stopped" and self.quiet_s(instance) < self._start_s
        return "stopped" if stopped or self._ending else "stalled"

    @property
    def _ending(self) -> bool:
        """Whether the run is being ended: watcher stopped, archiver closing or just done so."""
        watcher, archiver = (self.statuses.get(name) for name in ("watcher", "archiver"))
        if watcher is None or archiver is None or watcher.state != "stopped":
            return False
        return archiver.state in _CLOSING and self.quiet_s("archiver") < self._start_s

    def troubles(self) -> list[tuple[str, str]]:
        """List what is not as it should be: (instance, its state and why) each."""
        found = []
        for instance in self.instances:
            state, detail = self.state(instance), self.detail(instance)
            if state not in _WELL:
                found.append((instance, state + (f": {detail}" if detail else "")))
        return found

    def detail(self, instance: str) -> str:
        """Say what a service waits for or what is wrong with it."""
        status = self.statuses.get(instance)
        if status is None:
            return "not heard of; was it started, and is this machine's key allowed?"
        if self.state(instance) == "stalled" != status.state:
            return "not heard of any more"
        return status.detail

    @property
    def waiting(self) -> int:
        """Frames that are seen and not classified; not those that only wait for their segment."""
        return max(int(self.counter("behind") - self.counter("pending", "archiver")), 0)

    @property
    def rate(self) -> float:
        """Archived frames per second over the last seconds."""
        return self._rate(lambda p: p.archived)

    @property
    def arriving(self) -> float:
        """Frames per second that come to the folder, over the last seconds."""
        return self._rate(lambda p: p.seen)

    @property
    def classified(self) -> float:
        """Frames per second that are classified, over the last seconds."""
        return self._rate(lambda p: p.seen - p.waiting)

    def _rate(self, count: Callable[["_Progress"], float]) -> float:
        recent = [p for p in list(self._progress) if p.at > time.monotonic() - _RATE_WINDOW_S]
        if len(recent) < 2 or recent[-1].at <= recent[0].at:
            return 0.0
        return max((count(recent[-1]) - count(recent[0])) / (recent[-1].at - recent[0].at), 0.0)

    @property
    def gap_s(self) -> float:
        """Usual time between two frames that come to the folder; 0 before three have come."""
        times = list(self._arrivals)
        return float(np.median(np.diff(times))) if len(times) > _FEWEST_GAPS else 0.0

    @property
    def unsupported(self) -> bool:
        """Whether every worker says that it has no support set."""
        known = [s.counters["support"] for s in self.statuses.values() if "support" in s.counters]
        return bool(known) and not any(known)

    @property
    def silence_s(self) -> float:
        """Seconds since a new frame was seen; NaN before the first."""
        return float("nan") if self.seen_at is None else time.monotonic() - self.seen_at

    def liveness(self) -> Liveness:
        """Say whether what is known is what happens now."""
        now = time.monotonic()
        if now - (self.heard_at or self._begun) > SILENT_S:
            return Liveness("lost", "no connection to the run", "the hub is silent; restarting it")
        if self._ending:
            return Liveness("waiting", "the run is ending", self.detail("archiver"))
        waiting = self.waiting
        frames = f"{waiting} frame" + "s" * (waiting != 1)
        which = "next" if self.counter("archived") else "first"
        if self.unsupported:
            come = waiting > 0 or self.seen is not None
            text = "frames arrive, no examples yet" if come else f"waiting for the {which} frame"
            return Liveness("waiting", text, f"{frames} will be classified then" if come else "")
        if self.classified_at is None and waiting == 0:
            return Liveness("waiting", f"waiting for the {which} frame")
        if self.classified_at is None and self._starting:
            return Liveness("waiting", "the worker is starting", f"{frames} waiting")
        since = ""
        if self.newest is not None:
            since = f" since {datetime.fromtimestamp(self.newest.received):%H:%M:%S}"
        quiet_s = now - max(self.classified_at or self._begun, self._begun)
        still_s, gap_s = min(quiet_s, now - self._moved_at), self.gap_s
        if waiting > 0 and still_s > max(STALLED_S, min(3 * gap_s, IDLE_S)):
            return Liveness("stalled", f"stalled{since}", f"{frames} waiting")
        if waiting > _IN_FLIGHT + _STATUS_S * self.arriving:
            return Liveness("behind", f"{frames} behind", self._forecast(waiting))
        if quiet_s > max(STALLED_S, min(5 * gap_s, IDLE_S)):
            return Liveness("idle", f"no new frame{since}", "everything is analysed")
        return Liveness("live", "live")

    @property
    def _starting(self) -> bool:
        """Whether no worker can have classified anything yet."""
        states = [self.state(i) for i, s in self.statuses.items() if s.service == "inference"]
        young = time.monotonic() - self._begun < self._start_s
        return young and all(state == "starting" for state in states)

    def _forecast(self, waiting: int) -> str:
        """Say how fast frames come and go, and when none waits any more."""
        come, go = self.arriving, self.classified
        if go <= 0:
            return "the newest is shown first"
        words = f"camera {come:.1f}/s, worker {go:.1f}/s"
        if go <= 1.05 * come:
            return f"{words}: it does not catch up; the newest is shown first"
        return f"{words}, caught up in {waiting / (go - come):.0f} s; the newest is shown first"

    @property
    def notices(self) -> list[str]:
        """What the workers say of the numbers that they make, each sentence once."""
        told = [
            status.detail
            for instance, status in self.statuses.items()
            if status.service == "inference" and status.detail and self.state(instance) == "running"
        ]
        return list(dict.fromkeys(told))

    @property
    def measured(self) -> dict[str, float]:
        """Quantities of the newest frames, each the median of as many as it says."""
        return {n: float(np.median(list(last))) for n, last in self._measured.items() if last}

    def values(self) -> dict[tuple[str, str], float]:
        """Everything that alert rules can watch."""
        found = {
            **{split(name): value for name, value in self.measured.items()},
            ("silence", ""): self.silence_s,
            ("stimulus_silence", ""): self.counters("archiver").get("stimulus_silence", math.nan),
            ("troubled", ""): float(sum(self.state(i) in TROUBLED for i in self.instances)),
        }
        if "watcher" in self.statuses:
            found["backlog", ""] = self.counter("behind")
            found["failed", ""] = self.counter("failed")
            found["missing", ""] = self.counter("missing")
        if self.newest is not None:
            found["latency", ""] = self.newest.received - self.newest.frame.seen
        for name, value in self.fractions.items():
            if name == UNKNOWN:
                found["unknown", ""] = value
            else:
                found["fraction", name] = value
        return found

    def document(self) -> dict[str, Any]:
        """Everything as one JSON document."""
        parts = {}
        for instance in self.instances:
            status = self.statuses.get(instance)
            parts[instance] = {
                "service": status.service if status else instance.partition("-")[0],
                "state": self.state(instance),
                "detail": status.detail if status else self.detail(instance),
                "heard_s": round(self.quiet_s(instance), 2) if status else None,
                "counters": self.counters(instance),
            }
        return {
            "services": parts,
            "frames": {n: int(self.counter(n)) for n in ("seen", "archived", "behind", "failed")},
            "frames_per_s": round(self.rate, 3),
            "fractions": dict(self.fractions),
            "latency": self.latency(),
            "alerts": {
                name: {"state": a.state, "level": a.level, "reason": a.reason, "time": a.time}
                for name, a in sorted(self.alerts.items())
            },
            "troubles": [" ".join(pair) for pair in self.troubles()],
        }

    def latency(self) -> dict[str, dict[str, float]]:
        """Seconds that frames spent before each stage: {"read": {"p50": …, "p95": …}, …}."""
        split: dict[str, dict[str, float]] = {}
        for status in self.statuses.values():
            for name, value in status.counters.items():
                kind, _, rest = name.partition(".")
                stage, _, which = rest.partition(".")
                if kind == "latency" and which:
                    split.setdefault(stage, {})[which] = value
        return {stage: split[stage] for stage in (*STAGES, "total") if stage in split}
