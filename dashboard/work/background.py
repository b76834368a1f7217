"""Background: work off the page's loop; threads are dealt with here alone."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from pychip_stream.errors import PychipError

logger = logging.getLogger(__name__)

T = TypeVar("T")
Say = Callable[[str], None]


class Cancellable:
    """Progress (`domain.progress`) that knows whether the work is still wanted."""

    def __init__(self) -> None:
        self.done = self.total = 0
        self.cancelled = False

    def __call__(self, done: int, total: int) -> None:
        """Note how far it is.

        Raises
        ------
        PychipError
            If it was cancelled.
        """
        self.done, self.total = done, total
        if self.cancelled:
            raise PychipError("cancelled")

    @property
    def share(self) -> float | None:
        """0…1, where the total is known."""
        return self.done / self.total if self.total else None

    def cancel(self) -> None:
        """End the work at its next step."""
        self.cancelled = True


class Background:
    """Threads of one page of one session; what they find comes back into the session.

    Parameters
    ----------
    on_trouble
        Called in the session with one line for people when work fails.
    threads
        Of the page's own.
    shared
        Threads to use instead; `close` leaves them to the others.
    """

    def __init__(
        self, on_trouble: Say, threads: int = 2, shared: ThreadPoolExecutor | None = None
    ) -> None:
        import panel as pn  # what serves all sessions needs no Panel

        self._own = shared is None
        self._pool = shared or ThreadPoolExecutor(threads, thread_name_prefix="page")
        self._on_trouble = on_trouble
        self._document = pn.state.curdoc
        self._slots: set[str] = set()
        self._closed = False

    def do(
        self,
        work: Callable[[], T],
        done: Callable[[T], None],
        *,
        failed: Say | None = None,
        slot: str = "",
        pool: ThreadPoolExecutor | None = None,
    ) -> bool:
        """Work on a thread, then give the result to `done` in the session.

        Parameters
        ----------
        failed
            Instead of `on_trouble`.
        slot
            While work of this name runs, no other is begun.
        pool
            Threads to use instead of the page's.

        Returns
        -------
        Whether it was begun.
        """
        if self._closed or slot in self._slots:
            return False
        if slot:
            self._slots.add(slot)

        def back(future: "Future[T]") -> None:
            if not self._closed and not future.cancelled():
                self._document.add_next_tick_callback(lambda: finish(future))

        def finish(future: "Future[T]") -> None:
            self._slots.discard(slot)
            if not self._closed:
                _tell(future, done, failed or self._on_trouble)

        (pool or self._pool).submit(work).add_done_callback(back)
        return True

    def busy(self, slot: str) -> bool:
        """Whether work of this name runs."""
        return slot in self._slots

    def close(self) -> None:
        """Begin nothing more, and tell nobody what still comes."""
        self._closed = True
        if self._own:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _tell(future: "Future[T]", done: Callable[[T], None], failed: Say) -> None:
    try:
        done(future.result())
    except PychipError as error:
        failed(str(error))
    except Exception:
        logger.exception("work for a page failed")
        failed("this could not be done; the log says why")


class Latest(Generic[T]):
    """One piece of work at a time for all sessions; of what is asked meanwhile, the newest next."""

    def __init__(self, pool: ThreadPoolExecutor, work: Callable[[T], None]) -> None:
        self._pool = pool
        self._work = work
        self._lock = threading.Lock()
        self._wanted: T | None = None
        self._busy = False

    @property
    def waiting(self) -> bool:
        """Whether something newer than what is worked on was asked for."""
        return self._wanted is not None

    def ask(self, wanted: T) -> None:
        """Work on this next."""
        with self._lock:
            self._wanted = wanted
            if not self._busy:
                self._busy = True
                self._pool.submit(self._run)

    def _run(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                if wanted is None:
                    self._busy = False
                    return
            try:
                self._work(wanted)
            except Exception:
                logger.exception("work for the pages failed")
