"""Changes: what people change of a run afterwards, without touching frames or labels.

Every change, by whomever, is a file of its own beside the run, whole from the moment it is there;
the archiver takes them into the archive when it merges the run, as it does with scorings.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from pychip_stream.archive.disk import Disk, reason
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.row_group import read_rows
from pychip_stream.errors import ArchiveError, StorageError
from pychip_stream.plain_files import read_small

logger = logging.getLogger(__name__)


class Row(Protocol):
    """One line of what was changed; those of a change have its name, which sorts by time."""

    @property
    def change(self) -> str:
        """Name of the change."""


RowT = TypeVar("RowT", bound=Row)


@dataclass(frozen=True)
class ChangeKind(Generic[RowT]):
    """One kind of change.

    Attributes
    ----------
    prefix
        Of the names of its files.
    group
        In the closed archive, of its rows.
    form
        What a file holds, a msgspec.Struct; `run` is the run's identity.
    row, rows
        Dataclass of the rows; makes them of the name of a change and what its file holds.
    """

    prefix: str
    group: str
    form: type[Any]
    row: type[RowT]
    rows: Callable[[str, Any], list[RowT]]

    def files(self, places: RunPlaces) -> list[Path]:
        """Files of changes that are not in the closed archive, in order."""
        try:
            found = [path for path in places.scorings.iterdir() if self._number(path) is not None]
        except OSError:
            return []
        return sorted(found)

    def save(self, places: RunPlaces, change: Any, disk: Disk | None = None) -> None:
        """Write a change of a run, live or closed.

        Raises
        ------
        ArchiveError
            If the run holds nothing yet; a StorageError if that cannot be written.
        """
        if not change.run:
            raise ArchiveError(f"{places.closed}: holds nothing yet; try again in a moment")
        # No later change is before an earlier one, whatever the clocks of their computers say.
        newest = max([0, *(self._number(path) or 0 for path in self.files(places))])
        number = max(time.time_ns(), newest + 1)
        name = f"{self.prefix}-{number:019d}-{secrets.token_hex(4)}.json"
        try:
            (disk or Disk()).save(places.scorings / name, msgspec.json.encode(change))
        except OSError as error:
            raise StorageError(f"{places.scorings}: cannot be written ({reason(error)})") from error

    def read(self, path: Path, run_id: str) -> list[RowT]:
        """Rows of a file; none of one that is damaged or of another run."""
        try:
            change = msgspec.json.decode(read_small(path), type=self.form)
        except FileNotFoundError:
            return []
        except (OSError, msgspec.MsgspecError, UnicodeError) as error:
            logger.error("%s: is no change of a run (%s); ignored", path, error)
            return []
        return self.rows(path.stem, change) if change.run == run_id else []

    def _number(self, path: Path) -> int | None:
        match = re.fullmatch(rf"{self.prefix}-(\d{{19}})-[0-9a-f]{{8}}\.json", path.name)
        return int(match[1]) if match else None


class Changes(Generic[RowT]):
    """Reads what was changed of a run, anew only where something changed."""

    def __init__(self, places: RunPlaces, kind: ChangeKind[RowT]) -> None:
        self._places, self._kind = places, kind
        self._stamp: object = None
        self._rows: list[RowT] = []

    def read(self, run_id: str) -> list[RowT]:
        """Every change of this run, in order; the same list while there are no new ones."""
        # A file of a change that is gone is in the archive, which is therefore looked at later.
        files = self._kind.files(self._places)
        stamp: list[object] = [run_id, *files]
        with suppress(OSError):
            closed = self._places.closed.stat()
            stamp += [closed.st_mtime_ns, closed.st_size, closed.st_ino]
        if stamp != self._stamp:
            new = [row for path in files for row in self._kind.read(path, run_id)]
            kept = read_rows(self._places.closed, self._kind.group, self._kind.row)
            self._rows = sorted(dict.fromkeys([*kept, *new]), key=lambda row: row.change)
            self._stamp = stamp
        return self._rows
