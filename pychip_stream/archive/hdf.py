"""HDF5 helpers: text and arrays in and out, with foreign and hostile files refused.

What reads raises `UnusableFileError` where something is missing, damaged or refused.
"""

import errno
import io
import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xxhash

from pychip_stream import foreign
from pychip_stream.foreign import UnusableFileError as UnusableFileError
from pychip_stream.foreign import plain, stored

Array = npt.NDArray[Any]

KIND = "pychip_stream"
"""Root attribute that says what a file is: "run", "segment", "live", "scoring", "support set"."""
LAYOUT_ATTRIBUTE = "pychip_stream_layout"
LAYOUT = 2
"""Version of the layout that this package writes; it reads this one and older ones."""

_LIBVER = ("earliest", "v110")
_numbers = itertools.count()
_SIGNATURE = b"\x89HDF\r\n\x1a\n"


DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What h5py and NumPy raise over things that are not what they should be."""


_ITS_OWN_FAULT = {errno.EINVAL, errno.EOVERFLOW, errno.EFAULT, errno.ESPIPE}
"""What the system answers to a place in a file that cannot be."""


class NewerFileError(UnusableFileError):
    """A file of a newer version of this package, which is whole as far as we know."""


class ForeignFileError(UnusableFileError):
    """A file of another kind: somebody has named the wrong one."""


def new_image() -> h5py.File:
    """Open an empty HDF5 file in memory; `image` gives its bytes."""
    # HDF5 opens no two files of one name to write, in memory either.
    return h5py.File(
        f"image-{next(_numbers)}", "w", driver="core", backing_store=False, libver=_LIBVER
    )


def image(file: h5py.File) -> bytes:
    """Bytes of an open file in memory."""
    file.flush()
    return bytes(file.id.get_file_image())


class _Sink(io.RawIOBase):
    """A file that HDF5 writes to, which never learns that the disk refused something.

    After a write that failed, HDF5 cannot even close a file without traces, or crashes (h5py
    #914). So the error is kept here and everything after it goes nowhere.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.error: OSError | None = None
        self._file = path.open("w+b", buffering=0)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            if self.error is None:
                action()
        except OSError as error:
            self.error = error

    def write(self, data: Any) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        try:
            while rest and self.error is None:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            self.error = error
        return size

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))  # beyond the end of what could be written are zeros
        self._try(lambda: self._file.readinto(view))
        return len(view)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        self._try(lambda: self._file.truncate(size))
        return size or 0

    def close(self) -> None:
        self._file.close()
        super().close()


@contextmanager
def new_file(path: Path, written: "Checksums") -> Iterator[h5py.File]:
    """Create a file on disk (for what is too large to be built in memory).

    Parameters
    ----------
    written
        Stops at the first thing that the disk refuses.

    Raises
    ------
    OSError
        If the disk refuses something.
    """
    with closing(_Sink(path)) as sink:
        written.sink = sink
        try:
            with h5py.File(sink, "w", libver=_LIBVER, rdcc_nbytes=8 << 20) as file:
                yield file
        except Exception as error:
            if isinstance(error, RuntimeError) and sink.error is None:
                # What HDF5 held back cannot be written.
                why = system_trouble(error, path) or OSError(errno.EIO, one_line(error), str(path))
                raise why from error
            raise sink.error or error from error
        if sink.error is not None:
            raise sink.error


@contextmanager
def reading(path: Path) -> Iterator[h5py.File]:
    """Open a file to read it, without locks, so that no reader ever stops a writer.

    Raises
    ------
    FileNotFoundError
        If it is not there (any more).
    OSError
        With an errno, if the system cannot read it.
    UnusableFileError
        If it is not HDF5 or is damaged.
    """
    try:
        file = _open(path)
    except OSError as error:
        raise _explained(error, path) from error
    try:
        yield file
    except UnusableFileError as error:
        error.path = error.path or path
        raise
    except DAMAGE as error:
        raise UnusableFileError(f"is damaged ({one_line(error)})", path) from error
    except (MemoryError, OSError) as error:
        if (trouble := system_trouble(error, path)) is None:
            raise UnusableFileError(f"is damaged ({one_line(error)})", path) from error
        raise trouble from error
    finally:
        foreign.forget(file)
        file.close()


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        # Somebody in this very process has it open with locks (a notebook, say).
        return h5py.File(path, "r")


