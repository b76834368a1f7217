"""Durable writes: whole or not at all, whatever happens at any moment.

Everything that the archive asks of the disk goes through `Disk`, so that a test can die or
fail at each of these calls.
"""

import contextlib
import logging
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

logger = logging.getLogger(__name__)

_WINDOWS = sys.platform == "win32"
_HELD_S = 2.0
"""Windows refuses to replace a file that a reader or a virus scanner holds; mostly briefly."""


class Disk:
    """Writes, publishes and removes files."""

    def write(self, path: Path, data: bytes | memoryview, *, sync: bool = True) -> None:
        """Write a (temporary) file and, with `sync`, wait until it is on disk.

        Raises
        ------
        OSError
            If that fails; what was written is removed as far as possible.
        """
        try:
            with path.open("wb", buffering=0) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[self.write_some(file.fileno(), rest) :]
                if sync:
                    self.sync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                path.unlink()
            raise

    def write_some(self, descriptor: int, data: memoryview) -> int:
        """Write what the system takes at once; returns the number of bytes."""
        return os.write(descriptor, data[: 16 << 20])

    def sync(self, descriptor: int) -> None:
        """Wait until a file's data are on disk."""
        os.fsync(descriptor)

    def sync_file(self, path: Path) -> None:
        """Wait until a file that another library wrote is on disk.

        Raises
        ------
        OSError
            If that fails.
        """
        descriptor = os.open(path, os.O_RDWR)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def publish(self, temporary: Path, final: Path) -> None:
        """Give a synced file its name; never overwrites.

        Raises
        ------
        FileExistsError
            If the name is taken.
        OSError
            If the file system refuses.
        """
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
        """Put a synced file in the place of another, in one step.

        Raises
        ------
        OSError
            If the file system refuses or (Windows) a reader holds the old one.
        """
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

    def save(self, path: Path, data: bytes | memoryview) -> None:
        """Write a file whole, replacing an older one in one step.

        Raises
        ------
        OSError
            If that fails; the older one is untouched.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        self.write(temporary, data)
        try:
            self.replace(temporary, path)
        except OSError:
            self.remove(temporary)
            raise


def temporary_name(path: Path) -> Path:
    """Name beside `path` that no other process uses and no reader looks at."""
    return path.with_name(f"{path.name}.{os.getpid()}-{time.monotonic_ns():x}.tmp")


def reason(error: OSError) -> str:
    """Return what the system says, without the file's name."""
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
