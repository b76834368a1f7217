"""Saved sets: versions of support sets that are kept, published, or labels made anew under them."""

from collections.abc import Callable
from pathlib import Path

from pychip_stream.analysis.rescoring import encoder_finder, rescore
from pychip_stream.archive.disk import Disk
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import (
    SupportFolder,
    load_support,
    read_file,
)
from pychip_stream.config import Config
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import SupportSet, scale_of
from pychip_stream.errors import PychipError
from pychip_stream.wire.codec import bytes_array
from pychip_stream.wire.endpoints import request
from pychip_stream.wire.messages import PublishSupport

from .readers import Readers
from .recent import Recent
from .words import relabelled

_KEPT = 8


class SavedSets:
    """The versions in the folder of support sets; every method but `called` may take long.

    Parameters
    ----------
    readers
        Look at files first.
    """

    def __init__(self, config: Config, readers: Readers) -> None:
        self._config = config
        self._readers = readers
        self.folder = SupportFolder(config.support.folder)
        self._loaded = Recent[str, SupportSet](_KEPT)

    def support(self, version: str) -> SupportSet:
        """Load a saved version; the last few are remembered."""
        if not version.isalnum():
            raise PychipError(f"{version[:40]!r} is not the version of a support set")
        known = self._loaded.get(version)
        if known is None:
            path = self.folder.path(version)
            self._readers.check(path)
            known = self._loaded.put(version, load_support(path))
        return known

    def called(self, version: str) -> str:
        """Say what a version is called, if it is remembered, or the beginning of its hash."""
        known = self._loaded.get(version)
        return known.called if known else version[:8]

    def know(self, support: SupportSet) -> None:
        """Remember a version, for a while."""
        self._loaded.put(support.version, support)

    def scale_of(self, version: str) -> Normalization | None:
        """Intensity range of a saved version; None where it is not here."""
        return scale_of(self.support, version) if version else None

    def take(self, path: Path) -> str:
        """Keep a support set's file among the versions, as it is; returns its version."""
        support = load_support(path)
        Disk().save(self.folder.path(support.version), read_file(path))
        self.know(support)
        return support.version

    def publish(self, version: str, author: str) -> str:
        """Make a saved version the current one of the running worker; returns it."""
        data = bytes_array(read_file(self.folder.path(version)))
        return request(self._config.wire, PublishSupport(author=author), data).detail

    def relabel(self, version: str, progress: Callable[[int, int], None]) -> str:
        """Label the run's frames so far with a version, from their embeddings; tells how it went.

        Parameters
        ----------
        progress
            Called with frames done and their total; what it raises ends the work, and the run
            stays as it was.
        """
        path, support = self._config.run_path, self.support(version)
        with open_run(path) as run:
            finder = encoder_finder(run)
        done = rescore(path, support, finder, self._config.classify, progress=progress)
        return "\n".join(relabelled(done, support.called))
