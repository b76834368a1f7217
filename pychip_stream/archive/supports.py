"""Support sets on disk and as bytes: one HDF5 file each, verified when it is read."""

import logging
import re
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from pychip_stream.archive import hdf
from pychip_stream.archive.durable import Disk, reason
from pychip_stream.archive.hdf import ForeignFileError, UnusableFileError
from pychip_stream.archive.support_group import (
    Derived,
    read_derived,
    read_support,
    write_support,
)
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import SupportError, SupportUsageError, UsageError

logger = logging.getLogger(__name__)

GROUP = "support_set"
MAX_FILE_BYTES = 1 << 30

_VERSION = re.compile(r"[0-9a-f]{32}")


def support_to_bytes(support: SupportSet, derived: Derived | None = None) -> bytes:
    """Write a support set as the bytes of its file.

    Raises
    ------
    SupportError
        If it holds what cannot be stored unchanged.
    """
    with hdf.new_image() as file:
        hdf.mark(file, "support set")
        file.attrs["NX_class"] = "NXroot"
        entry = file.create_group(GROUP)
        write_support(entry, support, derived)
        try:
            read_support(entry)
        except UnusableFileError as error:
            raise SupportError(
                f"support set {support.version[:8]} cannot be stored unchanged ({error}); "
                "look for control characters in its texts"
            ) from error
        return hdf.image(file)


def support_from_bytes(data: bytes, where: str = "support set") -> SupportSet:
    """Read a support set from the bytes of its file; what it says it is, it must be.

    Parameters
    ----------
    where
        Named in errors.

    Raises
    ------
    SupportError
        If the bytes are no support set, damaged, or of a newer layout.
    """
    try:
        with hdf.reading_bytes(data) as file:
            return _checked(file)
    except ForeignFileError as error:
        raise SupportUsageError(f"{where}: {error}") from error
    except (UnusableFileError, SupportError, UsageError) as error:
        raise SupportError(f"{where}: {error}") from error


def save_support(
    support: SupportSet,
    path: str | Path,
    derived: Derived | None = None,
    *,
    disk: Disk | None = None,
) -> None:
    """Write a support set to a file, whole or not at all.

    Parameters
    ----------
    derived
        Numbers that follow from it, kept beside it (see `Classifier.derived`).

    Raises
    ------
    SupportError
        If it cannot be written.
    """
    path = Path(path)
    data = support_to_bytes(support, derived)
    try:
        (disk or Disk()).save(path, data)
    except OSError as error:
        raise SupportError(f"{path}: cannot be written ({reason(error)})") from error


def load_support(path: str | Path) -> SupportSet:
    """Read a support set from its file.

    Raises
    ------
    SupportError
        If there is no such file or it is not a whole support set.
    """
    path = Path(path)
    return support_from_bytes(_file_bytes(path), where=str(path))


def load_derived(path: str | Path) -> dict[str, npt.NDArray[np.generic]]:
    """Read the numbers that were stored beside a support set; empty where there are none.

    Raises
    ------
    SupportError
        If there is no such file or it is damaged.
    """
    path = Path(path)
    try:
        with hdf.reading_bytes(_file_bytes(path)) as file:
            hdf.check_mark(file, ["support set"])
            return read_derived(hdf.subgroup(file, GROUP))
    except UnusableFileError as error:
        raise SupportError(f"{path}: {error}") from error


class SupportFolder:
    """Versions of the support set of an experiment, one file each, and which is current.

    Parameters
    ----------
    folder
        Made when the first set is added. The file `current` in it holds the version in use.
    """

    def __init__(self, folder: str | Path, *, disk: Disk | None = None) -> None:
        self._folder = Path(folder)
        self._disk = disk or Disk()

    def path(self, version: str) -> Path:
        """File of a version."""
        return self._folder / f"{version}.h5"

    def add(self, support: SupportSet, derived: Derived | None = None) -> Path:
        """Keep a support set and make it the current one.

        Raises
        ------
        SupportError
            If it cannot be written; the current one stays.
        """
        path = self.path(support.version)
        save_support(support, path, derived, disk=self._disk)
        pointer = self._folder / "current"
        try:
            self._disk.save(pointer, f"{support.version}\n".encode())
        except OSError as error:
            raise SupportError(f"{pointer}: cannot be written ({reason(error)})") from error
        return path

    def current(self) -> SupportSet | None:
        """Support set in use; None where none was added yet.

        Raises
        ------
        SupportError
            If it cannot be read.
        """
        version = self.current_version()
        return None if version is None else load_support(self.path(version))

    def current_version(self) -> str | None:
        """Version in use; None where none was added yet.

        Raises
        ------
        SupportError
            If the pointer cannot be read or is no version.
        """
        pointer = self._folder / "current"
        try:
            text = pointer.read_text(encoding="ascii", errors="replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SupportError(f"{pointer}: cannot be read ({reason(error)})") from error
        if not _VERSION.fullmatch(text):
            raise SupportError(f"{pointer}: {text[:40]!r} is not the version of a support set")
        return text

    def versions(self) -> list[str]:
        """Versions that are kept, oldest first."""
        found: list[tuple[float, str]] = []
        with suppress(FileNotFoundError, NotADirectoryError):
            for path in self._folder.iterdir():
                if path.suffix == ".h5" and _VERSION.fullmatch(path.stem):
                    with suppress(FileNotFoundError):
                        found.append((path.stat().st_mtime, path.stem))
        return [version for _, version in sorted(found)]


def _checked(file: h5py.File) -> SupportSet:
    hdf.check_mark(file, ["support set"])
    return read_support(hdf.subgroup(file, GROUP))


def _file_bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SupportError(f"{path}: is too large for a support set")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise SupportUsageError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise SupportUsageError(f"{path}: is a folder, not a support set") from error
    except OSError as error:
        raise SupportError(f"{path}: cannot be read ({reason(error)})") from error
