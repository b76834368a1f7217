"""Logs of the past, added to runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.marks import MarkKeeper
from pychip_stream.archive.nexus import iso
from pychip_stream.archive.readings import ReadingJournal, add_readings
from pychip_stream.archive.run import Run
from pychip_stream.domain.signals import MOST_NOTES, Note, Readings, Times
from pychip_stream.errors import UsageError
from pychip_stream.section import problems, resolve
from pychip_stream.stimulus.dialect import LogError
from pychip_stream.stimulus.log_reading import Block, read_log, understand
from pychip_stream.stimulus_settings import StimulusConfig


def settings_of(paths: Sequence[Path]) -> list[StimulusConfig]:
    """Make settings of logs; a .yaml holds a list `stimulus:` as a configuration does.

    Raises
    ------
    UsageError
        If one cannot be understood, before anything is read.
    """
    found = []
    for path in paths:
        if path.suffix.lower() in (".yaml", ".yml"):
            found += _listed(path)
        else:
            found.append(StimulusConfig(log=path))
    for one in found:
        if one.log is None:
            raise UsageError(f"{one.source}: only logs can be read afterwards; give its log")
        try:
            understand(one.log, one)
        except LogError as error:
            raise UsageError(f"{error}") from error
        except OSError as error:
            raise UsageError(f"{one.log}: cannot be read ({error.strerror or error})") from error
    return found


def _listed(path: Path) -> list[StimulusConfig]:
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))["stimulus"]
        found = [StimulusConfig.model_validate(one) for one in tree]
    except (OSError, yaml.YAMLError, KeyError, TypeError, UnicodeError) as error:
        raise UsageError(f"{path}: holds no list `stimulus:` ({error})") from error
    except ValidationError as error:
        raise UsageError(f"{path}: {'; '.join(problems(error))}") from error
    return [resolve(one, path.resolve().parent) for one in found]


def blocks(settings: StimulusConfig) -> Iterator[Block]:
    """Read a log to its end."""
    assert settings.log is not None
    return read_log(settings.log, settings)


def add_logs(run: Run, settings: Sequence[StimulusConfig]) -> int:
    """Add logs to a run that is there, live or closed; returns how many readings they held.

    Raises
    ------
    PychipError
        If a log or the run's folder fails; of that log nothing is added then.
    """
    places = RunPlaces.of(run.path)
    marks, count = MarkKeeper(places, run.run_id), 0
    for rank, one in enumerate(settings, len(run.stimulus.sources)):
        notes: list[Note] = []
        count += add_readings(places, run.run_id, _readings(one, notes), rank)
        marks.put_notes(one.source, notes)
    return count


def _readings(settings: StimulusConfig, notes: list[Note]) -> Iterator[Readings]:
    """Give the readings of a log; its notes, as many as a run keeps, go into a list."""
    for block in blocks(settings):
        notes += block.notes[: max(MOST_NOTES + 1 - len(notes), 0)]
        yield block.readings


def keep(journal: ReadingJournal, marks: MarkKeeper, settings: Sequence[StimulusConfig]) -> None:
    """Put logs into the journal of a run that is being written; what is there already is not."""
    for rank, one in enumerate(settings):
        for block in blocks(one):
            marks.put_notes(one.source, block.notes)
            if block.end > journal.position(block.origin):
                journal.add(block.readings, rank, block.origin, block.end)


def describe(run: Run) -> list[dict[str, Any]]:
    """Tell of each source of a run what its readings gave its frames, ready for JSON."""
    stimulus, found = run.stimulus, []
    times = run.columns("time")["time"]
    for source in stimulus.sources:
        mine = [one for one in stimulus.series if one.source == source]
        spans = [one for one in mine if len(one.time)]
        first = min((float(one.time[0]) for one in spans), default=None)
        last = max((float(one.time[-1]) for one in spans), default=None)
        known = np.zeros(len(times), bool)
        for one in mine:
            known |= np.isfinite(one.at(times))
        offset = stimulus.offsets.get(source)
        entry: dict[str, Any] = {
            "source": source,
            "quantities": {one.quantity: one.unit for one in mine},
            "readings": max((len(one.time) for one in mine), default=0),
            "first": first,
            "last": last,
            "frames": int(known.sum()),
            "offset_s": stimulus.offset_s(source),
            "who": offset.who if offset else "",
            "when": offset.when if offset else None,
            "how": offset.how if offset else "",
        }
        entry["told"] = _told(entry, times)
        found.append(entry)
    return found


def _told(entry: dict[str, Any], times: Times) -> str:
    names = ", ".join(entry["quantities"])
    text = f"{entry['source']}: {names}; {entry['frames']} of {len(times)} frames have values"
    if entry["frames"] or entry["first"] is None or not len(times):
        return text
    spans = (entry["first"], entry["last"]), (float(times[0]), float(times[-1]))
    there, here = (" to ".join(map(iso, span)) for span in spans)
    return (
        f"{text}: its readings are of {there}, the frames of {here}; another log, or set its "
        "zone, date or offset"
    )
