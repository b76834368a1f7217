"""Support sets on disk and as bytes: one HDF5 file each, verified when it is read.

What cannot be read, written or stored unchanged is a `SupportError`.
"""

import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

import h5py
import numpy as np
import numpy.typing as npt

from pychip_stream import foreign, plain_files
from pychip_stream.archive import hdf
from pychip_stream.archive.disk import Disk, reason
from pychip_stream.archive.hdf import Array, ForeignFileError, UnusableFileError
from pychip_stream.domain.chips import CELLS, ChipSize
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import (
    ChipSource,
    SupportChip,
    SupportClass,
    SupportEmbedding,
    SupportSet,
)
from pychip_stream.errors import SupportError, SupportUsageError, UsageError

Derived = Mapping[str, npt.NDArray[np.generic]]

_MODES = ("range", "frame", "depth")
_SOURCE_TEXTS = ("path", "unit", "user")
_SOURCE_NUMBERS = (
    ("index", np.int64),
    ("row", np.int64),
    ("column", np.int64),
    ("pixel_size", np.float64),
    ("time", np.float64),
)
_OPTIONAL = ("row", "column", "pixel_size", "unit")
"""Fields of a chip's source that may be unknown; bit n of "unknown" stands for the n-th."""


def write_support(group: h5py.Group, support: SupportSet, derived: Derived | None = None) -> None:
    """Write a support set, and numbers that follow from it, into an empty group."""
    group.attrs["NX_class"] = "NXcollection"
    hdf.write_text(group, "version", support.version)
    for name in ("author", "note"):
        hdf.write_text(group, name, getattr(support, name))
    if support.parent is not None:
        hdf.write_text(group, "parent", support.parent)
    _number(group, "created", float(support.created), "s")
    size = support.chip_size
    _number(group, "chip_size", np.array([size.width, size.height], np.int32), "pixel")
    _number(group, "margin", np.array(support.margin, np.int32), "pixel")
    norm = support.normalization
    hdf.write_text(group, "normalization_mode", norm.mode)
    _number(group, "normalization_range", np.array([norm.low, norm.high], np.float64), "count")
    group["normalization_clahe"] = np.uint8(norm.clahe)
    names = hdf.texts(support.names)
    hdf.write_texts(group, "class_names", names)
    hdf.write_texts(group, "class_colors", hdf.texts([c.color for c in support.classes]))
    _write_chips(group.create_group("chips"), support)
    if support.embedding is not None:
        _write_embedding(group.create_group("embedding"), support.embedding)
    if derived:
        found = group.create_group("derived")
        found.attrs["NX_class"] = "NXcollection"
        for name, values in derived.items():
            found.create_dataset(name, data=values)


def read_support(group: h5py.Group) -> SupportSet:
    """Read a support set.

    Raises
    ------
    UnusableFileError
        If something is missing, or is not what was written.
    SupportError
        If the set itself is impossible.
    """
    width, height = _pair(group, "chip_size")
    low, high = (float(v) for v in foreign.plain(group, "normalization_range")[:2])
    mode = hdf.read_text(group, "normalization_mode")
    if mode not in _MODES:
        raise UnusableFileError(f"has an unknown normalisation {mode!r}")
    names = hdf.strings(hdf.read_texts(group, "class_names"))
    colors = hdf.strings(hdf.read_texts(group, "class_colors"))
    chips = _read_chips(foreign.subgroup(group, "chips"), names)
    support = SupportSet(
        classes=tuple(SupportClass(n, c) for n, c in zip(names, colors, strict=True)),
        chips=chips,
        chip_size=ChipSize(width, height),
        normalization=Normalization(
            cast(Literal["range", "frame", "depth"], mode),
            low, high, bool(foreign.plain(group, "normalization_clahe")[()]),
        ),
        margin=_pair(group, "margin"),
        embedding=_read_embedding(group, len(chips)) if foreign.has(group, "embedding") else None,
        parent=hdf.read_text(group, "parent") if foreign.has(group, "parent") else None,
        author=hdf.read_text(group, "author"),
        note=hdf.read_text(group, "note"),
        created=float(foreign.plain(group, "created")[()]),
    )  # fmt: skip
    stored = hdf.read_text(group, "version")
    if support.version != stored:
        raise UnusableFileError(
            f"does not hold what its version {stored[:8]} says (content {support.version[:8]}); "
            "it was damaged or changed"
        )
    return support


