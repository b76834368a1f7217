"""Exclusions: frames that are left out of curve, mean and export; they stay archived."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from pychip_stream.archive.changes import ChangeKind
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import RunPlaces
from pychip_stream.domain.records import FrameRecord

GROUP = "exclusions"

BLANK = "blank frame"
"""Stands in place of a person for what is left out by itself."""

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
    run: str
    frames: list[tuple[str, Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]]]
    excluded: bool
    who: str
    when: float


def _rows_of(name: str, change: _Change) -> list[Exclusion]:
    return [
        Exclusion(name, path, index, change.excluded, change.who, change.when)
        for path, index in change.frames
    ]


EXCLUSIONS = ChangeKind("excluded", GROUP, _Change, Exclusion, _rows_of)


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
    StorageError
        If that cannot be written.
    """
    change = _Change(run_id, list(frames), not undo, who, time.time())
    EXCLUSIONS.save(places, change, disk)


def exclude_blank(
    places: RunPlaces, run_id: str, records: Iterable[FrameRecord], disk: Disk
) -> None:
    """Leave out those frames that show nothing; like any other they can be taken back.

    Raises
    ------
    StorageError
        If that cannot be written.
    """
    keys = [(one.frame.path, one.frame.index) for one in records if one.blank]
    if keys:
        exclude(places, run_id, keys, who=BLANK, disk=disk)


def changes(places: RunPlaces) -> list[Path]:
    """Files of changes that are not in the closed archive, in order."""
    return EXCLUSIONS.files(places)


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
