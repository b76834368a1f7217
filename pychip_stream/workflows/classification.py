"""Classification of files that lie there already, into one run archive."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

from pychip_stream.archive.supports import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.errors import FrameError, FrameIncompleteError, UsageError
from pychip_stream.ingest.readers import SUFFIXES, frame_count
from pychip_stream.ingest.series import SeriesBook
from pychip_stream.wire.messages import FrameRef
from pychip_stream.workflows.analysis import Analyst
from pychip_stream.workflows.translation import failed_record

_Folder = TypeVar("_Folder", bound=PurePath)


@dataclass(frozen=True)
class Batch:
    """Files to classify and the folder that their names are relative to."""

    root: Path
    paths: tuple[Path, ...]

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "Batch":
        """Collect files; folders are searched for everything that can be read.

        The root is the folder that was given, or what several of them have in common.

        Raises
        ------
        UsageError
            If something is not there, nothing is left, or it lies on several drives.
        """
        found: dict[Path, None] = {}
        given: set[Path] = set()
        for path in paths:
            if path.is_dir():
                given.add(path.resolve())
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
        # Links may lead to files outside of what was given.
        return cls(common_folder(given | {file.parent for file in found}), tuple(found))


def common_folder(folders: Collection[_Folder]) -> _Folder:
    """Return the deepest folder in which all of these lie.

    Raises
    ------
    UsageError
        If they are on several drives.
    """
    first = min(folders)
    for root in (first, *first.parents):
        if all(folder.is_relative_to(root) for folder in folders):
            return root
    other = next(folder for folder in folders if folder.anchor != first.anchor)
    raise UsageError(f"{first} and {other}: lie on two drives; classify each into a run of its own")


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
