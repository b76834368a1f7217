"""Run writer: the only one that writes a run; what it has acknowledged is on disk, whole."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.alert_journal import AlertJournal, AlertRow
from pychip_stream.archive.blocks import registry, stackable
from pychip_stream.archive.catalog import FileCatalog
from pychip_stream.archive.compaction import FAN_IN, Compactor
from pychip_stream.archive.damage import (
    check_supports,
    find_supports,
    mend_segments,
    put_base_aside,
    put_destructive_aside,
)
from pychip_stream.archive.disk import Disk, RunLock, reason
from pychip_stream.archive.exclusions import exclude_blank
from pychip_stream.archive.files import (
    Header,
    Part,
    RunPlaces,
    Session,
    Span,
    installed_versions,
    run_ids,
)
from pychip_stream.archive.hdf import UnusableFileError
from pychip_stream.archive.joining import AGAIN, checked, merge_run, superfluous
from pychip_stream.archive.known_frames import KnownFrames
from pychip_stream.archive.live import LiveView
from pychip_stream.archive.run_identity import Identity
from pychip_stream.archive.segments import (
    Batch,
    block_of,
    flaw,
    nameless,
    part_of,
    publish_segment,
    segment_image,
    unkept,
)
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.records import FrameRecord
from pychip_stream.errors import ArchiveError, StorageError

logger = logging.getLogger(__name__)

_MAX_PENDING_BYTES = 256 << 20
_READ_WHOLE = 16
"""So many of the newest segments are read whole at the start: they suffer when power fails."""


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
    spare_supports
        Folder with VERSION.h5 of support sets, for those that are damaged in the run.
    destroys
        Says of a file of the run how it ends the process that opens it; default: none does.
    disk
        For tests.

    Attributes
    ----------
    refused
        Frames that could not even be named.
    reloads
        How often `keys` began anew, since something that was archived was gone.

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
        spare_supports: Path | None = None,
        destroys: Callable[[Path], str] = lambda _: "",
        disk: Disk | None = None,
    ) -> None:
        self._places = RunPlaces(Path(folder), name)
        self._disk = disk or Disk()
        self._segment_frames, self._segment_s = segment_frames, segment_s
        self._embeddings, self._destroys = embeddings, destroys
        self._untidy = ""
        self._class_names: tuple[str, ...] = ()
        self.refused = self.reloads = 0
        self._held: dict[str, bytes] = {}
        self._spare_supports = spare_supports
        self._lost: set[FrameRef] = set()
        self._pending: list[FrameRecord] = []
        self._pending_bytes, self._pending_since = 0, 0.0
        self._batch: Batch | None = None
        self._supports: dict[str, bytes] = {}
        self._known = KnownFrames()
        self._files = FileCatalog(self._places)
        self._live = LiveView(self._places, self._files, self._disk)
        self._identity = Identity(self._places, self._disk)
        try:
            self._places.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArchiveError(f"{folder}: cannot be made ({reason(error)})") from error
        self._metadata = {"versions": installed_versions(), **(metadata or {})}
        self._lock = RunLock(self._places.lock)
        try:
            self._load()
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
        """Identifies the run, also over restarts; on disk once `look` has returned."""
        return self._identity.run_id

    @property
    def path(self) -> Path:
        """The archive once it is closed."""
        return self._places.closed

    @property
    def keys(self) -> list[FrameRef]:
        """Every archived revision in order of archiving; the order never changes."""
        return self._known.keys

    @property
    def known(self) -> KnownFrames:
        """What is known of them."""
        return self._known

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
        self._tidy()
        if not self._pending:
            self._live.catch_up()
            return False
        return self.full or (now or time.monotonic()) - self._pending_since >= self._segment_s

    def append(self, record: FrameRecord) -> bool:
        """Take a frame; False where this revision of it is archived or pending already.

        Of one whose values cannot be kept, that is kept: it has failed. One that cannot even be
        named is left out and counted (`refused`).
        """
        if why := nameless(record.frame):
            self.refused += 1
            logger.error("%.200r: cannot be archived; %s", record.frame.path, why)
            return False
        if not self._known.take(record):
            return False
        if (fitting := self.fit(record)) is not record:
            logger.warning("%s: %s", record.frame, fitting.reason)
        record = fitting
        if record.result is not None:
            self._class_names = registry(self._class_names, [record.result])
        if not self._pending:
            self._pending_since = time.monotonic()
        self._pending.append(record)
        if record.embeddings is not None and self._embeddings:
            self._pending_bytes += record.embeddings.nbytes
        return True

    def fit(self, record: FrameRecord) -> FrameRecord:
        """Return a record as it can be kept."""
        why = flaw(record, self._class_names[:-1])
        return unkept(record, why) if why else record

    def add_support(self, data: bytes, version: str) -> None:
        """Keep a support set with the run; it is written before the next segment."""
        self._held[version] = data
        stored = {v for part in self._compactor.parts for v in part.supports}
        if not self._places.support(version).exists() and version not in stored:
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
        self.look()
        try:
            batch = self._batch or self._make_batch()
        except MemoryError as error:
            raise StorageError(
                f"{self._places.segments}: there is not enough memory for a segment; close what "
                "needs much, or choose a smaller archive.segment_frames"
            ) from error
        self._batch = batch
        path = self._places.segment(Span(batch.header.first, batch.header.last))
        try:
            self._write_supports()
            exclude_blank(self._places, self.run_id, batch.records, self._disk)
            publish_segment(self._disk, path, batch.image)
        except OSError as error:
            raise StorageError(f"{path}: cannot be written ({reason(error)})") from error
        self._batch = None
        del self._pending[: len(batch.records)]
        self._pending_bytes = sum(
            r.embeddings.nbytes for r in self._pending if r.embeddings is not None
        )
        self._pending_since = time.monotonic()
        self._known.archived(batch.records)
        self._next = batch.header.last + 1
        self._tidy(part_of(path, batch.header, batch.block))
        return [record.frame for record in batch.records]

    def close(self) -> Path:
        """Publish, merge the run into one file, and let it go.

        A run without frames leaves no file.

        Raises
        ------
        ArchiveError
            If that fails; everything acknowledged stays on disk in the segments. After a
            `StorageError` `close` can be tried again.
        """
        while self._pending:
            self.publish()
        self._compactor.settle()
        self.look()
        try:
            find_supports(self._places, self._files, self._held, self._spare_supports, self._disk)
            merge_run(self._places, self._files, self._disk)
            self._count_lost()
        except (OSError, MemoryError) as error:
            raise StorageError(
                f"{self.path}: cannot be merged ({reason(error)}); its frames are safe in "
                f"{self._places.segments.name}; mend that, or continue the run later"
            ) from error
        except UnusableFileError as error:
            raise ArchiveError(f"{self.path}: cannot be merged (a segment {error})") from error
        self.release()
        if self._lost:
            raise ArchiveError(
                f"{self.path}: is closed without {len(self._lost)} frames that were archived and "
                f"are gone or damaged ({min(map(str, self._lost))}, …); start the run again, and "
                "they are analysed again"
            )
        return self.path

    def _count_lost(self) -> None:
        """Compare what was acknowledged with what the closed archive holds."""
        if self._places.closed.exists():
            there = KnownFrames()
            there.read(self._files.refresh().full_table())
            self._lost |= set(self._known.keys) - set(there.keys)
            self._lost -= set(there.keys)

    def release(self) -> None:
        """Let the run go as it is, without merging; pending frames are lost."""
        self._compactor.settle()
        self._lock.release()

    def look(self) -> None:
        """Make sure that what was archived is still there; what is gone is to be done again.

        Raises
        ------
        ArchiveError
            If the folder itself is gone: it may come back.
        """
        if not self._lock.held:
            raise StorageError(
                f"{self._places.folder}: cannot be written (the folder is gone, or another one is "
                "in its place); bring it back, or stop the run and start it again"
            )
        try:
            there = {self._places.segment(span) for span in self._places.spans()}
            gone = [p.path for p in self._compactor.parts if p.path not in there]
            if gone and gone[0] == self._places.closed and gone[0].exists():
                del gone[0]
            if gone:
                logger.error(
                    "%s: %s (%d of its files) is gone; the frames in it will be analysed again",
                    self._places.closed, gone[0].name, len(gone),
                )  # fmt: skip
                self._reload()
            self._identity.keep()
        except (OSError, UnusableFileError) as error:
            kind, told = ArchiveError, str(error)
            if isinstance(error, OSError):
                kind, told = StorageError, reason(error)
            raise kind(f"{self._places.segments}: cannot be used ({told})") from error

    def _reload(self) -> None:
        """Start over from what is on disk, without letting the run go."""
        self._compactor.settle()
        before = set(self._known.keys)
        self._load()
        self._batch = None
        self._pending = [record for record in self._pending if self._known.take(record)]
        results = [record.result for record in self._pending if record.result is not None]
        self._class_names = registry(self._class_names, results)
        self._lost |= before - set(self._known.keys)
        self._supports |= self._held
        self.reloads += 1

    def _load(self) -> None:
        self._places.segments.mkdir(exist_ok=True)
        for path in self._places.temporaries():
            self._disk.remove(path)
        put_destructive_aside(self._places, self._destroys, self._disk)
        put_base_aside(self._places, self._disk)
        catalog = checked(self._files, self._disk)
        mend_segments(self._places, catalog.parts[-_READ_WHOLE:], self._disk, AGAIN)
        catalog = self._files.refresh()
        check_supports(self._places, self._disk)
        leaving = [self._places.segment(span) for span in superfluous(self._places, catalog)]
        ids = {part.header.run_id for part in catalog.parts} | run_ids(leaving)
        if len(ids) > 1:
            told = f"holds segments of another run than {self._places.closed.name}"
            raise ArchiveError(f"{self._places.segments}: {told}; move one of them away")
        for path in leaving:
            self._disk.remove(path)
        table, alerts = catalog.full_table(), AlertJournal(self._places, self._disk)
        # Nothing of this object changes before everything could be read.
        self._identity.settle(ids.pop() if ids else "")
        self._alerts, self._known = alerts, KnownFrames()
        self._known.read(table)
        self._sequence = int(table["sequence"].max(initial=-1)) + 1
        self._next = max([0, *(p.header.last for p in catalog.parts)]) + 1
        self._class_names = catalog.class_names(layout.ACQUIRED)
        sessions = [s.number for part in catalog.parts for s in part.header.sessions]
        self._session = Session(max([0, *sessions]) + 1, time.time(), self._metadata)
        self._compactor = Compactor(self._places, self._files, self._disk, catalog.parts)

    def _make_batch(self) -> Batch:
        good = [n for n, r in enumerate(self._pending) if r.result is not None]
        grids = [r.result.label_map.shape for r in self._pending if r.result is not None]
        count = stackable(grids) if grids else 0
        end = good[count] if count < len(good) else len(self._pending)
        try:
            batch = self._built(self._pending[:end])
        except MemoryError:
            raise
        except Exception:  # a value that nothing foresaw: its frame fails, the others go on
            self._pending = [self._tried(record) for record in self._pending]
            batch = self._built(self._pending[:end])
        self._sequence += len(batch.records)
        return batch

    def _built(self, records: list[FrameRecord]) -> Batch:
        revisions = [self._known.revision(r) for r in records]
        block = block_of(
            records, revisions, self._sequence, self._session.number, self._class_names,
            embeddings=self._embeddings,
        )  # fmt: skip
        header = Header(self.run_id, self._places.name, self._next, self._next, (self._session,))
        return Batch(records, header, block, segment_image(header, block))

    def _tried(self, record: FrameRecord) -> FrameRecord:
        try:
            self._built([record])
        except MemoryError:
            raise
        except Exception as error:
            logger.exception("%s: its result cannot be archived", record.frame)
            return unkept(record, hdf.one_line(error))
        return record

    def _write_supports(self) -> None:
        for version in list(self._supports):
            self._disk.save(self._places.support(version), self._supports[version])
            del self._supports[version]

    def _tidy(self, new: Part | None = None) -> None:
        """Count a new segment, and what was joined; tidying up may fail without any harm."""
        try:
            moved = self._compactor.collect() if new is None else self._compactor.add(new)
            if moved or new is not None:
                self._live.changed(moved=moved)
        except UnusableFileError:
            self._mend()
        except (OSError, MemoryError) as error:
            self._say_untidy(error)

    def _mend(self) -> None:
        """Segments that should have been joined are damaged: keep what is whole of them."""
        try:
            if mend_segments(self._places, self._compactor.parts[-2 * FAN_IN :], self._disk, AGAIN):
                self._reload()
        except (OSError, UnusableFileError, ArchiveError) as error:
            self._say_untidy(error)

    def _say_untidy(self, error: Exception) -> None:
        if str(error) != self._untidy:
            logger.warning("%s: cannot be tidied up now (%s)", self._places.segments, error)
        self._untidy = str(error)
