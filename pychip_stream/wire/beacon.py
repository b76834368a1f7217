"""Beacon: a service's line to the hub, for its status and what it has to show."""

import time
from collections.abc import Mapping

import zmq

from pychip_stream.config import Config
from pychip_stream.wire.messages import Message, Status
from pychip_stream.wire.sockets import Arrays, Channel

_INTERVAL_S = 1.0


class Beacon:
    """Sends to the hub without ever waiting; while the hub is away, the newest are dropped."""

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", config: Config, service: str, instance: str
    ) -> None:
        self._channel = Channel(context, zmq.DEALER, 20)
        self._channel.connect(config.wire.endpoint("requests"))
        self._service = service
        self._instance = instance
        self._sent_at = 0.0
        self._last: tuple[str, str] = ("", "")

    def status(self, state: str, counters: Mapping[str, float], detail: str = "") -> None:
        """Say how the service is, at most once a second unless the state has changed."""
        now = time.monotonic()
        if now - self._sent_at < _INTERVAL_S and (state, detail) == self._last:
            return
        self._sent_at, self._last = now, (state, detail)
        self.show(
            Status(
                service=self._service,
                instance=self._instance,
                state=state,
                time=time.time(),
                detail=detail,
                counters=dict(counters),
            )
        )

    def show(self, message: Message, arrays: Arrays | None = None) -> None:
        """Hand something to the hub for publication."""
        self._channel.send(message, arrays)

    def close(self) -> None:
        """Close the line."""
        self._channel.close()
