"""Ledger: what was written where, to compare it with what can be read back."""

import h5py
import numpy as np
import xxhash

from pychip_stream.archive.hdf import Array, UnusableFileError


class Ledger:
    """Remembers what was written where, to compare it with what can be read."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, slice, int]] = []

    def put(self, dataset: h5py.Dataset, rows: slice, values: Array) -> None:
        """Write rows of a dataset and remember them."""
        if len(values):
            dataset[rows] = values
            self._entries.append((dataset.name, rows, _digest(values)))

    def check(self, file: h5py.File) -> None:
        """Read everything again.

        Raises
        ------
        UnusableFileError
            If something is not what was written.
        """
        for name, rows, digest in self._entries:
            if _digest(file[name][rows]) != digest:
                raise UnusableFileError(f"{name} is not what was written")


def _digest(values: Array) -> int:
    return int(xxhash.xxh3_64_intdigest(np.ascontiguousarray(values).view(np.uint8).data))
