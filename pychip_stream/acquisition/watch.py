"""Watch: the acquisition folder as a stream of complete files.

Every file that is in the tree is sighted once per revision, whatever happens to events: events
only shorten the wait until the next look.
"""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from itertools import islice

from pychip_stream.acquisition.events import EventSource, Hints
from pychip_stream.acquisition.series import SeriesBook
from pychip_stream.acquisition.settling import Settler, Sighting
from pychip_stream.acquisition.tree import Rounds, Tree
from pychip_stream.config import WatchConfig
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.formats.name_patterns import NamePatterns


@dataclass(frozen=True, slots=True)
class WatchHealth:
    """How the watching goes.

    Attributes
    ----------
    root_reachable
        Whether the acquisition folder answers.
    observer_alive
        Whether file events arrive; without them a new frame takes a scan longer.
    incomplete_count, incomplete
        Files that are being waited for; path and reason of the first few.
    missing_count, missing
        Frames missing in in-situ series, and where (the first few).
    known_count
        Files known in the tree.
    pending_count
        Files found and not handed on yet.
    unreadable
        Folders that could not be listed, files whose names cannot be used: path and reason of
        the first few.
    passes
        How often the whole tree has been looked at.
    detail
        What is wrong, for people; empty when nothing is.
    """

    root_reachable: bool = True
    observer_alive: bool = False
    incomplete_count: int = 0
    incomplete: tuple[tuple[str, str], ...] = ()
    missing_count: int = 0
    missing: tuple[str, ...] = ()
    known_count: int = 0
    pending_count: int = 0
    unreadable: tuple[tuple[str, str], ...] = ()
    passes: int = 0
    detail: str = ""


class Outbox:
    """Sightings and vanished files in the order that makes sense of them."""

    def __init__(self) -> None:
        self._filled = threading.Condition()
        self._sightings: deque[Sighting] = deque()
        self._vanished: dict[str, None] = {}

    def sight(self, sighting: Sighting) -> None:
        """Put a sighting in; a file that had vanished is there again."""
        with self._filled:
            self._vanished.pop(sighting.frame.path, None)
            self._sightings.append(sighting)
            self._filled.notify_all()

    def vanish(self, paths: list[str]) -> None:
        """Note files that are gone."""
        if paths:
            with self._filled:
                self._vanished.update(dict.fromkeys(paths))

    def take(self, timeout_s: float) -> list[Sighting]:
        """Take all sightings; wait for the first if there is none."""
        with self._filled:
            if not self._sightings and timeout_s > 0:
                self._filled.wait_for(lambda: bool(self._sightings), timeout_s)
            taken = list(self._sightings)
            self._sightings.clear()
            return taken

    def take_vanished(self) -> list[str]:
        """Take the paths of files that are gone, less those with a sighting that still waits.

        Such a sighting has been taken when this is asked again.
        """
        with self._filled:
            if not self._vanished:
                return []
            waiting = {sighting.frame.path for sighting in self._sightings}
            taken = [path for path in self._vanished if path not in waiting]
            for path in taken:
                del self._vanished[path]
            return taken


logger = logging.getLogger(__name__)

# What settling may take of one turn of the loop.
_SETTLE_BUDGET_S = 0.08
_REVIVE_S = 1.0
_UNREACHABLE_S = 10.0
_MOST_SHOWN = 20
_REPORT_S = 0.2
# Looking for missing frames may take this share of a core.
_GAPS_SHARE = 1 / 100
_LONGEST_PAUSE_S = 1.0
# Hints that come faster than this are followed together.
_SHORTEST_PAUSE_S = 0.015


