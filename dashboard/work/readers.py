"""Readers: files of others are read in processes of their own; the worst costs a file."""

from pathlib import Path

from pychip_stream.archive import probe
from pychip_stream.archive.run import Run
from pychip_stream.config import Config
from pychip_stream.errors import ArchiveError
from pychip_stream.export.kinds import PixelReader, pixel_reader
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.guard import Guard

from .recent import Recent

_REMEMBERED = 20_000

Stamp = tuple[int, int]
"""Size and mtime_ns of a file."""


class Readers:
    """What reads images, and looks at archives and support sets before they are opened here.

    The processes start when they are needed first; threads wait for each other.
    """

    def __init__(self, config: Config) -> None:
        watch, page = config.watch, config.dashboard
        self._folders = (watch.root, *page.frames) if page.shared else None
        self.frames = GuardedReader.of(watch)
        self._guard = Guard((probe.__name__,))
        self._known = Recent[tuple[Path, Stamp], str](_REMEMBERED)

    def check(self, path: Path) -> None:
        """Look through an HDF5 file, once for each of its revisions; one that is not there passes.

        Raises
        ------
        ArchiveError
            If reading it hangs, crashes or takes all memory.
        """
        try:
            stat = path.stat()
        except OSError:
            return
        key = path, (stat.st_size, stat.st_mtime_ns)
        trouble = self._known.get(key)
        if trouble is None:
            trouble = self._known.put(key, self._trouble(path))
        if trouble:
            raise ArchiveError(trouble)

    def check_run(self, path: Path) -> None:
        """Look through all files of a run; raises as `check` does."""
        for file in probe.files_of_run(path):
            self.check(file)

    def pixel_reader(self, run: Run, root: Path) -> PixelReader:
        """Make what reads the pixels of a run's frames.

        An archive names the folder of its frames, which may be any. Where others than the user of
        this machine look, images of no other folders are shown than `root`, those of the
        configuration, and that of the archive.
        """
        base = (run.root or root).resolve()
        if self._folders is not None and not any(
            base.is_relative_to(folder.resolve())
            for folder in (root, run.path.parent, *self._folders)
        ):
            return _no_pixels
        return pixel_reader(run, base, moved=True, reader=self.frames)

    def close(self) -> None:
        """End the processes."""
        self.frames.close()
        self._guard.close()

    def _trouble(self, path: Path) -> str:
        try:
            probe.check(path, self._guard)
        except ArchiveError as error:
            return str(error)
        return ""


def _no_pixels(_path: str, _index: int) -> None:
    return None
