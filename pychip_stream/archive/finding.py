"""Finding: arrays of given frames, wherever the archiver has moved them meanwhile."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from pychip_stream.archive import hdf, layout
from pychip_stream.archive.catalog import Catalog, FileCatalog
from pychip_stream.archive.durable import reason
from pychip_stream.archive.gather import Selection, gather_embeddings, gather_results
from pychip_stream.archive.hdf import Array, UnusableFileError
from pychip_stream.archive.layout import Table
from pychip_stream.archive.results import FrameRows, Results
from pychip_stream.archive.support_group import read_support
from pychip_stream.archive.supports import GROUP
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import ArchiveError, PychipError

_T = TypeVar("_T")
_ATTEMPTS = 10


class Finder:
    """Reads arrays of frames by sequence number.

    Segments are merged into others while a run is read; a file that is gone makes it look
    again.
    """

    def __init__(self, files: FileCatalog) -> None:
        self._files = files
        self.catalog = files.refresh()

    def refresh(self) -> Catalog:
        """Look which files there are now."""
        self.catalog = self._files.refresh()
        return self.catalog

    def selection(self, scoring: str, sequence: Array) -> tuple[Selection, Array]:
        """Where the results of frames are, and for which of `sequence` there are any."""
        return self.catalog.results(scoring, sequence)

    def table(self, sequence: Array, names: Sequence[str] = layout.ALL) -> Table:
        """Read columns (default: all) of the frame table, of these frames."""

        def read() -> Table:
            table = self.catalog.full_table(names)
            return layout.take(table, np.searchsorted(table["sequence"], sequence))

        return self._reading(read)

    def results(
        self, scoring: str, sequence: Array, class_names: tuple[str, ...], kept: Sequence[str]
    ) -> Results:
        """Read the results of frames, all of which must be covered."""

        def read() -> Results:
            selection, present = self.selection(scoring, sequence)
            if not present.all():
                raise ArchiveError(
                    f"{self.catalog.places.closed}: scoring {scoring[:8]} does not cover every "
                    "frame that was asked for"
                )
            return gather_results(selection, class_names, kept=kept)

        return self._reading(read)

    def embeddings(self, encoder: tuple[str, int], sequence: Array) -> tuple[FrameRows, Array]:
        """Read embeddings of frames, of those that have any by this encoder."""

        def read() -> tuple[FrameRows, Array]:
            selection, _ = self.catalog.embeddings(encoder, sequence)
            return gather_embeddings(selection, encoder[1])

        return self._reading(read)

    def support(self, version: str) -> SupportSet:
        """Read a support set.

        Raises
        ------
        ArchiveError
            If the run does not hold it.
        """

        def read() -> SupportSet:
            for path, group in self._support_places(version):
                with hdf.reading(path) as file:
                    if group in file:
                        return _checked_support(file, group, path)
            raise ArchiveError(
                f"{self.catalog.places.closed}: does not hold support set {version[:8]}"
            )

        return self._reading(read)

    def support_versions(self) -> list[str]:
        """Versions of the support sets that the run holds."""
        parts = (*self.catalog.parts, *self.catalog.scorings.values())
        inside = [version for part in parts for version in part.supports]
        return list(dict.fromkeys([*inside, *self.catalog.places.support_versions()]))

    def _support_places(self, version: str) -> list[tuple[Path, str]]:
        parts = (*self.catalog.parts, *self.catalog.scorings.values())
        inside = f"{layout.ENTRY}/{layout.SUPPORTS}/{version}"
        places = [(part.path, inside) for part in parts if version in part.supports]
        if version in self.catalog.places.support_versions():
            places.append((self.catalog.places.support(version), GROUP))
        return places

    def _reading(self, read: Callable[[], _T]) -> _T:
        for attempt in range(_ATTEMPTS):
            try:
                return read()
            except FileNotFoundError:
                if attempt == _ATTEMPTS - 1:
                    raise ArchiveError(
                        f"{self.catalog.places.closed}: changes faster than it can be read"
                    ) from None
                self.refresh()
            except UnusableFileError as error:
                raise ArchiveError(f"{self.catalog.places.closed}: {error}") from error
            except OSError as error:
                where = error.filename or self.catalog.places.closed
                raise ArchiveError(f"{where}: cannot be read ({reason(error)})") from error
        raise AssertionError("unreachable")


def _checked_support(file: h5py.File, group: str, path: Path) -> SupportSet:
    try:
        return read_support(file[group])
    except PychipError as error:
        raise ArchiveError(f"{path}: {group} {error}") from error


def flat_grid(values: Array, frames: FrameRows, number: int) -> Array:
    """(rows, columns, …) of one frame out of a flat per-chip array."""
    rows, columns = int(frames.rows[number]), int(frames.columns[number])
    start = int(frames.offset[number])
    return np.asarray(
        values[start : start + rows * columns].reshape(rows, columns, *values.shape[1:])
    )
