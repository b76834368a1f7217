"""Identity: which archived frames a file holds, however it has grown and whatever it is called.

What has to be asked of the folder for that is gathered here as questions, and answered elsewhere,
since a share may take its time.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import xxhash

from pychip_stream.domain.frames import FrameRef, inside
from pychip_stream.errors import FrameError

logger = logging.getLogger(__name__)

Revision = tuple[str, int, int]
"""Path, size and mtime_ns of a file."""
ReadHashes = Callable[[Path, int, int, Sequence[int]], dict[int, str]]
"""`formats.reading.frame_hashes`, here or through a guard."""

_Key = str | tuple[str, int]
_AGAIN_S = 2.0
_MOST_COPIES = 64


@dataclass(frozen=True, slots=True)
class Questions:
    """What has to be looked up in the folder.

    Attributes
    ----------
    grown
        Revisions of stacks, and which of their frames are to be compared.
    twins
        Paths under which the same content is archived, by what they have in common.
    """

    grown: dict[Revision, list[int]]
    twins: dict[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Answers:
    """What was found.

    Attributes
    ----------
    hashes
        Of frames, by revision and index.
    renamed
        Paths of files that are gone, and what each is called now.
    again
        Twins that are to be looked up again.
    """

    hashes: dict[Revision, dict[int, str]]
    renamed: dict[str, str]
    again: set[int]


@dataclass(frozen=True, slots=True)
class _Known:
    """The newest archived revision of a frame; one that was moved counts no more."""

    content: int
    frame: FrameRef
    counts: bool = True


class Identity:
    """Content of the archived frames, of the newest revision of each."""

    def __init__(self) -> None:
        self._known: dict[_Key, _Known] = {}
        self._last: dict[str, int] = {}
        self._paths: dict[int, tuple[str, ...]] = {}
        self._twins: dict[str, set[int]] = {}
        self._due: dict[int, float] = {}
        self._hashes: dict[str, tuple[Revision, dict[int, str]]] = {}
        self._grown: dict[Revision, list[int]] = {}

    def archived(self, frame: FrameRef, digest: str) -> None:
        """Note the content of a frame; of one that failed, without a hash, its size."""
        path, key = frame.path, _key(frame.path, frame.index)
        if key in self._known:  # an earlier revision
            for mark in self._marks(self._known[key].frame):
                left = tuple(one for one in self._paths.pop(mark, ()) if one != path)
                if left:
                    self._paths[mark] = left
        self._known[key] = _Known(_content(frame, digest), frame)
        if frame.index:
            self._last[path] = max(frame.index, self._last.get(path, 0))
        for mark in self._marks(frame):
            paths = (*self._paths.get(mark, ()), path)
            if len(paths) > _MOST_COPIES:
                continue
            self._paths[mark] = paths
            for one in paths if len(paths) > 1 else ():
                self._due[mark] = 0.0
                self._twins.setdefault(one, set()).add(mark)

    def moved(self, frame: FrameRef) -> None:
        """Note that a frame counts no more under its path."""
        key = _key(frame.path, frame.index)
        if key in self._known:
            self._known[key] = replace(self._known[key], counts=False)

    def vanished(self, path: str) -> None:
        """Note that a file is gone; it may have a name by now that was taken for that of a copy."""
        self._hashes.pop(path, None)
        self._due |= dict.fromkeys(self._twins.get(path, ()), 0.0)

    def kept(self, frame: FrameRef) -> bool | None:
        """Whether a frame of a stack is archived, with these bytes, under another revision.

        None: that has to be looked up.
        """
        known, revision = self._known.get(_key(frame.path, frame.index)), revision_of(frame)
        if known is None or not known.counts:
            return False
        compared, hashes = self._hashes.get(frame.path, (None, {}))
        if compared == revision and frame.index in hashes:
            return _content(frame, hashes[frame.index]) == known.content
        self._grown.setdefault(revision, []).append(frame.index)
        return None

    def questions(self, now: float) -> Questions | None:
        """Tell what has to be looked up; None where nothing has."""
        due = [mark for mark, at in self._due.items() if at <= now]
        for mark in due:
            del self._due[mark]
        twins = {mark: self._paths[mark] for mark in due if len(self._paths.get(mark, ())) > 1}
        grown, self._grown = self._grown, {}
        return Questions(grown, twins) if grown or twins else None

    def learn(self, answers: Answers, now: float) -> None:
        """Take in what was found."""
        for revision, hashes in answers.hashes.items():
            before, known = self._hashes.get(revision[0], (None, {}))
            self._hashes[revision[0]] = (revision, hashes | (known if before == revision else {}))
        for mark in answers.again:
            found = answers.renamed
            pairs = [(path, found[path]) for path in self._paths.get(mark, ()) if path in found]
            if not pairs or any(one for pair in pairs for one in self.common(*pair)):
                self._due[mark] = now + _AGAIN_S

    def common(self, path: str, other: str) -> Iterator[FrameRef]:
        """Find the archived frames of a path whose content is archived under another one, too."""
        for index in range(self._last.get(path, 0) + 1):
            one, same = (self._known.get(_key(name, index)) for name in (path, other))
            if one and same and one.counts and same.counts and one.content == same.content:
                yield one.frame

    def _marks(self, frame: FrameRef) -> Iterator[int]:
        """Tell what a renamed file keeps: content and time; of a stack, its first two frames.

        Frames of a beam that is off may have equal bytes: they are not to be taken for each other.
        """
        path = frame.path
        content = self._known[_key(path, frame.index)].content
        yield hash((content, frame.index, frame.mtime_ns))
        if frame.index < 2:
            first, second = (self._known.get(_key(path, index)) for index in (0, 1))
            if first and second and first.content != second.content:
                yield hash((first.content, second.content))


def answer(questions: Questions, root: Path, read: ReadHashes) -> Answers:
    """Look up in the folder what is asked."""
    hashes = {}
    for revision, wanted in questions.grown.items():
        found: dict[int, str] = {}
        try:
            found = read(inside(root, revision[0]), *revision[1:], wanted)
        except FrameError as error:  # it changes, or is damaged: whoever reads it will see
            logger.info("%s: not compared with what is archived (%s)", revision[0], error)
        hashes[revision] = dict.fromkeys(wanted, "") | found
    names: dict[str, frozenset[str] | None] = {}
    renamed: dict[str, str] = {}
    again: set[int] = set()
    for mark, paths in questions.twins.items():
        there = {path: _is_there(root, path, names) for path in paths}
        here = next((path for path, is_there in there.items() if is_there), None)
        gone = [path for path, is_there in there.items() if is_there is False]
        if here is not None and gone:
            renamed |= dict.fromkeys(gone, here)
        if None in there.values() or (here is not None and gone):
            again.add(mark)
    return Answers(hashes, renamed, again)


def _is_there(root: Path, path: str, names: dict[str, frozenset[str] | None]) -> bool | None:
    """Whether a folder lists a file (in this spelling); None where it cannot be listed now."""
    folder, _, name = path.rpartition("/")
    if folder not in names:
        try:
            names[folder] = frozenset(os.listdir(root / folder))  # noqa: PTH208  (names only)
        except (FileNotFoundError, NotADirectoryError):
            names[folder] = frozenset()
        except OSError:
            names[folder] = None
    known = names[folder]
    return None if known is None else name in known


def revision_of(frame: FrameRef) -> Revision:
    """Return which revision of its file is meant by a frame."""
    return frame.path, frame.size, frame.mtime_ns


def _key(path: str, index: int) -> _Key:
    return (path, index) if index else path  # most files have one frame


def _content(frame: FrameRef, digest: str) -> int:
    return xxhash.xxh3_64_intdigest((digest or f"failed {frame.size}").encode())
