"""Storage: puts finished exposures into the acquisition folder as a microscope does."""

from dataclasses import dataclass, field
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
    """

    number: int
    path: str
    data: bytes = field(repr=False)
    rows: tuple[TruthRow, ...] = ()


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

    def finish(self) -> None:
        """Wait for whatever is still being written."""

    def note(self, delivery: Delivery) -> None:
        """Write down the truth of a file's frames."""
        if self._truth is not None:
            for row in delivery.rows:
                self._truth.add(row)


def write_pieces(path: Path, data: bytes) -> None:
    """Write a file under its final name, piece by piece."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), PIECE):
            file.write(data[start : start + PIECE])
