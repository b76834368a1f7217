"""Row group: small records in an archive, a column for each of their fields."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np

from pychip_stream import foreign
from pychip_stream.archive import hdf, layout
from pychip_stream.archive.hdf import UnusableFileError

logger = logging.getLogger(__name__)

_TYPES: dict[object, str] = {float: "f8", int: "i8", bool: "u1"}
_T = TypeVar("_T")


def write_rows(entry: h5py.Group, name: str, rows: Sequence[Any]) -> None:
    """Write dataclasses of texts, numbers and truths into a new group; none make none."""
    if not rows:
        return
    group = hdf.collection(entry, name)
    digests = {}
    for field in fields(rows[0]):
        values = [getattr(row, field.name) for row in rows]
        if field.type is str:
            column = hdf.texts(values)
            hdf.write_texts(group, field.name, column)
        else:
            column = np.asarray(values, _TYPES[field.type])
            group.create_dataset(field.name, data=column)
        digests[field.name] = layout.column_digest(column)
    group.attrs[layout.DIGEST] = np.bytes_(json.dumps(digests))


def write_row_groups(entry: h5py.Group, groups: Mapping[str, Sequence[Any]]) -> None:
    """Write several by their names, as `write_rows` does."""
    for name, rows in groups.items():
        write_rows(entry, name, rows)


def read_rows(path: Path, name: str, kind: type[_T]) -> list[_T]:
    """Read the rows of a closed archive; none where it has none, or they are damaged."""
    try:
        return whole_rows(path, name, kind)
    except FileNotFoundError:
        return []
    except UnusableFileError as error:
        logger.error("%s: its %s cannot be read (%s)", path, name, error)
        return []


def whole_rows(path: Path, name: str, kind: type[_T]) -> list[_T]:
    """Read the rows of a closed archive; none where it has none.

    Raises
    ------
    FileNotFoundError
        If the archive is not there.
    UnusableFileError
        If they are not what was written, as far as hashes (which older ones lack) tell.
    """
    columns: list[list[Any]] = []
    with hdf.reading(path) as file:
        entry = foreign.subgroup(file, layout.ENTRY)
        if not foreign.has(entry, name):
            return []
        group = foreign.subgroup(entry, name)
        digests = json.loads(hdf.attribute_text(group, layout.DIGEST) or "{}")
        count = 0
        for field in fields(kind):  # type: ignore[arg-type]
            given = foreign.has(group, field.name) or field.name in digests
            if field.default is not MISSING and not given:  # older than this field
                columns.append([field.default] * count)
                continue
            if field.type is str:
                values = hdf.read_texts(group, field.name)
                columns.append(hdf.strings(values))
            else:
                values = foreign.plain(group, field.name, "iuf")[:]
                columns.append(list(map(field.type, values.tolist())))  # type: ignore[arg-type]
            if digests and digests[field.name] != layout.column_digest(values):
                raise UnusableFileError(f"is damaged (column {field.name})")
            count = len(columns[-1])
    return [kind(*values) for values in zip(*columns, strict=True)]