class FolderWatch:
    """Watches an acquisition folder from a thread of its own.

    Parameters
    ----------
    config
        Folder, mode and times.
    """

    def __init__(self, config: WatchConfig) -> None:
        self._config = config
        local = config.mode != "poll"
        self._tree = Tree(
            config.root,
            trust_times=local,
            selection=NamePatterns(config.include, config.exclude),
        )
        self._rounds = Rounds(self._tree, scan_s=config.scan_s, reconcile_s=config.reconcile_s)
        self._reader = GuardedReader.of(config)
        self._settler = Settler(
            self._tree,
            self._reader.contents,
            quiet_s=config.quiet_s,
            incomplete_s=config.incomplete_s,
            pause_s=min(config.scan_s, 0.5),
            local=local,
        )
        self._hints = Hints(config.root)
        self._events = EventSource(config.root, self._hints) if local else None
        self._book = SeriesBook(self._reader.own_time)
        self._outbox = Outbox()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._revive_at = self._report_at = self._gaps_at = 0.0
        self._turned = time.monotonic()
        self._root_error = ""
        self._gaps_of = 0
        self._missing_count = 0
        self._missing: tuple[str, ...] = ()
        self._health = WatchHealth()

    def start(self) -> None:
        """Begin to watch; the folder need not exist yet."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._reader.start()
        self._turned = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="folder-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; what was sighted can still be polled."""
        self._stopping.set()
        self._hints.arrived.set()
        thread, self._thread = self._thread, None
        self._reader.close()  # so that what is being read ends now
        if thread is not None:
            thread.join(5.0)
        self._reader.close()  # which the next file may have started again meanwhile

    def poll(self, timeout_s: float) -> list[Sighting]:
        """Take everything sighted since the last call; wait for the first if there is nothing.

        Nothing is lost when this is called late: sightings wait, a few hundred bytes each.
        """
        return self._outbox.take(timeout_s)

    def vanished(self) -> list[str]:
        """Paths of sighted files that were deleted or renamed away; to be asked after `poll`."""
        return self._outbox.take_vanished()

    def look_at(self, path: str) -> None:
        """Look at a file soon, which somebody could not read as it was sighted."""
        self._hints.note(path)

    def health(self) -> WatchHealth:
        """How the watching goes; costs nothing to ask."""
        silent = time.monotonic() - self._turned
        if self._thread is not None and silent > _UNREACHABLE_S:
            detail = f"{self._config.root} has not answered for {silent:.0f} s; is the share away?"
            return replace(self._health, root_reachable=False, detail=detail)
        return self._health

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._turn()
            except Exception:
                logger.exception("watching %s went wrong; going on", self._config.root)
                self._rounds.reconcile_now()
                self._stopping.wait(1.0)
        if self._events is not None:
            self._events.stop()

    def _turn(self) -> None:
        """One round: hints, newest folders, a slice of the whole tree, unfinished files."""
        now = time.monotonic()
        if self._events is not None and now >= self._revive_at:
            self._revive_at = now + _REVIVE_S
            if self._events.revive():
                self._rounds.reconcile_now()
        try:
            self._follow_hints()
            self._rounds.look(now)
            self._reach("")
        except OSError as error:
            self._reach(error.strerror or str(error))
        self._take_changes()
        if not self._root_error:
            for sighting in self._settler.step(_SETTLE_BUDGET_S):
                self._sight(sighting)
        self._turned = time.monotonic()
        self._report()
        self._pause()

    def _follow_hints(self) -> None:
        paths, overflow = self._hints.take()
        if overflow:
            self._rounds.reconcile_now()
        for path in paths:
            self._tree.look_at(path)
            self._settler.nudge(path)

    def _reach(self, error: str) -> None:
        """Note whether the root answers; when it comes back, look at everything."""
        if error and not self._root_error:
            logger.warning("%s cannot be reached (%s); waiting for it", self._config.root, error)
        elif self._root_error and not error:
            logger.info("%s is back", self._config.root)
            self._revive_at = 0.0
            self._rounds.reconcile_now()
        self._root_error = error

    def _take_changes(self) -> None:
        changes = self._tree.take()
        for path in changes.gone:
            self._settler.drop(path)
            self._book.forget(path)
        self._outbox.vanish(changes.gone)
        for path, found in changes.found.items():
            self._settler.add(path, found)
            self._book.enter(path)

    def _sight(self, sighting: Sighting) -> None:
        frame = sighting.frame
        self._tree.note(frame.path, (frame.size, frame.mtime_ns))
        self._rounds.remember(frame.path)
        time = self._book.note(frame.path, self._tree.absolute(frame.path), frame.mtime_ns)
        self._outbox.sight(replace(sighting, frame=replace(frame, time=time)))

    def _report(self) -> None:
        now = time.monotonic()
        if now < self._report_at:
            return
        self._report_at = now + _REPORT_S
        self._count_missing(now)
        waiting = islice(self._settler.unfinished(), _MOST_SHOWN)
        self._health = WatchHealth(
            root_reachable=not self._root_error,
            observer_alive=self._events is not None and self._events.alive,
            incomplete_count=self._settler.unfinished_count,
            incomplete=tuple((c.path, c.reason) for c in waiting),
            missing_count=self._missing_count,
            missing=self._missing,
            known_count=self._tree.file_count,
            pending_count=len(self._settler),
            unreadable=tuple(islice(self._tree.unreadable.items(), _MOST_SHOWN)),
            passes=self._rounds.passes,
            detail=self._detail(),
        )

    def _count_missing(self, now: float) -> None:
        if self._book.version == self._gaps_of or now < self._gaps_at:
            return
        start = time.thread_time()
        self._gaps_of = self._book.version
        gaps = list(self._book.gaps())
        self._missing_count = sum(len(gap.frames) for gap in gaps)
        self._missing = tuple(str(gap) for gap in gaps[:_MOST_SHOWN])
        self._gaps_at = now + (time.thread_time() - start) / _GAPS_SHARE

    def _detail(self) -> str:
        if self._root_error:
            return f"{self._config.root} cannot be reached ({self._root_error}); waiting for it"
        unreadable = self._tree.unreadable
        if unreadable:
            path, reason = next(iter(unreadable.items()))
            return f"{len(unreadable)} folder(s) or file(s) unreadable, first {path}: {reason}"
        return self._events.detail if self._events is not None else ""

    def _pause(self) -> None:
        """Sleep until the next look is due or a hint arrives."""
        if self._root_error:
            self._stopping.wait(self._config.scan_s)
            return
        due = min(self._rounds.pause(time.monotonic()), self._settler.pause(), _LONGEST_PAUSE_S)
        if due <= 0:
            time.sleep(0)  # others in this process want their turn
            return
        self._stopping.wait(_SHORTEST_PAUSE_S)
        if due > _SHORTEST_PAUSE_S:
            self._hints.arrived.wait(due - _SHORTEST_PAUSE_S)
