"""Jobs: work in the background with progress, which can be cancelled."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from pychip_stream.errors import PychipError

logger = logging.getLogger(__name__)


class Job:
    """Work in the background with progress, for one viewer's eyes."""

    def __init__(self, pool: ThreadPoolExecutor, what: str, work: Callable[["Job"], str]) -> None:
        self.what = what
        self.done = 0
        self.total = 0
        self.cancelled = threading.Event()
        self._future: Future[str] = pool.submit(work, self)

    def progress(self, done: int, total: int) -> None:
        """Note how far it is.

        Raises
        ------
        PychipError
            If it was cancelled.
        """
        self.done, self.total = done, total
        if self.cancelled.is_set():
            raise PychipError("cancelled")

    def outcome(self) -> tuple[bool, str] | None:
        """Whether it succeeded, and what it says; None while it runs."""
        if not self._future.done():
            return None
        if self._future.cancelled():
            return False, "cancelled"
        error = self._future.exception()
        if error is None:
            return True, self._future.result()
        if not isinstance(error, PychipError):
            logger.error("%s failed", self.what, exc_info=error)
        return False, str(error)
