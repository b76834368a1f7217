"""Runs: what lies in the archive folder, a card each."""

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pychip_stream.archive.listing import is_support_set, run_stamps
from pychip_stream.archive.probe import files_of_run
from pychip_stream.archive.run import Run, open_run
from pychip_stream.errors import PychipError
from pychip_stream.export.kinds import pixel_reader
from pychip_stream.export.pictures import thumbnail

from .readers import Readers

logger = logging.getLogger(__name__)

PREVIEW_PX = 128


@dataclass(frozen=True, eq=False)
class RunCard:
    """What is shown of a run before it is opened.

    Attributes
    ----------
    name, path
        Of the run; `path` is what `open_run` takes.
    stamp
        Changes when the run does.
    start, duration_s
        Of the classified frames, in seconds since 1970 and seconds; NaN without one.
    frames, failed
        How many were classified, and how many could not be.
    classes
        Name and colour of each.
    preview
        JPEG of the middle frame with its labels; empty without one.
    trouble
        Why it cannot be opened; empty otherwise.
    support
        It is a support set and no run.
    """

    name: str
    path: Path
    stamp: str
    live: bool = False
    start: float = float("nan")
    duration_s: float = float("nan")
    frames: int = 0
    failed: int = 0
    size: int = 0
    classes: tuple[tuple[str, str], ...] = ()
    preview: bytes = field(default=b"", repr=False)
    trouble: str = ""
    support: bool = False


class RunShelf:
    """The runs of folders, and single ones; looks again only at those that changed.

    One shelf serves all viewers; `look` may take long.

    Parameters
    ----------
    places
        Folders with runs, or runs.
    root
        Acquisition folder to try where a run does not know its own.
    readers
        Look at the files first, and read frames; None: here.
    """

    def __init__(self, places: Sequence[Path], root: Path, readers: Readers | None = None) -> None:
        self.places = tuple(places)
        self.readers = readers
        self._root = root
        self._lock = threading.Lock()
        self._known: dict[Path, RunCard] = {}

    def look(self) -> list[RunCard]:
        """Cards of all runs, newest first."""
        with self._lock:
            found = {}
            stamps = {p: s for place in self.places for p, s in run_stamps(place).items()}
            names = Counter(path.stem for path in stamps)
            for path, stamp in stamps.items():
                name = path.stem if names[path.stem] == 1 else str(path.with_suffix(""))
                old = self._known.get(path)
                same = old is not None and (old.stamp, old.name) == (stamp, name)
                found[path] = old if same and old else self._card(path, name, stamp)
            self._known = found
        runs = [card for card in found.values() if not card.support]
        return sorted(runs, key=lambda c: (-_or_zero(c.start), c.name))

    def _card(self, path: Path, name: str, stamp: str) -> RunCard:
        return make_card(path, name, stamp, self._root, self.readers)


def make_card(
    path: Path, name: str, stamp: str, root: Path, readers: Readers | None = None
) -> RunCard:
    """Look into a run."""
    try:
        if readers is not None:
            readers.check_run(path)
    except PychipError as error:
        return RunCard(name, path, stamp, size=_size(path), trouble=str(error))
    try:
        with open_run(path) as run:
            count = run.count
            last = run.fractions["time_s"].tail(1).tolist()
            return RunCard(
                name,
                path,
                stamp,
                live=run.live,
                start=run.start,
                duration_s=last[0] if last else float("nan"),
                frames=count,
                failed=len(run) - count,
                size=_size(path),
                classes=tuple((n, run.colors[n]) for n in run.names),
                preview=_preview(run, root, readers) if count else b"",
            )
    except PychipError as error:
        trouble = str(error)
    except Exception as error:  # of one archive, which must not hide the others
        logger.exception("%s: cannot be looked at", path)
        trouble = f"{path.name}: cannot be looked at ({type(error).__name__}: {error})"[:300]
    support = is_support_set(path)
    return RunCard(name, path, stamp, size=_size(path), trouble=trouble, support=support)


def _preview(run: Run, root: Path, readers: Readers | None) -> bytes:
    """Middle frame."""
    read = readers.pixel_reader(run, root) if readers else pixel_reader(run, root)
    try:
        covered = run.covered
        return thumbnail(run, int(covered[len(covered) // 2]), read, PREVIEW_PX)
    except Exception as error:
        logger.info("%s: no picture (%s)", run.path, error)
        return b""


def _size(path: Path) -> int:
    """Bytes on disk of a run with everything beside it."""
    total = 0
    for file in files_of_run(path):
        try:
            total += file.stat().st_size
        except OSError:
            continue
    return total


def _or_zero(value: float) -> float:
    return value if np.isfinite(value) else 0.0
