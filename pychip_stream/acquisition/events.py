"""Events: the file system's hints on where to look, from watchdog.

They get lost when a queue overflows, never come from network folders, and the thread that
brings them dies when a share drops: nothing relies on them.
"""

import logging
import os
import threading
import warnings
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

logger = logging.getLogger(__name__)

_MOST_HINTS = 20_000
# Never those of mere reading: our own readers would wake us.
_WANTED: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileClosedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
]


class Hints(FileSystemEventHandler):
    """Collects paths that something happened to; never raises, and is bounded.

    Attributes
    ----------
    arrived
        Set while there are hints.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._lock = threading.Lock()
        self._paths: dict[str, None] = {}
        self._overflow = False
        self.arrived = threading.Event()

    def dispatch(self, event: FileSystemEvent) -> None:
        """Note the paths of an event."""
        # An exception here would end the observer's thread, unnoticed.
        try:
            for path in (event.src_path, event.dest_path):
                if path:
                    relative = os.path.relpath(os.fsdecode(path), self._root)
                    self.note(relative.replace(os.sep, "/"))
        except Exception:
            logger.debug("an event could not be understood", exc_info=True)

    def note(self, path: str) -> None:
        """Note a path, relative to the root, with forward slashes; "." is the root itself."""
        if path.startswith(".."):
            return
        with self._lock:
            if len(self._paths) < _MOST_HINTS:
                self._paths["" if path == "." else path] = None
            else:
                self._overflow = True
        self.arrived.set()

    def take(self) -> tuple[list[str], bool]:
        """Hand over the paths in order, and whether there were too many to keep."""
        with self._lock:
            paths, self._paths = list(self._paths), {}
            overflow, self._overflow = self._overflow, False
            self.arrived.clear()
        return paths, overflow


class EventSource:
    """Watchdog's observer with its life looked after.

    Parameters
    ----------
    root
        Folder to watch with everything below.
    hints
        Where the paths go.
    """

    def __init__(self, root: Path, hints: Hints) -> None:
        self._root = root
        self._hints = hints
        self._observer: BaseObserver | None = None
        self._identity: tuple[int, int] | None = None
        self.detail = ""

    @property
    def alive(self) -> bool:
        """Whether hints can arrive: the observer and its emitters run on the folder of now."""
        observer = self._observer
        if observer is None or not observer.is_alive() or not observer.emitters:
            return False
        return all(emitter.is_alive() for emitter in observer.emitters)

    def revive(self) -> bool:
        """Start the observer if it is not alive or the root is another folder now.

        Returns
        -------
        Whether it was started: what happened before has to be looked for.
        """
        try:
            found = self._root.stat()
        except OSError:
            return False
        identity = (found.st_dev, found.st_ino)
        if self.alive and identity == self._identity:
            return False
        self.stop()
        # watchdog 7 warns of an overflow with its whole table of watches in the message.
        warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"watchdog\b")
        observer = Observer()
        try:
            observer.schedule(self._hints, str(self._root), recursive=True, event_filter=_WANTED)
            observer.start()
        except (OSError, RuntimeError) as error:  # for example too many watches
            self.detail = f"no file events ({error}); folders are looked at instead"
            logger.warning("%s: %s", self._root, self.detail)
            return False
        self._observer, self._identity, self.detail = observer, identity, ""
        return True

    def stop(self) -> None:
        """Stop the observer, dead or alive."""
        observer, self._observer = self._observer, None
        if observer is None:
            return
        try:
            observer.stop()
            observer.join(2.0)
        except Exception:
            logger.debug("the observer did not stop cleanly", exc_info=True)
