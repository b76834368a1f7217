"""Classification of files that lie there already, into one run archive."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pychip_stream.archive.supports import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import FrameError, FrameIncompleteError, UsageError
from pychip_stream.ingest.readers import SUFFIXES, frame_count
from pychip_stream.ingest.series import SeriesBook
from pychip_stream.wire.messages import FrameRef
from pychip_stream.workflows.analysis import Analyst
from pychip_stream.workflows.translation import failed_record


@dataclass(frozen=True)
class Batch:
    """Files to classify and the folder that their names are relative to."""

    root: Path
    paths: tuple[Path, ...]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "Batch":
        """Collect files; folders are searched for everything that can be read.

        Raises
        ------
        UsageError
            If something is not there or nothing is left.
        """
        found: dict[Path, None] = {}
        for path in paths:
            if path.is_dir():
                for file in sorted(path.rglob("*")):
                    hidden = any(p.startswith(".") for p in file.relative_to(path).parts)
                    if file.suffix.lower() in SUFFIXES and file.is_file() and not hidden:
                        found[file.resolve()] = None
            elif path.is_file():
                found[path.resolve()] = None
            else:
                raise UsageError(f"{path}: no such file or folder")
        if not found:
            raise UsageError(
                f"{', '.join(map(str, paths))}: no frames there (dm4, tiff, png, jpg, …)"
            )
        files = tuple(found)
        root = files[0].parent
        while not all(f.is_relative_to(root) for f in files):
            root = root.parent
        return cls(root, files)


def classify(
    batch: Batch,
    analyst: Analyst,
    writer: RunWriter,
    progress: Callable[[str, int, int], None] = lambda _path, _done, _total: None,
) -> Path:
    """Classify every frame of a batch and close the archive.

    Parameters
    ----------
    progress
        Called with a path, the number of files done, and their total.

    Returns
    -------
    The archive.

    Raises
    ------
    ArchiveError
        If the archive cannot be written.
    """
    writer.add_support(support_to_bytes(analyst.support), analyst.support.version)
    done = {(key.path, key.index, key.size, key.mtime_ns) for key in writer.keys}
    book = SeriesBook()
    for path in batch.paths:
        book.enter(path.as_posix())
    for number, path in enumerate(batch.paths):
        progress(path.name, number, len(batch.paths))
        for ref in _refs(batch.root, path, book):
            if (ref.path, ref.index, ref.size, ref.mtime_ns) in done:
                continue
            try:
                record = analyst.analyse(batch.root, ref)
            except FrameIncompleteError as error:
                record = failed_record(ref, str(error), started=ref.seen)
            writer.append(record)
            if writer.full:
                writer.publish()
    progress("", len(batch.paths), len(batch.paths))
    return writer.close()


def _refs(root: Path, path: Path, book: SeriesBook) -> Iterator[FrameRef]:
    """Refer to every frame of a file; to one when the file cannot be read."""
    stat = path.stat()
    try:
        count = frame_count(path)
    except FrameError:
        count = 1  # reading it says why
    time = book.note(path.as_posix(), str(path), stat.st_mtime_ns)
    for index in range(count):
        yield FrameRef(
            path=path.relative_to(root).as_posix(),
            index=index,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            time=time,
            seen=stat.st_mtime,
        )
