"""Compaction: many small segments become fewer larger ones, so that long runs open quickly.

A compacted file stands for the segments whose numbers its name spans; readers prefer it, and the
narrower files go a while later. Each frame is rewritten at most twice, so the cost per frame does
not depend on the length of the run.
"""

import time

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


def compact(places: RunPlaces, files: FileCatalog, disk: Disk) -> Catalog:
    """Join the newest segments where enough of one width have come together.

    Returns
    -------
    The run as it is now.
    """
    catalog = files.refresh()
    group = _ready(catalog.parts)
    while group:
        block = block_of_parts(Catalog(places, group))
        header = merged_header(group)
        path = places.segment(Span(header.first, header.last))
        temporary = temporary_name(path)
        try:
            disk.write(temporary, segment_image(header, block))
            disk.publish(temporary, path)
        except OSError:
            disk.remove(temporary)
            raise
        files.adopt(part_of(path, header, block))
        catalog = files.refresh()
        group = _ready(catalog.parts)
    now = time.time()
    for span in superfluous(places, catalog):
        path = places.segment(span)
        if now - path.stat().st_mtime > GRACE_S:
            disk.remove(path)
    return catalog


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
    """Return the newest FAN_IN segments of one width, if they may be joined."""
    newest: list[Part] = []
    for part in reversed(parts):
        width = part.header.last - part.header.first
        if part.kind != "segment" or (
            newest and width != newest[-1].header.last - newest[-1].header.first
        ):
            break
        newest.append(part)
    if len(newest) < FAN_IN:
        return []
    group = newest[::-1][:FAN_IN]
    frames = sum(map(len, group))
    size = sum(p.path.stat().st_size for p in group)
    return group if frames <= MAX_FRAMES and size <= MAX_BYTES else []