@contextmanager
def reading_bytes(data: bytes) -> Iterator[h5py.File]:
    """Open an HDF5 file that is held in memory."""
    foreign.check_heaps(data)
    try:
        file = h5py.File(h5py.h5f.open_file_image(data))
    except (MemoryError, OSError, RuntimeError, ValueError) as error:
        if trouble := system_trouble(error, Path()):
            raise trouble from error
        raise _unopened(data[: len(_SIGNATURE)], error) from error
    try:
        yield file
    except MemoryError as error:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error
    except (*DAMAGE, OSError) as error:
        raise UnusableFileError(f"is damaged ({one_line(error)})") from error
    finally:
        foreign.forget(file)
        file.close()


def system_trouble(error: Exception, path: Path) -> OSError | None:
    """Return what the system refused, as far as HDF5 tells it; None where the file is at fault."""
    if isinstance(error, MemoryError):
        return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), str(path))
    if isinstance(error, OSError) and error.errno is not None:
        return error
    told = re.search(r"errno = (\d+)", str(error))
    if told is None or int(told[1]) in _ITS_OWN_FAULT:
        return None
    return OSError(int(told[1]), os.strerror(int(told[1])), str(path))


def _explained(error: OSError, path: Path) -> Exception:
    """Tell a file that is gone or unreadable from one that is not HDF5."""
    if path.is_dir():
        return OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    try:
        with path.open("rb") as file:
            head = file.read(len(_SIGNATURE))
    except OSError as plain:
        return plain
    return system_trouble(error, path) or _unopened(head, error)


def _unopened(head: bytes, error: Exception) -> UnusableFileError:
    """Tell damaged HDF5 from a file of another kind by how it begins."""
    if not any(head):
        return UnusableFileError("is not an HDF5 file, but empty or begins with zeros")
    if head != _SIGNATURE:
        return ForeignFileError("is not an HDF5 file")
    return UnusableFileError(f"is damaged or was cut short ({one_line(error)})")


def mark(file: h5py.File, kind: str) -> None:
    """Say in the root's attributes what a file is, in which layout."""
    # Of fixed length in segments, which are read often: HDF5 needs no heap of texts for it.
    file.attrs[KIND] = np.bytes_(kind) if kind == "segment" else kind
    file.attrs[LAYOUT_ATTRIBUTE] = LAYOUT


def check_mark(file: h5py.File, kinds: Sequence[str]) -> str:
    """Kind of a file, which must be one of `kinds`."""
    found = attribute_text(file, KIND)
    if not found:
        raise ForeignFileError(f"was not written by pychip-stream (expected a {kinds[0]})")
    layout = file.attrs.get(LAYOUT_ATTRIBUTE, 0)
    if not isinstance(layout, (int, np.integer)) or int(layout) > LAYOUT:
        raise NewerFileError(
            f"was written by a newer pychip-stream (layout {layout}, this version reads up to "
            f"{LAYOUT}); update pychip-stream"
        )
    if found not in kinds:
        raise ForeignFileError(f"is a {found}, not a {kinds[0]}")
    return found


def attribute_text(node: Any, name: str) -> str:
    """Text attribute of a group or dataset; empty where it is missing."""
    if name not in node.attrs:
        return ""
    if node.attrs.get_id(name).dtype.hasobject:
        foreign.check_texts(node.file)
    value = node.attrs[name]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def write_text(group: h5py.Group, name: str, text: str) -> h5py.Dataset:
    """Write one string as a scalar UTF-8 dataset."""
    data = encode(text)
    dtype = h5py.string_dtype("utf-8", max(len(data), 1))
    return group.create_dataset(name, data=np.array(data, dtype=dtype), dtype=dtype)


def read_text(group: h5py.Group, name: str) -> str:
    """Read one string."""
    value = plain(group, name, "S")[()]
    if not isinstance(value, bytes):
        raise UnusableFileError(f"{group.name}/{name} is not one text")
    return decode(value)


