"""Lock: one archiver and one supervisor per run, let go by the system when they die."""

import contextlib
import errno
import logging
import os
import socket
import sys
from pathlib import Path
from types import TracebackType

from pychip_stream.archive.durable import reason
from pychip_stream.errors import ArchiveError

logger = logging.getLogger(__name__)

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

    def _is_current(self, descriptor: int) -> bool:
        mine = os.fstat(descriptor)
        try:
            there = self._path.stat()
        except FileNotFoundError:
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
