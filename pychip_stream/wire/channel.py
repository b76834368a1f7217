"""Typed ZeroMQ sockets: bounded queues, no lingering, bad messages counted and dropped."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import zmq

from pychip_stream.errors import PychipError, WireError
from pychip_stream.wire import checks, codec
from pychip_stream.wire.messages import AnyMessage, Message, PublishSupport, Reply, SetPixelSize

logger = logging.getLogger(__name__)

_ASKED = (PublishSupport, SetPixelSize)
_DROP_LOG_S = 10.0
_FLOOD_S = 0.02
_HANDSHAKE_MS = 3000
"""Who connects and says nothing is cut off after this, so that it holds a handle no longer."""

BEAT_MS, SILENCE_MS = 1000, 10_000
"""A peer is asked so often whether it is there; after so long without a word it is given up."""

Arrays = Mapping[str, npt.NDArray[np.generic]]


class Received(NamedTuple):
    """A message with its sender (on a ROUTER only) and its topic (on a SUB only)."""

    packet: codec.Packet
    sender: bytes
    topic: bytes


class Channel:
    """One socket that speaks the messages of this package.

    Parameters
    ----------
    kind
        ROUTER, DEALER, XPUB, or SUB of zmq.
    queue
        High-water mark in messages, both ways. What happens when it is full is said where
        the channel is made: `send` returns False, publishers drop for slow subscribers.
    largest
        Bytes of the largest part that is received; more ends the sender's connection.
    patient
        Whether the receiver may let its queue stay full. ZeroMQ reads no answer to its question
        whether the peer is there then, and gives up the connection with all that is on its way
        (zeromq/libzmq#4767), or ends the process (`Assertion failed: _input_stopped`, which a
        subscriber met after 15 s without reading); so the system asks, whose answers pass by
        the queue.

    Attributes
    ----------
    allows
        Says why a message is not taken from a key (Z85), where there are keys.
    signs
        Gives a message of a key with its author bound to that key, likewise.
    dropped
        Messages that were refused.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        kind: int,
        queue: int,
        largest: int = codec.MAX_BYTES,
        *,
        patient: bool = False,
    ) -> None:
        self._socket = context.socket(kind)
        self._kind = kind
        self.allows: Callable[[str, Message], str] = lambda _key, _message: ""
        self.signs: Callable[[str, AnyMessage], AnyMessage] = lambda _key, message: message
        self.dropped = 0
        self._said = 0.0
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.SNDHWM, queue),
            (zmq.RCVHWM, queue),
            (zmq.MAXMSGSIZE, largest),
            (zmq.HEARTBEAT_IVL, 0 if patient else BEAT_MS),
            (zmq.HEARTBEAT_TIMEOUT, SILENCE_MS),
            (zmq.TCP_KEEPALIVE, 1),
            (zmq.TCP_KEEPALIVE_IDLE, 10),
            (zmq.TCP_KEEPALIVE_INTVL, 1),
            (zmq.RECONNECT_IVL, 50),
            (zmq.RECONNECT_IVL_MAX, 1000),
            (zmq.HANDSHAKE_IVL, _HANDSHAKE_MS),
        ):
            self._socket.setsockopt(option, value)
        if kind == zmq.ROUTER:
            # A peer that comes back under its old name replaces the dead connection.
            self._socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
            self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        if kind == zmq.XPUB:
            # Without VERBOSE only the first of several late joiners is told (measured).
            self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)

    def bind(self, endpoint: str) -> str:
        """Listen; returns the address with the port that was really taken."""
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise PychipError(
                f"cannot listen on {endpoint}: {error.strerror}; choose another port "
                "(0 takes a free one) or stop the program that uses it"
            ) from error
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def connect(self, endpoint: str, identity: str = "") -> None:
        """Connect; it reconnects by itself for as long as it lives."""
        if identity:
            self._socket.setsockopt(zmq.IDENTITY, identity.encode())
        self._socket.connect(endpoint)

    def subscribe(self, topic: bytes) -> None:
        """Receive what is published under topics that start with `topic`."""
        self._socket.setsockopt(zmq.SUBSCRIBE, topic)

    @property
    def raw(self) -> "zmq.Socket[bytes]":
        """The socket, for a poller."""
        return self._socket

    def send(self, message: Message, arrays: Arrays | None = None, to: bytes = b"") -> bool:
        """Send without waiting; False if the queue is full or the peer is gone.

        Parameters
        ----------
        to
            Receiver on a ROUTER, topic on an XPUB.
        """
        frames = codec.encode(message, arrays)
        if self._kind in (zmq.ROUTER, zmq.XPUB):
            frames.insert(0, to)
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno == zmq.EHOSTUNREACH:
                return False
            raise
        return True

    def send_waiting(self, message: Message, arrays: Arrays | None, timeout_s: float) -> bool:
        """Send, waiting up to `timeout_s` for room in the queue."""
        if not self._socket.poll(int(timeout_s * 1000), zmq.POLLOUT):
            return False
        return self.send(message, arrays)

    def receive(self, timeout_s: float = 0.0) -> Received | None:
        """Next good message, or None when `timeout_s` has passed; bad ones are dropped.

        A flood of bad ones takes no more than a moment beyond that from the caller.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() <= deadline + _FLOOD_S:
            wait = max(deadline - time.monotonic(), 0.0)
            if not self._socket.poll(int(wait * 1000), zmq.POLLIN):
                return None
            frames = self._socket.recv_multipart(zmq.NOBLOCK, copy=False)
            lead = b""
            if self._kind in (zmq.ROUTER, zmq.SUB) and frames:
                lead = frames.pop(0).bytes
            try:
                packet = codec.decode([frame.buffer for frame in frames])
                checks.check(packet)
            except WireError as error:
                self._drop(error)
                continue
            key = _key(frames)
            if why := self.allows(key, packet.message):
                self._drop(WireError(why))
                if isinstance(packet.message, _ASKED):  # somebody waits for the answer
                    self.send(Reply(ok=False, detail=why), to=lead)
                continue
            packet = packet._replace(message=self.signs(key, packet.message))
            sender, topic = (lead, b"") if self._kind == zmq.ROUTER else (b"", lead)
            return Received(packet, sender, topic)
        return None

    def drain(self, limit: int = 1000, wait_s: float = 0.0) -> Iterator[Received]:
        """Good messages that are there, at most `limit`; waits only for the first."""
        for _ in range(limit):
            received = self.receive(wait_s)
            if received is None:
                return
            yield received
            wait_s = 0.0

    def drop(self, why: str) -> None:
        """Count a message that is well-formed but makes no sense here."""
        self._drop(WireError(why))

    def close(self) -> None:
        """Close at once; unsent messages are discarded."""
        self._socket.close(0)

    def _drop(self, error: WireError) -> None:
        self.dropped += 1
        now = time.monotonic()
        if now - self._said > _DROP_LOG_S:
            self._said = now
            logger.warning("dropped a message (%d so far): %.500s", self.dropped, error)


def _key(frames: list[zmq.Frame]) -> str:
    """Public key (Z85) of who sent a message; empty where there are none."""
    try:
        return str(frames[-1].get("User-Id"))
    except zmq.ZMQError:
        return ""