def write_texts(group: h5py.Group, name: str, texts: Array, **options: Any) -> h5py.Dataset:
    """Write (n,) bytes (UTF-8) as strings of variable length, which other programs read.

    Segments, which only this package reads, get strings of fixed length: they are faster, and
    HDF5 can filter them (`options`).
    """
    if attribute_text(group.file, KIND) == "segment" or any(b"\0" in t for t in texts.tolist()):
        dtype = h5py.string_dtype("utf-8", max(texts.dtype.itemsize, 1))
        return group.create_dataset(name, data=texts.astype(dtype), dtype=dtype, **options)
    return group.create_dataset(name, data=texts.astype(object), dtype=h5py.string_dtype())


def name_rows(group: h5py.Group, scale: str) -> None:
    """Let the columns of a table share a named dimension."""
    group[scale].make_scale(scale)
    for name, dataset in group.items():
        if name != scale:
            dataset.dims[0].attach_scale(group[scale])


def read_texts(group: h5py.Group, name: str) -> Array:
    """Read (n,) strings of either kind as bytes (UTF-8)."""
    dataset = stored(group, name)
    if dataset.ndim != 1:
        raise UnusableFileError(f"{dataset.name} is no list of texts")
    if h5py.check_string_dtype(dataset.dtype) is None or not dataset.dtype.hasobject:
        return np.asarray(plain(group, name, "S")[:])
    foreign.check_texts(group.file)
    # A small file can name a long string many times over, so it is read in parts.
    step = max(256, foreign.MAX_DATASET_BYTES // max(group.file.id.get_filesize(), 1))
    found: list[bytes] = []
    width = 1
    for start in range(0, dataset.size, step):
        block = dataset[start : start + step].tolist()
        width = max(width, *map(len, block))
        if dataset.size * width > foreign.MAX_DATASET_BYTES:
            raise UnusableFileError(f"{dataset.name} has an impossible size")
        foreign.charge(dataset, sum(map(len, block)))
        found += block
    return np.array(found, f"S{width}")


def texts(values: Sequence[str]) -> Array:
    """(n,) fixed-length bytes of strings, in UTF-8."""
    encoded = [encode(v) for v in values]
    return np.array(encoded, dtype=f"S{max([1, *map(len, encoded)])}")


def strings(values: Array) -> list[str]:
    """Strings of fixed-length bytes; repeated values are decoded once."""
    known: dict[bytes, str] = {}
    out = []
    for value in values.tolist():
        text = known.get(value)
        if text is None:
            text = known[value] = decode(value)
        out.append(text)
    return out


def encode(text: str) -> bytes:
    """UTF-8, where file names that are no text keep their bytes."""
    if text.isascii():
        return text.encode()
    return text.encode("utf-8", "surrogateescape" if _has_only_escapes(text) else "replace")


def decode(data: bytes) -> str:
    """Undo `encode`."""
    return data.decode("utf-8", "surrogateescape")


def _has_only_escapes(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" and not "\udc80" <= c <= "\udcff" for c in text)


def collection(parent: h5py.Group, name: str) -> h5py.Group:
    """Make a group that NeXus takes for a collection."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = "NXcollection"
    return group


def one_line(error: BaseException) -> str:
    """Message of an error on one line."""
    text = " ".join(str(error.args[0] if error.args else error).split())
    return text[:200] or type(error).__name__


class Checksums:
    """Remembers what was written where, to compare it with what can be read."""

    def __init__(self) -> None:
        self.sink: _Sink | None = None
        self._entries: list[tuple[str, slice, int]] = []

    def put(self, dataset: h5py.Dataset, rows: slice, values: Array) -> None:
        """Write rows of a dataset and remember them."""
        if len(values):
            dataset[rows] = values
            if self.sink is not None and self.sink.error is not None:
                raise self.sink.error
            self._entries.append((dataset.name, rows, _digest(values)))

    def check(self, file: h5py.File) -> None:
        """Read everything again."""
        for name, rows, digest in self._entries:
            if _digest(file[name][rows]) != digest:
                raise UnusableFileError(f"{name} is not what was written")


def _digest(values: Array) -> int:
    return int(xxhash.xxh3_64_intdigest(np.ascontiguousarray(values).view(np.uint8).data))
