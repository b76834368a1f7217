"""Dialect: how the lines of a log are understood, told from its first ones."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from pychip_stream.domain.signals import MOST_SIGNALS, Kind, unit_of
from pychip_stream.errors import PychipError
from pychip_stream.stimulus_settings import StimulusConfig

TimeForm = Literal["unix", "excel", "elapsed", "text", "clock"]


class LogError(PychipError):
    """A log that cannot be understood; says why and what to do."""


class Head(NamedTuple):
    """The first lines of a log.

    Attributes
    ----------
    path
        The log.
    lines
        At most a few hundred, without their ends; all are whole.
    """

    path: Path
    lines: list[str]


class Column(NamedTuple):
    """A column of readings: its place, and what stands in it."""

    at: int
    name: str
    unit: str
    kind: Kind = "number"


@dataclass(frozen=True)
class TimeColumn:
    """Where and how a log tells the time.

    Attributes
    ----------
    indices
        Of the column, or of those of date and time.
    form
        "unix": seconds since 1970; "excel": days since 1899-12-30 on the local clock; "elapsed":
        since `start`; "text": date and time; "clock": time of the day, which goes on at midnight.
    step_s
        Unit of "unix" and "elapsed" in seconds.
    start
        Of "elapsed" and "clock": seconds since 1970 on the local clock, or (`zoned`) of UTC.
    pattern
        Of "text", as in strptime; empty: ISO 8601.
    zoned
        Whether a text tells its zone, or `start` is UTC.
    """

    indices: tuple[int, ...]
    form: TimeForm
    step_s: float = 1.0
    start: float = 0.0
    pattern: str = ""
    zoned: bool = False


@dataclass(frozen=True)
class Layout:
    """How a log is read.

    Attributes
    ----------
    skip
        Lines before the first reading.
    width
        Columns of a line.
    understood
        In words, for people to check.
    notes
        Places of the columns with notes, of which each is an event of the run.
    """

    delimiter: str
    decimal: str
    skip: int
    width: int
    time: TimeColumn
    columns: tuple[Column, ...]
    understood: str = field(default="", compare=False)
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Dialect:
    """One kind of log.

    Attributes
    ----------
    name, meaning
        In configurations; in a few words.
    place
        Those of smaller ones are asked first whether they know a log.
    knows
        Whether a log is of this kind.
    understand
        How it is read; raises `LogError`.
    """

    name: str
    meaning: str
    place: int
    knows: Callable[[Head], bool]
    understand: Callable[[Head, StimulusConfig], Layout]


_UNIT = re.compile(r"\s*(?:\(([^()]*)\)|\[([^\[\]]*)\]|,\s*([^\s,]{1,8})|/\s*([^\s/]{1,8}))\s*$")

_NOTES = re.compile(
    r"(?:live\s+)?(?:notes?|comments?|events?|remarks?|annotations?|notiz(?:en)?|kommentare?"
    r"|bemerkung(?:en)?|ereignis(?:se)?|remarques?|commentaires?)",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)


def split_header(text: str) -> tuple[str, str]:
    """Take "Temperature (°C)", "p [mbar]", "U / V" apart: name and unit."""
    plain = text.strip().strip('"').strip()
    match = _UNIT.search(plain)
    if match is None or match.start() == 0:
        return plain, ""
    return plain[: match.start()].strip(), unit_of(next(filter(None, match.groups()), ""))


def chosen_columns(
    headers: Sequence[str],
    settings: StimulusConfig,
    but: Sequence[int],
    units: dict[str, str] | None = None,
) -> tuple[Column, ...]:
    """Columns of readings among those of a log.

    Parameters
    ----------
    but
        Places of the columns that are none.
    units
        By header, where these do not tell them.
    """
    found = []
    for index, header in enumerate(headers):
        plain = header.strip().strip('"').strip()
        if index in but or not plain or (settings.columns and plain not in settings.columns):
            continue
        name, unit = split_header(settings.columns.get(plain, plain))
        unit = unit or (units or {}).get(plain, "") or split_header(plain)[1]
        kind: Kind = "state" if name in settings.states else "number"
        found.append(Column(index, name, unit, kind))
    return tuple(found[:MOST_SIGNALS])


def note_columns(
    headers: Sequence[str], settings: StimulusConfig, rows: Sequence[Sequence[str]] = ()
) -> tuple[int, ...]:
    """Places of the columns with notes: by their names, unless they hold numbers or are chosen.

    Parameters
    ----------
    rows
        Cells of the first lines.
    """
    found = []
    for index, header in enumerate(headers):
        plain = header.strip().strip('"').strip()
        cells = [row[index].strip() for row in rows if len(row) == len(headers)]
        numbers = any(cells) and all(_NUMBER.fullmatch(cell) for cell in cells if cell)
        if _NOTES.fullmatch(plain) and plain not in settings.columns and not numbers:
            found.append(index)
    return tuple(found)


def told(layout: Layout, headers: Sequence[str], zone: str, dialect: str) -> str:
    """Say how a log was understood."""
    time = layout.time
    where = " and ".join(repr(headers[i].strip()) for i in time.indices if i < len(headers))
    form = {"text": time.pattern or "ISO 8601", "elapsed": f"in units of {time.step_s:g} s"}
    clock = "with its zone" if time.zoned or time.form == "unix" else f"on the clock of {zone}"
    names = ", ".join(f"{c.name} [{c.unit}]" if c.unit else c.name for c in layout.columns)
    if layout.notes:
        names += f"; notes in {' and '.join(repr(headers[i].strip()) for i in layout.notes)}"
    return f"{dialect}: times in {where}, {form.get(time.form, time.form)}, {clock}; {names}"
