"""Beacon: a service's line to the hub, for its heartbeat and what it has to show."""

import logging
import sys
import threading
import time
from collections.abc import Mapping

import msgspec
import psutil
import zmq

from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.messages import Message, Status, TroubledFile

logger = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
PATIENCE_S = 4.0
"""A service that has not said how it is for this long is stalled, though its heart beats."""

_LEAVE_S = 0.05
"""Sockets do not linger; the last word gets this to leave."""


class Beacon:
    """Sends to the hub without ever waiting; while the hub is away, the newest are dropped.

    The heart beats on a thread of its own, so that a long frame is not taken for a death; it
    says how long the main loop has been busy, and calls it stalled beyond `patience_s`.

    Attributes
    ----------
    device
        Of a worker's encoder; see `Status`.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        service: str,
        instance: str,
        *,
        patience_s: float = PATIENCE_S,
    ) -> None:
        self._service, self._instance, self._patience_s = service, instance, patience_s
        self.device = ""
        self._endpoints = endpoints
        self._channel = endpoints.reach("requests", zmq.DEALER, 20)
        self._heart = endpoints.reach("requests", zmq.DEALER, 4)
        self._process = psutil.Process()
        self._lock = threading.Lock()
        self._told: tuple[str, str, dict[str, float], tuple[TroubledFile, ...]] | None = None
        self._told_at = time.monotonic()
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    def status(
        self,
        state: str,
        counters: Mapping[str, float],
        detail: str = "",
        files: tuple[TroubledFile, ...] = (),
    ) -> None:
        """Say how the service is; sent with the next beat, at once if the state has changed.

        The door of its sockets is looked after as well: without a guard nobody could connect.
        """
        self._endpoints.check()
        with self._lock:
            changed = self._told is None or self._told[:2] != (state, detail)
            self._told = (state, detail, dict(counters), files)
            self._told_at = time.monotonic()
        if changed:
            self._wake.set()

    def show(self, message: Message, arrays: Arrays | None = None) -> bool:
        """Hand something to the hub for publication; False if it was dropped."""
        return self._channel.send(message, arrays)

    def close(self) -> None:
        """Stop the heart; the sockets close with their endpoints.

        Who ends in order says so last, so that its silence alarms nobody; who ends by an error,
        which is being handled then, does not.
        """
        self._stopping.set()
        self._wake.set()
        self._thread.join(5.0)
        if self._told is None or sys.exc_info()[0] is not None or self._thread.is_alive():
            return
        _, _, counters, files = self._told
        self._heart.send(self._judge("stopped", "", counters, files, 0.0))
        time.sleep(_LEAVE_S)

    def _beat(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(HEARTBEAT_S)
            self._wake.clear()
            with self._lock:
                told, busy_s = self._told, time.monotonic() - self._told_at
            if told is None:
                continue
            try:
                self._heart.send(self._judge(*told, busy_s))
            except Exception as error:  # a heart that stops is taken for a death
                logger.warning("a heartbeat failed: %s", error)

    def _judge(
        self,
        state: str,
        detail: str,
        counters: dict[str, float],
        files: tuple[TroubledFile, ...],
        busy_s: float,
    ) -> Status:
        status = Status(
            service=self._service,
            instance=self._instance,
            state=state,
            time=time.time(),
            detail=detail,
            counters={**counters, "busy_s": round(busy_s, 1), **self._burden()},
            files=files,
            device=self.device,
        )
        if state in ("starting", "stopping"):
            return status
        if busy_s > self._patience_s:
            return msgspec.structs.replace(
                status, state="stalled", detail=f"its main loop hangs for {busy_s:.0f} s"
            )
        if busy_s > PATIENCE_S and not detail:
            return msgspec.structs.replace(status, detail=f"busy for {busy_s:.0f} s")
        return status

    def _burden(self) -> dict[str, float]:
        """Measure what this process takes of the machine."""
        process = self._process
        try:
            with process.oneshot():
                times = process.cpu_times()
                handles = _handles(process)
                return {
                    "rss_mb": round(process.memory_info().rss / 2**20, 1),
                    "cpu_s": round(times.user + times.system, 2),
                    "handles": float(handles),
                }
        except (psutil.Error, OSError):  # without handles for a moment, say
            return {}


def _handles(process: psutil.Process) -> int:
    """Open files, sockets and the like."""
    if sys.platform == "win32":
        return process.num_handles()
    return process.num_fds()