def _number(group: h5py.Group, name: str, value: Any, unit: str) -> None:
    group.create_dataset(name, data=value).attrs["units"] = unit


def _pair(group: h5py.Group, name: str) -> tuple[int, int]:
    first, second = foreign.plain(group, name)[:2]
    return int(first), int(second)


def _write_chips(group: h5py.Group, support: SupportSet) -> None:
    """Chips of one dtype make one stack; `stack` and `position` say where each chip is."""
    group.attrs["NX_class"] = "NXcollection"
    chips = support.chips
    dtypes = [chip.pixels.dtype for chip in chips]
    stacks = list(dict.fromkeys(dtypes))
    position = np.zeros(len(chips), np.int32)
    for number, dtype in enumerate(stacks):
        members = [i for i, d in enumerate(dtypes) if d == dtype]
        position[members] = np.arange(len(members))
        pixels = np.stack([chips[i].pixels for i in members])
        stored = group.create_dataset(f"pixels_{number}", data=pixels, **_packed(pixels))
        stored.attrs["units"] = "count"
    group["stack"] = np.array([stacks.index(d) for d in dtypes], np.int32)
    group["position"] = position
    group["label"] = support.label_indices.astype(np.int32)
    sources = [chip.source for chip in chips]
    for name in _SOURCE_TEXTS:
        values = [getattr(s, name) or "" for s in sources]
        hdf.write_texts(group, f"source_{name}", hdf.texts(values))
    for name, kind in _SOURCE_NUMBERS:
        values = [getattr(s, name) for s in sources]
        group[f"source_{name}"] = np.array([0 if v is None else v for v in values], kind)
    unknown = np.zeros(len(chips), np.uint8)
    for bit, name in enumerate(_OPTIONAL):
        unknown |= np.array([(getattr(s, name) is None) << bit for s in sources], np.uint8)
    group["source_unknown"] = unknown
    group["source_unknown"].attrs["long_name"] = "bits: " + ", ".join(_OPTIONAL)


def _read_chips(group: h5py.Group, names: list[str]) -> tuple[SupportChip, ...]:
    where = zip(foreign.plain(group, "stack")[:], foreign.plain(group, "position")[:], strict=True)
    stacks: dict[int, Array] = {}
    pixels: list[Array] = []
    for stack, position in where:
        if int(stack) not in stacks:
            stacks[int(stack)] = foreign.plain(group, f"pixels_{int(stack)}")[:]
        if not 0 <= position < len(stacks[int(stack)]):
            raise UnusableFileError(f"lacks the pixels of chip {len(pixels)}")
        pixels.append(stacks[int(stack)][int(position)])
    labels = foreign.plain(group, "label")[:]
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(names):
        raise UnusableFileError("has chips of a class that it does not name")
    sources = _read_sources(group)
    return tuple(
        SupportChip(names[label], chip, source)
        for label, chip, source in zip(labels, pixels, sources, strict=True)
    )


