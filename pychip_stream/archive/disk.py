"""Disk: files that are whole or not there; and one archiver and one supervisor per run.

What fails raises OSError and leaves what was there as it was; a taken name FileExistsError.
"""

import contextlib
import errno
import logging
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pychip_stream.errors import ArchiveError, StorageError

logger = logging.getLogger(__name__)

_WINDOWS = sys.platform == "win32"
_SPARE_BYTES = 8 << 20
_HELD_S = 2.0
"""Windows refuses to replace a file that a reader or a virus scanner holds; mostly briefly."""


class Disk:
    """Writes, publishes and removes files."""

    @contextlib.contextmanager
    def atomic(self, path: Path, *, new: bool = False, sync: bool = True) -> Iterator[Path]:
        """Give a file its name only once it is whole; yields the temporary name to write to.

        Parameters
        ----------
        path
            A file of this name is replaced in one step, or with `new` refused.
        sync
            Wait until it is on disk before it gets its name.
        """
        temporary = temporary_name(path)
        try:
            yield temporary
            if sync:
                self.sync_file(temporary)
            (self.publish if new else self.replace)(temporary, path)
        except BaseException:
            self.remove(temporary)
            raise

    def write(self, path: Path, data: bytes | memoryview) -> None:
        """Write all of a (temporary) file."""
        with path.open("wb", buffering=0) as file:
            rest = memoryview(data)
            while rest:
                rest = rest[self.write_some(file.fileno(), rest) :]

    def write_some(self, descriptor: int, data: memoryview) -> int:
        """Write what the system takes at once; returns the number of bytes."""
        return os.write(descriptor, data[: 16 << 20])

    def sync(self, descriptor: int) -> None:
        """Wait until a file's data are on disk."""
        os.fsync(descriptor)

    def sync_file(self, path: Path) -> None:
        """Wait until a closed file's data are on disk."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def publish(self, temporary: Path, final: Path) -> None:
        """Give a synced file its name; never overwrites."""
        if _WINDOWS:
            _patiently(lambda: os.rename(temporary, final))  # noqa: PTH104 (refuses a taken name)
        else:
            try:
                os.link(temporary, final)
                temporary.unlink()
            except FileExistsError:
                raise
            except OSError:
                # FAT and some shares have no hard links; the run's lock keeps others away.
                if final.exists():
                    raise FileExistsError(17, "exists already", str(final)) from None
                temporary.rename(final)
        self.sync_folder(final.parent)

    def replace(self, temporary: Path, final: Path) -> None:
        """Put a synced file in the place of another, in one step."""
        _patiently(lambda: temporary.replace(final))
        self.sync_folder(final.parent)

    def sync_folder(self, folder: Path) -> None:
        """Wait until a folder's names are on disk, where the system can."""
        if _WINDOWS:
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            # Some network file systems refuse to sync folders; they order names themselves.
            with contextlib.suppress(OSError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def remove(self, path: Path) -> bool:
        """Remove a file or folder if that is possible now."""
        try:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            logger.debug("%s cannot be removed yet (%s)", path, error)
            return False
        return True

    def save(self, path: Path, data: bytes | memoryview, *, private: bool = False) -> None:
        """Write a file whole, replacing an older one in one step; `private`: for its owner."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.atomic(path) as temporary:
            if private:
                temporary.touch(0o600)
            self.write(temporary, data)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """`Disk.atomic` for a file that somebody asked for; its folder is made."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with Disk().atomic(path) as temporary:
            yield temporary
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be written ({reason(error)})") from error


def check_room(folder: Path, needed: int) -> None:
    """Refuse to merge a run of so many bytes where there is too little space (StorageError)."""
    free = shutil.disk_usage(folder).free
    if free < needed + needed // 20 + _SPARE_BYTES:
        raise StorageError(
            f"{folder}: {needed / 1e6:.0f} MB are needed to merge the run, "
            f"{free / 1e6:.0f} MB are free; its frames are safe in the segments; make space, or "
            "continue the run later"
        )


def temporary_name(path: Path) -> Path:
    """Name beside `path` that no other process uses and no reader looks at."""
    return path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns():x}.tmp")


def reason(error: OSError | MemoryError) -> str:
    """Return what the system says, without the file's name."""
    if isinstance(error, MemoryError):
        return os.strerror(errno.ENOMEM)
    return error.strerror or " ".join(str(error).split()) or type(error).__name__


def _patiently(action: Callable[[], object]) -> None:
    """Retry for a moment what Windows refuses while somebody holds the file."""
    deadline = time.monotonic() + _HELD_S
    while True:
        try:
            action()
        except PermissionError:
            if not _WINDOWS or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
_ATTEMPTS = 20
_NAME_BYTES = 200

if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _try_lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockedError(ArchiveError):
    """Somebody else has a run.

    Attributes
    ----------
    holder
        Process and machine, as far as they are known.
    """

    def __init__(self, path: Path, holder: str) -> None:
        self.holder = holder
        super().__init__(
            f"{path}: another archiver writes this run ({holder}); stop it, or choose another "
            "`archive.name`"
        )


class RunLock:
    """Exclusive use of a run, until `release` or the end of the process.

    The file names its holder after the first byte, which is the one that is locked.

    Raises
    ------
    LockedError
        If somebody else has the run.
    ArchiveError
        If the lock file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._run = path.with_suffix(".h5")
        self._descriptor = self._take()

    def _take(self) -> int:
        for _ in range(_ATTEMPTS):
            try:
                descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            except OSError as error:
                raise ArchiveError(
                    f"{self._path.parent}: cannot be written ({reason(error)}); choose another "
                    "folder for the archive"
                ) from error
            if not self._lock(descriptor):
                os.lseek(descriptor, 1, os.SEEK_SET)
                holder = os.read(descriptor, _NAME_BYTES).decode(errors="replace").strip()
                os.close(descriptor)
                raise LockedError(self._path, holder or "a process that did not say its number")
            if self._is_current(descriptor):
                name = f"process {os.getpid()} on {socket.gethostname()}"
                with contextlib.suppress(OSError):  # a full disk keeps nobody from locking
                    os.lseek(descriptor, 1, os.SEEK_SET)
                    os.write(descriptor, name.encode().ljust(_NAME_BYTES))
                return descriptor
            os.close(descriptor)  # its last holder has just removed it
        raise ArchiveError(f"{self._run}: its lock comes and goes; try again")

    def _lock(self, descriptor: int) -> bool:
        try:
            _try_lock(descriptor)
        except OSError as error:
            if error.errno in _UNSUPPORTED:
                logger.warning(
                    "%s: this file system has no locks; make sure that only one archiver "
                    "writes this run", self._path,
                )  # fmt: skip
                return True
            return False
        return True

    @property
    def held(self) -> bool:
        """Whether the lock file is the one that was locked; else its folder is another one."""
        return self._is_current(self._descriptor)

    def _is_current(self, descriptor: int) -> bool:
        mine = os.fstat(descriptor)
        try:
            there = self._path.stat()
        except OSError:
            return False
        return (mine.st_ino, mine.st_dev) == (there.st_ino, there.st_dev)

    def release(self) -> None:
        """Let the run go; may be called twice."""
        if self._descriptor < 0:
            return
        if sys.platform != "win32":
            # While it is still locked, so that nobody locks a file that is about to go.
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1
        if sys.platform == "win32":
            with contextlib.suppress(OSError):
                self._path.unlink()

    def __enter__(self) -> "RunLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
