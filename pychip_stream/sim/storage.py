"""Storage: puts finished exposures into the acquisition folder as a microscope does."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

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
        """Write one file.

        Raises
        ------
        OSError
            If the folder cannot be written.
        """
        self.note(delivery)
        write_pieces(self.root / delivery.path, delivery.data)

    def finish(self, *, hurry: bool = False) -> None:
        """Wait for what is still being written; `hurry` leaves out every pause.

        Raises
        ------
        OSError
            If something could not be written meanwhile.
        """

    def note(self, delivery: Delivery) -> None:
        """Write down the truth of a file's frames."""
        if self._truth is not None:
            for row in delivery.rows:
                self._truth.add(row)


MakeStorage = Callable[[Path, TruthLog | None], Storage]
"""Makes the storage of an acquisition folder, given where to note the truth."""


def play(
    deliveries: Iterable[Delivery],
    storage: Storage,
    stop: threading.Event,
    on_file: Callable[[Delivery], None] | None = None,
) -> None:
    """Store files when they are due, until `stop` is set; late ones go at once.

    Raises
    ------
    OSError
        If the folder cannot be written.
    """
    coming = iter(deliveries)
    first = list(islice(coming, 1))  # a camera begins when it is ready
    start = time.monotonic()
    try:
        for delivery in chain(first, coming):
            if stop.wait(max(0.0, start + delivery.due_s - time.monotonic())):
                break
            storage.put(delivery)
            if on_file is not None:
                on_file(delivery)
    finally:
        storage.finish(hurry=stop.is_set())


def write_pieces(path: Path, data: bytes) -> None:
    """Write a file under its final name, piece by piece."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), PIECE):
            file.write(data[start : start + PIECE])
