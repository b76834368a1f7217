"""Feed: the background thread that listens to the run and prepares it for all viewers.

Page loads block the server's event loop for up to a second, so nothing of this runs there. The
archive is looked at on a thread of its own: that may take seconds, and frames go on meanwhile.
"""

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import zmq

from pychip_stream.archive import exclusions, hdf
from pychip_stream.archive.clock_offsets import OFFSETS
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.layout import ACQUIRED
from pychip_stream.archive.marks import EVENTS, events_of
from pychip_stream.archive.run import Run, open_run
from pychip_stream.archive.scorings import default_stamp
from pychip_stream.archive.support_sets import support_from_bytes
from pychip_stream.config import Config
from pychip_stream.domain.clock import comes_after
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError, FrameError, PychipError, SupportError
from pychip_stream.operation.edited_rules import EditedRules
from pychip_stream.sim.truth import TruthFile
from pychip_stream.wire import messages
from pychip_stream.wire.channel import Arrays, Channel, Received
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.heartbeat import Beacon
from pychip_stream.wire.messages import Live, PixelSizeChanged, Seen, Status, SupportChanged

from .display import with_pixels
from .frame_pictures import FramePicture, Key
from .history import measured
from .opened_run import PastFrames, scoring_name
from .recent import Every
from .state import FAILURES, Failure, RunState, Shot
from .workbench import Workbench

logger = logging.getLogger(__name__)

_LISTEN_S = 0.05
_HOUSEKEEPING_S = 1.0
_GAP_S = 5.0
_JOIN_S = 1.0

_TOPICS = (
    messages.STATUS,
    messages.SEEN,
    messages.LIVE,
    messages.SUPPORT,
    messages.ALERT,
    messages.PIXEL_SIZE,
    messages.STIMULUS,  # declares the quantities of readings; others are not drawn
)


