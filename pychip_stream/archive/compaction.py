"""Compaction: many small segments become fewer larger ones, so that long runs open quickly.

A compacted file stands for the segments whose numbers its name spans; readers prefer it, and the
narrower files go a while later. Each frame is rewritten at most twice, so the cost per frame does
not depend on the length of the run.
"""

import time
from collections import deque
from itertools import pairwise
from pathlib import Path

from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.durable import Disk, temporary_name
from pychip_stream.archive.merge import block_of_parts, merged_header
from pychip_stream.archive.parts import Part, part_of
from pychip_stream.archive.places import RunPlaces, Span, covering
from pychip_stream.archive.segment import segment_image

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
        """Count a new segment; whether older ones went into another file.

        Raises
        ------
        OSError
            If the joined file cannot be written; nothing is lost.
        """
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
        temporary = temporary_name(path)
        try:
            self._disk.write(temporary, segment_image(header, block))
            self._disk.publish(temporary, path)
        except OSError:
            self._disk.remove(temporary)
            raise
        part = part_of(path, header, block)
        self._files.adopt(part)
        return part

    def _remove_old(self) -> None:
        while self._leaving and time.monotonic() - self._leaving[0][0] > GRACE_S:
            self._disk.remove(self._leaving.popleft()[1])


def superfluous(places: RunPlaces, catalog: Catalog) -> list[Span]:
    """Segments that a wider file or the merged archive stands for."""
    base = next((p for p in catalog.parts if p.kind == "run"), None)
    spans = places.spans()
    chosen = covering(spans, base.header.last if base else 0)
    used = {p.path for p in catalog.parts}
    if any(places.segment(span) not in used for span in chosen):
        return []  # something cannot be read; then nothing goes
    reach = max([0, *(p.header.last for p in catalog.parts)])
    return [span for span in spans if span not in chosen and span.last <= reach]


def _ready(parts: list[Part]) -> list[Part]:
    """Return the newest FAN_IN segments, if they are of one width and not too large."""
    group = parts[-FAN_IN:]
    if len(group) < FAN_IN or any(part.kind != "segment" for part in group):
        return []
    if len({part.header.last - part.header.first for part in group}) > 1:
        return []
    if any(b.header.first != a.header.last + 1 for a, b in pairwise(group)):
        return []  # the joined file would stand for one that it does not hold
    if sum(map(len, group)) > MAX_FRAMES:
        return []
    return group if sum(p.path.stat().st_size for p in group) <= MAX_BYTES else []
