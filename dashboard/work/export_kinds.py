"""Downloads: an export made in a folder of its own, and its way to the browser."""

from collections.abc import Generator
from pathlib import Path

from pychip_stream.errors import PychipError
from pychip_stream.export import EXPORTS
from pychip_stream.export.kinds import ExportKind, ExportSource, Progress

PIECE_BYTES = 2 << 20
MOST_BYTES = 2 << 30

KINDS = tuple(kind for kind in EXPORTS if kind.label)
"""What pages offer."""


def write_export(kind: ExportKind, source: ExportSource, folder: Path, progress: Progress) -> Path:
    """Make a file in a folder.

    Raises
    ------
    PychipError
        If it cannot be made, was cancelled, or is too large for a browser.
    """
    path = folder / f"{source.run.path.stem}{kind.suffix}"
    kind.make(source, path, progress)
    progress(1, 1)
    if path.stat().st_size > MOST_BYTES:
        raise PychipError(
            f"{path.name} has {path.stat().st_size / 2**30:.1f} GiB, too much for a browser; "
            "use `pychip-stream export` on the machine with the archive"
        )
    return path


def pieces(path: Path) -> Generator[tuple[bytes, bool], None, None]:
    """Content of a file piece by piece, and whether it is the last one; at least one."""
    left = path.stat().st_size
    with path.open("rb") as file:
        while True:
            data = file.read(PIECE_BYTES)
            left -= len(data)
            yield data, left <= 0
            if left <= 0 or not data:
                return
