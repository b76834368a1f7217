"""Inference: pulls frames from the watcher, classifies them, sends results to the archiver."""

import logging
import math
import os
import sys
import time
from collections import deque

import zmq

from pychip_stream import logs, process
from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.delivery import delivered
from pychip_stream.archive.support_sets import support_from_bytes
from pychip_stream.config import Config
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.records import FrameRecord
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import FrameError, FrameIncompleteError, FrameLostError, SupportError
from pychip_stream.formats.ahead import ReadAhead
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.model.encoders import open_encoder
from pychip_stream.model.encoders.dense import DenseEncoder
from pychip_stream.model.encoders.device import memory_in_use
from pychip_stream.wire import messages
from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.heartbeat import Beacon
from pychip_stream.wire.messages import (
    Job,
    PixelSizeChanged,
    Ready,
    Release,
    Result,
    SupportChanged,
)
from pychip_stream.wire.result import to_message

logger = logging.getLogger(__name__)

_READY_S = 1.0
_SMOOTHING = 0.2
_DELIVER_S = 0.2
_CARE_S = 0.1
"""A frame in whose company a worker died is done alone: messages leave before it and after it,
so that what is said to be in hand when this process dies really was."""
_PATIENCE_S = 120.0
"""A frame may take this long before the worker counts as stalled."""


