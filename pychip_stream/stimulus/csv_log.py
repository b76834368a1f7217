"""Any csv with a time column: delimiter, decimal sign, units and times are found."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pychip_stream.stimulus.dialect import (
    Dialect,
    Head,
    Layout,
    LogError,
    TimeColumn,
    TimeForm,
    chosen_columns,
    note_columns,
    split_header,
    told,
)
from pychip_stream.stimulus.time_columns import day, naive_seconds, zone_name
from pychip_stream.stimulus_settings import StimulusConfig

_DELIMITERS = "\t;,|"
_TIME = re.compile(r"\b(time|timestamp|datetime|date|zeit|uhrzeit|datum|heure|tiempo)\b", re.I)
_DATE_ONLY = re.compile(r"^\s*(date|datum)\s*$", re.I)
_CLOCK = re.compile(r"\s*\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?\s*")
_PATTERNS = (
    "%d.%m.%Y %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M", "%Y/%m/%d %H:%M:%S.%f",
    "%Y/%m/%d %H:%M:%S", "%Y.%m.%d %H:%M:%S.%f", "%Y.%m.%d %H:%M:%S",
    "%m/%d/%Y %I:%M:%S %p", "%m/%d/%Y %H:%M:%S.%f", "%d/%m/%Y %H:%M:%S.%f",
    "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%d-%b-%Y %H:%M:%S",
)  # fmt: skip
_STEPS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0}
_LOOKED_AT = 40


def understand(head: Head, settings: StimulusConfig) -> Layout:
    """Find header, delimiter, decimal sign, time column and its form."""
    delimiter = settings.delimiter or _delimiter(head.lines)
    rows = [line.split(delimiter) for line in head.lines]
    decimal = settings.decimal or _decimal(rows, delimiter)
    top = next((n for n, row in enumerate(rows) if _is_header(row, settings)), None)
    if top is None:
        raise LogError(
            f"{head.path}: has no line of headers with a time column; name it (time_column)"
        )
    headers = [cell.strip().strip('"').strip() for cell in rows[top]]
    body = [row for row in rows[top + 1 : top + 1 + _LOOKED_AT] if len(row) == len(headers)]
    where = _time_columns(headers, settings)
    if not body:
        raise LogError(f"{head.path}: has headers and no reading yet")
    time = _time(head, [[row[i] for i in where] for row in body], where, headers, settings)
    notes = note_columns(headers, settings, body)
    columns = chosen_columns(headers, settings, but=(*where, *notes))
    if not columns:
        raise LogError(f"{head.path}: has no column beside that of the times")
    layout = Layout(delimiter, decimal, top + 1, len(headers), time, columns, notes=notes)
    return replace(layout, understood=told(layout, headers, zone_name(settings.zone), "csv"))


def _delimiter(lines: Sequence[str]) -> str:
    """Choose what most lines have equally often, and often."""
    sample = [line for line in lines[-_LOOKED_AT:] if line.strip()]

    def told_by(sign: str) -> tuple[int, int]:
        counts = [line.count(sign) for line in sample]
        usual = max(set(counts), key=counts.count) if counts else 0
        return (counts.count(usual) if usual else 0, usual)

    # A decimal comma is as regular as a delimiter: a tab or semicolon beside it is the latter.
    strong = [sign for sign in "\t;|" if told_by(sign)[0] >= max(len(sample) // 2, 1)]
    return max(strong, key=told_by) if strong else max(_DELIMITERS, key=told_by)


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    if delimiter == ",":
        return "."
    cells = [cell.strip() for row in rows[1:] for cell in row]
    commas = sum(bool(re.fullmatch(r"[-+]?\d+,\d+(e[-+]?\d+)?", cell, re.I)) for cell in cells)
    points = sum(bool(re.fullmatch(r"[-+]?\d+\.\d+(e[-+]?\d+)?", cell, re.I)) for cell in cells)
    return "," if commas > points else "."


def _is_header(row: Sequence[str], settings: StimulusConfig) -> bool:
    cells = [cell.strip().strip('"').strip() for cell in row]
    if settings.time_column:
        return settings.time_column in cells
    return len(cells) > 1 and any(_TIME.search(cell.replace("_", " ")) for cell in cells)


def _time_columns(headers: Sequence[str], settings: StimulusConfig) -> tuple[int, ...]:
    if settings.time_column:
        return (headers.index(settings.time_column),)
    timed = [n for n, cell in enumerate(headers) if _TIME.search(cell.replace("_", " "))]
    dates = [n for n in timed if _DATE_ONLY.fullmatch(headers[n])]
    clocks = [n for n in timed if n not in dates]
    if dates and clocks:
        return (dates[0], clocks[0])
    return (timed[0],)


def _time(
    head: Head, body: list[list[str]], where: tuple[int, ...], headers: list[str],
    settings: StimulusConfig,
) -> TimeColumn:  # fmt: skip
    texts = [" ".join(cell.strip().strip('"') for cell in row) for row in body]
    form = settings.time_format
    if form in ("unix", "excel", "elapsed"):
        return _numbers(head, texts, where, headers[where[0]], settings, form)
    if form:
        return TimeColumn(where, "text", pattern=form)
    if _most(texts, lambda t: _CLOCK.fullmatch(t) is not None):
        if not settings.date:
            raise LogError(f"{head.path}: tells the time of the day alone; give its date (date)")
        return TimeColumn(where, "clock", start=day(settings.date, str(head.path)))
    if _most(texts, _is_number):
        return _numbers(head, texts, where, headers[where[0]], settings, "")
    if _most(texts, lambda t: _reads(naive_seconds, t.replace(",", "."))):
        known = next(t for t in texts if _reads(naive_seconds, t.replace(",", ".")))
        return TimeColumn(where, "text", zoned=naive_seconds(known.replace(",", "."))[1])
    for pattern in _PATTERNS:
        if _most(texts, lambda t, p=pattern: _reads(lambda x: datetime.strptime(x, p), t)):
            return TimeColumn(where, "text", pattern=pattern)
    raise LogError(
        f"{head.path}: its times such as {texts[0][:40]!r} are not understood; say how they are "
        'written (time_format, for example "%d.%m.%Y %H:%M:%S")'
    )


def _numbers(
    head: Head, texts: list[str], where: tuple[int, ...], header: str, settings: StimulusConfig,
    form: TimeForm | str,
) -> TimeColumn:  # fmt: skip
    """Tell numbers apart by their size: seconds since 1970, days of Excel, or since the start."""
    value = float(next(t for t in texts if _is_number(t)).replace(",", "."))
    unit = split_header(header)[1]
    step = _STEPS.get(unit, 1.0)
    if not form:
        form = "elapsed"
        if unit in ("", "s", "ms", "us") and 5e8 < value * step < 5e9:
            form = "unix"
        elif not unit and 5e11 < value < 5e12:
            form, step = "unix", 1e-3
        elif not unit and 30_000 < value < 80_000:
            form = "excel"
    if form == "unix":
        return TimeColumn(where, "unix", step_s=step)
    if form == "excel":
        return TimeColumn(where, "excel")
    if not settings.start:
        raise LogError(
            f"{head.path}: counts the time from a start that it does not tell; give it "
            "(start, for example 2026-11-27T14:03:00)"
        )
    start, zoned = naive_seconds(settings.start)
    return TimeColumn(where, "elapsed", step_s=step, start=start, zoned=zoned)


def _most(texts: Sequence[str], fits: "object") -> bool:
    assert callable(fits)
    return sum(bool(fits(text)) for text in texts) * 2 > len(texts)


def _reads(read: "object", text: str) -> bool:
    assert callable(read)
    try:
        read(text)
    except ValueError:
        return False
    return True


def _is_number(text: str) -> bool:
    return _reads(float, text.replace(",", "."))


CSV = Dialect("csv", "any table of text with a time column", 99, lambda _head: True, understand)
