"""Exports: the files that can be had of a run, each made on a thread with progress."""

import zipfile
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from pychip_stream.archive.run import Run
from pychip_stream.errors import PychipError
from pychip_stream.export import film, tables

from .runs import PixelReader

Progress = Callable[[int, int], None]
PIECE_BYTES = 2 << 20
MOST_BYTES = 2 << 30


@dataclass(frozen=True)
class Source:
    """What is exported.

    Attributes
    ----------
    shown
        Number of the frame that is on the screen.
    """

    run: Run
    read_pixels: PixelReader
    shown: int = 0


@dataclass(frozen=True)
class ExportKind:
    """A kind of file.

    Attributes
    ----------
    key, label, title
        Its name, the text of its button, and what it is in a sentence.
    suffix, media
        End of the file name, and media type.
    make
        Writes it: (source, file to write, progress).
    """

    key: str
    label: str
    title: str
    suffix: str
    media: str
    make: Callable[[Source, Path, Progress], None]


def _csv(source: Source, path: Path, _progress: Progress) -> None:
    tables.export_csv(source.run, path)


def _chips(source: Source, path: Path, progress: Progress) -> None:
    tables.export_chips_csv(source.run, path, progress)


def _svg(source: Source, path: Path, _progress: Progress) -> None:
    tables.export_svg(source.run, path)


def _png(source: Source, path: Path, progress: Progress) -> None:
    folder = path.with_name("picture")
    files = tables.export_png(source.run, folder, source.read_pixels, [source.shown], progress)
    files[-1].replace(path)  # the overlay, or the map alone where the frame is gone


def _pngs(source: Source, path: Path, progress: Progress) -> None:
    folder = path.with_name("pictures")
    files = tables.export_png(source.run, folder, source.read_pixels, None, progress)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.write(file, file.name)
            file.unlink()


def _pychip(source: Source, path: Path, progress: Progress) -> None:
    tables.export_pychip_csv(source.run, path, progress)


def _mp4(source: Source, path: Path, progress: Progress) -> None:
    film.export_mp4(source.run, path, source.read_pixels, progress=progress)


def _gif(source: Source, path: Path, progress: Progress) -> None:
    film.export_gif(source.run, path, source.read_pixels, progress=progress)


KINDS: tuple[ExportKind, ...] = (
    ExportKind(
        "csv", "csv", "fractions with their intervals, a row per frame", ".csv", "text/csv", _csv
    ),
    ExportKind(
        "chips",
        "chips csv",
        "label and probabilities of every chip of every frame",
        "-chips.csv",
        "text/csv",
        _chips,
    ),
    ExportKind(
        "png",
        "png of this frame",
        "labels over the frame, with scale bar and legend",
        ".png",
        "image/png",
        _png,
    ),
    ExportKind(
        "pngs",
        "png of all frames",
        "a zip with the pictures of every frame",
        "-png.zip",
        "application/zip",
        _pngs,
    ),
    ExportKind(
        "svg", "svg", "curves and bar chart as vector graphics", ".svg", "image/svg+xml", _svg
    ),
    ExportKind(
        "pychip",
        "pyChip csv",
        "a row per chip as the original pyChip writes it",
        "-pychip.csv",
        "text/csv",
        _pychip,
    ),
)
FILMS: tuple[ExportKind, ...] = (
    ExportKind("mp4", "mp4", "a film of the labels beside the curve", ".mp4", "video/mp4", _mp4),
    ExportKind("gif", "gif", "the same, smaller", ".gif", "image/gif", _gif),
)  # fmt: skip


def write_export(kind: ExportKind, source: Source, folder: Path, progress: Progress) -> Path:
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
