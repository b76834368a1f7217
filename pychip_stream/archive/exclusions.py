"""Exclusions: frames that are left out of curve, mean and export; they stay archived.

Every change, by whomever, is a file of its own beside the run, whole from the moment it is there;
the archiver takes them into the archive when it merges the run, as it does with scorings.
"""

import logging
import re
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from pychip_stream.archive.disk import Disk, reason
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.row_group import read_rows
from pychip_stream.errors import ArchiveError

logger = logging.getLogger(__name__)

GROUP = "exclusions"
_FILE = re.compile(r"excluded-(\d{19})-[0-9a-f]{8}\.json")
_MOST_BYTES = 64 << 20

FrameKey = tuple[str, int]
"""Path and index."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A frame that was left out or, where not `excluded`, taken back.

    Attributes
    ----------
    change
        What was changed at once has the same; sorts in the order of the changes.
    path, index
        Of the frame, whatever its revision.
    who, when
        Changed it; seconds since 1970.
    """

    change: str
    path: str
    index: int
    excluded: bool
    who: str
    when: float


class _Change(msgspec.Struct, frozen=True):
    """What a file of a change holds; `run` is the run's identity."""

    run: str
    frames: list[FrameKey]
    excluded: bool
    who: str
    when: float


def exclude(
    places: RunPlaces,
    run_id: str,
    frames: Sequence[FrameKey],
    *,
    who: str,
    undo: bool = False,
    disk: Disk | None = None,
) -> None:
    """Leave frames of a run, live or closed, out (`undo`: take them back).

    Raises
    ------
    ArchiveError
        If that cannot be written.
    """
    now = time.time()
    # No later change is before an earlier one, whatever the clocks of their computers say.
    newest = max([0, *(int(_FILE.fullmatch(p.name)[1]) for p in changes(places))])  # type: ignore[index]
    name = f"excluded-{max(int(now * 1e9), newest + 1):019d}-{secrets.token_hex(4)}.json"
    change = _Change(run_id, list(frames), not undo, who, now)
    try:
        (disk or Disk()).save(places.scorings / name, msgspec.json.encode(change))
    except OSError as error:
        raise ArchiveError(f"{places.scorings}: cannot be written ({reason(error)})") from error


def changes(places: RunPlaces) -> list[Path]:
    """Files of changes that are not in the closed archive, in order."""
    try:
        found = [path for path in places.scorings.iterdir() if _FILE.fullmatch(path.name)]
    except OSError:
        return []
    return sorted(found)


class Exclusions:
    """Reads what was left out of a run, anew only where something changed."""

    def __init__(self, places: RunPlaces) -> None:
        self._places = places
        self._stamp: object = None
        self._rows: list[Exclusion] = []

    def read(self, run_id: str) -> list[Exclusion]:
        """Every change of this run, in order; the same list while there are no new ones."""
        # A file of a change that is gone is in the archive, which is therefore looked at later.
        files = changes(self._places)
        stamp: list[object] = [run_id, *files]
        with suppress(OSError):
            closed = self._places.closed.stat()
            stamp += [closed.st_mtime_ns, closed.st_size, closed.st_ino]
        if stamp != self._stamp:
            new = [row for path in files for row in _rows_of(path, run_id)]
            rows = [*read_rows(self._places.closed, GROUP, Exclusion), *new]
            once = {(row.change, row.path, row.index): row for row in rows}
            self._rows = sorted(once.values(), key=lambda row: row.change)
            self._stamp = stamp
        return self._rows


def in_force(
    rows: Iterable[Exclusion], renamed: Mapping[FrameKey, FrameKey]
) -> dict[FrameKey, Exclusion]:
    """Frames that are left out after these changes, by the names that they have now.

    Parameters
    ----------
    renamed
        Names that frames had → those that they have now.
    """
    keys = ((row, (row.path, row.index)) for row in rows)
    last = {renamed.get(key, key): row for row, key in keys}
    return {key: row for key, row in last.items() if row.excluded}


def _rows_of(path: Path, run_id: str) -> list[Exclusion]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise msgspec.ValidationError("is too large")
        change = msgspec.json.decode(path.read_bytes(), type=_Change)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeError) as error:
        logger.error("%s: is no change of what is left out (%s); ignored", path, error)
        return []
    if change.run != run_id:
        return []
    return [
        Exclusion(path.stem, name, index, change.excluded, change.who, change.when)
        for name, index in change.frames
    ]