class Worker:
    """One inference worker.

    Queues: at most `credit` jobs wait here, since that is what it asks for. When the archiver
    does not take results, the worker waits with the one in hand and asks for no more.
    """

    def __init__(self, config: Config, instance: str) -> None:
        self._config = config
        self.name = f"worker-{instance}"
        # A new process under the old name makes the watcher hand out its frames again at once.
        self._incarnation = f"{self.name}:{os.getpid()}:{time.time_ns()}"
        self._endpoints = Endpoints(config.wire)
        self._tasks = self._endpoints.reach("tasks", zmq.DEALER, 100, identity=self.name)
        self._results = self._endpoints.reach("results", zmq.DEALER, 4, identity=self.name)
        self._events = self._endpoints.reach(
            "events", zmq.SUB, 100, topics=[messages.PIXEL_SIZE, messages.SUPPORT]
        )
        self._beacon = Beacon(self._endpoints, "inference", self.name, patience_s=_PATIENCE_S)
        self._say("starting", "loading the encoder")
        self._reader = GuardedReader.of(config.watch)
        self._ahead = ReadAhead(self._reader.read_checked, self._go_on)
        if config.inference.frames == "path":
            self._reader.start()
        self._encoder = open_encoder(config.encoder)
        if isinstance(self._encoder, DenseEncoder):
            self._encoder.on_window = self._go_on
        self._beacon.device = self._encoder.device
        self._analyst: Analyst | None = None
        self._trouble = "waiting for a support set"
        self._jobs: deque[Job] = deque()
        self._pixels: dict[int, Arrays] = {}
        self._outbox: tuple[Result, Arrays] | None = None
        self._ready_at = 0.0
        self._steps = 0
        self._give_up_at = math.inf
        self._done = 0
        self._chips_per_s = 0.0

    def step(self) -> None:
        """Follow support set and pixel size, take jobs, classify one frame."""
        self._steps += 1
        self._follow_hub()
        self._take_jobs(0.0 if self._jobs else 0.02)
        if self._outbox is not None:
            self._deliver(*self._outbox)
        elif self._jobs and self._analyst is not None:
            job = self._jobs[0]
            with logs.about(job.frame.path):
                if job.attempt > 1:
                    time.sleep(_CARE_S)
                self._work(job, self._analyst)
                if job.attempt > 1:
                    time.sleep(_CARE_S)
        if self._outbox is not None:
            self._say("waiting", "the archiver does not take results")
        elif self._analyst is None:
            self._say("waiting", self._trouble)
        else:
            self._say_running()

    def close(self) -> None:
        """Give back what was not begun."""
        for job in self._jobs:
            self._tasks.send(Release(lease=job.lease, reason="the worker was stopped"))
        if self._jobs:
            time.sleep(0.05)  # LINGER is 0; let the releases leave
        self._reader.close()
        self._ahead.close()
        self._reader.close()  # what was being read ahead started it again
        self._beacon.close()
        self._endpoints.close()

    def _follow_hub(self) -> None:
        newest: SupportSet | None = None
        for received in self._events.drain(50):
            message = received.packet.message
            if isinstance(message, PixelSizeChanged):
                self._reader.pixel_size = message.size or self._config.watch.pixel_size
                self._ahead.forget()
            if not isinstance(message, SupportChanged):
                continue
            try:
                newest = support_from_bytes(
                    received.packet.arrays["data"].tobytes(), where="published support set"
                )
            except (SupportError, KeyError) as error:
                self._events.drop(f"support set cannot be used: {error}")
        if newest is None:
            return
        if self._analyst is not None and newest.version == self._analyst.support.version:
            return
        try:
            self._analyst = Analyst.of(
                newest,
                self._encoder,
                self._config.classify,
                embeddings=self._config.archive.embeddings,
                progress=self._go_on,
            )
        except SupportError as error:
            self._trouble = str(error)
            logger.error("support set %s is not used: %s", newest.version[:8], error)
            return
        logger.info("support set %s: %s", newest.version[:8], ", ".join(newest.names))

    def _take_jobs(self, timeout_s: float) -> None:
        received, before = self._tasks.receive(timeout_s), len(self._jobs)
        while received is not None:
            job = received.packet.message
            if isinstance(job, Job):
                self._jobs.append(job)
                if job.image is not None:
                    self._pixels[job.lease] = received.packet.arrays
            else:
                self._tasks.drop(f"{type(received.packet.message).__name__} is not for a worker")
            received = self._tasks.receive(0.0)
        # Said before the work begins, so that a frame that kills this process is known.
        if len(self._jobs) > before or time.monotonic() - self._ready_at > _READY_S:
            self._ready()

    def _ready(self) -> None:
        """Say what is held and how much more can be taken."""
        self._ready_at = time.monotonic()
        credit = self._config.inference.credit - len(self._jobs) if self._analyst else 0
        held = tuple(job.lease for job in self._jobs)
        self._tasks.send(
            Ready(worker=self._incarnation, credit=max(credit, 0), held=held, steps=self._steps)
        )

    def _go_on(self, _done: int, _total: int) -> None:
        """Keep heart and leases alive while a large frame is read and classified."""
        self._steps += 1
        now = time.monotonic()
        if now > self._give_up_at:
            raise FrameError(
                f"takes longer than {self._config.inference.patience_s:g} s "
                "(inference.patience_s); choose larger chips, a faster device, or more patience"
            )
        if now - self._ready_at > _READY_S:
            self._take_jobs(0.0)
            self._say_running()

    def _work(self, job: Job, analyst: Analyst) -> None:
        begun = time.perf_counter()
        self._give_up_at = time.monotonic() + self._config.inference.patience_s
        try:
            record = self._analyse(job, analyst)
        except (FrameIncompleteError, FrameLostError) as error:
            lost = isinstance(error, FrameLostError)
            if lost:
                logger.warning("%s", error)
            self._tasks.send(Release(lease=job.lease, reason=str(error), lost=lost))
            self._finish(job)
            return
        finally:
            self._give_up_at = math.inf
        if record.result is not None:
            rate = record.result.label_map.size / (time.perf_counter() - begun)
            self._chips_per_s += (rate - self._chips_per_s) * (_SMOOTHING if self._done else 1.0)
        else:
            logger.warning("%s: %s", record.frame, record.reason)
        self._deliver(*to_message(record, self.name))

    def _analyse(self, job: Job, analyst: Analyst) -> FrameRecord:
        if job.image is None:
            root, following = self._config.watch.root, self._following()
            return analyst.analyse(root, job.frame, self._ahead.then(root, following))
        image, arrays = job.image, self._pixels.get(job.lease, {})
        started = time.time()
        try:
            frame = delivered(job.frame, image, arrays)
        except FrameError as error:
            return FrameRecord.failed(job.frame, str(error), read=started)
        sized = self._reader.sized(frame)
        return analyst.analyse_frame(sized, image.content_hash, job.frame, started)

    def _following(self) -> FrameRef | None:
        """Name the frame to read ahead; not one that has cost a worker before."""
        if len(self._jobs) < 2 or self._jobs[1].attempt > 1 or self._jobs[1].image is not None:
            return None
        return self._jobs[1].frame

    def _deliver(self, message: Result, arrays: Arrays) -> None:
        """Send the result of the first job, or keep it for the next step."""
        if self._results.send_waiting(message, arrays, _DELIVER_S):
            self._outbox = None
            self._done += 1
            self._finish(self._jobs[0])
        else:
            self._outbox = (message, arrays)

    def _finish(self, job: Job) -> None:
        self._jobs.remove(job)
        self._pixels.pop(job.lease, None)
        self._ready_at = 0.0
        self._take_jobs(0.0)  # first, so that what waits in the socket is named too

    def _say_running(self) -> None:
        self._say("running", "; ".join(self._analyst.notices if self._analyst else ()))

    def _say(self, state: str, detail: str) -> None:
        counters = {}
        if state != "starting":
            counters = {
                "support": float(self._analyst is not None),
                "done": float(self._done),
                "chips_per_s": self._chips_per_s,
                "queue": float(len(self._jobs)),
                "dropped": float(self._tasks.dropped + self._events.dropped),
                **memory_in_use(self._encoder.device),
            }
        if state != "starting" and self._analyst is not None:
            monitor = self._analyst.monitor
            counters |= {
                "drift": monitor.drift,
                "exposure_changes": float(monitor.exposure_changes),
                "notices": float(len(self._analyst.notices)),
            }
        self._beacon.status(state, counters, detail)


def main(argv: list[str] | None = None) -> int:
    """Run an inference worker of a configuration."""
    return process.main("inference", Worker, argv, instance="1")


if __name__ == "__main__":
    sys.exit(main())
