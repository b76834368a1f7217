"""Compaction: small segments become larger ones while a run goes on."""

import time
from collections import deque
from itertools import pairwise
from pathlib import Path

import numpy as np

from pychip_stream.archive.blocks import stackable
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import Part, RunPlaces, Span, merged_header
from pychip_stream.archive.segments import block_of_parts, part_of, segment_image

FAN_IN = 16
MAX_FRAMES = 1536
MAX_BYTES = 192 << 20
GRACE_S = 30.0
"""Readers that have just listed the narrow files get this long to read them."""


class Compactor:
    """Knows the segments of a run and joins the newest ones where enough have come together.

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
        self.parts = list(parts)

    def add(self, part: Part) -> bool:
        """Count a new segment; whether older ones went into another file."""
        self.parts.append(part)
        self._files.adopt(part)
        self._remove_old()
        moved = False
        while group := _ready(self.parts):
            joined = self._join(group)
            first = self.parts.index(group[0])
            self.parts[first : first + len(group)] = [joined]
            self._leaving.extend((time.monotonic(), old.path) for old in group)
            moved = True
        return moved

    def _join(self, group: list[Part]) -> Part:
        block = block_of_parts(Catalog(self._places, group))
        header = merged_header(group)
        path = self._places.segment(Span(header.first, header.last))
        with self._disk.atomic(path, new=True) as temporary:
            self._disk.write(temporary, segment_image(header, block))
        part = part_of(path, header, block)
        self._files.adopt(part)
        return part

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
