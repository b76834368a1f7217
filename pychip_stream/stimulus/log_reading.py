"""Logs: read to their last whole line, as often as they grow, in blocks of bounded size."""

import csv
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import xxhash

from pychip_stream.domain.signals import MOST_NOTES, Note, Readings, Signal, Times
from pychip_stream.plain_files import open_file
from pychip_stream.plugins import Registry, members_of
from pychip_stream.stimulus.dialect import Column, Dialect, Head, Layout, LogError
from pychip_stream.stimulus.fixed_width import written_times
from pychip_stream.stimulus.time_columns import LogClock, numbers
from pychip_stream.stimulus_settings import StimulusConfig

logger = logging.getLogger(__name__)

DIALECTS = Registry[Dialect](
    "pychip_stream.stimulus", members_of("pychip_stream.stimulus", Dialect)
)

_BLOCK = 16 << 20
_HEAD = 64 << 10
_HIDDEN = "\x1f"
"""Stands for a delimiter in quotes."""
_STATES = {
    "on": 1.0, "off": 0.0, "true": 1.0, "false": 0.0, "open": 1.0, "closed": 0.0, "yes": 1.0,
    "no": 0.0, "high": 1.0, "low": 0.0,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Block:
    """What stands between two bytes of a log.

    Attributes
    ----------
    origin
        Identifies the log by its first lines, whatever it is called.
    start, end
        Bytes of the log; the next block starts at `end`.
    damaged
        Lines that told nothing.
    notes
        Of these lines, at most `MOST_NOTES`; the same on lines that follow each other is one.
    """

    readings: Readings
    origin: str
    start: int
    end: int
    damaged: int
    notes: tuple[Note, ...] = ()


def understand(path: Path, settings: StimulusConfig) -> Layout:
    """Tell how a log is read.

    Raises
    ------
    LogError
        If it cannot be understood.
    OSError
        If it cannot be read.
    """
    return _layout(path, _head(path), settings)


class LogFile:
    """One log, followed from its beginning.

    Parameters
    ----------
    settings
        Of the source; `settings.log` may be a pattern, `path` is this log.
    positions
        By origin: bytes at which a block ends, since what is before them is known.

    Attributes
    ----------
    understood
        How it is read, in words; empty before the first block.
    """

    def __init__(
        self, path: Path, settings: StimulusConfig, positions: Mapping[str, int] | None = None
    ) -> None:
        self.path = path
        self._positions = positions or {}
        self.understood = ""
        self._settings = settings
        self._layout: Layout | None = None
        self._origin, self._first = "", b""
        self._end = 0
        self._note = ""

    def blocks(self, *, final: bool = False) -> Iterator[Block]:
        """Read what is new, some at a time; with `final`, also a last line without an end.

        A log that was replaced, or begun anew under the same name, is read from its beginning;
        what came at the end of the one before is read where that lies beside it under a new name.

        Raises
        ------
        LogError
            If it cannot be understood.
        OSError
            If it cannot be read.
        """
        if self._layout is not None and not self._same(self.path):
            moved = self._moved()
            if moved is not None:
                yield from self._read(moved, final=True)
            self._layout = None
        if self._layout is None and not self._begin():
            return
        yield from self._read(self.path, final=final)

    def _begin(self) -> bool:
        """Understand the first lines; whether there is a reading yet."""
        head = _head(self.path)
        layout = _layout(self.path, head, self._settings)
        lines = head.split(b"\n")
        if len(lines) <= layout.skip + 1:
            return False
        self._first = b"\n".join(lines[: layout.skip + 1]) + b"\n"
        self._origin = f"{self._settings.source}/{xxhash.xxh3_64_hexdigest(self._first)}"
        self._end = len(b"\n".join(lines[: layout.skip])) + (1 if layout.skip else 0)
        self._note = ""
        self._clock = LogClock(layout.time, self._settings.zone)
        self._layout, self.understood = layout, layout.understood
        return True

    def _same(self, path: Path) -> bool:
        with open_file(path) as file:
            return file.read(len(self._first)) == self._first and _size(path) >= self._end

    def _moved(self) -> Path | None:
        """Find the log that was followed under another name in its folder."""
        try:
            beside = sorted(self.path.parent.glob(f"{self.path.stem}*"))
        except OSError:
            return None
        for path in beside:
            try:
                if path != self.path and path.is_file() and self._same(path):
                    return path
            except OSError:
                continue
        return None

    def _read(self, path: Path, *, final: bool) -> Iterator[Block]:
        assert self._layout is not None
        with open_file(path) as file:
            while True:
                file.seek(self._end)
                known = self._positions.get(self._origin, 0) - self._end
                data = file.read(min(known, _BLOCK) if known > 0 else _BLOCK)
                whole = data.rfind(b"\n") + 1
                if not whole:
                    if not data or not (final or len(data) == _BLOCK):
                        return
                    whole = len(data)  # the last line; or one so long that it is none
                start, self._end = self._end, self._end + whole
                yield self._block(data[:whole], self._layout, start)

    def _block(self, data: bytes, layout: Layout, start: int) -> Block:
        data = data.replace(b"\0", b"")
        if layout.notes:
            data = _with_hidden(data, layout.delimiter)
        written = written_times(data, layout)
        table = _table(data, layout, but=() if written is None else layout.time.indices)
        if written is not None and len(written) != len(table):
            # A line that pandas sees otherwise, such as one with a carriage return inside.
            written, table = None, _table(data, layout)
        clock = [table[i] for i in layout.time.indices if written is None]
        times = self._clock.seconds(clock, layout.decimal, written)
        known = np.isfinite(times)
        signals = tuple(
            Signal(c.name, c.unit, c.kind, _values(table, c, layout.decimal)[known])
            for c in layout.columns
        )
        total = data.count(b"\n") + (not data.endswith(b"\n"))
        damaged = max(total - int(known.sum()), 0)
        source, gap = self._settings.source, self._settings.max_gap_s
        readings = Readings(source, times[known], signals, gap)
        notes = tuple(self._notes(table, layout, times)) if layout.notes else ()
        return Block(readings, self._origin, start, self._end, damaged, notes)

    def _notes(self, table: pd.DataFrame, layout: Layout, times: Times) -> Iterator[Note]:
        """Give the notes of lines that tell their time."""
        cells = table[list(layout.notes)]
        written = cells.notna().any(axis=1).to_numpy()
        begins = (
            np.diff(written, prepend=bool(self._note)) & ~written
        )  # where a line has none again
        count = 0
        for row in np.flatnonzero(written | begins).tolist():
            texts = [str(one) for one in cells.iloc[row] if isinstance(one, str)]
            plain = [one.replace(_HIDDEN, layout.delimiter).strip().strip('"') for one in texts]
            text = "; ".join(" ".join(one.split()) for one in plain if one.strip())
            again, self._note = text == self._note, text
            if text and not again and np.isfinite(times[row]) and count < MOST_NOTES:
                count += 1
                yield Note(float(times[row]), text)


def _with_hidden(data: bytes, delimiter: str) -> bytes:
    """Hide the delimiters that stand inside of quotes, as they do in notes."""
    if b'"' not in data:
        return data
    sign = delimiter.encode()
    return re.sub(rb'"[^"\n]*"', lambda one: one[0].replace(sign, _HIDDEN.encode()), data)


def _table(data: bytes, layout: Layout, but: Sequence[int] = ()) -> pd.DataFrame:
    """Cells of lines, without those of some columns."""
    texts = layout.time.indices if layout.time.form in ("text", "clock") and not but else ()
    try:
        return pd.read_csv(
            io.BytesIO(data), header=None, names=range(layout.width),
            usecols=[n for n in range(layout.width) if n not in but] if but else None,
            sep=layout.delimiter, decimal=layout.decimal, quoting=csv.QUOTE_NONE,
            on_bad_lines="skip", encoding="utf-8", encoding_errors="replace", engine="c",
            dtype=dict.fromkeys((*texts, *layout.notes), str) or None,
            low_memory=False, index_col=False, keep_default_na=True,
        )  # fmt: skip
    except pd.errors.EmptyDataError:
        return pd.DataFrame(columns=range(layout.width))


def _values(table: pd.DataFrame, column: Column, decimal: str) -> Times:
    cells = table[column.at]
    found = numbers(cells, decimal)
    if column.kind == "state" and cells.dtype.kind not in "iufb":
        words = cells.astype(str).str.strip().str.strip('"').str.casefold().map(_STATES)
        found = np.where(np.isfinite(found), found, words.to_numpy(np.float64))
    return np.where(np.isinf(found), np.nan, found)


def _layout(path: Path, head: bytes, settings: StimulusConfig) -> Layout:
    lines = head.decode("utf-8-sig", errors="replace").split("\n")
    told = Head(path, [line.rstrip("\r") for line in lines[:-1][:400]])
    if settings.dialect == "auto":
        # Those of other packages come last in the registry, after the one that knows every log.
        asked = sorted(DIALECTS, key=lambda one: one.place)
        dialect = next(one for one in asked if _knows(one, told))
    elif settings.dialect in DIALECTS:
        dialect = DIALECTS[settings.dialect]
    else:
        known = ", ".join(("auto", *DIALECTS.names))
        raise LogError(f"{path}: there is no dialect {settings.dialect!r}; choose {known}")
    try:
        return dialect.understand(told, settings)
    except (LogError, OSError):
        raise
    except Exception as error:  # of a dialect of others
        raise LogError(f"{path}: dialect {dialect.name} failed ({_told(error)})") from error


def _knows(dialect: Dialect, head: Head) -> bool:
    """Whether a log is of a dialect; one that fails leaves it to the others."""
    try:
        return dialect.knows(head)
    except Exception as error:
        logger.warning("%s: dialect %s failed (%s)", head.path, dialect.name, _told(error))
        return False


def _told(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _head(path: Path) -> bytes:
    with open_file(path) as file:
        return file.read(_HEAD)


def _size(path: Path) -> int:
    return path.stat().st_size


def read_log(path: Path, settings: StimulusConfig) -> Iterator[Block]:
    """Read a log once, to its end; a last line without an end counts too.

    Raises
    ------
    LogError
        If it cannot be understood or read.
    """
    log = LogFile(path, settings)
    try:
        yield from log.blocks(final=True)
    except OSError as error:
        raise LogError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, TypeError, LookupError) as error:  # by what a dialect of others told
        raise LogError(f"{path}: cannot be read ({_told(error)})") from error
    if not log.understood:
        raise LogError(f"{path}: holds no reading")
