"""Tree: the acquisition folder as it is known, and the rounds in which it is looked at."""

import heapq
import os
import re
import stat
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from pychip_stream.domain.frames import mtime_of
from pychip_stream.formats.name_patterns import NamePatterns
from pychip_stream.formats.reading import is_left_alone

_WINDOWS = os.name == "nt"
_JUNCTION = getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1)
# What os.fsdecode makes of bytes that are no text.
_SURROGATES = re.compile("[\ud800-\udfff]")


def is_text(name: str) -> bool:
    """Whether a name can travel in messages and means the same on every system."""
    if "\\" in name or "\0" in name:
        return False
    return name.isascii() or not _SURROGATES.search(name)


def printable(name: str) -> str:
    """Show a name that is no text."""
    return name.encode("utf-8", "backslashreplace").decode()


def is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a file or leads to one; a link in a circle is neither."""
    try:
        return entry.is_file()
    except OSError:
        return False


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder of its own, not a link or junction to another."""
    try:
        return entry.is_dir(follow_symlinks=False) and not (_WINDOWS and is_link(entry.path))
    except OSError:
        return False


def is_link(path: str) -> bool:
    """Whether a path is a link, or a junction of Windows."""
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) == _JUNCTION


def size_and_time(entry: "os.DirEntry[str]") -> tuple[int, int] | None:
    """Size in bytes and modification time in ns of an entry; None if it is gone."""
    try:
        # What Windows keeps in the listing lags behind while a file is open.
        found = os.stat(entry.path) if _WINDOWS else entry.stat()  # noqa: PTH116
    except OSError:
        return None
    return found.st_size, mtime_of(found)


Stat = tuple[int, int]
"""Size in bytes and modification time in ns."""

_FRONTIER = 6
# Folder times are trusted only when they are older than this: file systems round them.
_SETTLED_S = 3.0
# A folder that takes long to list is listed less often: at most this share of a core.
_DUTY = 1 / 25
_ROTATION = 8


@dataclass(slots=True)
class _Folder:
    """A folder as it was when last listed; `refused`: paths of names that cannot be used."""

    files: dict[str, Stat] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    mtime_ns: int = 0
    same_since: float = 0.0
    listed: float = -1e9
    cost: float = 0.0


@dataclass(slots=True)
class Changes:
    """What a look found: files new or changed (path → size and time), and files gone."""

    found: dict[str, Stat] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


