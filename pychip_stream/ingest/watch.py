"""Watch: the acquisition folder as a stream of complete files.

Every file that is in the tree is sighted once per revision, whatever happens to events: events
only shorten the wait until the next look.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pychip_stream.config import WatchConfig
from pychip_stream.ingest import insitu
from pychip_stream.ingest.events import EventSource, Hints
from pychip_stream.ingest.settle import Settled, Settler
from pychip_stream.ingest.tree import Changes, Stat, Tree

logger = logging.getLogger(__name__)

# Of one turn of the loop: what the whole tree and what settling may take.
_RECONCILE_BUDGET_S = 0.04
_SETTLE_BUDGET_S = 0.08
# The whole tree may take this share of a core in the long run.
_RECONCILE_SHARE = 1 / 40
_REVIVE_S = 1.0
_UNREACHABLE_S = 10.0
_RECENT = 64
_MOST_GAPS = 20
_REPORT_S = 0.2
# Hints that come faster than this are followed together.
_SHORTEST_PAUSE_S = 0.015


@dataclass(frozen=True, slots=True)
class Sighting:
    """A revision of a file that is complete, or that never will be.

    Attributes
    ----------
    path
        Relative to the acquisition root, with forward slashes.
    size, mtime_ns
        Of the file when it was judged.
    frames
        Frames in it; 1 for a refused file.
    time
        Acquisition time in seconds since 1970: from the name of an in-situ frame, else the
        file's time.
    seen
        When it was first seen, in seconds since 1970.
    problem
        Why no frame can be had from it, or None.
    """

    path: str
    size: int
    mtime_ns: int
    frames: int
    time: float
    seen: float
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class WatchHealth:
    """How the watching goes.

    Attributes
    ----------
    root_reachable
        Whether the acquisition folder answers.
    observer_alive
        Whether file events arrive; without them a new frame takes a scan longer.
    incomplete
        Files that are being waited for: path and reason.
    missing_count, missing
        Frames missing in in-situ series, and where (the first few).
    known_count
        Files known in the tree.
    pending_count
        Files found and not handed on yet.
    unreadable
        Folders that could not be listed: path and reason.
    detail
        What is wrong, for people; empty when nothing is.
    """

    root_reachable: bool = True
    observer_alive: bool = False
    incomplete: tuple[tuple[str, str], ...] = ()
    missing_count: int = 0
    missing: tuple[str, ...] = ()
    known_count: int = 0
    pending_count: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    detail: str = ""


class FolderWatch:
    """Watches an acquisition folder from a thread of its own.

    Parameters
    ----------
    config
        Folder, mode and times.
    """

    def __init__(self, config: WatchConfig) -> None:
        self._config = config
        self._local = config.mode != "poll"
        self._tree = Tree(config.root, trust_times=self._local)
        self._settler = Settler(
            self._tree,
            quiet_s=config.quiet_s,
            incomplete_s=config.incomplete_s,
            pause_s=min(config.scan_s, 0.5),
            local=self._local,
        )
        self._hints = Hints(config.root)
        self._events = EventSource(config.root, self._hints) if self._local else None
        self._book = insitu.SeriesBook()
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._reconciling: Iterator[None] | None = None
        self._reconcile_at = self._scan_at = self._revive_at = self._recent_at = 0.0
        self._reconcile_cpu = 0.0
        self._turned = time.monotonic()
        self._report_at = 0.0
        self._gaps_of = 0
        self._missing_count = 0
        self._missing: tuple[str, ...] = ()
        self._root_error = ""
        self._lock = threading.Condition()
        self._sightings: deque[Sighting] = deque()
        self._vanished: dict[str, None] = {}
        self._health = WatchHealth()

    def start(self) -> None:
        """Begin to watch; the folder need not exist yet."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="folder-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; what was sighted can still be polled."""
        self._stopping.set()
        self._hints.arrived.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(5.0)

    def poll(self, timeout_s: float) -> list[Sighting]:
        """Take everything sighted since the last call; wait for the first if there is nothing.

        Nothing is lost when this is called late: sightings wait, a few hundred bytes each.
        """
        with self._lock:
            if not self._sightings and timeout_s > 0:
                self._lock.wait_for(lambda: bool(self._sightings), timeout_s)
            taken = list(self._sightings)
            self._sightings.clear()
            return taken

    def vanished(self) -> list[str]:
        """Paths of sighted files that were deleted or renamed away since the last call."""
        with self._lock:
            taken = list(self._vanished)
            self._vanished.clear()
            return taken

    def health(self) -> WatchHealth:
        """How the watching goes; costs nothing to ask."""
        with self._lock:
            health = self._health
        silent = time.monotonic() - self._turned
        if self._thread is not None and silent > _UNREACHABLE_S:
            detail = f"{self._config.root} has not answered for {silent:.0f} s; is the share away?"
            return replace(health, root_reachable=False, detail=detail)
        return health

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception:
                logger.exception("watching %s went wrong; going on", self._config.root)
                self._stopping.wait(1.0)
        if self._events is not None:
            self._events.stop()

    def _turn(self) -> None:
        """One round: hints, newest folders, a slice of the whole tree, unfinished files."""
        now = time.monotonic()
        if self._events is not None and now >= self._revive_at:
            self._revive_at = now + _REVIVE_S
            if self._events.revive():
                self._reconcile_at = now
        try:
            self._look(now)
            self._reach("")
        except OSError as error:
            self._reconciling = None
            self._reach(error.strerror or str(error))
        self._take(self._tree.take())
        for settled in self._settler.step(_SETTLE_BUDGET_S):
            self._sight(settled)
        self._turned = time.monotonic()
        self._report()
        self._pause()

    def _look(self, now: float) -> None:
        paths, overflow = self._hints.take()
        for path in paths:
            self._tree.look_at(path)
        if overflow:
            self._reconcile_at = now
        if now >= self._scan_at:
            self._tree.look_at_frontier()
            self._scan_at = time.monotonic() + self._config.scan_s
        if now >= self._recent_at:
            # Without events, a rewrite shows in nothing but the file itself.
            for path in list(self._recent):
                self._tree.look_at(path)
            self._recent_at = now + max(1.0, self._config.scan_s)
        self._reconcile(now)

    def _reconcile(self, now: float) -> None:
        """Go on with the pass over the whole tree, or begin one when it is time."""
        if self._reconciling is None:
            if now < self._reconcile_at:
                return
            self._reconciling = self._tree.reconcile()
            self._reconcile_cpu = 0.0
        cpu, end = time.thread_time(), time.monotonic() + _RECONCILE_BUDGET_S
        for _ in self._reconciling:
            if time.monotonic() >= end:
                break
        else:
            self._reconciling = None
        self._reconcile_cpu += time.thread_time() - cpu
        if self._reconciling is None:
            wait = max(self._config.reconcile_s, self._reconcile_cpu / _RECONCILE_SHARE)
            self._reconcile_at = time.monotonic() + wait

    def _reach(self, error: str) -> None:
        """Note whether the root answers; when it comes back, look at everything."""
        if error and not self._root_error:
            logger.warning("%s cannot be reached (%s); waiting for it", self._config.root, error)
        elif self._root_error and not error:
            logger.info("%s is back", self._config.root)
            self._reconcile_at = self._revive_at = 0.0
        self._root_error = error

    def _take(self, changes: Changes) -> None:
        for path in changes.gone:
            self._settler.drop(path)
            moment = insitu.parse(path)
            if moment is not None:
                self._book.remove(moment)
        if changes.gone:
            with self._lock:
                self._vanished.update(dict.fromkeys(changes.gone))
        for path, found in changes.found.items():
            self._settler.add(path, found)
            self._note_moment(path, found)

    def _note_moment(self, path: str, found: Stat) -> float:
        """Acquisition time of a file; in-situ frames are entered into their series."""
        moment = insitu.parse(path)
        if moment is None:
            return found[1] / 1e9
        if not self._book.knows(moment.series):
            first = insitu.earliest(Path(self._tree.absolute(path)))
            if first is not None:
                self._book.begin(moment.series, first)
        return self._book.add(moment, found[1] / 1e9)

    def _sight(self, settled: Settled) -> None:
        size, mtime_ns = settled.found
        self._tree.note(settled.path, settled.found)
        self._recent.append(settled.path)
        sighting = Sighting(
            path=settled.path,
            size=size,
            mtime_ns=mtime_ns,
            frames=settled.frames,
            time=self._note_moment(settled.path, settled.found),
            seen=settled.seen,
            problem=settled.problem,
        )
        with self._lock:
            self._vanished.pop(settled.path, None)
            self._sightings.append(sighting)
            self._lock.notify_all()

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._report_at:
            return
        self._report_at = now + _REPORT_S
        if self._book.version != self._gaps_of:
            self._gaps_of = self._book.version
            gaps = list(self._book.gaps())
            self._missing_count = sum(len(gap.frames) for gap in gaps)
            self._missing = tuple(str(gap) for gap in gaps[:_MOST_GAPS])
        health = WatchHealth(
            root_reachable=not self._root_error,
            observer_alive=self._events is not None and self._events.alive,
            incomplete=tuple((c.path, c.reason) for c in self._settler.unfinished()),
            missing_count=self._missing_count,
            missing=self._missing,
            known_count=self._tree.file_count,
            pending_count=len(self._settler),
            unreadable=tuple(self._tree.unreadable.items()),
            detail=self._detail(),
        )
        with self._lock:
            self._health = health

    def _detail(self) -> str:
        if self._root_error:
            return f"{self._config.root} cannot be reached ({self._root_error}); waiting for it"
        if self._tree.unreadable:
            folder, reason = next(iter(self._tree.unreadable.items()))
            return f"{len(self._tree.unreadable)} folder(s) unreadable, first {folder}: {reason}"
        return self._events.detail if self._events is not None else ""

    def _pause(self) -> None:
        """Sleep until the next look is due or a hint arrives."""
        now = time.monotonic()
        if self._reconciling is not None or self._settler.pause() <= 0:
            time.sleep(0)  # others in this process want their turn
            return
        due = min(self._scan_at, self._reconcile_at, now + self._settler.pause())
        self._stopping.wait(_SHORTEST_PAUSE_S)
        if due - _SHORTEST_PAUSE_S > now:
            self._hints.arrived.wait(due - _SHORTEST_PAUSE_S - now)
