"""Storage: puts finished exposures into the acquisition folder, at a rate, as a microscope does."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from pychip_stream.errors import UsageError
from pychip_stream.sim.truth import TruthLog, TruthRow

PIECE = 1 << 16
"""Bytes that are handed to the operating system at once."""


@dataclass(frozen=True, eq=False)
class Delivery:
    """A file that is to appear in the acquisition folder.

    Attributes
    ----------
    number
        Of the file in its run, from 0.
    path
        Relative to the acquisition folder, with forward slashes.
    data
        What the file holds in the end.
    rows
        Truth of the frames in it; empty where nobody knows it.
    due_s
        When it is to be written, in seconds after the start of the run.
    draft
        Makes another valid file of the same kind, for a file that is first written wrong.
    """

    number: int
    path: str
    data: bytes = field(repr=False)
    rows: tuple[TruthRow, ...] = ()
    due_s: float = 0.0
    draft: Callable[[], bytes] | None = field(default=None, repr=False)


class Storage:
    """Writes files as an acquisition does: opened, filled piece by piece, closed.

    Parameters
    ----------
    root
        Acquisition folder; made if it is not there.
    truth
        Where the truth is noted; a file's rows are there before the file is.
    """

    def __init__(self, root: Path, truth: TruthLog | None = None) -> None:
        self.root = root
        self._truth = truth

    def put(self, delivery: Delivery) -> None:
        """Write one file; raises OSError if the folder cannot be written."""
        self.write(delivery, delivery.data)

    def finish(self, *, hurry: bool = False) -> None:
        """Wait for what is still being written; `hurry` leaves out every pause.

        Raises
        ------
        OSError
            If something could not be written meanwhile.
        """

    def write(self, delivery: Delivery, data: bytes, name: str | None = None) -> Path:
        """Note the truth of a file's frames, then write these bytes under its (or another) name."""
        self.note(delivery)
        path = self.root / delivery.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path = path.with_name(name or path.name)
        with path.open("wb", buffering=0) as file:
            for start in range(0, len(data), PIECE):
                file.write(data[start : start + PIECE])
        return path

    def note(self, delivery: Delivery) -> None:
        """Write down the truth of a file's frames."""
        if self._truth is not None:
            for row in delivery.rows:
                self._truth.add(row)


MakeStorage = Callable[[Path, TruthLog | None], Storage]
"""Makes the storage of an acquisition folder, given where to note the truth."""


def check_rate(rate_hz: float) -> float:
    """Refuse impossible rates, with a `UsageError`."""
    if not 0 < rate_hz <= 10_000:
        raise UsageError(f"rate {rate_hz:g}: choose frames per second above 0, up to 10000")
    return float(rate_hz)


class Source(ABC):
    """What fills an acquisition folder: a practice microscope, or a replay."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @abstractmethod
    def deliveries(self) -> Iterator[Delivery]:
        """Make the files one at a time, as fast as they are asked for."""

    def run(
        self,
        stop: threading.Event | None = None,
        on_file: Callable[[Delivery], None] | None = None,
    ) -> int:
        """Store files when they are due, late ones at once, to the end or until `stop` is set.

        Parameters
        ----------
        on_file
            Called after each file.

        Returns
        -------
        Number of frames stored; of files, where nobody knows how many frames they hold.

        Raises
        ------
        OSError
            If a file cannot be read or written.
        """
        stop = stop or threading.Event()
        coming: Iterable[Delivery] = self.deliveries()
        first = list(islice(coming, 1))  # a camera begins when it is ready
        start, stored = time.monotonic(), 0
        try:
            for delivery in chain(first, coming):
                if stop.wait(max(0.0, start + delivery.due_s - time.monotonic())):
                    break
                self._storage.put(delivery)
                stored += len(delivery.rows) or 1
                if on_file is not None:
                    on_file(delivery)
        finally:
            self._storage.finish(hurry=stop.is_set())
        return stored
