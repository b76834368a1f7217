"""Tree: what is known of the acquisition folder, and how it is brought up to date.

A frontier of the newest folders is looked at many times a second; the whole tree now and then.
Events only say where to look next.
"""

import heapq
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from zlib import crc32

from pychip_stream.ingest.readers import is_frame_name

Stat = tuple[int, int]
"""Size in bytes and modification time in ns."""

_FRONTIER = 6
# Folder times are trusted only when they are older than this: file systems round them.
_SETTLED_S = 3.0
# A folder that takes long to list is listed less often: at most this share of a core.
_DUTY = 1 / 25
_ROTATION = 8
_WINDOWS = os.name == "nt"


@dataclass(slots=True)
class _Folder:
    """A folder as it was when last listed."""

    files: dict[str, Stat] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    mtime_ns: int = 0
    same_since: float = 0.0
    listed: float = -1e9
    cost: float = 0.0


@dataclass(slots=True)
class Changes:
    """What a look found: files new or changed (path → size and time), and files gone."""

    found: dict[str, Stat] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.found or self.gone)


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
    """

    def __init__(self, root: Path, *, trust_times: bool = True) -> None:
        self.root = root
        self.unreadable: dict[str, str] = {}
        self.passes = 0
        self._trust = trust_times
        self._folders: dict[str, _Folder] = {"": _Folder()}
        self._frontier: dict[str, int] = {"": 0}
        self._changes = Changes()
        self.file_count = 0

    def take(self) -> Changes:
        """Hand over what was found since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def known(self, path: str) -> Stat | None:
        """Size and time under which a file was last reported."""
        folder, _, name = path.rpartition("/")
        state = self._folders.get(folder)
        return state.files.get(name) if state else None

    def note(self, path: str, found: Stat) -> None:
        """Take a file's newer size and time as reported."""
        folder, _, name = path.rpartition("/")
        state = self._folders.get(folder)
        if state is not None and name in state.files:
            state.files[name] = found

    def absolute(self, path: str) -> str:
        """Path on this computer."""
        return os.path.join(self.root, *path.split("/")) if path else str(self.root)  # noqa: PTH118

    def look_at(self, path: str) -> None:
        """Follow a hint: a file or folder at which something may have happened."""
        if any(part.startswith(".") for part in path.split("/")):
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
        elif stat.S_ISREG(found.st_mode) and _takes(name):
            if folder not in self._folders:
                self._enter(folder)
            elif self._folders[folder].listed > 0:
                self._report(folder, name, (found.st_size, found.st_mtime_ns))

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
            if parent not in self._folders or os.path.islink(self.absolute(folder)):  # noqa: PTH114
                return
            if folder not in self._folders and self._list(folder, deep=False) is not None:
                self._folders[parent].folders.add(name)
            return
        self._list(folder, deep=False)

    def _list(self, folder: str, *, deep: bool, enter: bool = True) -> _Folder | None:
        """Compare a folder with what was known; `deep` asks for sizes of known files too."""
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
            for name in sorted(fresh, reverse=True):
                self._list(prefix + name, deep=False)
        return state

    def _scan(
        self, absolute: str, folder: str, state: _Folder, deep: bool
    ) -> tuple[set[str], set[str]]:
        """Names of frames and folders; new frames, and with `deep` changed ones, are reported."""
        files: set[str] = set()
        folders: set[str] = set()
        known = state.files
        with os.scandir(absolute) as entries:
            for entry in entries:
                name = entry.name
                if name in known and not deep:
                    files.add(name)
                elif _takes(name) and entry.is_file():
                    files.add(name)
                    self._ask(entry, folder)
                elif not name.startswith(".") and _is_folder(entry):
                    folders.add(name)
        return files, folders

    def _ask(self, entry: "os.DirEntry[str]", folder: str) -> None:
        try:
            # What Windows keeps in the listing lags behind while a file is open.
            found = os.stat(entry.path) if _WINDOWS else entry.stat()  # noqa: PTH116
        except OSError:
            return
        self._report(folder, entry.name, (found.st_size, found.st_mtime_ns))

    def _report(self, folder: str, name: str, found: Stat) -> None:
        files = self._folders[folder].files
        before = files.get(name)
        if before == found:
            return
        self.file_count += before is None
        files[name] = found
        self._changes.found[f"{folder}/{name}" if folder else name] = found

    def _drop(
        self,
        folder: str,
        state: _Folder,
        files: set[str],
        folders: set[str],
    ) -> None:
        prefix = f"{folder}/" if folder else ""
        for name in files:
            del state.files[name]
            self.file_count -= 1
            self._changes.found.pop(prefix + name, None)
            self._changes.gone.append(prefix + name)
        for name in folders:
            gone = self._folders.pop(prefix + name, None)
            self._frontier.pop(prefix + name, None)
            self.unreadable.pop(prefix + name, None)
            if gone is not None:
                self._drop(prefix + name, gone, set(gone.files), set(gone.folders))

    def _promote(self, folder: str, mtime_ns: int) -> None:
        """Keep the folders that changed last at the frontier."""
        self._frontier[folder] = mtime_ns
        if len(self._frontier) > 2 * _FRONTIER:
            self._choose_frontier(self._frontier)

    def _choose_frontier(self, among: Iterable[str]) -> None:
        times = {f: self._folders[f].mtime_ns for f in among if f in self._folders}
        newest = heapq.nlargest(_FRONTIER, times, key=times.__getitem__)
        self._frontier = {folder: times[folder] for folder in newest}


def _takes(name: str) -> bool:
    """Whether a name can be a frame's; some names cannot travel in messages."""
    return is_frame_name(name) and "\\" not in name and name.isprintable()


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether an entry is a folder of its own, not a link or junction to another."""
    try:
        if not entry.is_dir(follow_symlinks=False):
            return False
        found = entry.stat(follow_symlinks=False) if _WINDOWS else None
    except OSError:
        return False
    tag = getattr(found, "st_reparse_tag", 0)
    return bool(tag != getattr(stat, "IO_REPARSE_TAG_MOUNT_POINT", -1))
