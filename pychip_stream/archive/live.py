"""Live view: one file that shows a growing run to programs that know nothing of segments.

The curve is copied into it, the label maps are a virtual dataset over the segments. It is made
anew now and then and replaced in one step; nothing depends on it.
"""

import logging
import time

import h5py
import numpy as np

from pychip_stream.archive import hdf, layout, nexus
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.compaction import GRACE_S
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.files import RunPlaces, merged_header, start_file
from pychip_stream.archive.hdf import UnusableFileError
from pychip_stream.archive.scorings import default_scoring
from pychip_stream.archive.selection import Selection
from pychip_stream.errors import ArchiveError

logger = logging.getLogger(__name__)

PAUSE_S = 2.0
SHARE = 0.005
"""Part of the time that may be spent on the view, however long the run has become."""
MAX_STRETCHES = 4096
"""A run whose frames came in a wilder order is shown without its label maps."""


class LiveView:
    """Keeps RUN.live.h5 up to date, within a fixed share of the time."""

    def __init__(self, places: RunPlaces, files: FileCatalog, disk: Disk) -> None:
        self._places = places
        self._files = files
        self._disk = disk
        self._next = 0.0
        self._stale = False
        self._said: set[str] = set()

    def changed(self, *, moved: bool) -> None:
        """Note a new segment; `moved`: older ones went into another file."""
        self._stale = True
        if moved:  # the view must let go of the narrow files before they are removed
            self._next = min(self._next, time.monotonic() + GRACE_S / 2)
        self.catch_up()

    def catch_up(self) -> None:
        """Make the view anew if it is old and that may cost something again."""
        start = time.monotonic()
        if not self._stale or start < self._next:
            return
        self._stale = False
        try:
            self._renew()
        except (OSError, ArchiveError, UnusableFileError) as error:
            # A viewer has it open (Windows), the disk is full, the share is gone: nothing that
            # was acknowledged depends on the view.
            logger.debug("%s: not renewed (%s)", self._places.live, error)
            self._stale = True
        cost = time.monotonic() - start
        self._next = start + max(PAUSE_S, cost / SHARE)

    def _renew(self) -> None:
        catalog = self._files.refresh()
        if not catalog.parts:
            return
        catalog.say_displaced(self._said)
        with self._disk.atomic(self._places.live, sync=False) as temporary:
            self._disk.write(temporary, live_image(catalog))


def live_image(catalog: Catalog) -> bytes:
    """Bytes of the view of a run."""
    scoring = default_scoring(catalog)
    names = catalog.class_names(scoring)
    table = catalog.table
    selection, present = catalog.results(scoring, table["sequence"][catalog.classified])
    rows = catalog.classified[present]
    with hdf.new_image() as file:
        entry = start_file(file, "live", merged_header(catalog.parts))
        nexus.describe_entry(entry, table["time"][rows])
        frames = hdf.collection(entry, layout.FRAMES)
        hdf.write_texts(frames, "path", table["path"][rows])
        for name in ("sequence", "index"):
            frames.create_dataset(name, data=table[name][rows])
        hdf.name_rows(frames, "sequence")
        curve = nexus.Curve(table["time"][rows], catalog.intervals(scoring)[present], names, {})
        nexus.write_views(entry, curve, _label_stack(catalog.places, selection, names))
        entry.attrs["default"] = "fractions"
        return hdf.image(file)


def _label_stack(
    places: RunPlaces, selection: Selection, names: tuple[str, ...]
) -> h5py.VirtualLayout | None:
    """Stack over the files of the run; None where it cannot be had without copying."""
    stretches = list(selection.stretches())
    if not stretches or len(stretches) > MAX_STRETCHES:
        return None
    grids = [source.grid for source in selection.sources]
    used = np.unique(selection.source).tolist()
    shape = np.max([grids[n] for n in used], axis=0).tolist()
    stack = h5py.VirtualLayout((len(selection), *shape), np.uint8)
    sources: dict[int, h5py.VirtualSource] = {}
    for number, start, stop, at in stretches:
        one = selection.sources[number]
        if one.names[:-1] != names[: len(one.names) - 1]:
            return None  # its labels have other numbers
        if number not in sources:
            path = one.path.relative_to(places.folder).as_posix()
            sources[number] = h5py.VirtualSource(
                path, f"{one.where}/label_map", (len(one), *grids[number]), np.uint8
            )
        height, width = grids[number]
        stack[at : at + stop - start, :height, :width] = sources[number][start:stop]
    return stack
