"""Clock offsets: what is added to the clock of a source of readings, set by whom and when."""

import time
from dataclasses import dataclass

import msgspec

from pychip_stream.archive.changes import ChangeKind
from pychip_stream.archive.files import RunPlaces


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """What is added to the clock of a source, from this change on.

    Attributes
    ----------
    change
        Sorts in the order of the changes.
    offset_s
        Seconds.
    who, when
        Set it; seconds since 1970.
    how
        In words: by hand, or what it was suggested from.
    """

    change: str
    source: str
    offset_s: float
    who: str
    when: float
    how: str


class _Offset(msgspec.Struct, frozen=True):
    run: str
    source: str
    offset_s: float
    who: str
    when: float
    how: str = ""


OFFSETS = ChangeKind(
    "offset", "clock_offsets", _Offset, ClockOffset,
    lambda name, one: [
        ClockOffset(name, one.source, one.offset_s, one.who, one.when, one.how)
    ],
)  # fmt: skip


def set_offset(
    places: RunPlaces, run_id: str, source: str, offset_s: float, *, who: str, how: str = "by hand"
) -> None:
    """Set what is added to the clock of a source of a run, live or closed.

    Raises
    ------
    ArchiveError
        If the run is not archived yet, or that cannot be written.
    """
    OFFSETS.save(places, _Offset(run_id, source, offset_s, who, time.time(), how))
