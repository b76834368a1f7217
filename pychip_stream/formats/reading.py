"""Readers: from a file of any accepted format to frames.

The content decides, not the name: microscope folders hold JPEG data called .png and DM3 data
called .dm4. Whatever a file contains, only `FrameError` comes out of here.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from pychip_stream.domain.frames import EARLIEST_S, LATEST_S, Frame, Stamp, mtime_of
from pychip_stream.domain.pixel_size import is_plausible
from pychip_stream.errors import (
    FrameError,
    FrameIncompleteError,
    FrameMissingError,
    FrameUnreachableError,
    FrameUsageError,
)
from pychip_stream.formats import FORMATS
from pychip_stream.formats.source import Format, Source, Structure, check_frames, opened

MAX_BYTES = 2 << 30
"""Memory that one frame may need unless a configuration says otherwise."""

ReadChecked: TypeAlias = Callable[[Path, int, int, int], tuple[Frame, str]]
"""`read_checked`, here or through a guard: of path, index, size and mtime_ns."""

IN_MEMORY = 256 << 20
"""A file up to this size is read at once and looked at in memory."""

_MOST_TOLD, _LONGEST, _MOST_NOTE = 100, 200, 1000
"""Texts and numbers that a format tells of a frame; letters of each, and of a note."""
_LONGEST_S = 1e10
"""Between two frames of a file."""

_T = TypeVar("_T")


_LONG_MAGICS = (b"\0\0\0\3", b"\0\0\0\4", b"\x89PNG", b"\x89HDF")
"""Beginnings of formats that are told by more than their first four bytes: DM, PNG, HDF5."""


@cache
def suffixes() -> frozenset[str]:
    """Return the endings of names that may hold frames, in lower case."""
    return frozenset(suffix for form in FORMATS for suffix in form.suffixes)


_OF_SYSTEMS = {
    "@eadir", "#recycle", "$recycle.bin", "__macosx", "lost+found", "system volume information",
}  # fmt: skip


def is_left_alone(name: str) -> bool:
    """Whether a file or folder is hidden, temporary, a recycle bin, or a storage's previews."""
    return name.startswith((".", "~")) or name.lower() in _OF_SYSTEMS


def is_frame_name(name: str) -> bool:
    """Whether a file of this name may hold frames."""
    return name[name.rfind(".") :].lower() in suffixes() and not is_left_alone(name)


def frames_below(folder: Path) -> Iterator[Path]:
    """Files that may hold frames, at any depth, in no order."""
    for path in folder.rglob("*"):
        left_alone = any(map(is_left_alone, path.relative_to(folder).parts))
        if is_frame_name(path.name) and not left_alone and path.is_file():
            yield path


def read_frame(
    path: str | Path, index: int = 0, *, max_bytes: int = MAX_BYTES, detector: str = ""
) -> Frame:
    """Read one frame of a file.

    Parameters
    ----------
    path
        File in any of the accepted formats.
    index
        Position within a stack or multi-page file, from 0.
    max_bytes
        Refuse, before allocating, what would need more memory than this.
    detector
        Which image of a file that holds several; default: as docs/ingest.md says.

    Returns
    -------
    Frame with (H, W) pixels as the detector delivered them, colours turned grey; pixel size in
    nm or 1/nm where it is a length or a reciprocal one.

    Raises
    ------
    FrameIncompleteError
        If the file is not whole yet, or cannot be opened now.
    FrameError
        If it is damaged, too large, or holds something else than frames.
    """
    with opened(Path(path), detector) as source:
        return _read(source, _look(source, max_bytes), index, max_bytes)


class Contents(NamedTuple):
    """What is in a file: how many frames, and why some of them cannot be read, by their index."""

    frames: int
    missing: Mapping[int, str] = {}


def frame_count(path: str | Path, *, detector: str = "") -> int:
    """Count the frames of a file, as `contents` does."""
    return contents(path, detector=detector).frames