class Feed:
    """Fills a `RunState` from the hub, the acquisition folder and the archive.

    Queue: 1000 messages in ZeroMQ, drained before a picture is made; of the frames that came
    meanwhile the newest is shown, the others go into the curves. What is dropped on the way is
    taken from the archive later.
    """

    def __init__(
        self,
        config: Config,
        state: RunState,
        bench: Workbench,
        past: PastFrames,
        rules: EditedRules,
    ) -> None:
        self._config = config
        self._state = state
        self._bench = bench
        self._past = past
        self._rules = rules
        self._stop = threading.Event()
        self._served = True
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._truth = TruthFile(config.watch.root)
        self._newest: tuple[Live, FramePicture] | None = None
        self._raw: Key | None = None
        self._chosen = default_stamp(config.run_path)
        self._arrived = 0
        self._tidy = Every(_HOUSEKEEPING_S)
        self._aside = ThreadPoolExecutor(1, thread_name_prefix="archive")
        self._looking: Future[None] | None = None
        self._gap_since: float | None = None
        self._archive: Run | None = None
        self._changes: list[Path] = []
        self._offsets: list[Path] = []
        self._named = False

    def serving(self) -> None:
        """Note that the page serves its viewers; unless it does, its heart says that it hangs."""
        self._served = True

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening soon."""
        self._stop.set()
        self._aside.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait for the end of the thread, a moment."""
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        with Endpoints(self._config.wire) as endpoints:
            channel = endpoints.reach("events", zmq.SUB, 1000, topics=_TOPICS)
            beacon = Beacon(endpoints, "dashboard", "dashboard")
            try:
                while not self._stop.is_set():
                    self._step(channel, beacon)
            finally:
                beacon.close()

    def _step(self, channel: Channel, beacon: Beacon) -> None:
        """One round; whatever goes wrong in it must not end the feed."""
        try:
            received = channel.receive(_LISTEN_S)
            while received is not None:
                self._try(received, channel)
                received = channel.receive(0.0)
            self._show_newest()
            self._show_raw()
            idle = self._looking is None or self._looking.done()
            if idle and not self._stop.is_set() and self._tidy.due(time.monotonic()):
                self._looking = self._aside.submit(self._look)
            counters = {"dropped": float(channel.dropped)} | self._state.latency_counters()
            if self._served:
                self._served = False
                beacon.status("running", counters)
        except Exception:
            logger.exception("one round of the feed failed")
            self._stop.wait(1.0)

    def _look(self) -> None:
        """Take in what others have changed; whatever goes wrong is tried again."""
        try:
            self._fill_gaps()
            self._follow_changes()
            self._rules.current()
        except Exception:
            logger.exception("the archive could not be followed")

    def _try(self, received: Received, channel: Channel) -> None:
        """Take a message; an odd one costs itself, not the others of its round."""
        try:
            self._take(received, channel)
        except Exception as error:
            kind = type(received.packet.message).__name__
            channel.drop(f"a message ({kind}) makes no sense ({type(error).__name__}: {error})")

    def _take(self, received: Received, channel: Channel) -> None:
        message, arrays = received.packet.message, received.packet.arrays
        new = self._state.health.take(received)
        if isinstance(message, Live) and new:
            self._take_live(message, arrays)
        elif isinstance(message, Seen) and new:
            self._raw = (message.frame.path, message.frame.index)
        elif isinstance(message, Status) and message.device:
            self._bench.fitting.worker_device = message.device
        elif isinstance(message, PixelSizeChanged):
            self._bench.measure(message.size)
            self._state.pixel_size = message.size
        elif isinstance(message, SupportChanged):
            try:
                support = support_from_bytes(arrays["data"].tobytes(), "published support set")
            except (SupportError, KeyError) as error:
                channel.drop(f"support set cannot be used: {error}")
                return
            self._bench.sets.know(support)
            self._state.use(support)

    def _take_live(self, live: Live, arrays: Arrays) -> None:
        if live.status == "failed":
            self._state.fail(Failure(live.frame.path, live.frame.index, live.reason))
        if live.status == "moved":
            self._state.course.record(live, None)
            return
        if live.status != "ok" or "label_map" not in arrays or "intervals" not in arrays:
            return
        layers = {name: arrays[name] for name in ("confidence", "novelty") if name in arrays}
        picture = FramePicture.of_live(live, arrays["label_map"], arrays["intervals"], layers)
        self._state.paint(dict(zip(picture.names, picture.colors, strict=True)))
        self._state.course.record(live, picture)
        newest = self._newest[0] if self._newest else None
        if newest is None and self._state.shot is not None:
            newest = self._state.shot.live
        if comes_after(live.frame, newest.frame if newest else None):
            self._arrived += 1
            self._newest = (live, picture)

    def _show_newest(self) -> None:
        if self._newest is None:
            return
        (live, picture), skipped = self._newest, self._arrived - 1
        self._newest, self._arrived = None, 0
        self._state.course.reveal(self._truth.read_new())
        try:
            frame = self._bench.read(picture.key)
            scale = self._bench.sets.scale_of(picture.version)
            picture = with_pixels(picture, frame.pixels, scale)
        except FrameError as error:
            logger.info("%s: no picture (%s)", live.frame, error)
        self._state.show(Shot(live, picture, skipped))

    def _show_raw(self) -> None:
        """Show the newest frame as it is, as long as there are no examples to name its chips."""
        key, self._raw, shot = self._raw, None, self._state.shot
        if key is None or self._state.support is not None or (shot and shot.picture.version):
            return
        try:
            self._state.show(Shot(None, self._bench.picture(key)), meanwhile=True)
        except FrameError as error:
            logger.info("%s: no picture (%s)", key[0], error)

    def _fill_gaps(self) -> None:
        """Take from the archive what was never heard: the time before this, dropped messages.

        And what was chosen since: the scoring that the run shows.
        """
        health = self._state.health
        failed = health.counter("failed")
        expected = health.counter("archived") - failed
        unnamed = failed > len(self._state.failures) and not self._named
        now, chosen = time.monotonic(), default_stamp(self._config.run_path)
        if expected <= len(self._state.course) and chosen == self._chosen and not unnamed:
            self._gap_since = None
            return
        self._gap_since = self._gap_since or now
        first = len(self._state.course) <= 1 or chosen != self._chosen
        if not first and now - self._gap_since < _GAP_S:
            return
        self._gap_since, self._chosen = now, chosen
        if (run := self._read_archive()) is not None:
            self._recall(run)

    def _follow_changes(self) -> None:
        """Notice what somebody, here or at a command line, has left out, marked or lined up."""
        places = RunPlaces.of(self._config.run_path)
        offsets = OFFSETS.files(places)
        files = [*exclusions.EXCLUSIONS.files(places), *EVENTS.files(places), *offsets]
        if files != self._changes and (run := self._read_archive()) is not None:
            lined_up, self._offsets = offsets != self._offsets, offsets
            self._changes = files
            self._state.course.leave_out(run.left_out)
            self._state.course.tell(events_of(run))
            if lined_up:
                self._recall(run)

    def _read_archive(self) -> Run | None:
        """Open the archive or take in what is new; None where it cannot be read now."""
        try:
            self._bench.readers.check_run(self._config.run_path)
            if self._archive is None:
                self._archive = open_run(self._config.run_path, everything=True)
            else:
                self._archive.refresh()
        except ArchiveError as error:
            logger.info("the archive is not read now: %s", error)
            self._archive = None
        return self._archive

    def _recall(self, run: Run) -> None:
        if run.left_out.keys() != self._state.course.left_out.keys():
            self._state.course.leave_out(run.left_out)
        self._state.course.tell(events_of(run))
        if not self._named:
            self._named = True  # later ones are heard of
            lost = run.failed.tail(FAILURES)
            for row in zip(lost["path"], lost["index"], lost["reason"], strict=True):
                self._state.fail(Failure(str(row[0]), int(row[1]), str(row[2])))
        table = run.fractions
        if not len(table):
            return
        keys = list(zip(table["path"].tolist(), table["index"].astype(int).tolist(), strict=True))
        columns = {n: run.intervals[:, i] for i, n in enumerate((*run.names, UNKNOWN))}
        times = run.start + table["time_s"].to_numpy(np.float64)
        versions = [hdf.decode(v) for v in run.columns("support_version")["support_version"]]
        told = run.columns("exposed", "mtime_ns", "seen")
        own = np.where(np.isfinite(told["exposed"]), told["exposed"], times)
        stamps = np.stack([own, told["mtime_ns"] / 1e9, told["seen"]], axis=1)
        if run.scoring != ACQUIRED:
            versions = [run.scoring] * len(versions)
        drawn, former = measured(run), None
        # Before the curves: pages draw these once, as soon as they are there.
        self._state.paint(run.colors)
        self._state.course.scoring_name = scoring_name(run, run.scoring)
        if run.scoring != ACQUIRED:
            old = run.with_scoring(ACQUIRED)
            former = {n: old.intervals[:, i] for i, n in enumerate((*old.names, UNKNOWN))}
        self._state.course.recall(
            keys, times, columns, drawn, versions, stamps, run.scoring, former
        )
        for version in dict.fromkeys(versions):
            with suppress(PychipError):
                self._bench.sets.know(run.support_set(version))  # pages ask what it is called
        shot, newest = self._state.shot, keys[int(np.argmax(times))]
        if shot is None or not shot.picture.version:
            self._state.show(Shot(None, self._past.picture(newest)), meanwhile=True)
