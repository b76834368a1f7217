"""Windows: look at files so that nobody who writes, renames or deletes them is disturbed.

Every open file of Windows says what others may do with it meanwhile. An observer says: anything.
"""

import ctypes
import os
from ctypes import wintypes
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

_GENERIC_READ, _READ_ATTRIBUTES = 0x80000000, 0x80
_SHARE_ALL = 0x1 | 0x2 | 0x4  # reading, writing, renaming and deleting
_OPEN_EXISTING = 3
_INVALID = wintypes.HANDLE(-1).value
_PROCESS_IDS_USING_FILE = 47
_MOST_PROCESSES = 1024


class _ProcessIds(ctypes.Structure):
    """FILE_PROCESS_IDS_USING_FILE_INFORMATION."""

    _fields_ = (("count", wintypes.ULONG), ("ids", ctypes.c_size_t * _MOST_PROCESSES))


def open_shared(path: Path) -> BinaryIO:
    """Open a file for reading; others may go on writing it, rename and delete it.

    Raises
    ------
    OSError
        If it cannot be opened.
    ValueError
        If there is a null character in the name.
    """
    import msvcrt

    handle, flags = _create_file(path, _GENERIC_READ), os.O_RDONLY | getattr(os, "O_BINARY", 0)
    descriptor: int = msvcrt.open_osfhandle(handle, flags)  # type: ignore[attr-defined]
    return os.fdopen(descriptor, "rb")


def used_by_others(path: Path) -> bool | None:
    """Whether another process has a file open, for whatever; None where that is not told.

    Only attributes are asked for, which conflicts with nobody's opening of the file.
    """
    try:
        handle = _create_file(path, _READ_ATTRIBUTES)
    except (OSError, ValueError):
        return None
    try:
        found, answer = _ProcessIds(), (ctypes.c_size_t * 2)()
        query = _library("ntdll").NtQueryInformationFile
        query.argtypes = [
            wintypes.HANDLE, wintypes.LPVOID, wintypes.LPVOID, wintypes.ULONG, ctypes.c_int,
        ]  # fmt: skip
        status = query(
            handle,
            ctypes.byref(answer),
            ctypes.byref(found),
            ctypes.sizeof(found),
            _PROCESS_IDS_USING_FILE,
        )
        if status != 0:  # network folders and old file systems do not tell
            return None
        return any(number != os.getpid() for number in found.ids[: found.count])
    finally:
        close = _library("kernel32").CloseHandle
        close.argtypes = [wintypes.HANDLE]
        close(handle)


def _create_file(path: Path, access: int) -> int:
    name = str(path)
    if "\0" in name:
        raise ValueError("embedded null character")
    create = _library("kernel32").CreateFileW
    create.restype = wintypes.HANDLE
    create.argtypes = [
        wintypes.LPCWSTR, wintypes.DWORD, wintypes.DWORD, wintypes.LPVOID,
        wintypes.DWORD, wintypes.DWORD, wintypes.HANDLE,
    ]  # fmt: skip
    handle = create(name, access, _SHARE_ALL, None, _OPEN_EXISTING, 0, None)
    if handle == _INVALID:
        raise ctypes.WinError(ctypes.get_last_error())  # type: ignore[attr-defined]
    return int(handle)


@cache
def _library(name: str) -> Any:
    return ctypes.WinDLL(name, use_last_error=True)  # type: ignore[attr-defined]