def contents(
    path: str | Path, size: int | None = None, final: bool = False, *, detector: str = ""
) -> Contents:
    """Look for the frames of a file by its structure, without decoding pixels.

    DM3/DM4: length in the header and a walk of the tags. TIFF/BigTIFF: chain of directories,
    every value, strip and tile inside the file. PNG: chunks up to IEND. JPEG: segments, EOI.
    MRC, SER: sizes in the headers. EMD: HDF5's own end of file.

    Parameters
    ----------
    size
        Bytes the file is believed to have; if it has others, it is being written.
    final
        Nothing will be added to it: of a stack that was cut off, say what is missing.
    detector
        As `read_frame` takes it.

    Raises
    ------
    FrameIncompleteError
        If the file is not whole yet, or cannot be opened now.
    FrameError
        If it is damaged or holds something else than frames.
    """
    with opened(Path(path), detector, final=final) as source:
        if size is not None and source.size != size:
            raise FrameIncompleteError(f"{path}: is growing or shrinking")
        found = examine(source)
        return Contents(found.frames, {index: str(why) for index, why in found.missing.items()})


def own_time(path: str | Path) -> Stamp | None:
    """When a dm or tiff file says its first frame was taken; None where it does not say.

    Raises
    ------
    FrameError
        If it cannot be read.
    """

    def work() -> Stamp | None:
        form, structure = _examined(source)
        return form.own_time(source, structure)

    with opened(Path(path)) as source:
        return _guarded(source, work)


def read_checked(
    path: str | Path,
    index: int,
    size: int,
    mtime_ns: int,
    *,
    max_bytes: int = MAX_BYTES,
    detector: str = "",
) -> tuple[Frame, str]:
    """Read one frame of exactly the revision that was meant.

    Parameters
    ----------
    size, mtime_ns
        Of the file when it was judged complete; compared before and after reading.
    detector
        As `read_frame` takes it.

    Returns
    -------
    The frame, with the hash of its own bytes where its format can grow, and the xxh3_128 hash of
    the file's bytes in hexadecimal.

    Raises
    ------
    FrameIncompleteError
        If the file has changed since, or while it was read.
    FrameError
        As `read_frame` does.
    """
    place, revision = Path(path), (str(path), size, mtime_ns, detector)
    _check_stat(place, size, mtime_ns)
    with opened(place, detector) as source:
        known = _stacks.pop(revision, None)
        if known is None:
            known = _look(source, max_bytes)
        elif known.data is not None:
            source.load(known.data)
        frame = _read(source, known, index, max_bytes)
        frame = replace(frame, frame_hash=_frame_hash(source, known, index))
        digest = known.digest or source.digest()
        if known.structure.frames > 1:
            _stacks[revision] = known._replace(digest=digest)
            while len(_stacks) > _MOST_STACKS:
                del _stacks[next(iter(_stacks))]
    _check_stat(place, size, mtime_ns)
    return frame, digest


def frame_hashes(
    path: str | Path, size: int, mtime_ns: int, indices: Sequence[int], *, detector: str = ""
) -> dict[int, str]:
    """Hash frames of a file as `read_checked` does, by index; those that are missing are left out.

    Raises
    ------
    FrameError
        As `read_checked` does.
    """
    place = Path(path)
    _check_stat(place, size, mtime_ns)
    with opened(place, detector) as source:
        look = _Look(*_guarded(source, lambda: _examined(source)), None)
        there = set(range(look.structure.frames)) - look.structure.missing.keys()
        found = {index: _frame_hash(source, look, index) for index in there.intersection(indices)}
    _check_stat(place, size, mtime_ns)
    return found


def _frame_hash(source: Source, look: "_Look", index: int) -> str:
    """Hash of the bytes of one frame; empty where its format does not grow."""
    extents_of = look.form.extents
    if extents_of is None:
        return ""

    def work() -> str:
        extents = extents_of(look.structure, index)
        return source.digest(extents) if extents else ""

    return _guarded(source, work)


class _Look(NamedTuple):
    """What was found in a file, its content where it is in memory, and its hash once known."""

    form: Format
    structure: Structure
    data: bytes | None
    digest: str = ""


# A stack is read, walked and hashed once, not once for each of its frames.
_stacks: dict[tuple[str, int, int, str], _Look] = {}
_MOST_STACKS = 2


