"""Archiver: the only writer of the run archive.

It acknowledges a frame only once it is durably on disk. When the disk cannot be written it
stops taking results, says so, and goes on when the cause is gone.
"""

import functools
import logging
import sys
import threading
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zmq

from pychip_stream import __version__, logs, process
from pychip_stream import config as configuration
from pychip_stream.archive import probe
from pychip_stream.archive.alert_journal import COLUMNS as ALERT_COLUMNS
from pychip_stream.archive.alert_journal import AlertRow
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.known_frames import KnownFrames
from pychip_stream.archive.marks import MarkKeeper
from pychip_stream.archive.support_sets import support_from_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.config import Config
from pychip_stream.domain.records import FrameRecord
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import ArchiveError, PychipError, StorageError, SupportError, UsageError
from pychip_stream.guard import Guard
from pychip_stream.operation.latency import LatencySplit, stretches
from pychip_stream.operation.stimulus_keeper import Rates, StimulusKeeper
from pychip_stream.wire import messages
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.heartbeat import Beacon
from pychip_stream.wire.messages import (
    Alert,
    Archived,
    ArchivedKey,
    ArchiverBeat,
    Event,
    FrameFailed,
    FrameMoved,
    KeysWanted,
    Live,
    Measurement,
    Reply,
    SupportChanged,
)
from pychip_stream.wire.result import intensity, to_record

logger = logging.getLogger(__name__)

_SWITCH_S = 0.0002
"""So soon the loop, which works in small pieces, runs again while segments are joined; Python's
own 5 ms, each time that it has looked at a socket, cost a third of the frames in a second."""
_BEAT_S = 1.0
_RETRY_S, _LONGEST_RETRY_S = 1.0, 60.0
_KEYS_PER_MESSAGE = 2000
_RESULTS_PER_STEP = 64
_EVENTS_PER_SECOND = 10


