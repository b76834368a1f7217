"""Known frames: every revision of a frame that is archived or on its way, each once."""

from collections.abc import Iterable

from pychip_stream.archive import hdf
from pychip_stream.archive.layout import Table
from pychip_stream.archive.records import FrameId, FrameRecord

_Stat = tuple[int, int]


class KnownFrames:
    """Remembers which revisions there are, and in which order they were archived.

    Attributes
    ----------
    keys
        Every archived revision in order of archiving; the order never changes.
    """

    def __init__(self) -> None:
        self.keys: list[FrameId] = []
        self._revisions: dict[tuple[str, int], tuple[_Stat, ...]] = {}

    def read(self, table: Table) -> None:
        """Take over what the archive holds, from its frame table."""
        texts = (hdf.strings(table[name]) for name in ("path", "status"))
        numbers = (table[name].tolist() for name in ("index", "size", "mtime_ns"))
        for path, status, index, size, mtime_ns in zip(*texts, *numbers, strict=True):
            self.keys.append(FrameId(path, index, size, mtime_ns, status))
            self._note((path, index), (size, mtime_ns))

    def take(self, record: FrameRecord) -> bool:
        """Note a frame that is to be archived; False where this revision is known already."""
        key, stat = (record.path, record.index), (record.size, record.mtime_ns)
        if stat in self._revisions.get(key, ()):
            return False
        self._note(key, stat)
        return True

    def revision(self, record: FrameRecord) -> int:
        """Tell which revision of its frame a record is, from 1."""
        stats = self._revisions[record.path, record.index]
        return stats.index((record.size, record.mtime_ns)) + 1

    def archived(self, ids: Iterable[FrameId]) -> None:
        """Count frames that are on disk now."""
        self.keys.extend(ids)

    def _note(self, key: tuple[str, int], stat: _Stat) -> None:
        self._revisions[key] = (*self._revisions.get(key, ()), stat)