def examine(source: Source) -> Structure:
    """Judge a file by its structure.

    Raises
    ------
    FrameIncompleteError
        If it is not whole yet.
    FrameError
        If it is damaged or holds something else than frames.
    """
    return _guarded(source, lambda: _examined(source)[1])


def _examined(source: Source) -> tuple[Format, Structure]:
    form = _recognize(source)
    structure = form.examine(source)
    check_frames(source.name, structure.frames)
    if structure.frames and len(structure.missing) == structure.frames:
        raise next(iter(structure.missing.values()))
    return form, structure


def _look(source: Source, max_bytes: int) -> _Look:
    data = source.load() if source.size <= min(IN_MEMORY, max_bytes) else None
    return _Look(*_guarded(source, lambda: _examined(source)), data)


def _read(source: Source, look: _Look, index: int, max_bytes: int) -> Frame:
    look.structure.check(source.name, index)

    def work() -> Frame:
        return _believed(_told(look.form.read(source, look.structure, index, max_bytes)))

    return _guarded(source, work)


def _told(frame: Frame) -> Frame:
    """Keep what a format tells of a frame as far as it can be told on, in messages and archive."""
    metadata = {
        name: _printable(value) if isinstance(value, str) else float(value)
        for name, value in islice(frame.metadata.items(), _MOST_TOLD)
        if len(name) <= _LONGEST and name.isprintable()
    }
    return replace(
        frame,
        metadata=metadata,
        notes=tuple(_printable(note, _MOST_NOTE) for note in frame.notes[:_MOST_TOLD]),
        unit=None if frame.unit is None else _printable(frame.unit),
        time=frame.time if EARLIEST_S <= (frame.time or 0.0) <= LATEST_S else None,
        before_last_s=frame.before_last_s if 0 <= frame.before_last_s < _LONGEST_S else 0.0,
    )


def _printable(text: str, most: int = _LONGEST) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:most])


def _believed(frame: Frame) -> Frame:
    """Drop a pixel size that cannot be, and say so."""
    size, height = frame.pixel_size, (frame.pixel_size or 0) * frame.pixel_ratio
    if size is None:
        return replace(frame, pixel_ratio=1.0)
    if is_plausible(size, frame.unit) and is_plausible(height, frame.unit):
        return frame
    edges = " by ".join(f"{edge:.4g}" for edge in dict.fromkeys((size, height)))
    note = f"the file gives a pixel size of {edges} {frame.unit}, which cannot be; it is left out"
    return replace(frame, pixel_size=None, unit=None, pixel_ratio=1.0, notes=(*frame.notes, note))


def _recognize(source: Source) -> Format:
    if source.size == 0:
        raise FrameIncompleteError(f"{source.name}: is empty")
    head = source.bytes_at(0, min(16, source.size))
    for form in FORMATS:
        if form.matches(source, head):
            return form
    if head == bytes(len(head)) or (len(head) < 16 and _may_begin(head)):
        raise FrameIncompleteError(f"{source.name}: its header is not written yet")
    raise FrameUsageError(
        f"{source.name}: is not an image, in no known image format; check where it comes from"
    )


def _may_begin(head: bytes) -> bool:
    """Whether the first bytes of a file can become the header of an image."""
    # An MRC file begins with its width as four bytes, the upper two of which are zero.
    return len(head) < 4 or head[2:4] == bytes(2) or head[:4] in _LONG_MAGICS


def _guarded(source: Source, work: Callable[[], _T]) -> _T:
    """Let nothing but FrameError out; libraries raise what they like for damaged files."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work()
    except FrameError:
        raise
    except MemoryError as error:
        raise FrameError(f"{source.name}: does not fit in memory") from error
    except Exception as error:
        detail = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FrameError(f"{source.name}: cannot be decoded ({detail}); it is damaged") from error


def _check_stat(path: Path, size: int, mtime_ns: int) -> None:
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise FrameMissingError(f"{path}: no such file") from error
    except OSError as error:
        raise FrameUnreachableError(
            f"{path}: cannot be read now ({error.strerror or error}); check folder and rights"
        ) from error
    if (found.st_size, mtime_of(found)) != (size, mtime_ns):
        raise FrameIncompleteError(f"{path}: has changed since it was seen; it will be read anew")
