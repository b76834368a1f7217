"""Events: marks with a text at a moment of a run, and what the run itself tells.

Those who made a mark can change it afterwards; every change is kept, with who and when.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import xxhash

from pychip_stream.archive import hdf
from pychip_stream.archive.alert_journal import read_alerts
from pychip_stream.archive.changes import ChangeKind, Changes
from pychip_stream.archive.files import RunPlaces
from pychip_stream.domain.signals import MOST_NOTES, Note
from pychip_stream.errors import PychipError, UsageError

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run

logger = logging.getLogger(__name__)

MARK, CHANGE, SUPPORT, ALERT = "mark", "change", "support", "alert"
"""Kinds: of people, a change point that somebody took over, and what the run tells."""
MOST_TEXT = 400
MOST_TOLD = 5000
"""Changes of marks that a live run takes over the wire: each is a file until the run is merged."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """A mark as it was made, changed or removed.

    Attributes
    ----------
    change
        Sorts in the order of the changes.
    event
        Identifies the mark.
    time, when
        Of the mark, and of the change, in seconds since 1970.
    kind
        "mark" or "change".
    who
        Changed it.
    source
        On whose clock `time` is; empty: on that of the frames.
    """

    change: str
    event: str
    time: float
    text: str
    kind: str
    removed: bool
    who: str
    when: float
    source: str = ""


class _Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    run: str
    event: str
    time: float
    text: str
    kind: str
    removed: bool
    who: str
    when: float
    source: str = ""
    more: tuple["_Mark", ...] = ()


def _rows_of(change: str, one: _Mark) -> list[EventRow]:
    return [
        EventRow(
            change, mark.event, mark.time, mark.text, mark.kind, mark.removed, mark.who, mark.when,
            mark.source,
        )
        for mark in (one, *one.more)
    ]  # fmt: skip


EVENTS = ChangeKind("event", "events", _Mark, EventRow, _rows_of)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened at a moment.

    Attributes
    ----------
    event
        Identifies it; the version of a support set, the id of an alert.
    time
        Seconds since 1970.
    kind
        "mark", "change", "support" or "alert".
    who, when
        Made or changed it last; empty and `time` for what the run tells.
    source
        With whose clock it moves; empty: with none.
    """

    event: str
    time: float
    kind: str
    text: str
    who: str
    when: float
    source: str = ""


def mark(run: "Run", moment: float, text: str, *, who: str, kind: str = MARK) -> str:
    """Mark a moment of a run, live or closed; returns what identifies the mark.

    Raises
    ------
    UsageError
        If the text is empty or too long, or the moment is none.
    ArchiveError
        If the run holds nothing yet, or that cannot be written.
    """
    event = f"m{secrets.token_hex(4)}"  # in no table it looks like a number
    _save(RunPlaces.of(run.path), run.run_id, event, moment, text, kind, who)
    return event


def change_mark(
    run: "Run", event: str, *, who: str, text: str | None = None, removed: bool = False
) -> None:
    """Write another text to a mark, or remove it; only who made it can.

    Raises
    ------
    UsageError
        If there is no such mark, somebody else made it, or the text is none.
    ArchiveError
        If that cannot be written.
    """
    rows = _rows(run)
    known = _last(rows).get(event)
    if known is None or known.removed:
        raise UsageError(f"{run.path}: has no mark {event}; `pychip-stream events` lists them")
    author = next(row.who for row in rows if row.event == event)
    if author != who:
        raise UsageError(f"{run.path}: mark {event} is by {author}, who alone can change it")
    words = known.text if text is None else text
    places = RunPlaces.of(run.path)
    _save(
        places, run.run_id, event, known.time, words, known.kind, who, removed=removed,
        source=known.source,
    )  # fmt: skip


