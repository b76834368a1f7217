"""Completeness: whether a file is whole, and whether somebody still writes it.

Neither question suffices alone: preallocated files with a zero tail pass most structural tests,
and a closed file may be half a file.
"""

import ctypes
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pychip_stream.errors import FrameError, FrameIncompleteError, FrameUnreachableError
from pychip_stream.formats import reading, shared_files
from pychip_stream.formats.source import opened

State = Literal["whole", "incomplete", "damaged", "unreachable"]

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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a file's structure says.

    Attributes
    ----------
    state
        "whole"; "incomplete" (wait for it, up to a limit); "damaged" (or no frame at all: waiting
        is no use); "unreachable" (nobody knows: rights, a share that is away).
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
            return Verdict("whole", frames=reading.examine(source).frames)
    except FrameUnreachableError as error:
        return Verdict("unreachable", str(error))
    except FrameIncompleteError as error:
        return Verdict("incomplete", str(error))
    except FrameError as error:
        return Verdict("damaged", str(error))


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


__all__ = ["State", "Verdict", "being_written", "judge"]
