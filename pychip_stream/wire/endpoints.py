"""Endpoints: all the sockets of one process, with or without keys, opened and closed together."""

import logging
import sys
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import zmq

from pychip_stream.config import PortName, WireConfig
from pychip_stream.errors import PychipError
from pychip_stream.wire import codec
from pychip_stream.wire.channel import Arrays, Channel
from pychip_stream.wire.keys import Allowed, Keys, may_connect, may_send, signed
from pychip_stream.wire.messages import AnyMessage, Message, Reply

logger = logging.getLogger(__name__)

DOMAIN = "pychip-stream"
LARGEST: dict[PortName, int] = {
    "tasks": 8 << 20,
    "results": codec.MAX_BYTES,
    "requests": 128 << 20,
    "events": 1 << 20,
}
"""Bytes of the largest part that a service takes on each port; more ends the connection."""
_MOST_KNOCKS = 1000
_KNOCKS_S = 10.0
"""A key that connects more often than that within this time is refused for a while."""


class Endpoints:
    """Sockets of one process, at the addresses and with the keys of a configuration."""

    def __init__(self, config: WireConfig) -> None:
        self._config = config
        self._keys = Keys.load(config.keys) if config.keys is not None else None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._channels: list[Channel] = []
        self._guard: _Guard | None = None

    def listen(self, port: PortName, kind: int, queue: int) -> Channel:
        """Open the socket of a service.

        Parameters
        ----------
        kind
            ROUTER or XPUB of zmq.
        queue
            Messages that wait for or from each peer at most.
        """
        channel = self._channel(port, kind, queue, LARGEST[port])
        if self._keys is not None:
            if self._guard is None:
                self._guard = _Guard(self._context, self._keys.allowed)
            self._keys.protect_server(channel.raw, self._guard.watch(port).encode())
            channel.allows, channel.signs = self._guard.allows, self._guard.signs
        channel.bind(self._config.endpoint(port))
        return channel

    def reach(
        self,
        port: PortName,
        kind: int,
        queue: int,
        *,
        identity: str = "",
        topics: Iterable[bytes] = (),
    ) -> Channel:
        """Open a socket to a service; it connects again by itself for as long as it lives."""
        channel = self._channel(port, kind, queue, codec.MAX_BYTES)
        if self._keys is not None:
            self._keys.protect_client(channel.raw)
        for topic in topics:
            channel.subscribe(topic)
        channel.connect(self._config.endpoint(port), identity)
        return channel

    def check(self) -> None:
        """Look after the guard of the door, now and then; without it nobody could connect."""
        if self._guard is not None:
            self._guard.check()

    def close(self) -> None:
        """Close every socket; unsent messages are discarded."""
        for channel in self._channels:
            channel.close()
        if self._guard is not None:
            self._guard.stop()
        self._context.term()

    def _channel(self, port: PortName, kind: int, queue: int, largest: int) -> Channel:
        # The archiver takes no results while its disk is full, or slow; the hub no requests while
        # it looks through a support set; who hears the hub may be busy for longer than the queue
        # lasts. Jobs, the fourth, are bounded by credit: that queue never fills, and a peer whose
        # machine is gone is noticed there within seconds.
        channel = Channel(self._context, kind, queue, largest, patient=port != "tasks")
        self._channels.append(channel)
        return channel

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Guard:
    """Lets in those whose public key lies in the folder of the allowed ones, each to its ports."""

    def __init__(self, context: "zmq.Context[zmq.Socket[bytes]]", folder: Path) -> None:
        from zmq.auth.thread import ThreadAuthenticator  # loads slowly; most runs have no keys

        if sys.platform == "win32":
            import asyncio

            # The authenticator's loop watches sockets, which the default one there cannot.
            asyncio.set_event_loop_policy(asyncio.WindowsSelectorEventLoopPolicy())
        self._allowed = Allowed(folder)
        self._knocks: dict[bytes, deque[float]] = {}
        self._authenticator = ThreadAuthenticator(context, log=logger)
        self._authenticator.start()

    def watch(self, port: PortName) -> str:
        """Look after a port; returns the domain by which it is known here."""
        domain = f"{DOMAIN}/{port}"
        self._authenticator.configure_curve_callback(domain=domain, credentials_provider=self)
        return domain

    def callback(self, domain: str, key: bytes) -> bool:
        """Whether a key may connect to a port; asked for each connection."""
        role = self._allowed.role(key.decode())
        if not may_connect(role, domain.removeprefix(f"{DOMAIN}/")):
            return False
        knocks = self._knocks.setdefault(key, deque(maxlen=_MOST_KNOCKS))
        now = time.monotonic()
        often = len(knocks) == _MOST_KNOCKS and now - knocks[0] < _KNOCKS_S
        if not often:
            knocks.append(now)
        return not often

    def allows(self, key: str, message: Message) -> str:
        """Say why a message is not taken from a key; nothing if it is."""
        role = self._allowed.role(key)
        if may_send(role, message):
            return ""
        whose = f"a key of the role {role!r}" if role else "a key that is allowed no more"
        return f"{type(message).__name__} is not taken from {whose}"

    def signs(self, key: str, message: AnyMessage) -> AnyMessage:
        """Give a message with its author bound to the key."""
        return signed(message, self._allowed.name(key))

    def check(self) -> None:
        if not self._authenticator.is_alive():
            raise PychipError("the authenticator died; nobody can connect any more")

    def stop(self) -> None:
        self._authenticator.stop()


def request(
    config: WireConfig, message: Message, arrays: Arrays | None = None, timeout_s: float = 5.0
) -> Reply:
    """Ask the hub for something and wait for its answer; a refusal is an error."""
    where = config.endpoint("requests")
    with Endpoints(config) as endpoints:
        channel = endpoints.reach("requests", zmq.DEALER, 4)
        channel.send_waiting(message, arrays, timeout_s)
        received = channel.receive(timeout_s)
    if received is None or not isinstance(received.packet.message, Reply):
        hint = "is the run started?" if config.keys is None else "is it started, the key allowed?"
        raise PychipError(f"no answer from {where} within {timeout_s:g} s; {hint}")
    reply = received.packet.message
    if not reply.ok:
        raise PychipError(f"refused by {where}: {reply.detail}")
    return reply
