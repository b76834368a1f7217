"""Run writer: the only one that writes a run; what it has acknowledged is on disk, whole."""

import logging
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.alert_journal import AlertJournal, AlertRow
from pychip_stream.archive.blocks import Block, block_of, registry
from pychip_stream.archive.catalog import FileCatalog
from pychip_stream.archive.disk import Disk, RunLock, reason
from pychip_stream.archive.files import (
    Header,
    RunPlaces,
    Session,
    Span,
    installed_versions,
    part_of,
    publish_segment,
    read_part,
    segment_image,
)
from pychip_stream.archive.hdf import UnusableFileError
from pychip_stream.archive.joining import Compactor, merge_run, set_aside, superfluous
from pychip_stream.archive.layout import Table
from pychip_stream.archive.live import LiveView
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.records import FrameRecord
from pychip_stream.errors import ArchiveError

_Stat = tuple[int, int]


class KnownFrames:
    """Remembers which revisions there are, and in which order they were archived.

    Attributes
    ----------
    keys
        Every archived revision in order of archiving; the order never changes.
    failed
        Those that were archived as failed.
    """

    def __init__(self) -> None:
        self.keys: list[FrameRef] = []
        self.failed: set[FrameRef] = set()
        self._revisions: dict[tuple[str, int], tuple[_Stat, ...]] = {}

    def read(self, table: Table) -> None:
        """Take over what the archive holds, from its frame table."""
        texts = (hdf.strings(table[name]) for name in ("path", "status"))
        numbers = (table[name].tolist() for name in ("index", "size", "mtime_ns"))
        for path, status, index, size, mtime_ns in zip(*texts, *numbers, strict=True):
            frame = FrameRef(path=path, index=index, size=size, mtime_ns=mtime_ns)
            self.keys.append(frame)
            if status == "failed":
                self.failed.add(frame)
            self._note((path, index), (size, mtime_ns))

    def take(self, record: FrameRecord) -> bool:
        """Note a frame that is to be archived; False where this revision is known already."""
        frame = record.frame
        key, stat = (frame.path, frame.index), (frame.size, frame.mtime_ns)
        if stat in self._revisions.get(key, ()):
            return False
        self._note(key, stat)
        return True

    def revision(self, record: FrameRecord) -> int:
        """Tell which revision of its frame a record is, from 1."""
        frame = record.frame
        return self._revisions[frame.path, frame.index].index((frame.size, frame.mtime_ns)) + 1

    def archived(self, records: Iterable[FrameRecord]) -> None:
        """Count frames that are on disk now."""
        for record in records:
            self.keys.append(record.frame)
            if record.status == "failed":
                self.failed.add(record.frame)

    def _note(self, key: tuple[str, int], stat: _Stat) -> None:
        self._revisions[key] = (*self._revisions.get(key, ()), stat)


logger = logging.getLogger(__name__)

_MAX_PENDING_BYTES = 256 << 20


class _Batch(NamedTuple):
    """Frames on their way to the disk; kept as they are until they have arrived."""

    records: list[FrameRecord]
    header: Header
    block: Block
    image: bytes


