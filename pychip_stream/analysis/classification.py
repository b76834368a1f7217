"""Classification of files that lie there already, into one run archive."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TypeVar

import yaml

from pychip_stream.acquisition.identity import Identity, answer
from pychip_stream.acquisition.series import SeriesBook
from pychip_stream.analysis.analyst import Analyst
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.domain.frames import FrameRef, mtime_of
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.domain.records import FrameRecord
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import (
    ClusterError,
    FrameError,
    FrameIncompleteError,
    FrameLostError,
    UsageError,
)
from pychip_stream.formats.ahead import ReadAhead, with_following
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.formats.reading import ReadChecked, frames_below

_Folder = TypeVar("_Folder", bound=PurePath)

Analyse = Callable[[Iterator[FrameRef], GuardedReader], Iterator[FrameRecord]]
"""Frames to records, in the same order, taken no faster than they are done; here or elsewhere."""


@dataclass(frozen=True)
class Batch:
    """Files to classify, and the folder that their names are relative to.

    `detector` and `pixel_size` are those of `GuardedReader`.
    """

    root: Path
    paths: tuple[Path, ...]
    detector: str = ""
    pixel_size: str = ""

    @classmethod
    def of(cls, paths: Sequence[Path], detector: str = "", pixel_size: str = "") -> "Batch":
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
                found |= {file.resolve(): None for file in sorted(frames_below(path))}
            elif path.is_file():
                found[path.resolve()] = None
            else:
                raise UsageError(f"{path}: no such file or folder")
        if not found:
            raise UsageError(
                f"{', '.join(map(str, paths))}: no frames there (dm4, tiff, png, jpg, …)"
            )
        # Links may lead to files outside of what was given.
        root = common_folder(given | {file.parent for file in found})
        return cls(root, tuple(found), detector, pixel_size)


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


def describe(
    batch: Batch, support: Path, encoder: EncoderConfig, settings: ClassifyConfig
) -> dict[str, str]:
    """Describe how a batch is classified, for its archive."""
    config = {
        "watch": {"detector": batch.detector, "pixel_size": batch.pixel_size},
        "encoder": encoder.model_dump(mode="json"),
        "classify": settings.model_dump(),
    }
    return {
        "root": str(batch.root),
        "support": str(support),
        "config": yaml.safe_dump(config),
    }


def check_begun(target: Path, support: SupportSet, metadata: Mapping[str, str]) -> str:
    """Refuse to go on with an unfinished archive in another way than it was begun.

    Returns
    -------
    Where its newest frame was classified, as `Encoder.device`; empty where there is none.

    Raises
    ------
    UsageError
        If its frames were labelled under another support set or other settings, or lay elsewhere.
    """
    places = RunPlaces.of(target)
    if not places.spans():
        return ""
    with open_run(target) as run:
        before, was = run.metadata, run.config
        versions = {v.decode() for v in run.columns("support_version")["support_version"]}
        devices = run.columns("device")["device"]
    others = versions - {support.version}
    now = yaml.safe_load(metadata["config"])
    sets = {v: places.support(v) for v in sorted(others)}
    how = [f"support set {file if file.exists() else v}" for v, file in sets.items()]
    how += [
        f"{section}.{key} {was.get(section, {}).get(key, '')}"
        for section, values in now.items()
        for key, value in values.items()
        if was.get(section, {}).get(key, "") != value
    ]
    if before.get("root") != metadata["root"]:
        how.append(f"the frames of {before.get('root')}")
    if how:
        raise UsageError(
            f"{target}: was begun with {', '.join(how)}; finish it like that and then `rescore` "
            "it, or choose another --out (or --force to begin anew)"
        )
    return devices[-1].decode() if len(devices) else ""


def count_done(batch: Batch, keys: Collection[FrameRef]) -> int:
    """Count the files of a batch all of whose frames are archived."""
    known = set(keys)
    there = {frame.path for frame in known}
    with GuardedReader(detector=batch.detector) as reader:
        book = SeriesBook(reader.own_time)
        return sum(
            all(ref in known for ref in _refs(batch.root, path, book, reader))
            for path in batch.paths
            if path.relative_to(batch.root).as_posix() in there
        )


def classify(
    batch: Batch, analyst: Analyst, writer: RunWriter, progress: Progress = no_progress
) -> Path:
    """Classify every frame of a batch in this process, as `classify_by` does."""

    def analyse(refs: Iterator[FrameRef], reader: GuardedReader) -> Iterator[FrameRecord]:
        ahead = ReadAhead(reader.read_checked)
        try:
            for ref, following in with_following(refs):
                yield analysed(analyst, batch.root, ref, ahead.then(batch.root, following))
        except BaseException:  # Ctrl-C does not wait for a file
            reader.close()
            raise
        finally:
            ahead.close()

    import torch  # loads slowly; the page offers this long before it is done

    settle_sums(torch.get_num_threads())
    return classify_by(analyse, batch, analyst.support, writer, progress)


def classify_by(
    analyse: Analyse,
    batch: Batch,
    support: SupportSet,
    writer: RunWriter,
    progress: Progress = no_progress,
) -> Path:
    """Classify every frame of a batch and close the archive.

    What is archived already is left out; what Ctrl-C leaves is whole, and is archived.

    Parameters
    ----------
    progress
        Called with the frames that are done and their total, estimated until every file was
        looked at.

    Returns
    -------
    The archive.

    Raises
    ------
    ArchiveError
        If the archive cannot be written.
    ClusterError
        If those who analyse are gone; what they have done is archived.
    """
    writer.add_support(support_to_bytes(support), support.version)
    done = set(writer.keys)
    try:
        with GuardedReader(detector=batch.detector, pixel_size=batch.pixel_size) as reader:
            count = _Count(len(batch.paths))
            for record in analyse(_wanted(batch, done, count, reader), reader):
                writer.append(record)
                if writer.full:
                    writer.publish()
                count.done += 1
                progress(count.done, count.total)
            progress(count.done, count.done)
            if done:
                _note_renamed(writer, batch.root, reader)
        return writer.close()
    except (KeyboardInterrupt, ClusterError):
        writer.publish()
        writer.release()
        raise


@dataclass
class _Count:
    """How many frames are done, of how many in the files that were looked at so far."""

    files: int
    looked: int = 0
    found: int = 0
    done: int = 0

    @property
    def total(self) -> int:
        """Frames of all files, if the others hold as many as these."""
        return round(self.found * self.files / max(self.looked, 1))


def _wanted(
    batch: Batch, done: Collection[FrameRef], count: _Count, reader: GuardedReader
) -> Iterator[FrameRef]:
    """Frames of a batch that are not done yet."""
    book = SeriesBook(reader.own_time)
    for path in batch.paths:
        book.enter(path.as_posix())
    for path in batch.paths:
        refs = list(_refs(batch.root, path, book, reader))
        count.looked += 1
        count.found += len(refs)
        for ref in refs:
            if ref in done:
                count.done += 1
            else:
                yield ref


def _note_renamed(writer: RunWriter, root: Path, reader: GuardedReader) -> None:
    """Let files count once that were renamed since the batch was begun."""
    while writer.pending_count:
        writer.publish()
    identity = Identity()
    for number, frame in enumerate(writer.keys):
        if number not in writer.known.moved:
            identity.archived(frame, writer.known.digests[number])
    if questions := identity.questions(0.0):
        for path, to in answer(questions, root, reader.frame_hashes).renamed.items():
            for frame in identity.common(path, to):
                writer.append(FrameRecord.moved(frame, to))


def settle_sums(threads: int) -> None:
    """Let torch use so many threads, but two at the least.

    One thread sums products of float32 in another order than two or more, which all agree: only
    so are labels the same bit for bit, whoever shares the work.
    """
    import torch

    torch.set_num_threads(max(2, threads))


def analysed(analyst: Analyst, root: Path, ref: FrameRef, read: ReadChecked) -> FrameRecord:
    """Read and classify one frame of a file that nobody writes any more."""
    try:
        return analyst.analyse(root, ref, read)
    except (FrameIncompleteError, FrameLostError) as error:
        return FrameRecord.failed(ref, str(error), read=ref.seen)


def _refs(root: Path, path: Path, book: SeriesBook, reader: GuardedReader) -> Iterator[FrameRef]:
    """Refer to every frame of a file; to one when the file cannot be read."""
    stat = path.stat()
    try:
        count = reader.contents(path, final=True).frames
    except FrameError:
        count = 1  # reading it says why
    time = book.note(path.as_posix(), str(path), mtime_of(stat))
    for index in range(count):
        yield FrameRef(
            path=path.relative_to(root).as_posix(),
            index=index,
            size=stat.st_size,
            mtime_ns=mtime_of(stat),
            time=time,
            seen=stat.st_mtime,
        )
