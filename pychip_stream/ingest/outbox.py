"""Outbox: what a watch has found, waiting to be fetched by another thread."""

import threading
from collections import deque
from dataclasses import dataclass


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
            self._vanished.pop(sighting.path, None)
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
            waiting = {sighting.path for sighting in self._sightings} if self._vanished else set()
            taken = [path for path in self._vanished if path not in waiting]
            for path in taken:
                del self._vanished[path]
            return taken
