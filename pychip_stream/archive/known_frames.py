"""Known frames: which revisions a run holds, and in which order they were archived."""

from collections.abc import Iterable

from pychip_stream.archive import hdf
from pychip_stream.archive.layout import Table
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.records import FrameRecord

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
