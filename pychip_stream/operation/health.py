"""Health of a run: what its services say of themselves and of its frames."""

import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import zmq

from pychip_stream.config import Config
from pychip_stream.domain.clock import newness
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.quantities import find, split
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.operation.running import expected
from pychip_stream.wire import messages
from pychip_stream.wire.channel import Arrays, Received
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.messages import Alert, Live, Seen, Status

logger = logging.getLogger(__name__)

SILENT_S = 3.5
"""A service that has not been heard of for this long is stalled; hearts beat every second."""
TROUBLED = frozenset({"stalled", "missing", "paused", "failed"})
START_S = 60.0
"""A service that must be there and has not been heard of for this long is missing."""
STALLED_S = 5.0
"""Frames wait, and none was classified for this long."""
STAGES = ("seen", "read", "classified", "received", "archived", "shown")
"""What ends each stretch of a frame's way: the watcher's sight, the worker's reading and labels,
the archiver's receipt, the disk, a viewer's screen."""
_IN_FLIGHT = 2
_RATE_WINDOW_S = 10.0
_GAPS = 20
_MOST_INSTANCES = 300
_MOST_ALERTS = 200

Light = Literal["live", "behind", "stalled", "idle", "waiting", "lost"]


@dataclass(frozen=True, slots=True)
class Liveness:
    """How fresh what is known is: in a word, and in a sentence for people."""

    light: Light
    text: str
    detail: str = ""


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
        self._archived: deque[tuple[float, float]] = deque(maxlen=600)
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
                self._archived.append((now, self.counter("archived")))
        elif isinstance(message, Seen):
            return self._take_seen(message.frame, now)
        elif isinstance(message, Alert):
            others = {rule: a for rule, a in self.alerts.items() if rule != message.rule}
            for rule in list(others)[: max(len(others) + 1 - _MOST_ALERTS, 0)]:
                del others[rule]
            self.alerts = {**others, message.rule: message}
        elif isinstance(message, Live):
            return self._take_live(message, received.packet.arrays, now)
        return True

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
        if self.newest is None or newness(live.frame) >= newness(self.newest.frame):
            self.newest = live
            values = np.asarray(arrays["intervals"], np.float64)[:, 0]
            names = (*live.names, UNKNOWN)
            self.fractions = {n: float(v) for n, v in zip(names, values, strict=False)}
            for name, value in live.measured.items():
                quantity = find(name)
                if quantity is not None and np.isfinite(value):
                    newest = self._measured.setdefault(name, deque(maxlen=quantity.smoothed))
                    newest.append(value)
            for name in self._measured.keys() - live.measured.keys():
                if split(name)[1]:  # of a class that there is no more
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
        """Return the state of a service, "stalled" when it has gone silent, or "missing"."""
        status = self.statuses.get(instance)
        if status is None:
            return "missing" if instance in self.missing else "starting"
        return "stalled" if self.silent(instance) else status.state

    def troubles(self) -> list[str]:
        """List what is not as it should be, one line each."""
        found = []
        for instance in self.instances:
            state, detail = self.state(instance), self.detail(instance)
            if state not in ("running", "starting"):
                found.append(f"{instance} {state}" + (f": {detail}" if detail else ""))
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
    def rate(self) -> float:
        """Archived frames per second over the last seconds."""
        recent = [p for p in list(self._archived) if p[0] > time.monotonic() - _RATE_WINDOW_S]
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])

    @property
    def gap_s(self) -> float:
        """Usual time between two frames that come to the folder; 0 before two have come."""
        times = list(self._arrivals)
        return float(np.median(np.diff(times))) if len(times) > 1 else 0.0

    @property
    def silence_s(self) -> float:
        """Seconds since a new frame was seen; NaN before the first."""
        return float("nan") if self.seen_at is None else time.monotonic() - self.seen_at

    def liveness(self) -> Liveness:
        """Say whether what is known is what happens now."""
        now = time.monotonic()
        if now - (self.heard_at or self._begun) > SILENT_S:
            return Liveness(
                "lost", "no connection to the run", "the hub is silent; it is restarted"
            )
        behind = int(self.counter("behind"))
        if self.classified_at is None and behind == 0:
            return Liveness("waiting", "waiting for the first frame")
        since = ""
        if self.newest is not None:
            since = f" since {datetime.fromtimestamp(self.newest.received):%H:%M:%S}"
        frames = f"{behind} frame" + "s" * (behind != 1)
        quiet_s = now - max(self.classified_at or self._begun, self._begun)
        if behind > 0 and quiet_s > max(STALLED_S, 3 * self.gap_s):
            return Liveness("stalled", f"stalled{since}", f"{frames} waiting")
        if behind > _IN_FLIGHT:
            return Liveness("behind", f"{frames} behind", "the newest is shown first")
        if quiet_s > max(STALLED_S, 5 * self.gap_s):
            return Liveness("idle", f"no new frame{since}", "everything is analysed")
        return Liveness("live", "live")

    @property
    def measured(self) -> dict[str, float]:
        """Quantities of the newest frames, each the median of as many as it says."""
        return {n: float(np.median(list(last))) for n, last in self._measured.items() if last}

    def values(self) -> dict[tuple[str, str], float]:
        """Everything that alert rules can watch."""
        found = {
            **{split(name): value for name, value in self.measured.items()},
            ("silence", ""): self.silence_s,
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
            "troubles": self.troubles(),
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


def stretches(frame: FrameRef, read: float, classified: float, **later: float) -> dict[str, float]:
    """Seconds that a frame spent before each stage it has reached, and in "total".

    Moments that are not known (0 or NaN) and clocks of other machines that disagree say nothing.

    Parameters
    ----------
    read, classified, later
        When it reached these of the `STAGES`, in seconds since 1970.
    """
    moments = {"seen": frame.seen, "read": read, "classified": classified, **later}
    way = [("written", frame.mtime_ns * 1e-9), *((s, moments.get(s, 0.0)) for s in STAGES)]
    known = [(stage, t) for stage, t in way if np.isfinite(t) and t > 0]
    found = {b[0]: b[1] - a[1] for a, b in pairwise(known) if b[1] >= a[1]}
    if len(known) > 1 and known[-1][1] >= known[0][1]:
        found["total"] = known[-1][1] - known[0][1]
    return found


class LatencySplit:
    """Rolling percentiles of the seconds that frames spend before each of the `STAGES`."""

    def __init__(self, keep: int = 512) -> None:
        self._keep = keep
        self._stretches: dict[str, deque[float]] = {}

    def add(self, seconds: Mapping[str, float]) -> None:
        """Note the stretches of one frame."""
        for stage, value in seconds.items():
            self._stretches.setdefault(stage, deque(maxlen=self._keep)).append(value)

    def counters(self) -> dict[str, float]:
        """Return "latency.STAGE.p50", ….p95 and ….p99 in seconds, for a status."""
        found = {}
        for stage, values in self._stretches.items():
            sample: npt.NDArray[np.float64] = np.fromiter(values, np.float64)
            for which, value in zip((50, 95, 99), np.percentile(sample, (50, 95, 99)), strict=True):
                found[f"latency.{stage}.p{which}"] = round(float(value), 4)
        return found


_TOPICS = (messages.STATUS, messages.LIVE, messages.SEEN, messages.ALERT)


class Monitor(RunHealth):
    """Listens to the hub; all values are those last heard."""

    def __init__(self, config: Config, start_s: float = START_S) -> None:
        super().__init__(expected(config), start_s)
        self._endpoints = Endpoints(config.wire)
        self._channel = self._endpoints.reach("events", zmq.SUB, 1000, topics=_TOPICS)

    def listen(self, timeout_s: float) -> None:
        """Take in what has been published, waiting up to `timeout_s` for the first."""
        for received in self._channel.drain(wait_s=timeout_s):
            self.take(received)

    def line(self) -> str:
        """Frames seen, archived, behind; rate; latency; newest fractions; what is wrong."""
        parts = [
            f"seen {self.counter('seen'):.0f}",
            f"archived {self.counter('archived'):.0f}",
            f"behind {self.counter('behind'):.0f}",
            f"{self.rate:.1f} frames/s",
        ]
        if failed := self.counter("failed"):
            parts.insert(2, f"failed {failed:.0f}")
        if self.newest is not None:
            parts.append(f"latency {self.newest.received - self.newest.frame.seen:.2f} s")
            parts.append(" ".join(f"{n} {v:.3f}" for n, v in self.fractions.items()))
        alarms = [
            f"ALERT {a.rule}: {a.reason}" for _, a in sorted(self.alerts.items()) if a.state == "on"
        ]
        return " | ".join(parts + alarms + self.troubles())

    def close(self) -> None:
        """Stop listening."""
        self._endpoints.close()