class Tree:
    """The folder tree below a root; paths are relative to it, with forward slashes.

    Links to folders are not followed: every frame has one path, and loops cannot happen.

    Parameters
    ----------
    root
        Acquisition folder.
    trust_times
        Skip listing a folder whose modification time has not moved; network folders do not
        always keep it.
    selection
        Files that it does not take are not there.
    """

    def __init__(
        self, root: Path, *, trust_times: bool = True, selection: NamePatterns | None = None
    ) -> None:
        self.root = root
        self._selection = selection or NamePatterns()
        self.unreadable: dict[str, str] = {}
        self.passes = 0
        self._prefix = os.path.join(root, "")  # noqa: PTH118  (with a separator at its end)
        self._trust = trust_times
        self._folders: dict[str, _Folder] = {"": _Folder()}
        self._frontier: dict[str, int] = {"": 0}
        self._unlisted: list[str] = []
        self._changes = Changes()
        self.file_count = 0

    def take(self) -> Changes:
        """Hand over what was found since the last call."""
        taken, self._changes = self._changes, Changes()
        return taken

    def known(self, path: str) -> Stat | None:
        """Size and time under which a file was last reported."""
        folder, _, name = path.rpartition("/")
        state = self._folders.get(folder)
        return state.files.get(name) if state else None

    def note(self, path: str, found: Stat) -> None:
        """Take a file's newer size and time as reported."""
        if self.known(path) is not None:
            folder, _, name = path.rpartition("/")
            self._folders[folder].files[name] = found

    def absolute(self, path: str) -> str:
        """Path on this computer."""
        return self._prefix + path.replace("/", os.sep) if path else str(self.root)

    def look_at(self, path: str) -> None:
        """Follow a hint: a file or folder at which something may have happened."""
        if any(is_left_alone(part) or not is_text(part) for part in path.split("/")):
            return
        folder, _, name = path.rpartition("/")
        try:
            found = os.stat(self.absolute(path))  # noqa: PTH116
        except (OSError, ValueError):
            if path in self._folders or self.known(path) is not None:
                self._list(folder, deep=False)
            return
        if stat.S_ISDIR(found.st_mode):
            self._enter(path)
        elif stat.S_ISREG(found.st_mode) and self._selection.takes(folder, name):
            if folder not in self._folders:
                self._enter(folder)
            elif self._folders[folder].listed > 0:
                self._report(folder, name, (found.st_size, mtime_of(found)))

    def look_at_frontier(self) -> None:
        """List the newest folders and those above them, where their times have moved."""
        wanted: dict[str, None] = {"": None}
        for folder in list(self._frontier):
            while folder and folder not in wanted:
                wanted[folder] = None
                folder = folder.rpartition("/")[0]
        for folder in wanted:
            if folder in self._folders and self._is_due(folder):
                self._list(folder, deep=False)

    def explore(self, budget_s: float) -> bool:
        """List folders that were found and not entered yet, last names first.

        Returns
        -------
        Whether there are more of them than could be listed in `budget_s` seconds.
        """
        end = time.monotonic() + budget_s
        while self._unlisted and time.monotonic() < end:
            folder = self._unlisted.pop()
            if folder not in self._folders:
                self._list(folder, deep=False)
        return bool(self._unlisted)

    def reconcile(self) -> Iterator[None]:
        """Look at the whole tree, newest names first; pauses after every folder.

        All names are compared each time. Asking for a file's size costs more than finding its
        name, so known files are asked in an eighth of the folders, another eighth each time.
        """
        self.passes += 1
        stack = [""]
        while stack:
            folder = stack.pop()
            deep = (crc32(folder.encode()) + self.passes) % _ROTATION == 0
            state = self._list(folder, deep=deep, enter=False)
            if state is not None:
                prefix = f"{folder}/" if folder else ""
                stack += sorted(prefix + name for name in state.folders)
            yield
        self._choose_frontier(self._folders)

    def _is_due(self, folder: str) -> bool:
        state, now = self._folders[folder], time.monotonic()
        if now - state.listed < state.cost / _DUTY:
            return False
        if not self._trust:
            return True
        try:
            mtime = os.stat(self.absolute(folder)).st_mtime_ns  # noqa: PTH116
        except OSError:
            return True
        return mtime != state.mtime_ns or state.listed - state.same_since < _SETTLED_S

    def _enter(self, folder: str) -> None:
        """Take up a folder that may be new, with everything in it."""
        if folder not in self._folders:
            parent, _, name = folder.rpartition("/")
            if parent not in self._folders:
                self._enter(parent)
            if parent not in self._folders or is_link(self.absolute(folder)):
                return
            if folder not in self._folders and self._list(folder, deep=False) is not None:
                self._folders[parent].folders.add(name)
            return
        self._list(folder, deep=False)

    def _list(self, folder: str, *, deep: bool, enter: bool = True) -> _Folder | None:
        """Compare a folder with what was known; `deep` asks for sizes of known files too.

        Folders in it that are new wait for `explore` if `enter` is set.
        """
        state = self._folders.get(folder) or _Folder()
        start = time.thread_time()
        absolute = self.absolute(folder)
        try:
            mtime = os.stat(absolute).st_mtime_ns  # noqa: PTH116
            self._folders[folder] = state
            files, folders = self._scan(absolute, folder, state, deep)
        except OSError as error:
            if not folder:
                raise
            # Gone, or only out of reach? The folder above decides when it is listed.
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                self.unreadable[folder] = error.strerror or str(error)
            return None
        self.unreadable.pop(folder, None)
        self._drop(folder, state, state.files.keys() - files, state.folders - folders)
        fresh = folders - state.folders
        state.folders = folders
        if mtime != state.mtime_ns:
            state.mtime_ns, state.same_since = mtime, time.monotonic()
            self._promote(folder, mtime)
        state.listed = time.monotonic()
        state.cost = time.thread_time() - start
        if enter:
            prefix = f"{folder}/" if folder else ""
            self._unlisted += sorted(prefix + name for name in fresh)
        return state

    def _scan(
        self, absolute: str, folder: str, state: _Folder, deep: bool
    ) -> tuple[set[str], set[str]]:
        """Names of frames and folders; new frames, and with `deep` changed ones, are reported."""
        files: set[str] = set()
        folders: set[str] = set()
        known = state.files
        self._forgive(state)
        with os.scandir(absolute) as listing:
            for entry in listing:
                name = entry.name
                if name in known and not deep:
                    files.add(name)
                elif self._selection.takes(folder, name) and is_file(entry):
                    if self._takes(folder, name, state):
                        files.add(name)
                        found = size_and_time(entry)
                        if found is not None:
                            self._report(folder, name, found)
                elif (
                    not is_left_alone(name)
                    and is_folder(entry)
                    and self._takes(folder, name, state)
                ):
                    folders.add(name)
        return files, folders

    def _takes(self, folder: str, name: str, state: _Folder) -> bool:
        """Whether a name can be used; others are reported, for they may be frames."""
        if is_text(name):
            return True
        shown = printable(f"{folder}/{name}" if folder else name)
        state.refused.append(shown)
        self.unreadable[shown] = "its name is no plain text; rename it"
        return False

    def _forgive(self, state: _Folder) -> None:
        for shown in state.refused:
            self.unreadable.pop(shown, None)
        state.refused.clear()

    def _report(self, folder: str, name: str, found: Stat) -> None:
        files = self._folders[folder].files
        before = files.get(name)
        if before == found:
            return
        self.file_count += before is None
        files[name] = found
        self._changes.found[f"{folder}/{name}" if folder else name] = found

    def _drop(self, folder: str, state: _Folder, files: set[str], folders: set[str]) -> None:
        """Forget files and folders that are gone, with everything in them."""
        prefix = f"{folder}/" if folder else ""
        self._drop_files(prefix, state, files)
        stack = [prefix + name for name in folders]
        while stack:
            path = stack.pop()
            self._frontier.pop(path, None)
            self.unreadable.pop(path, None)
            gone = self._folders.pop(path, None)
            if gone is not None:
                self._forgive(gone)
                self._drop_files(f"{path}/", gone, set(gone.files))
                stack += [f"{path}/{name}" for name in gone.folders]

    def _drop_files(self, prefix: str, state: _Folder, names: set[str]) -> None:
        for name in names:
            del state.files[name]
            self.file_count -= 1
            self._changes.found.pop(prefix + name, None)
            self._changes.gone.append(prefix + name)

    def _promote(self, folder: str, mtime_ns: int) -> None:
        """Keep the folders that changed last at the frontier."""
        self._frontier[folder] = mtime_ns
        if len(self._frontier) > 2 * _FRONTIER:
            self._choose_frontier(self._frontier)

    def _choose_frontier(self, among: Iterable[str]) -> None:
        times = {f: self._folders[f].mtime_ns for f in among if f in self._folders}
        newest = heapq.nlargest(_FRONTIER, times, key=times.__getitem__)
        self._frontier = {folder: times[folder] for folder in newest}


