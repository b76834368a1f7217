"""Monitor: the health of a run for whoever only listens to its hub, as a command does."""

import zmq

from pychip_stream.config import Config
from pychip_stream.operation.health import START_S, RunHealth
from pychip_stream.operation.running import expected
from pychip_stream.wire import messages
from pychip_stream.wire.endpoints import Endpoints

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
        return " | ".join(parts + alarms + [" ".join(pair) for pair in self.troubles()])

    def close(self) -> None:
        """Stop listening."""
        self._endpoints.close()
