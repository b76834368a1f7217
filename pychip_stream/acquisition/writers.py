"""Writers: whether somebody still writes a file, as far as the system tells."""

import ctypes
import os
import sys
from pathlib import Path

from pychip_stream.formats import shared_files

# Magic numbers (statfs(2)) of file systems on which a read lease tells of every writer: there is
# no other computer, and no layer between the file that is leased and the one that is written.
_LEASABLE = {
    0xEF53,  # ext2, ext3, ext4
    0x58465342,  # xfs
    0x9123683E,  # btrfs
    0x01021994,  # tmpfs
    0xF2F52010,  # f2fs
    0x2FC12FC1,  # zfs
    0xCA451A4E,  # bcachefs
}


def being_written(path: str | Path) -> bool | None:
    """Ask the system whether anybody has the file open for writing.

    Returns
    -------
    None where the answer would not be conclusive: network folders, other people's files,
    macOS, and on Windows a file that anybody else has open.
    """
    return _asked(Path(path))


if sys.platform == "linux":
    import fcntl
    import signal

    _statfs = ctypes.CDLL(None).fstatfs

    def _asked(path: Path) -> bool | None:
        """Try a read lease, which the kernel refuses while a writer has the file open."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if not _leasable(descriptor):
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

    def _leasable(descriptor: int) -> bool:
        """Whether a file is on a local file system that grants meaningful leases."""
        answer = (ctypes.c_long * 32)()  # struct statfs is smaller; its first field is the kind
        if _statfs(descriptor, answer) != 0:
            return False
        return answer[0] & 0xFFFFFFFF in _LEASABLE

elif sys.platform == "win32":

    def _asked(path: Path) -> bool | None:
        """Ask who has the file open; whether another one writes or only reads is not told."""
        return False if shared_files.used_by_others(path) is False else None

else:

    def _asked(path: Path) -> bool | None:  # noqa: ARG001
        return None