class MarkKeeper:
    """Keeps marks that others tell while a run is live; each is on disk when `put` returns."""

    def __init__(self, places: RunPlaces, run_id: str) -> None:
        self._places, self._run_id = places, run_id
        self._changes = Changes(places, EVENTS)
        self._full = False

    def put(
        self, event: str, moment: float, text: str, *, who: str, kind: str = MARK,
        removed: bool = False,
    ) -> None:  # fmt: skip
        """Make, change or remove a mark; what is so already is not written again.

        Raises
        ------
        UsageError
            If somebody else made it, there are too many, or the text is none.
        ArchiveError
            If that cannot be written.
        """
        rows = self._changes.read(self._run_id)
        mine = [row for row in rows if row.event == event]
        if mine and mine[0].who != who:
            raise UsageError(f"mark {event} is by {mine[0].who}, who alone can change it")
        told = (" ".join(text.split()), removed)
        if mine and (mine[-1].text, mine[-1].removed) == told:
            return
        if sum(not row.source for row in rows) >= MOST_TOLD:
            raise UsageError(f"the run has {MOST_TOLD} changes of marks and takes no more")
        moment, source = (mine[0].time, mine[0].source) if mine else (moment, "")
        _save(
            self._places, self._run_id, event, moment, text, kind, who, removed=removed,
            source=source,
        )  # fmt: skip

    def put_notes(self, source: str, notes: Sequence[Note]) -> None:
        """Keep notes of the log of a source, on its clock; what is known is not kept again.

        All that are new go into one change. Of a run `MOST_NOTES` are kept, which is said once.

        Raises
        ------
        ArchiveError
            If that cannot be written.
        """
        if not notes:
            return
        rows = self._changes.read(self._run_id)
        known = {row.event for row in rows if row.source}
        room = MOST_NOTES - len(known)
        new: dict[str, _Mark] = {}
        for moment, text in notes:
            event = xxhash.xxh3_64_hexdigest(f"{source} {moment!r} {text}".encode())
            if event not in known:
                words = text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…"
                new[event] = _Mark(
                    self._run_id, event, moment, words, MARK, False, source, time.time(), source
                )
        if len(new) > room and not self._full:
            self._full = True
            logger.warning(
                "%s: more than %d notes in its logs; the others are left out",
                self._places.closed, MOST_NOTES,
            )  # fmt: skip
        if kept := list(new.values())[:room]:
            first, *more = kept
            EVENTS.save(self._places, msgspec.structs.replace(first, more=tuple(more)))


def _save(
    places: RunPlaces, run_id: str, event: str, moment: float, text: str, kind: str, who: str,
    *, removed: bool = False, source: str = "",
) -> None:  # fmt: skip
    words = " ".join(text.split())
    if not 0 < len(words) <= MOST_TEXT:
        raise UsageError(f"a mark has a text of 1 to {MOST_TEXT} characters, not {len(words)}")
    if not np.isfinite(moment):
        raise UsageError("a mark has a moment")
    change = _Mark(run_id, event, float(moment), words, kind, removed, who, time.time(), source)
    EVENTS.save(places, change)


def in_force(
    rows: Iterable[EventRow], offset_s: Callable[[str], float] = lambda _source: 0.0
) -> list[Event]:
    """Return the marks after these changes, in order of time; those by others do not count.

    Parameters
    ----------
    offset_s
        Seconds to add to the clock of a source.
    """
    marks = [
        Event(
            row.event, row.time + (offset_s(row.source) if row.source else 0.0), row.kind,
            row.text, row.who, row.when, row.source,
        )
        for row in _last(rows).values()
        if not row.removed
    ]  # fmt: skip
    return sorted(marks, key=lambda one: one.time)


def _last(rows: Iterable[EventRow]) -> dict[str, EventRow]:
    """Last change of each mark by who made it."""
    authors: dict[str, str] = {}
    last: dict[str, EventRow] = {}
    for row in rows:
        if authors.setdefault(row.event, row.who) == row.who:
            last[row.event] = row
    return last


def _rows(run: "Run") -> list[EventRow]:
    return Changes(RunPlaces.of(run.path), EVENTS).read(run.run_id)


def _supports_came(run: "Run") -> list[tuple[str, float]]:
    """Tell which support sets came after the first, and the time of the frame with which each did.

    Older frames that are caught up under another set stand among those of the set before.
    """
    columns = run.columns("support_version", "time", "classified")
    order = np.argsort(columns["classified"], kind="stable")
    versions, times = columns["support_version"][order], columns["time"][order]
    found: list[tuple[str, float]] = []
    current, since = versions[:1], -np.inf
    for row in (np.flatnonzero(versions[1:] != versions[:-1]) + 1).tolist():
        if versions[row] != current and times[row] > since:
            current, since = versions[row], float(times[row])
            found.append((hdf.decode(current), since))
    return found


def _called(run: "Run", version: str) -> str:
    try:
        return f"support set {run.support_set(version).called}"
    except PychipError:
        return f"support set {version[:8]}"


def events_of(run: "Run") -> list[Event]:
    """Return every event of a run in order of time: marks, support sets that came, alerts."""
    found = in_force(_rows(run), run.stimulus.offset_s)
    for version, moment in _supports_came(run):
        found.append(Event(version, moment, SUPPORT, _called(run, version), "", moment))
    for alert in read_alerts(RunPlaces.of(run.path)):
        if alert.state == "on":
            text = f"{alert.rule}: {alert.reason}"
            found.append(Event(alert.id, alert.time, ALERT, text, "", alert.time))
    return sorted(found, key=lambda one: one.time)
