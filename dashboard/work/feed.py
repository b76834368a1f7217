"""Feed: the one background thread that listens to the run and prepares it for all viewers.

Page loads block the server's event loop for up to a second, so nothing of this runs there.
"""

import logging
import threading
import time

import numpy as np
import zmq

from pychip_stream.archive.run import Run, open_run
from pychip_stream.archive.support_sets import support_from_bytes
from pychip_stream.config import Config
from pychip_stream.domain.frames import inside
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import ArchiveError, FrameError, SupportError
from pychip_stream.formats.reading import read_frame
from pychip_stream.sim.truth import TruthFile
from pychip_stream.wire import messages
from pychip_stream.wire.channel import Channel, Received
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.heartbeat import Beacon
from pychip_stream.wire.messages import Alert as AlertMessage
from pychip_stream.wire.messages import Live, Seen, Status, SupportChanged

from .frame_pictures import to_jpeg
from .state import Alert, RunState, Shot

logger = logging.getLogger(__name__)

_LISTEN_S = 0.05
_HOUSEKEEPING_S = 1.0
_GAP_S = 5.0
_JOIN_S = 5.0

_TOPICS = (messages.STATUS, messages.SEEN, messages.LIVE, messages.SUPPORT, messages.ALERT)


class Feed:
    """Fills a `RunState` from the hub, the acquisition folder and the archive.

    Queue: 1000 messages in ZeroMQ, drained before a picture is made; of the frames that came
    meanwhile the newest is shown, the others go into the curves. What is dropped on the way is
    taken from the archive later.
    """

    def __init__(self, config: Config, state: RunState) -> None:
        self._config = config
        self._state = state
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._truth = TruthFile(config.watch.root)
        self._scales: dict[str, Normalization] = {}
        self._newest: tuple[Live, dict[str, np.typing.NDArray[np.generic]]] | None = None
        self._arrived = 0
        self._tidy_at = 0.0
        self._gap_since: float | None = None
        self._archive: Run | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; waits for the thread."""
        self._stop.set()
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
        """One round; whatever goes wrong with one message must not end the feed."""
        try:
            received = channel.receive(_LISTEN_S)
            while received is not None:
                self._take(received, channel)
                received = channel.receive(0.0)
            self._show_newest()
            if time.monotonic() - self._tidy_at > _HOUSEKEEPING_S:
                self._tidy_at = time.monotonic()
                self._fill_gaps()
            counters = {"dropped": float(channel.dropped)} | self._state.latency_counters()
            beacon.status("running", counters)
        except Exception:
            logger.exception("one round of the feed failed")
            self._stop.wait(1.0)

    def _take(self, received: Received, channel: Channel) -> None:
        message, arrays = received.packet.message, received.packet.arrays
        self._state.hear(message if isinstance(message, Status) else None)
        if isinstance(message, Seen):
            self._state.see(message.frame)
        elif isinstance(message, Live):
            self._take_live(message, arrays)
        elif isinstance(message, AlertMessage):
            self._take_alert(message)
        elif isinstance(message, SupportChanged):
            try:
                support = support_from_bytes(arrays["data"].tobytes(), "published support set")
            except (SupportError, KeyError) as error:
                channel.drop(f"support set cannot be used: {error}")
                return
            self._scales[support.version] = support.normalization
            self._state.use(support)

    def _take_alert(self, message: AlertMessage) -> None:
        if message.dry_run or not message.banner:
            return
        ended = message.time if message.state == "off" else None
        self._state.alert(Alert(message.rule, message.level, message.reason, message.time, ended))

    def _take_live(self, live: Live, arrays: dict[str, np.typing.NDArray[np.generic]]) -> None:
        intervals = arrays.get("intervals")
        self._state.record(live, None if intervals is None else intervals.astype(np.float64))
        if live.status != "ok" or "label_map" not in arrays or intervals is None:
            return
        labels = np.asarray(arrays["label_map"], np.uint8)
        self._state.remember(Shot(0, live, labels, intervals.astype(np.float64)))
        shown = self._state.shot
        newest = self._newest[0] if self._newest else (shown.live if shown else None)
        if newest is not None and live.frame.time < newest.frame.time:
            return
        if shown is not None and live.frame == shown.live.frame and live == shown.live:
            return  # the hub repeats the last one for every new subscriber
        self._arrived += 1
        self._newest = (live, arrays)

    def _show_newest(self) -> None:
        if self._newest is None:
            return
        live, arrays = self._newest
        skipped, self._newest, self._arrived = self._arrived - 1, None, 0
        self._state.reveal(self._truth.read_new())
        self._state.show(
            Shot(
                number=0,
                live=live,
                label_map=np.asarray(arrays["label_map"], np.uint8),
                intervals=np.asarray(arrays["intervals"], np.float64),
                jpeg=self._picture(live),
                skipped=skipped,
            )
        )

    def _picture(self, live: Live) -> bytes:
        """JPEG of the frame, or nothing where the file is gone or unreadable by now."""
        try:
            path = inside(self._config.watch.root, live.frame.path)
            limit = int(self._config.watch.max_frame_mb * 2**20)
            frame = read_frame(path, live.frame.index, max_bytes=limit)
        except FrameError as error:
            logger.info("%s: no picture (%s)", live.frame.path, error)
            return b""
        return to_jpeg(frame.pixels, self._scales.get(live.support_version))[0]

    def _fill_gaps(self) -> None:
        """Take from the archive what was never heard: the time before this, dropped messages."""
        watcher = self._state.statuses.get("watcher")
        counters = watcher.counters if watcher else {}
        expected = counters.get("archived", 0.0) - counters.get("failed", 0.0)
        now = time.monotonic()
        if expected <= self._state.frames:
            self._gap_since = None
            return
        self._gap_since = self._gap_since or now
        first = self._state.frames <= 1
        if not first and now - self._gap_since < _GAP_S:
            return
        self._gap_since = now
        try:
            if self._archive is None:
                self._archive = open_run(self._config.run_path)
            else:
                self._archive.refresh()
            self._recall(self._archive)
        except ArchiveError as error:
            logger.info("the archive is not read now: %s", error)
            self._archive = None

    def _recall(self, run: Run) -> None:
        table = run.fractions
        if not len(table):
            return
        keys = list(zip(table["path"].tolist(), table["index"].astype(int).tolist(), strict=True))
        columns = {n: run.intervals[:, i] for i, n in enumerate((*run.names, UNKNOWN))}
        times = run.start + table["time_s"].to_numpy(np.float64)
        frames = run.frames
        versions = frames.loc[frames["frame"] >= 0, "support_version"].astype(str).tolist()
        self._state.recall(keys, times, columns, versions)
        self._state.colors = self._state.colors | run.colors