class RunWriter:
    """Archives frames as immutable segments and merges them into one file at the end.

    Parameters
    ----------
    folder, name
        The run is FOLDER/NAME.h5 once it is closed. One that exists is continued.
    segment_frames, segment_s
        A segment is due with this many frames, or when its first frame has waited this long.
    embeddings
        Whether embeddings are kept.
    metadata
        Texts that describe this start of the archiver (config, versions, root, …).
    disk
        For tests.

    Raises
    ------
    ArchiveError
        If another archiver writes this run, or what is there cannot be continued.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        segment_frames: int = 64,
        segment_s: float = 5.0,
        embeddings: bool = True,
        metadata: Mapping[str, str] | None = None,
        disk: Disk | None = None,
    ) -> None:
        self._places = RunPlaces(Path(folder), name)
        self._disk = disk or Disk()
        self._segment_frames = segment_frames
        self._segment_s = segment_s
        self._embeddings = embeddings
        self._untidy = ""
        self._pending: list[FrameRecord] = []
        self._pending_bytes = 0
        self._pending_since = 0.0
        self._batch: _Batch | None = None
        self._supports: dict[str, bytes] = {}
        self._known = KnownFrames()
        self._files = FileCatalog(self._places)
        self._live = LiveView(self._places, self._files, self._disk)
        try:
            self._places.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(f"{folder}: cannot be made ({reason(error)})") from error
        self._lock = RunLock(self._places.lock)
        try:
            self._load({"versions": installed_versions(), **(metadata or {})})
        except OSError as error:
            self._lock.release()
            where = error.filename or self._places.segments
            raise ArchiveError(f"{where}: cannot be used ({reason(error)})") from error
        except UnusableFileError as error:
            self._lock.release()
            raise ArchiveError(f"{self._places.segments}: cannot be used ({error})") from error
        except BaseException:
            self._lock.release()
            raise

    @property
    def run_id(self) -> str:
        """Identifies the run, also over restarts."""
        return self._run_id

    @property
    def path(self) -> Path:
        """The archive once it is closed."""
        return self._places.closed

    @property
    def keys(self) -> list[FrameRef]:
        """Every archived revision in order of archiving; the order never changes."""
        return self._known.keys

    @property
    def failed(self) -> set[FrameRef]:
        """Those that were archived as failed."""
        return self._known.failed

    @property
    def pending_count(self) -> int:
        """Frames that are not on disk yet."""
        return len(self._pending)

    @property
    def full(self) -> bool:
        """Whether the pending frames make a whole segment."""
        return (
            len(self._pending) >= self._segment_frames or self._pending_bytes >= _MAX_PENDING_BYTES
        )

    def due(self, now: float | None = None) -> bool:
        """Whether a segment should be published.

        Parameters
        ----------
        now
            On the clock of `time.monotonic`.
        """
        if not self._pending:
            self._live.catch_up()
            return False
        now = time.monotonic() if now is None else now
        return self.full or now - self._pending_since >= self._segment_s

    def append(self, record: FrameRecord) -> bool:
        """Take a frame; False where this revision of it is archived or pending already."""
        if not self._known.take(record):
            return False
        if not self._pending:
            self._pending_since = time.monotonic()
        self._pending.append(record)
        if record.embeddings is not None and self._embeddings:
            self._pending_bytes += record.embeddings.nbytes
        return True

    def add_support(self, data: bytes, version: str) -> None:
        """Keep a support set with the run; it is written before the next segment."""
        if not self._places.support(version).exists() and version not in self._stored_supports():
            self._supports[version] = data

    def add_alert(self, row: AlertRow) -> bool:
        """Keep an alert with the run, on disk at once; False if it is there already."""
        try:
            return self._alerts.add(row)
        except OSError as error:
            raise ArchiveError(
                f"{self._places.segments}: cannot be written ({reason(error)})"
            ) from error

    def publish(self) -> list[FrameRef]:
        """Write the pending frames as a segment; returns the keys that are now on disk.

        Raises
        ------
        ArchiveError
            If that fails. The frames stay pending and it can be tried again.
        """
        if not self._pending:
            return []
        batch = self._batch or self._make_batch()
        self._batch = batch
        span = Span(batch.header.first, batch.header.last)
        path = self._places.segment(span)
        try:
            self._write_supports()
            publish_segment(self._disk, path, batch.image)
        except OSError as error:
            raise ArchiveError(f"{path}: cannot be written ({reason(error)})") from error
        self._batch = None
        del self._pending[: len(batch.records)]
        self._pending_bytes = sum(
            r.embeddings.nbytes for r in self._pending if r.embeddings is not None
        )
        self._pending_since = time.monotonic()
        self._known.archived(batch.records)
        self._next = span.last + 1
        self._adopt(path, batch)
        return [record.frame for record in batch.records]

    def close(self) -> Path:
        """Publish, merge the run into one file, and let it go.

        A run without frames leaves no file.

        Raises
        ------
        ArchiveError
            If that fails; everything acknowledged stays on disk in the segments, and `close`
            can be tried again.
        """
        self.publish()
        try:
            merge_run(self._places, self._files, self._disk)
        except OSError as error:
            raise ArchiveError(f"{self.path}: cannot be merged ({reason(error)})") from error
        except UnusableFileError as error:
            raise ArchiveError(f"{self.path}: cannot be merged (a segment {error})") from error
        self.release()
        return self.path

    def release(self) -> None:
        """Let the run go as it is, without merging; pending frames are lost."""
        self._lock.release()

    def _load(self, metadata: dict[str, str]) -> None:
        self._places.segments.mkdir(exist_ok=True)
        for path in self._places.temporaries():
            self._disk.remove(path)
        catalog = self._files.refresh()
        if set_aside(self._files, self._disk):
            catalog = self._files.refresh()
        leaving = [self._places.segment(span) for span in superfluous(self._places, catalog)]
        ids = {part.header.run_id for part in catalog.parts} | _run_ids(leaving)
        if len(ids) > 1:
            raise ArchiveError(
                f"{self._places.segments}: holds segments of another run than "
                f"{self._places.closed.name}; move one of them away"
            )
        self._run_id = ids.pop() if ids else uuid.uuid4().hex
        for path in leaving:
            self._disk.remove(path)
        table = catalog.full_table()
        self._known.read(table)
        self._sequence = int(table["sequence"].max(initial=-1)) + 1
        self._next = max([0, *(p.header.last for p in catalog.parts)]) + 1
        self._class_names = catalog.class_names(layout.ACQUIRED)
        sessions = [s.number for part in catalog.parts for s in part.header.sessions]
        self._session = Session(max([0, *sessions]) + 1, time.time(), metadata)
        self._compactor = Compactor(self._places, self._files, self._disk, catalog.parts)
        self._alerts = AlertJournal(self._places, self._disk)

    def _make_batch(self) -> _Batch:
        records = list(self._pending)
        results = [r.result for r in records if r.result is not None]
        self._class_names = registry(self._class_names, results)
        revisions = [self._known.revision(r) for r in records]
        block = block_of(
            records, revisions, self._sequence, self._session.number, self._class_names,
            embeddings=self._embeddings,
        )  # fmt: skip
        self._sequence += len(records)
        header = Header(self._run_id, self._places.name, self._next, self._next, (self._session,))
        return _Batch(records, header, block, segment_image(header, block))

    def _write_supports(self) -> None:
        for version in list(self._supports):
            self._disk.save(self._places.support(version), self._supports[version])
            del self._supports[version]

    def _stored_supports(self) -> set[str]:
        return {version for part in self._compactor.parts for version in part.supports}

    def _adopt(self, path: Path, batch: _Batch) -> None:
        """Count the new segment; tidying up may fail without any harm."""
        part = part_of(path, batch.header, batch.block)
        try:
            self._live.changed(moved=self._compactor.add(part))
        except (OSError, UnusableFileError) as error:
            if str(error) != self._untidy:
                logger.warning("%s: cannot be tidied up now (%s)", self._places.segments, error)
            self._untidy = str(error)


def _run_ids(paths: list[Path]) -> set[str]:
    """Tell which runs files belong to, as far as they can be read."""
    found = set()
    for path in paths:
        with suppress(OSError, UnusableFileError):
            found.add(read_part(path).header.run_id)
    return found
