"""Compaction: small segments become larger ones while a run goes on."""

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import pairwise
from pathlib import Path

import numpy as np

from pychip_stream.archive.blocks import stackable
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import Part, RunPlaces, Span, merged_header
from pychip_stream.archive.segments import block_of_parts, part_of, write_segment

FAN_IN = 16
MAX_FRAMES = 1536
MAX_BYTES = 192 << 20
GRACE_S = 30.0
"""Readers that have just listed the narrow files get this long to read them."""


class Compactor:
    """Knows the segments of a run and joins the newest ones where enough have come together.

    A thread reads and writes, one join after the other; what it has written counts from the next
    call on. So the archiver goes on meanwhile, unless as many segments have come as are joined.

    Parameters
    ----------
    parts
        Files of the run at the start; kept up to date in `parts`.
    """

    def __init__(
        self, places: RunPlaces, files: FileCatalog, disk: Disk, parts: list[Part]
    ) -> None:
        self._places = places
        self._files = files
        self._disk = disk
        self._leaving: deque[tuple[float, Path]] = deque()
        self._joining: tuple[list[Part], Future[Part]] | None = None
        self.parts = list(parts)

    def add(self, part: Part) -> bool:
        """Count a new segment; whether older ones went into another file; raises as `collect`."""
        self.parts.append(part)
        self._files.adopt(part)
        self._remove_old()
        moved = self.collect()
        self._begin(_ready(self.parts))
        return self.collect() or moved

    def collect(self) -> bool:
        """Count what was joined meanwhile; whether there is something.

        Raises
        ------
        UnusableFileError
            If segments cannot be joined since one is damaged.
        OSError, MemoryError
            If the disk or the memory does not suffice; the segments stay as they are.
        """
        moved = False
        while self._joining is not None:
            group, work = self._joining
            first = self.parts.index(group[0])
            if not work.done() and len(self.parts) - first < 2 * FAN_IN:
                break
            self._joining, moved = None, True
            joined = work.result()
            self.parts[first : first + len(group)] = [joined]
            self._files.adopt(joined)
            self._leaving.extend((time.monotonic(), old.path) for old in group)
            self._begin(_ready(self.parts[: first + 1]) or _ready(self.parts))
        return moved

    def settle(self) -> None:
        """Wait until nothing is written any more."""
        if self._joining is not None:
            wait([self._joining[1]])

    def _begin(self, group: list[Part]) -> None:
        if group and self._joining is None:
            thread = ThreadPoolExecutor(1, "join")
            self._joining = group, thread.submit(self._join, group)
            thread.shutdown(wait=False)

    def _join(self, group: list[Part]) -> Part:
        block = block_of_parts(Catalog(self._places, group))
        header = merged_header(group)
        path = self._places.segment(Span(header.first, header.last))
        with self._disk.atomic(path, new=True) as temporary:
            write_segment(temporary, header, block)
        return part_of(path, header, block)

    def _remove_old(self) -> None:
        while self._leaving and time.monotonic() - self._leaving[0][0] > GRACE_S:
            self._disk.remove(self._leaving.popleft()[1])


def _ready(parts: list[Part]) -> list[Part]:
    """Return the newest FAN_IN segments, if they are of one width and not too large."""
    group = parts[-FAN_IN:]
    if len(group) < FAN_IN or any(part.kind != "segment" for part in group):
        return []
    if len({part.header.last - part.header.first for part in group}) > 1:
        return []
    if any(b.header.first != a.header.last + 1 for a, b in pairwise(group)):
        return []  # the joined file would stand for one that it does not hold
    if sum(map(len, group)) > MAX_FRAMES or not _stacks(group):
        return []
    return group if sum(p.path.stat().st_size for p in group) <= MAX_BYTES else []


def _stacks(group: list[Part]) -> bool:
    """Whether the labels of segments fit into one stack of bounded size."""
    grids = [rows.grids for part in group for rows in part.scorings.values()]
    return not grids or stackable(np.concatenate(grids)) == sum(map(len, grids))
