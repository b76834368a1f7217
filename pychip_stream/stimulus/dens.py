"""DENSsolutions: Impulse, with its metadata file for the date, and DigiHeater.

Impulse writes a csv with the time of the day in "TimeStamp"; the date stands in the file
…_Metadata.log beside it. DigiHeater writes a table with tabs under a header of a few lines, whose
first has the date and is good to the minute. Described by RosettaSciIO's documentation.
"""

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pychip_stream.plain_files import open_file
from pychip_stream.stimulus.dialect import (
    Dialect,
    Head,
    Layout,
    LogError,
    TimeColumn,
    chosen_columns,
    note_columns,
    told,
)
from pychip_stream.stimulus.time_columns import day, zone_name
from pychip_stream.stimulus_settings import StimulusConfig

_DATE_FORMS = ("%d-%m-%Y", "%Y-%m-%d", "%d/%m/%Y", "%Y/%m/%d", "%d.%m.%Y")
_MOST_BYTES = 1 << 20
_EPOCH = datetime(1970, 1, 1)


def _is_impulse(head: Head) -> bool:
    names = [cell.strip() for cell in head.lines[0].split(",")] if head.lines else []
    return "TimeStamp" in names and len(names) >= 3


def _understand_impulse(head: Head, settings: StimulusConfig) -> Layout:
    names = [cell.strip() for cell in head.lines[0].split(",")]
    at = names.index("TimeStamp")
    first = head.lines[1].split(",")[at].strip() if len(head.lines) > 1 else ""
    if re.match(r"\d{4}-\d{2}-\d{2}", first):
        time = TimeColumn((at,), "text")
    else:
        text = settings.date
        start = day(text, str(head.path)) if text else _date_beside(head.path)
        time = TimeColumn((at,), "clock", start=start)
    but = [n for n, name in enumerate(names) if name in ("#", "TimeStamp", "Experiment time")]
    notes = note_columns(names, settings)
    columns = chosen_columns(names, settings, (*but, *notes))
    layout = Layout(",", ".", 1, len(names), time, columns, notes=notes)
    words = told(layout, names, zone_name(settings.zone), "DENSsolutions Impulse")
    return replace(layout, understood=words)


def _date_beside(path: Path) -> float:
    """Find the date of an Impulse log, as seconds on its clock, in its metadata file."""
    stem = path.stem.rpartition("_")[0]
    beside = path.with_name(f"{stem}_Metadata.log")
    try:
        with open_file(beside) as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        raise LogError(
            f"{path}: tells the time of the day alone, and {beside.name} with its date is not "
            "beside it; put it there, or give the date (date)"
        ) from None
    match = re.search(r"^\s*Experiment date\s*,\s*([0-9./-]+)", text, re.M | re.I)
    for form in _DATE_FORMS if match else ():
        assert match is not None
        try:
            found = datetime.strptime(match[1].strip(), form)
        except ValueError:
            continue
        return (found - _EPOCH).total_seconds()
    raise LogError(f"{beside}: tells no experiment date; give it (date)")


def _is_digiheater(head: Head) -> bool:
    return any("digiheater" in line.casefold() for line in head.lines[:5])


def _understand_digiheater(head: Head, settings: StimulusConfig) -> Layout:
    top = next(n for n, line in enumerate(head.lines) if "digiheater" in line.casefold())
    written = head.lines[top].split("\t")[0].strip()
    try:
        begun = datetime.strptime(written, "%d/%m/'%y %H:%M")
        midnight = (begun.replace(hour=0, minute=0) - _EPOCH).total_seconds()
    except ValueError:
        if not settings.date:
            raise LogError(f"{head.path}: its date {written!r} is none; give it (date)") from None
        midnight = 0.0
    if settings.date:
        midnight = day(settings.date, str(head.path))
    at = next(
        (n for n, line in enumerate(head.lines[:60]) if line.startswith("sample\ttime")), None
    )
    if at is None:
        raise LogError(f"{head.path}: has no line of headers (sample, time, …)")
    names = head.lines[at].split("\t")
    time = TimeColumn((1,), "clock", start=midnight)
    notes = note_columns(names, settings)
    columns = chosen_columns(names, settings, (0, 1, *notes))
    layout = Layout("\t", ".", at + 1, len(names), time, columns, notes=notes)
    words = told(layout, names, zone_name(settings.zone), "DENSsolutions DigiHeater")
    return replace(layout, understood=words)


IMPULSE = Dialect("impulse", "DENSsolutions Impulse", 20, _is_impulse, _understand_impulse)
DIGIHEATER = Dialect(
    "digiheater", "DENSsolutions DigiHeater", 21, _is_digiheater, _understand_digiheater
)
