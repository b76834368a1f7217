"""Protochips: thermal, electrical and gas logs, raw and synchronised.

A csv whose first line names the columns, among them Time and Notes. Lines of a header follow, each
"KEY = VALUE" in its second column: date and time of the start, units, calibration, user. Times
count from the start. Described by HyperSpy's documentation of the format.
"""

import re
from dataclasses import replace
from datetime import datetime

from pychip_stream.domain.signals import unit_of
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
from pychip_stream.stimulus.time_columns import zone_name
from pychip_stream.stimulus_settings import StimulusConfig

_PAIR = re.compile(r"\s*([^=,]+?)\s*=\s*(.*?)\s*$")
_DATE, _TIME = "Date (yyyy.mm.dd)", "Time (hh:mm:ss.ms)"
_STEPS = {"Milliseconds": 1e-3, "Seconds": 1.0, "Minutes": 60.0}
_EPOCH = datetime(1970, 1, 1)


def _names(head: Head) -> list[str]:
    return [cell.strip() for cell in head.lines[0].split(",")] if head.lines else []


def knows(head: Head) -> bool:
    """Whether it has Time and Notes, and tells its date as these logs do."""
    names = _names(head)
    return {"Time", "Notes"} <= set(names) and any(_DATE in line for line in head.lines[:40])


def understand(head: Head, settings: StimulusConfig) -> Layout:
    """Read the header."""
    names, facts, skip = _names(head), dict[str, str](), 1
    for line in head.lines[1:]:
        cells = line.split(",", 1)
        pair = _PAIR.match(cells[1]) if len(cells) > 1 else None
        if pair is None:
            break
        facts[pair[1]] = pair[2].rstrip(", ")
        skip += 1
    try:
        text = f"{facts[_DATE]} {facts[_TIME]}"
        begun = datetime.strptime(text, "%Y.%m.%d %H:%M:%S.%f")
    except (KeyError, ValueError):
        raise LogError(
            f"{head.path}: does not tell when it was started; give it (start) with dialect csv"
        ) from None
    step = _STEPS.get(facts.get("Time units", "Milliseconds"), 1.0)
    units = {}
    for name in names:
        last = name.split(" ")[-1].casefold()
        known = (value for key, value in facts.items() if key.casefold() == f"{last} units")
        units[name] = unit_of(next(known, ""))
    at = names.index("Time")
    start = (begun - _EPOCH).total_seconds()
    time = TimeColumn((at,), "elapsed", step_s=step, start=start)
    notes = note_columns(names, settings)
    columns = chosen_columns(names, settings, (at, *notes), units)
    layout = Layout(",", ".", skip, len(names), time, columns, notes=notes)
    words = told(layout, names, zone_name(settings.zone), f"Protochips, begun {text}")
    return replace(layout, understood=words)


PROTOCHIPS = Dialect("protochips", "Protochips thermal, electrical, gas", 10, knows, understand)
