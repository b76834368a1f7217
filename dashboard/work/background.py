"""Later: work off the event loop whose result comes back into the viewer's session."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import panel as pn

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


T = TypeVar("T")


class Later:
    """Threads of one view, or of several that share them.

    Parameters
    ----------
    on_trouble
        Called in the session with one line for people when work fails.
    threads
        Of the view's own.
    shared
        Threads to use instead; `close` leaves them to the others.
    """

    def __init__(
        self,
        on_trouble: Callable[[str], None],
        threads: int = 2,
        shared: ThreadPoolExecutor | None = None,
    ) -> None:
        self._own = shared is None
        self.pool = shared or ThreadPoolExecutor(threads, thread_name_prefix="view")
        self._on_trouble = on_trouble
        self._document = pn.state.curdoc
        self._closed = False

    def do(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Work on a thread, then give the result to `done` in the session."""
        if self._closed:
            return
        self.pool.submit(work).add_done_callback(lambda future: self._back(future, done))

    def close(self) -> None:
        """Begin nothing more, and tell nobody what still comes."""
        self._closed = True
        if self._own:
            self.pool.shutdown(wait=False, cancel_futures=True)

    def _back(self, future: "Future[T]", done: Callable[[T], None]) -> None:
        if not self._closed and not future.cancelled():
            self._document.add_next_tick_callback(lambda: self._finish(future, done))

    def _finish(self, future: "Future[T]", done: Callable[[T], None]) -> None:
        if self._closed:
            return
        try:
            done(future.result())
        except PychipError as error:
            self._on_trouble(str(error))
        except Exception:
            logger.exception("work for a page failed")
            self._on_trouble("this could not be done; the log says why")