# Of one turn of the loop: what looking at the whole tree and at new folders may take.
_BUDGET_S = 0.04
# The whole tree may take this share of a core in the long run.
_SHARE = 1 / 40
_RECENT = 64


class Rounds:
    """Looks at the newest folders often, at the whole tree now and then, in short slices.

    Parameters
    ----------
    scan_s
        Pause between looks at the newest folders.
    reconcile_s
        Pause between looks at the whole tree; longer where the tree is so large that its share
        of a core would be exceeded.
    """

    def __init__(self, tree: Tree, *, scan_s: float, reconcile_s: float) -> None:
        self._tree = tree
        self._scan_s = scan_s
        self._reconcile_s = reconcile_s
        self._recent: deque[str] = deque(maxlen=_RECENT)
        self._pass: Iterator[None] | None = None
        self._pass_cpu = 0.0
        self._scan_at = self._pass_at = self._recent_at = 0.0
        self._more = False
        self._passes = 0

    @property
    def passes(self) -> int:
        """How often the whole tree has been looked at, to the end."""
        return self._passes

    def remember(self, path: str) -> None:
        """Keep an eye on a file that was handed on: it may be written again."""
        self._recent.append(path)

    def reconcile_now(self) -> None:
        """Look at the whole tree from the beginning as soon as possible."""
        self._pass, self._pass_at = None, 0.0

    def look(self, now: float) -> None:
        """Do what is due.

        Raises
        ------
        OSError
            If the root cannot be listed; the next call begins again.
        """
        try:
            if now >= self._scan_at:
                self._scan_at = now + self._scan_s
                self._tree.look_at_frontier()
                self._scan_at = time.monotonic() + self._scan_s
            if now >= self._recent_at:
                # Without events, a rewrite shows in nothing but the file itself.
                for path in list(self._recent):
                    self._tree.look_at(path)
                self._recent_at = now + max(1.0, self._scan_s)
            self._more = self._tree.explore(_BUDGET_S)
            if not self._more:
                self._reconcile(now)
        except OSError:
            self.reconcile_now()
            raise

    def pause(self, now: float) -> float:
        """Seconds until something is due; 0 while a look is not finished."""
        if self._more or self._pass is not None:
            return 0.0
        return max(0.0, min(self._scan_at, self._pass_at) - now)

    def _reconcile(self, now: float) -> None:
        """Go on with the pass over the whole tree, or begin one when it is time."""
        if self._pass is None:
            if now < self._pass_at:
                return
            self._pass = self._tree.reconcile()
            self._pass_cpu = 0.0
        cpu, end = time.thread_time(), time.monotonic() + _BUDGET_S
        for _ in self._pass:
            if time.monotonic() >= end:
                break
        else:
            self._pass = None
        self._pass_cpu += time.thread_time() - cpu
        if self._pass is None:
            self._passes += 1
            wait = max(self._reconcile_s, self._pass_cpu / _SHARE)
            self._pass_at = time.monotonic() + wait
