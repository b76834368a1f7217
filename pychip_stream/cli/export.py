"""`export`: what a run holds, as tables, pictures and films."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import typer

from pychip_stream.cli.output import choose_scoring, failed_frames, progress, report, say
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import PychipError, StoppedError, UsageError

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run
    from pychip_stream.export.pictures import PixelReader

Told = Callable[[int, int], None]
File = Path | None

_ENDINGS = {"svg": ".svg", "mp4": ".mp4", "gif": ".gif"}


def export(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="run archive, live or closed")],
    csv: Annotated[File, typer.Option(metavar="F", help="fractions, a row per frame")] = None,
    chips_csv: Annotated[File, typer.Option(metavar="F", help="a row per chip")] = None,
    pychip_csv: Annotated[
        File, typer.Option(metavar="F", help="a row per chip as the original pyChip writes it")
    ] = None,
    png: Annotated[File, typer.Option(metavar="DIR", help="label maps as pictures")] = None,
    svg: Annotated[File, typer.Option(metavar="F", help="curves and bar chart")] = None,
    mp4: Annotated[File, typer.Option(metavar="F", help="overlay beside the curve")] = None,
    gif: Annotated[File, typer.Option(metavar="F", help="the same, smaller")] = None,
    summary: Annotated[
        File, typer.Option(metavar="F", help="mean fraction of each class, as csv")
    ] = None,
    scoring: Annotated[
        str | None, typer.Option(metavar="NAME", help="default: the one that the run shows")
    ] = None,
    frames: Annotated[
        File, typer.Option(metavar="ROOT", help="where the frames are now, for pictures")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=120, help="of films; default mp4 25, gif 10")
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="of films; default mp4 750, gif 150")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="print one JSON document; alone, it holds the fractions"),
    ] = False,
) -> None:
    """Write what a run holds as csv, png, svg, mp4, gif or JSON."""
    files = {
        "csv": csv, "chips_csv": chips_csv, "pychip_csv": pychip_csv, "svg": svg, "png": png,
        "mp4": mp4, "gif": gif, "summary": summary,
    }  # fmt: skip
    wanted = {kind: file for kind, file in files.items() if file is not None}
    if not wanted and not as_json:
        raise UsageError(
            "nothing to do; give --csv, --chips-csv, --pychip-csv, --png, --svg, --mp4, --gif, "
            "--summary or --json"
        )
    for kind, ending in _ENDINGS.items():
        if kind in wanted and wanted[kind].suffix.lower() != ending:
            raise UsageError(f"--{kind} {wanted[kind]}: the name of the file must end in {ending}")
    from pychip_stream.archive.run import open_run

    run = choose_scoring(open_run(path), scoring)
    film = {k: v for k, v in {"fps": fps, "max_frames": max_frames}.items() if v is not None}
    pixels = frame_source(run, frames) if {"png", "mp4", "gif"} & wanted.keys() else _no_pixels
    for kind, file in wanted.items():
        try:
            with progress(f"writing {file}") as told:
                _write(kind, run, file, pixels, film, told)
        except KeyboardInterrupt:
            raise StoppedError(
                f"{file} is not whole; those before it are, and the same command writes it anew"
            ) from None
    document: dict[str, object] = {"run": str(path), "scoring": run.scoring}
    document |= {kind: str(file) for kind, file in wanted.items()}
    if not wanted:
        document |= run_contents(run)
    report(document, as_json=as_json, text="\n".join(str(file) for file in wanted.values()))


def _write(
    kind: str, run: "Run", file: Path, pixels: "PixelReader", film: dict[str, float], told: Told
) -> None:
    """Write one kind of file."""
    from pychip_stream.export import film as timelapse
    from pychip_stream.export import tables as exports
    from pychip_stream.export.tables import write_summary

    actions: dict[str, Callable[[], object]] = {
        "csv": lambda: exports.export_csv(run, file),
        "chips_csv": lambda: exports.export_chips_csv(run, file, told),
        "pychip_csv": lambda: exports.export_pychip_csv(run, file, told),
        "svg": lambda: exports.export_svg(run, file),
        "summary": lambda: write_summary(run, file),
        "png": lambda: exports.export_png(run, file, pixels, progress=told),
        "mp4": lambda: timelapse.export_mp4(run, file, pixels, progress=told, **film),  # type: ignore[arg-type]
        "gif": lambda: timelapse.export_gif(run, file, pixels, progress=told, **film),  # type: ignore[arg-type]
    }
    actions[kind]()


def run_contents(run: "Run") -> dict[str, object]:
    """Return the classes, fractions and failed frames of a run for a JSON document."""
    names = (*run.names, UNKNOWN)
    rows = run.fractions.to_dict("records")
    return {
        "run_id": run.run_id,
        "scorings": list(run.scorings),
        "start": run.start,
        "classes": [{"name": name, "color": run.colors[name]} for name in names],
        "frames": len(run),
        "failed": failed_frames(run),
        "fractions": [{str(k): v for k, v in row.items()} for row in rows],
    }


def frame_source(run: "Run", root: Path | None) -> "PixelReader":
    """Make a function that reads the pixels of a run's frame, or None where they are gone."""
    from pychip_stream.domain.frames import inside
    from pychip_stream.formats.reading import read_frame

    base = root or run.root
    if base is None or not base.is_dir():
        say(f"{base}: frames are not there; the pictures show the labels alone (--frames ROOT)")
        return _no_pixels

    def read(path: str, index: int) -> npt.NDArray[np.generic] | None:
        try:
            return read_frame(inside(base, path), index).pixels
        except (PychipError, OSError):
            return None

    return read


def _no_pixels(_path: str, _index: int) -> None:
    return None
