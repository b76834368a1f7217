"""Completeness: whether a file is whole, and whether somebody still writes it.

Neither question suffices alone: preallocated files with a zero tail pass most structural tests,
and a closed file may be half a file.
"""

import contextlib
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.ingest import readers
from pychip_stream.ingest.source import opened

State = Literal["whole", "incomplete", "damaged"]

# File systems on which a read lease tells of every writer: there is no other computer, and no
# layer between the file that is leased and the one that is written.
_LEASABLE = {"ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "f2fs", "zfs", "bcachefs"}
_SHARING_VIOLATION = 32


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file's structure says.

    Attributes
    ----------
    state
        "whole"; "incomplete" (wait for it); "damaged" (or no frame at all: waiting is no use).
    reason
        One line for people; empty when whole.
    frames
        Frames in a whole file.
    """

    state: State
    reason: str = ""
    frames: int = 0

    @property
    def whole(self) -> bool:
        """Whether the file can be read."""
        return self.state == "whole"


def judge(path: str | Path, size: int | None = None) -> Verdict:
    """Judge a file by its own structure; pixels are not decoded.

    DM3/DM4: length in the header and a walk of the tags. TIFF/BigTIFF: chain of directories,
    every value, strip and tile inside the file. PNG: chunks up to IEND. JPEG: segments, EOI.
    MRC, SER: sizes in the headers. EMD: HDF5's own end of file.

    Parameters
    ----------
    size
        Bytes the file is believed to have; if it has others, it is being written.
    """
    place = Path(path)
    try:
        with opened(place) as source:
            if size is not None and source.size != size:
                return Verdict("incomplete", f"{place}: is growing or shrinking")
            return Verdict("whole", frames=readers.examine(source).frames)
    except FrameIncompleteError as error:
        return Verdict("incomplete", str(error))
    except FrameError as error:
        return Verdict("damaged", str(error))


def being_written(path: str | Path) -> bool | None:
    """Ask the system whether anybody has the file open for writing.

    Returns
    -------
    None where the answer would not be conclusive: network folders, other people's files,
    macOS.
    """
    return _asked(Path(path))


if sys.platform == "linux":
    import fcntl
    import signal

    def _asked(path: Path) -> bool | None:
        """Try a read lease, which the kernel refuses while a writer has the file open."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if not _leasable(os.fstat(descriptor).st_dev, str(path.parent)):
                return None
            # Somebody who opens the file at this very moment makes the kernel signal us: by
            # default with SIGIO, which ends the process; SIGURG is ignored.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except BlockingIOError:
            return True
        except OSError:
            return None
        else:
            return False
        finally:
            os.close(descriptor)

    @lru_cache(maxsize=64)
    def _leasable(_device: int, folder: str) -> bool:
        """Whether a folder is on a local file system that grants meaningful leases."""
        place = os.path.realpath(folder)
        best, kind = "", ""
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/mountinfo").read_text("utf-8", "replace").splitlines():
                left, _, right = line.partition(" - ")
                fields = left.split()
                if len(fields) < 5 or not right:
                    continue
                mount = fields[4].encode().decode("unicode_escape")
                inside = place == mount or place.startswith(mount.rstrip("/") + "/")
                if inside and len(mount) >= len(best):
                    best, kind = mount, right.split()[0]
        return kind in _LEASABLE

elif sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _GENERIC_READ, _SHARE_READ_DELETE, _OPEN_EXISTING = 0x80000000, 0x1 | 0x4, 3

    def _asked(path: Path) -> bool | None:
        """Open without allowing writers; the system refuses while there is one."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateFileW.restype = wintypes.HANDLE
        kernel.CreateFileW.argtypes = [
            wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, wintypes.LPVOID,
            wintypes.DWORD, wintypes.DWORD, wintypes.HANDLE,
        ]  # fmt: skip
        kernel.CloseHandle.argtypes = [wintypes.HANDLE]
        handle = kernel.CreateFileW(
            str(path), _GENERIC_READ, _SHARE_READ_DELETE, None, _OPEN_EXISTING, 0, None
        )
        if handle == wintypes.HANDLE(-1).value:
            return True if ctypes.get_last_error() == _SHARING_VIOLATION else None
        kernel.CloseHandle(handle)
        return False

else:

    def _asked(path: Path) -> bool | None:  # noqa: ARG001
        return None


__all__ = ["State", "Verdict", "being_written", "judge"]
