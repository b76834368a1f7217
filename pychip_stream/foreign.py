"""Foreign HDF5: what a file that came from outside may make this computer read, and how much.

Every dataset and group of an HDF5 file that this process did not just write is fetched through
here (`tests/unit/archive/test_foreign.py` walks the code for others). A file cannot lead to another
one, by links, external storage or virtual datasets, and cannot claim much more than it can hold.
"""

import mmap
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import h5py

MAX_DATASET_BYTES = 1 << 30
"""Small things (tables, support sets) that claim to be larger are damaged or hostile."""
ALLOWED_BYTES = 256 << 20
ALLOWED_RATIO = 32
"""A file of n bytes may claim, and have read of its small things, ALLOWED_BYTES + n times this."""

_HEAP = b"GCOL\x01"
_MOST_SCANNED = 64 << 20
_MOST_STAMPS = 4096
_scanned: set[tuple[int, int, int, int]] = set()

_left: dict[int, int] = {}
"""Bytes that may still be read of the small things of open files, by their number in HDF5."""


class UnusableFileError(Exception):
    """A file that is not what it should be; the message lacks the file's name.

    Attributes
    ----------
    path
        The file, where it is known.
    """

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path


def subgroup(group: h5py.Group, name: str) -> h5py.Group:
    """Group of this very file; UnusableFileError where it is missing or a link elsewhere."""
    found = _linked(group, name)
    if not isinstance(found, h5py.Group):
        raise UnusableFileError(f"{found.name} is not a group")
    return found


def descend(file: h5py.File, path: str) -> h5py.Group:
    """Group of this very file by its whole path."""
    group: h5py.Group = file
    for name in path.strip("/").split("/"):
        group = subgroup(group, name)
    return group


def has(group: h5py.Group, name: str) -> bool:
    """Whether a group has a member of this name; one that is a link elsewhere is refused."""
    key = name.encode()
    if key not in group.id:
        return False
    if group.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
        raise UnusableFileError(f"lacks {_where(group, name)}, which is a link elsewhere")
    return True


def own(group: h5py.Group, name: str) -> h5py.Dataset:
    """Dataset of this very file, whatever size it claims."""
    dataset = _linked(group, name)
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual:
        raise UnusableFileError(f"{dataset.name} is not stored in the file")
    return dataset


def stored(group: h5py.Group, name: str) -> h5py.Dataset:
    """Dataset of this very file, to be read in parts; it claims no more than the file can hold."""
    dataset = own(group, name)
    if dataset.shape is None:
        raise UnusableFileError(f"{dataset.name} is empty")
    if dataset.size * dataset.dtype.itemsize > allowance(dataset):
        raise UnusableFileError(f"{dataset.name} has an impossible size")
    return dataset


def plain(group: h5py.Group, name: str, kinds: str = "") -> h5py.Dataset:
    """Small dataset of this very file, to be read whole.

    Parameters
    ----------
    kinds
        NumPy's letters of the types that it may have; default: any of fixed size.
    """
    dataset = stored(group, name)
    dtype = dataset.dtype
    size = dataset.size * dtype.itemsize
    if dtype.hasobject or size > MAX_DATASET_BYTES:
        raise UnusableFileError(f"{dataset.name} has an impossible type or size")
    if kinds and dtype.kind not in kinds:
        raise UnusableFileError(f"{dataset.name} has an impossible type ({dtype})")
    charge(dataset, size)
    return dataset


def charge(dataset: h5py.Dataset, size: int) -> None:
    """Count bytes of small things that are read of a file."""
    number = h5py.h5o.get_info(dataset.id).fileno
    left = _left.get(number, allowance(dataset)) - size
    if left < 0:
        raise UnusableFileError("claims to hold much more than fits into it")
    _left[number] = left


def forget(file: h5py.File) -> None:
    """Forget what was read of a file that is about to be closed."""
    with suppress(RuntimeError):  # HDF5 cannot even number some damaged files
        _left.pop(h5py.h5o.get_info(file.id).fileno, None)


def allowance(dataset: h5py.Dataset) -> int:
    """Bytes that a file of this size can be believed to hold."""
    file = h5py.h5i.get_file_id(dataset.id)
    return ALLOWED_BYTES + ALLOWED_RATIO * int(file.get_filesize())


def check_texts(file: h5py.File) -> None:
    """Refuse a file whose heaps of texts would send HDF5 into an endless loop.

    It follows the lengths in a heap (texts of variable length lie in such) without looking
    whether they lead anywhere: one of 0 holds it for ever. Called before the first of them is
    read; a file larger than `_MOST_SCANNED` bytes is believed.
    """
    path = Path(file.filename)
    if file.driver in {"core", "fileobj"} or not path.exists():
        return  # checked when it was opened, or just made
    found = path.stat()
    stamp = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
    if stamp in _scanned or not 0 < found.st_size <= _MOST_SCANNED:
        return
    with path.open("rb") as raw, mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as view:
        check_heaps(view)
    if len(_scanned) > _MOST_STAMPS:
        _scanned.clear()
    _scanned.add(stamp)


def check_heaps(data: "bytes | mmap.mmap") -> None:
    """Refuse the bytes of a file, as `check_texts` does."""
    start = data.find(_HEAP)
    while start >= 0:
        if not _leads_on(data, start):
            raise UnusableFileError("is damaged (a heap of texts leads nowhere)")
        start = data.find(_HEAP, start + 1)


def _leads_on(data: "bytes | mmap.mmap", start: int) -> bool:
    """Whether each object of a global heap (HDF5 specification, III.E) leads to the next one."""
    if start + 16 > len(data):
        return True  # cut: HDF5 notices
    end = start + int.from_bytes(data[start + 8 : start + 16], "little")
    at = start + 16
    while at + 16 <= min(end, len(data)):
        number = int.from_bytes(data[at : at + 2], "little")
        size = int.from_bytes(data[at + 8 : at + 16], "little")
        step = 16 + -(-size // 8) * 8 if number else size
        if step < 8 or at + step > end:
            return False
        at += step
    return True


def check_whole(group: h5py.Group) -> None:
    """Refuse a group anything in which leads elsewhere, before it is copied."""
    seen: set[int] = set()
    for node in _walk(group, seen):
        if len(seen) > 100_000:
            raise UnusableFileError(f"{node.name} holds too much")


def _walk(group: h5py.Group, seen: set[int]) -> Iterator[h5py.Group | h5py.Dataset]:
    waiting = [group]
    while waiting:
        here = waiting.pop()
        for name in here:
            found = _linked(here, name)
            address = h5py.h5o.get_info(found.id).addr
            if address in seen:
                continue
            seen.add(address)
            yield found
            if isinstance(found, h5py.Group):
                waiting.append(found)
            else:
                stored(here, name)


def _linked(group: h5py.Group, name: str) -> h5py.Group | h5py.Dataset:
    """Member of a group that is one by a hard link."""
    if "/" in name or not has(group, name):
        raise UnusableFileError(f"lacks {_where(group, name)}")
    found = group[name]
    if not isinstance(found, (h5py.Group, h5py.Dataset)):
        raise UnusableFileError(f"{_where(group, name)} is neither a group nor a dataset")
    return found


def _where(group: h5py.Group, name: str) -> str:
    return f"{(group.name or '').rstrip('/')}/{name}"
