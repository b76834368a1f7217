"""Monitor: what a run is doing, in one line for the terminal."""

import time
from collections import deque

import numpy as np
import zmq

from pychip_stream.config import Config
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.wire import topics
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.messages import Live, Status

_SILENT_S = 5.0
_RATE_WINDOW_S = 10.0


class Monitor:
    """Listens to the hub; all values are those last heard."""

    def __init__(self, config: Config) -> None:
        self._endpoints = Endpoints(config.wire)
        self._channel = self._endpoints.reach(
            "events", zmq.SUB, 1000, topics=[topics.STATUS, topics.LIVE, topics.SEEN, topics.ALERT]
        )
        self.statuses: dict[str, Status] = {}
        self.heard: dict[str, float] = {}
        self.newest: Live | None = None
        self.fractions: dict[str, float] = {}
        self._history: deque[tuple[float, float]] = deque(maxlen=600)

    def listen(self, timeout_s: float) -> None:
        """Take in what has been published, waiting up to `timeout_s` for the first."""
        received = self._channel.receive(timeout_s)
        while received is not None:
            message = received.packet.message
            if isinstance(message, Status):
                self.statuses[message.instance] = message
                self.heard[message.instance] = time.monotonic()
                if message.service == "watcher":
                    self._history.append((time.monotonic(), self.counter("archived")))
            elif isinstance(message, Live):
                self._take(message, received.packet.arrays)
            received = self._channel.receive(0.0)

    def _take(self, live: Live, arrays: dict[str, "np.typing.NDArray[np.generic]"]) -> None:
        if live.status != "ok" or "intervals" not in arrays:
            return
        if self.newest is None or live.frame.time >= self.newest.frame.time:
            self.newest = live
            values = np.asarray(arrays["intervals"], np.float64)[:, 0]
            names = (*live.names, UNKNOWN)
            self.fractions = {n: float(v) for n, v in zip(names, values, strict=False)}

    def counter(self, name: str, instance: str = "watcher") -> float:
        """Return a counter of a service, 0 until it was heard."""
        status = self.statuses.get(instance)
        return status.counters.get(name, 0.0) if status else 0.0

    def state(self, instance: str) -> str:
        """Return the state of a service, "stalled" when it has gone silent."""
        status = self.statuses.get(instance)
        if status is None:
            return "starting"
        silent = time.monotonic() - self.heard[instance] > _SILENT_S
        return "stalled" if silent else status.state

    @property
    def rate(self) -> float:
        """Archived frames per second over the last seconds."""
        recent = [p for p in self._history if p[0] > time.monotonic() - _RATE_WINDOW_S]
        if len(recent) < 2 or recent[-1][0] <= recent[0][0]:
            return 0.0
        return (recent[-1][1] - recent[0][1]) / (recent[-1][0] - recent[0][0])

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
        troubles = []
        for instance, status in sorted(self.statuses.items()):
            state = self.state(instance)
            if state not in ("running", "starting"):
                troubles.append(
                    f"{instance} {state}" + (f": {status.detail}" if status.detail else "")
                )
        return " | ".join(parts + troubles)

    def close(self) -> None:
        """Stop listening."""
        self._endpoints.close()
