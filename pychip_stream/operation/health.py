"""Monitor: what a run is doing, in one line for the terminal."""

import time
from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import zmq

from pychip_stream.config import Config
from pychip_stream.domain.quantities import OF_FRAMES
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.wire import messages
from pychip_stream.wire.channel import Arrays, Received
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.messages import Alert, Live, Seen, Status

SILENT_S = 3.5
"""A service that has not been heard of for this long is stalled; hearts beat every second."""
TROUBLED = frozenset({"stalled", "paused", "failed"})
STAGES = ("seen", "read", "classified", "archived", "shown")
_RATE_WINDOW_S = 10.0
_MOST_INSTANCES = 300


class RunHealth:
    """Newest values of everything that a run publishes.

    Attributes
    ----------
    statuses
        Last status of each instance.
    heard
        When it was heard, on the clock of `time.monotonic`.
    newest
        Classified frame with the latest acquisition time.
    fractions
        Of the newest frame: class (and unknown) → 0…1.
    alerts
        Last alert of each rule.
    """

    def __init__(self) -> None:
        self.statuses: dict[str, Status] = {}
        self.heard: dict[str, float] = {}
        self.newest: Live | None = None
        self.fractions: dict[str, float] = {}
        self.alerts: dict[str, Alert] = {}
        self._archived: deque[tuple[float, float]] = deque(maxlen=600)
        self._seen_at: float | None = None
        self._measured: dict[str, deque[float]] = {
            q.name: deque(maxlen=q.smoothed) for q in OF_FRAMES
        }

    def take(self, received: Received) -> None:
        """Take in one message of the hub."""
        message, now = received.packet.message, time.monotonic()
        if isinstance(message, Status):
            if message.instance not in self.statuses and len(self.statuses) >= _MOST_INSTANCES:
                return  # somebody makes up names
            self.statuses[message.instance] = message
            self.heard[message.instance] = now
            if message.service == "watcher":
                self._archived.append((now, self.counter("archived")))
        elif isinstance(message, Seen):
            # The first may be a repeat for late joiners, of a frame that is older.
            age = max(time.time() - message.frame.seen, 0.0) if self._seen_at is None else 0.0
            self._seen_at = now - age
        elif isinstance(message, Alert):
            self.alerts[message.rule] = message
        elif isinstance(message, Live):
            self._take_live(message, received.packet.arrays)

    def _take_live(self, live: Live, arrays: Arrays) -> None:
        if live.status != "ok" or "intervals" not in arrays:
            return
        if self.newest is None or live.frame.time >= self.newest.frame.time:
            self.newest = live
            values = np.asarray(arrays["intervals"], np.float64)[:, 0]
            names = (*live.names, UNKNOWN)
            self.fractions = {n: float(v) for n, v in zip(names, values, strict=False)}
            for name, value in live.measured.items():
                if name in self._measured and np.isfinite(value):
                    self._measured[name].append(value)

    def counter(self, name: str, instance: str = "watcher") -> float:
        """Return a counter of a service, 0 until it was heard."""
        status = self.statuses.get(instance)
        return status.counters.get(name, 0.0) if status else 0.0

    def state(self, instance: str) -> str:
        """Return the state of a service, "stalled" when it has gone silent."""
        status = self.statuses.get(instance)
        if status is None:
            return "starting"
        silent = time.monotonic() - self.heard[instance] > SILENT_S
        return "stalled" if silent else status.state

    def troubles(self) -> list[str]:
        """List what is not as it should be, one line each."""
        found = []
        for instance, status in sorted(self.statuses.items()):
            state = self.state(instance)
            if state not in ("running", "starting"):
                silent = state == "stalled" != status.state
                detail = "not heard of any more" if silent else status.detail
                found.append(f"{instance} {state}" + (f": {detail}" if detail else ""))
        return found

    @property
    def rate(self) -> float:
        """Archived frames per second over the last seconds."""
        recent = [p for p in self._archived if p[0] > time.monotonic() - _RATE_WINDOW_S]
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])

    @property
    def silence_s(self) -> float:
        """Seconds since a new frame was seen; NaN before the first."""
        return float("nan") if self._seen_at is None else time.monotonic() - self._seen_at

    @property
    def measured(self) -> dict[str, float]:
        """Quantities of the newest frames, each the median of as many as it says."""
        return {name: float(np.median(last)) for name, last in self._measured.items() if last}

    def values(self) -> dict[tuple[str, str], float]:
        """Everything that alert rules can watch."""
        found = {
            **{(name, ""): value for name, value in self.measured.items()},
            ("silence", ""): self.silence_s,
            ("troubled", ""): float(sum(self.state(i) in TROUBLED for i in self.statuses)),
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
        now = time.monotonic()
        parts = {
            instance: {
                "service": status.service,
                "state": self.state(instance),
                "detail": status.detail,
                "heard_s": round(now - self.heard[instance], 2),
                "counters": status.counters,
            }
            for instance, status in sorted(self.statuses.items())
        }
        return {
            "services": parts,
            "frames": {n: int(self.counter(n)) for n in ("seen", "archived", "behind", "failed")},
            "frames_per_s": round(self.rate, 3),
            "fractions": self.fractions,
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


class LatencySplit:
    """Rolling percentiles of the time that frames spend on each stretch of their way.

    Stages are named by what they end with: seen (since it was written), read (since it was
    seen: the wait for a worker is part of it), classified, archived, shown; total is from the
    writing to the last of them. Clocks of different machines enter where the stages do.
    """

    def __init__(self, keep: int = 512) -> None:
        self._keep = keep
        self._stretches: dict[str, deque[float]] = {}

    def add(self, **seconds: float) -> None:
        """Note the stretches of one frame; NaN for what is not known."""
        for stage, value in seconds.items():
            if np.isfinite(value):
                self._stretches.setdefault(stage, deque(maxlen=self._keep)).append(value)

    def add_stages(self, times: Iterable[tuple[str, float]]) -> None:
        """Note when a frame reached each stage, in order, in seconds since 1970; 0 unknown."""
        known = [(stage, t) for stage, t in times if np.isfinite(t) and t > 0]
        stretches = {b[0]: b[1] - a[1] for a, b in pairwise(known) if b[1] >= a[1]}
        if len(known) > 1 and known[-1][1] >= known[0][1]:
            stretches["total"] = known[-1][1] - known[0][1]
        self.add(**stretches)

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

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._endpoints = Endpoints(config.wire)
        self._channel = self._endpoints.reach("events", zmq.SUB, 1000, topics=_TOPICS)

    def listen(self, timeout_s: float) -> None:
        """Take in what has been published, waiting up to `timeout_s` for the first."""
        received = self._channel.receive(timeout_s)
        for _ in range(1000):
            if received is None:
                return
            self.take(received)
            received = self._channel.receive(0.0)

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
