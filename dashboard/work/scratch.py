"""Scratch: files of viewers on their way; gone with the viewer, at the latest at the next start."""

import atexit
import logging
import shutil
import tempfile
import threading
import time
from pathlib import Path

from pychip_stream.archive.disk import LockedError, RunLock
from pychip_stream.errors import ArchiveError

logger = logging.getLogger(__name__)

_PREFIX = "pychip-stream-page-"
_LOCK = "page.lock"
_YOUNG_S = 60.0

_making = threading.Lock()
_own: tuple[Path, RunLock] | None = None


def folder(what: str) -> Path:
    """Make a folder of its own, which whoever asked removes; no other user can look into it."""
    global _own
    with _making:
        if _own is None or not _own[0].is_dir():
            place = Path(tempfile.mkdtemp(prefix=_PREFIX))
            _own = place, RunLock(place / _LOCK)
    return Path(tempfile.mkdtemp(prefix=f"{what}-", dir=_own[0]))


def sweep() -> None:
    """Remove what pages that have died have left behind."""
    for place in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        try:
            if _is_abandoned(place):
                shutil.rmtree(place)
                logger.info("%s: removed; the page that made it is gone", place)
        except (OSError, ArchiveError) as error:
            logger.info("%s: is left alone (%s)", place, error)


def _is_abandoned(place: Path) -> bool:
    lock = place / _LOCK
    if place.is_symlink() or not place.is_dir():
        return False
    if not lock.exists():  # perhaps it is being made
        return time.time() - place.stat().st_mtime > _YOUNG_S
    try:
        RunLock(lock).release()
    except LockedError:
        return False
    return True


@atexit.register
def clear() -> None:
    """Remove all of it now: work that still runs may outlast the patience of who stops this."""
    if _own is not None:
        _own[1].release()
        shutil.rmtree(_own[0], ignore_errors=True)
