"""Alerts of a run: each is on disk when it is acknowledged, and goes into the closed archive.

While the run is live they are lines of JSON in a file beside the segments, which is only ever
appended to; a line that was cut short is ignored.
"""

import json
import logging
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.journal import append_line
from pychip_stream.archive.row_group import read_rows
from pychip_stream.plain_files import NoFileError, read_small

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

GROUP = "alerts"
_NAME = "alerts.jsonl"


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One firing (state "on") or clearing ("off") of a rule; the fields of the message `Alert`."""

    id: str
    rule: str
    level: str
    state: str
    quantity: str
    value: float
    limit: float
    reason: str
    time: float
    path: str
    dry_run: bool


COLUMNS = tuple(field.name for field in fields(AlertRow))


class AlertJournal:
    """The alerts of a live run; written by the archiver alone."""

    def __init__(self, places: RunPlaces, disk: Disk | None = None) -> None:
        self._path = _journal(places)
        self._disk = disk or Disk()
        self._ids = {row.id for row in read_alerts(places)}

    def add(self, row: AlertRow) -> bool:
        """Write an alert; False if it was known."""
        if row.id in self._ids:
            return False
        line = json.dumps(asdict(row), ensure_ascii=False).encode()
        append_line(self._path, line, self._disk)
        self._ids.add(row.id)
        return True


def has_journal(places: RunPlaces) -> bool:
    """Whether there are alerts that are not in the closed archive."""
    return _journal(places).exists()


def read_alerts(places: RunPlaces) -> list[AlertRow]:
    """Every alert of a run, live or closed, in order of time."""
    rows = {
        row.id: row
        for row in (*read_rows(places.closed, GROUP, AlertRow), *_journal_rows(_journal(places)))
    }
    return sorted(rows.values(), key=lambda row: row.time)


def alert_table(rows: list[AlertRow]) -> "pd.DataFrame":
    """Put alerts into a table with a column for each field."""
    import pandas as pd

    return pd.DataFrame([asdict(row) for row in rows], columns=list(COLUMNS))


def remove_journal(places: RunPlaces, disk: Disk) -> None:
    """Remove what is in the closed archive now."""
    disk.remove(_journal(places))


def _journal(places: RunPlaces) -> Path:
    return places.segments / _NAME


def _journal_rows(path: Path) -> list[AlertRow]:
    try:
        lines = read_small(path).decode("utf-8", "replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except NoFileError as error:
        logger.error("%s: %s; ignored", path, error.strerror)
        return []
    rows = []
    for line in filter(None, lines):
        try:
            rows.append(msgspec.convert(json.loads(line), AlertRow))
        except (ValueError, RecursionError):
            logger.debug("%s: a line was cut short", path)
    return rows
