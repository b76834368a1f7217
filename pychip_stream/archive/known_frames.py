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
        Every archived revision in order of archiving, and every note that one was moved; the
        order never changes.
    digests
        What tells the content of each: the hash of the frame, else of its file; of those that
        failed nothing.
    moved
        Places in `keys` of notes that a frame was moved.
    failed
        Revisions that were archived as failed.
    """

    def __init__(self) -> None:
        self.keys: list[FrameRef] = []
        self.digests: list[str] = []
        self.moved: set[int] = set()
        self.failed: set[FrameRef] = set()
        # None where it was moved: whatever comes under its name after that is archived again.
        self._revisions: dict[tuple[str, int], tuple[_Stat | None, ...]] = {}

    def read(self, table: Table) -> None:
        """Take over what the archive holds, from its frame table."""
        names = ("path", "status", "frame_hash", "content_hash")
        texts = (hdf.strings(table[name]) for name in names)
        numbers = (table[name].tolist() for name in ("index", "size", "mtime_ns"))
        for path, status, own, whole, *key in zip(*texts, *numbers, strict=True):
            index, size, mtime_ns = key
            frame = FrameRef(path=path, index=index, size=size, mtime_ns=mtime_ns)
            self._count(frame, status, own or whole)
            self._note((path, index), None if status == "moved" else (size, mtime_ns))

    def take(self, record: FrameRecord) -> bool:
        """Note a frame that is to be archived; False where this revision is known already.

        Of one that was moved: False where it is not the newest revision that counts.
        """
        frame = record.frame
        key, stat = (frame.path, frame.index), (frame.size, frame.mtime_ns)
        known = self._revisions.get(key, ())
        if record.status == "moved":
            if known[-1:] != (stat,):
                return False
            self._note(key, None)
            return True
        if stat in known[len(known) - _since_moved(known) :]:
            return False
        self._note(key, stat)
        return True

    def revision(self, record: FrameRecord) -> int:
        """Tell which revision of its frame a record is, from 1."""
        frame = record.frame
        stat = None if record.status == "moved" else (frame.size, frame.mtime_ns)
        known = self._revisions[frame.path, frame.index]
        return len(known) - known[::-1].index(stat)

    def archived(self, records: Iterable[FrameRecord]) -> None:
        """Count frames that are on disk now."""
        for record in records:
            self._count(record.frame, record.status, record.frame_hash or record.content_hash)

    def _count(self, frame: FrameRef, status: str, digest: str) -> None:
        if status == "moved":
            self.moved.add(len(self.keys))
            self.failed.discard(frame)
        elif status == "failed":
            self.failed.add(frame)
        self.keys.append(frame)
        self.digests.append(digest)

    def _note(self, key: tuple[str, int], stat: _Stat | None) -> None:
        self._revisions[key] = (*self._revisions.get(key, ()), stat)


def _since_moved(known: tuple[_Stat | None, ...]) -> int:
    """How many revisions came since a frame was last moved."""
    return known[::-1].index(None) if None in known else len(known)
