"""Truth: the true fractions that a simulation writes beside its frames, read as they grow."""

import csv
from pathlib import Path

NAME = "truth.csv"
_NOT_CLASSES = ("frame", "index", "path", "time_s")


class TruthFile:
    """Reader of a growing table; real experiments have none, and then it stays empty."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._at = 0
        self._header: list[str] = []

    def read_new(self) -> list[tuple[tuple[str, int], dict[str, float]]]:
        """(path, index) and true fraction per class of every row that was added since."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except OSError:
            return []
        whole = data[: data.rfind(b"\n") + 1]  # a row that is being written comes next time
        self._at += len(whole)
        rows = list(csv.reader(whole.decode("utf-8", "replace").splitlines()))
        if rows and not self._header:
            self._header = rows.pop(0)
        found = (self._row(cells) for cells in rows)
        return [row for row in found if row is not None]

    def _row(self, cells: list[str]) -> tuple[tuple[str, int], dict[str, float]] | None:
        row = dict(zip(self._header, cells, strict=False))
        try:
            key = (row["path"], int(row["index"]))
            return key, {n: float(v) for n, v in row.items() if n not in _NOT_CLASSES}
        except (KeyError, ValueError):
            return None