def _read_sources(group: h5py.Group) -> list[ChipSource]:
    columns: dict[str, list[Any]] = {
        name: hdf.strings(hdf.read_texts(group, f"source_{name}")) for name in _SOURCE_TEXTS
    }
    for name, kind in _SOURCE_NUMBERS:
        columns[name] = foreign.plain(group, f"source_{name}")[:].astype(kind).tolist()
    unknown = foreign.plain(group, "source_unknown")[:].tolist()
    for bit, name in enumerate(_OPTIONAL):
        columns[name] = [
            None if bits >> bit & 1 else v for v, bits in zip(columns[name], unknown, strict=True)
        ]
    return [
        ChipSource(**dict(zip(columns, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]


def _write_embedding(group: h5py.Group, embedding: SupportEmbedding) -> None:
    group.attrs["NX_class"] = "NXcollection"
    hdf.write_text(group, "encoder_name", embedding.encoder_name)
    hdf.write_text(group, "encoder_hash", embedding.encoder_hash)
    group["cells"] = np.asarray(embedding.cells, np.float32)
    group["background"] = np.asarray(embedding.background, np.float32)


def _read_embedding(parent: h5py.Group, count: int) -> SupportEmbedding:
    group = foreign.subgroup(parent, "embedding")
    cells, background = (
        foreign.plain(group, name, "f")[...].astype(np.float32, copy=False)
        for name in ("cells", "background")
    )
    fits = cells.ndim == 3 and background.ndim == 2 and len(background) > 0
    if not fits or cells.shape[:2] != (count, CELLS**2) or cells.shape[2] != background.shape[1]:
        raise UnusableFileError(
            f"has embeddings of shape {cells.shape} and {background.shape} for {count} chips"
        )
    if not (np.isfinite(cells).all() and np.isfinite(background).all()):
        raise UnusableFileError("has embeddings that are no numbers")
    name, weights = (hdf.read_text(group, f"encoder_{one}") for one in ("name", "hash"))
    return SupportEmbedding(name, weights, cells, background)


def _packed(pixels: Array) -> dict[str, Any]:
    """Compress what is worth it."""
    if pixels.nbytes < 4096 or pixels.dtype.kind == "b":
        return {}
    return {"compression": "gzip", "compression_opts": 4, "shuffle": True, "fletcher32": True,
            "chunks": (1, *pixels.shape[1:])}  # fmt: skip


logger = logging.getLogger(__name__)

GROUP = "support_set"
MAX_FILE_BYTES = 1 << 30

_VERSION = re.compile(r"[0-9a-f]{32}")


def support_to_bytes(support: SupportSet, derived: Derived | None = None) -> bytes:
    """Write a support set as the bytes of its file."""
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
            hdf.check_mark(file, ["support set"])
            return read_support(foreign.subgroup(file, GROUP))
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
    """
    _save(Path(path), support_to_bytes(support, derived), disk or Disk())


def _save(path: Path, data: bytes, disk: Disk) -> None:
    try:
        disk.save(path, data)
    except OSError as error:
        raise SupportError(f"{path}: cannot be written ({reason(error)})") from error


def load_support(path: str | Path) -> SupportSet:
    """Read a support set from its file."""
    path = Path(path)
    return support_from_bytes(read_file(path), where=str(path))


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

    def add(self, version: str, data: bytes) -> Path:
        """Keep the bytes of a support set's file and make it the current one.

        Raises
        ------
        SupportError
            If it cannot be written; the current one stays.
        """
        path, pointer = self.path(version), self._folder / "current"
        for target, content in ((path, data), (pointer, f"{version}\n".encode())):
            _save(target, content, self._disk)
        return path

    def current(self) -> SupportSet | None:
        """Support set in use; None where none was added yet."""
        version = self.current_version()
        return None if version is None else load_support(self.path(version))

    def current_version(self) -> str | None:
        """Version in use; None where none was added yet."""
        pointer = self._folder / "current"
        try:
            text = plain_files.read_small(pointer).decode("ascii", "replace").strip()
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


def read_file(path: Path) -> bytes:
    """Bytes of the file of a support set, as they are published."""
    try:
        return plain_files.read_small(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise SupportUsageError(f"{path}: no such file") from error
    except plain_files.NoFileError as error:
        raise SupportUsageError(f"{path}: {error.strerror}, not a support set") from error
    except OSError as error:
        raise SupportError(f"{path}: cannot be read ({reason(error)})") from error