class Archiver:
    """Takes results, writes segments, acknowledges, shows.

    Queues: results wait in ZeroMQ (a few per worker, then the workers wait) and in the
    unpublished segment, at most `segment_frames` of them.

    Parameters
    ----------
    hurry
        Set while it closes: what cannot be merged now is left in its segments.
    """

    def __init__(self, config: Config, hurry: threading.Event) -> None:
        self._config, self._hurry = config, hurry
        self._guard = Guard((probe.__name__,))
        self._writer = RunWriter(
            config.archive.folder,
            config.archive.name,
            segment_frames=config.archive.segment_frames,
            segment_s=config.archive.segment_s,
            embeddings=config.archive.embeddings,
            spare_supports=config.support.folder,
            destroys=functools.partial(probe.destroys, guard=self._guard),
            metadata={
                "config": configuration.dump(config, secrets=False),
                "pychip_stream": __version__,
            },
        )
        self._guard.close()  # it was only needed for what was there, and takes memory
        self._endpoints = Endpoints(config.wire)
        self._results = self._endpoints.listen("results", zmq.ROUTER, 4)
        self._tasks = self._endpoints.reach("tasks", zmq.DEALER, 100)
        self._events = self._endpoints.reach("events", zmq.SUB, 100, topics=[messages.SUPPORT])
        self._beacon = Beacon(self._endpoints, "archiver", "archiver")
        self._supports: dict[str, SupportSet] = {}
        self._trouble = ""
        self._retry_at = 0.0
        self._beat_at = 0.0
        self._duplicates = 0
        self._reloads = 0
        self._latency = LatencySplit()
        self._latency_counters: dict[str, float] = {}
        self._waiting: list[FrameRecord] = []
        self._stimulus = StimulusKeeper(config, self._writer.path, self._writer.run_id)
        self._marks = MarkKeeper(RunPlaces.of(self._writer.path), self._writer.run_id)
        self._event_rates = Rates(_EVENTS_PER_SECOND)

    def step(self) -> None:
        """Take what has come, publish what is due."""
        now = time.monotonic()
        self._follow_support()
        self._answer_watcher()
        if now - self._beat_at > _BEAT_S:
            self._look(now)
        if not self._trouble:
            self._take_results()
        if now >= self._retry_at and (self._writer.due(now) or self._trouble):
            self._publish(now)
        if self._reloads != self._writer.reloads:
            # What the watcher knows holds no more: it asks again from the first key on.
            self._reloads = self._writer.reloads
            self._tasks.send(ArchiverBeat(run=self._writer.run_id, count=1))
            self._beat_at = 0.0
        if now - self._beat_at > _BEAT_S:
            self._beat_at = now
            self._tasks.send(ArchiverBeat(run=self._writer.run_id, count=len(self._writer.keys)))
        if not self._trouble:
            self._keep_readings()
        self._say()

    def close(self) -> None:
        """Take what the workers have sent, publish, and merge the run into one file.

        What the disk refuses is tried again until it takes it, or somebody is in a hurry.
        """
        try:
            self._take_results()
            self._stimulus.close()
            self._keep_readings()
            path = self._merge()
            logger.info("%s: %d frames", path, len(self._writer.keys))
        finally:
            self._beacon.close()
            self._endpoints.close()

    def _merge(self) -> Path:
        count = len(self._writer.keys) + self._writer.pending_count
        pause_s = _RETRY_S
        while True:
            self._beacon.status("stopping", {}, f"merging {count} frames into one file")
            try:
                return self._writer.close()
            except StorageError as error:
                if self._hurry.is_set():
                    raise
                logger.error("%s; trying again in %.0f s", error, pause_s)
                trouble = f"{error}; trying again"
            again = time.monotonic() + pause_s
            while time.monotonic() < again and not self._hurry.is_set():
                self._beacon.status("paused", {}, trouble)
                self._hurry.wait(_BEAT_S)
            pause_s = min(2 * pause_s, _LONGEST_RETRY_S)

    def _follow_support(self) -> None:
        for received in self._events.drain(50):
            message = received.packet.message
            if not isinstance(message, SupportChanged) or message.version in self._supports:
                continue
            try:
                data = received.packet.arrays["data"].tobytes()
                self._supports[message.version] = support_from_bytes(data, where="support set")
                self._writer.add_support(data, message.version)
            except (SupportError, KeyError) as error:
                self._events.drop(f"support set cannot be used: {error}")

    def _answer_watcher(self) -> None:
        for received in self._tasks.drain(200):
            message = received.packet.message
            if isinstance(message, KeysWanted):
                self._acknowledge(message.start)
            elif isinstance(message, FrameFailed):
                self._append(FrameRecord.failed(message.frame, message.reason, read=time.time()))
            elif isinstance(message, FrameMoved):
                self._append(FrameRecord.moved(message.frame, message.to))
            else:
                self._tasks.drop(f"{type(message).__name__} is not for the archiver")

    def _take_results(self) -> None:
        timeout_s = 0.02
        for _ in range(_RESULTS_PER_STEP):
            received = self._results.receive(timeout_s)
            if received is None:
                return
            timeout_s = 0.0
            if isinstance(received.packet.message, Alert):
                self._keep_alert(received.packet.message, received.sender)
                continue
            if isinstance(received.packet.message, Event):
                self._keep_event(received.packet.message, received.sender)
                continue
            if isinstance(received.packet.message, Measurement):
                self._stimulus.add(received.packet.message, received.sender)
                continue
            try:
                record = to_record(received.packet)
            except PychipError as error:
                self._results.drop(str(error))
                continue
            with logs.about(record.frame.path):
                self._append(record)
            if self._writer.due(time.monotonic()):
                return

    def _keep_alert(self, alert: Alert, sender: bytes) -> None:
        """Acknowledge an alert once it is on disk; it is sent again until then."""
        try:
            self._writer.add_alert(
                AlertRow(**{name: getattr(alert, name) for name in ALERT_COLUMNS})
            )
        except ArchiveError as error:
            logger.error("alert %s: %s", alert.rule, error)
            return
        self._results.send(Reply(ok=True, detail=alert.id), to=sender)

    def _keep_event(self, event: Event, sender: bytes) -> None:
        """Acknowledge an event once it is on disk, or say why it is none."""
        reply = Reply(ok=True, detail=event.id)
        try:
            if self._event_rates.takes(sender):
                self._marks.put(
                    event.id, event.time, event.text, who=event.author, kind=event.kind,
                    removed=event.removed,
                )  # fmt: skip
            else:
                why = f"more than {_EVENTS_PER_SECOND} events in a second; send it again later"
                reply = Reply(ok=False, detail=why)
        except UsageError as error:
            reply = Reply(ok=False, detail=str(error), refused=event.id)
        except ArchiveError as error:
            logger.error("event %s: %s", event.text, error)
            return
        self._results.send(reply, to=sender)

    def _keep_readings(self) -> None:
        """Acknowledge readings once they are on disk; show them."""
        try:
            for reply, sender in self._stimulus.keep():
                self._results.send(reply, to=sender)
        except ArchiveError as error:
            self._pause(error, time.monotonic())
        for message, arrays in self._stimulus.shown():
            self._beacon.show(message, arrays)

    def _append(self, record: FrameRecord) -> None:
        if not self._writer.append(record):
            self._duplicates += 1
            return
        self._waiting.append(record)
        try:
            self._show(self._writer.fit(record))
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            logger.warning("%s: cannot be shown (%s)", record.frame, error)

    def _look(self, now: float) -> None:
        """Notice when what was archived is gone."""
        try:
            self._writer.look()
        except ArchiveError as error:
            self._pause(error, now)

    def _pause(self, error: ArchiveError, now: float) -> None:
        if str(error) != self._trouble:
            logger.error("%s; the run is paused and goes on when that is mended", error)
        self._trouble, self._retry_at = str(error), now + _RETRY_S

    def _publish(self, now: float) -> None:
        start = len(self._writer.keys)
        try:
            self._writer.look()
            self._writer.publish()
        except ArchiveError as error:
            self._pause(error, now)
            return
        if self._trouble:
            logger.info("the archive can be written again")
        self._trouble = ""
        self._note_latency()
        self._acknowledge(start)

    def _note_latency(self) -> None:
        """Note how long the frames took that are on disk now."""
        archived = time.time()
        done = len(self._waiting) - self._writer.pending_count
        for record in self._waiting[:done]:
            if record.status == "ok":
                moments = {"started": record.started, "archived": archived}
                self._latency.add(
                    stretches(record.frame, record.read, record.classified, **moments)
                )
        del self._waiting[:done]
        self._latency_counters = self._latency.counters()

    def _acknowledge(self, start: int) -> None:
        """Send the keys from number `start` on; a lost message is asked for again."""
        known, count = self._writer.known, len(self._writer.keys)
        for first in range(start, count, _KEYS_PER_MESSAGE):
            numbers = range(first, min(first + _KEYS_PER_MESSAGE, count))
            part = tuple(_key(known, number) for number in numbers)
            if not self._tasks.send(Archived(run=self._writer.run_id, start=first, keys=part)):
                return

    def _show(self, record: FrameRecord) -> None:
        result = record.result
        support = self._supports.get(result.support_version) if result else None
        norm = support.normalization if support else None
        live = Live(
            frame=record.frame,
            names=result.names if result else (),
            colors=tuple(c.color for c in support.classes) if support else (),
            support_version=result.support_version if result else "",
            chip_size=record.chip_size,
            shape=record.shape,
            status=record.status,
            reason=record.reason,
            pixel_size=record.pixel_size,
            unit=record.unit,
            started=record.started,
            read=record.read,
            classified=record.classified,
            received=time.time(),
            low=norm.low if norm else 0.0,
            high=norm.high if norm else 1.0,
            drift=record.measured.get("drift", float("nan")),
            intensity=intensity(record.measured),
            measured={**record.measured, **self._stimulus.at(record.frame.time)},
            texts=dict(record.texts),
        )
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        if result is not None:
            arrays = {
                "label_map": result.label_map, "intervals": result.intervals, **result.levels
            }  # fmt: skip
        self._beacon.show(live, arrays)

    def _say(self) -> None:
        counters = {
            "archived": float(len(self._writer.keys)),
            "pending": float(self._writer.pending_count),
            "duplicates": float(self._duplicates),
            "dropped": float(self._results.dropped + self._tasks.dropped + self._writer.refused),
            **self._latency_counters,
            **self._stimulus.counters(),
        }
        detail = self._trouble or self._stimulus.detail
        self._beacon.status("paused" if self._trouble else "running", counters, detail)


def _key(known: KnownFrames, number: int) -> ArchivedKey:
    frame = known.keys[number]
    return ArchivedKey(
        frame.path, frame.index, frame.size, frame.mtime_ns, frame in known.failed,
        known.digests[number], number in known.moved,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run the archiver of a configuration."""
    stop = process.stop_event()
    sys.setswitchinterval(_SWITCH_S)
    return process.main("archiver", functools.partial(Archiver, hurry=stop), argv, stop)


if __name__ == "__main__":
    sys.exit(main())
