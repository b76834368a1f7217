"""Entries: which of the things that a folder lists are frames or folders of frames."""

import os
import re
import stat

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
    return found.st_size, found.st_mtime_ns
