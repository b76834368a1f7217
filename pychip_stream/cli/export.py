"""`export`: what a run holds, as tables, pictures and films."""

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pychip_stream.cli.opening import open_run
from pychip_stream.cli.output import choose_scoring, failed_frames, progress, report, say
from pychip_stream.domain.support import UNKNOWN
from pychip_stream.errors import StoppedError, UsageError
from pychip_stream.export import EXPORTS
from pychip_stream.export.kinds import ExportKind, ExportSource

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run
    from pychip_stream.export.kinds import PixelReader

KINDS = tuple(kind for kind in EXPORTS if kind.option)


def export(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="run archive, live or closed")],
    scoring: Annotated[
        str | None, typer.Option(metavar="NAME", help="default: the one that the run shows")
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="where the frames are now, for pictures")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.1, max=120, help="of films; default mp4 25, gif 10")
    ] = None,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="of films; default mp4 750, gif 150")
    ] = None,
    iso_times: Annotated[
        bool, typer.Option("--iso-times", help="tables of frames: the moment, too, as ISO 8601")
    ] = False,
    excluded: Annotated[
        bool, typer.Option("--excluded", help="with the frames that are left out, and say which")
    ] = False,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="QUANTITY",
            help="csv, svg and chart: the fractions against this, rising and falling told apart",
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="print one JSON document; alone, it holds the fractions"),
    ] = False,
    **files: Path | None,
) -> None:
    """Write what a run holds as csv, png, svg, mp4, gif or JSON."""
    wanted = [(kind, file) for kind in KINDS if (file := files[kind.name]) is not None]
    if not wanted and not as_json:
        raise UsageError(f"nothing to do; give {', '.join(map(_option, KINDS))} or --json")
    for kind, file in wanted:
        if kind.strict and file.suffix.lower() != kind.suffix:
            raise UsageError(
                f"{_option(kind)} {file}: the name of the file must end in {kind.suffix}"
            )
    if against is not None and not any(kind.against for kind, _ in wanted):
        offered = ", ".join(_option(kind) for kind in KINDS if kind.against)
        raise UsageError(f"--against {against}: nothing shows it; give {offered}")
    run = choose_scoring(open_run(path, everything=excluded), scoring)
    pixels = frame_source(run, frames) if any(kind.pixels for kind, _ in wanted) else _no_pixels
    source = ExportSource(
        run, pixels, fps=fps, max_frames=max_frames, iso_times=iso_times, against=against
    )
    for kind, file in wanted:
        try:
            with progress(f"writing {file}") as told:
                kind.make(source, file, told)
        except KeyboardInterrupt:
            raise StoppedError(
                f"{file} is not whole; those before it are, and the same command writes it anew"
            ) from None
    document: dict[str, object] = {"run": str(path), "scoring": run.scoring}
    document |= {kind.name: str(file) for kind, file in wanted}
    if not wanted:
        document |= run_contents(run)
    report(document, as_json=as_json, text="\n".join(str(file) for _, file in wanted))


def _option(kind: ExportKind) -> str:
    return f"--{kind.name.replace('_', '-')}"


def _with_kinds() -> inspect.Signature:
    """Signature of `export` with an option for every kind, as typer reads it."""
    path, *others = list(inspect.signature(export).parameters.values())[:-1]
    options = [
        inspect.Parameter(
            kind.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default=None,
            annotation=Annotated[
                Path | None,
                typer.Option(
                    _option(kind), metavar="F" if kind.suffix else "DIR", help=kind.meaning
                ),
            ],
        )
        for kind in KINDS
    ]
    return inspect.Signature([path, *options, *others])


export.__signature__ = _with_kinds()  # type: ignore[attr-defined]


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
        "excluded": run.exclusions.to_dict("records"),
        "displaced": run.displaced.to_dict("records"),
        "fractions": [{str(k): v for k, v in row.items()} for row in rows],
    }


def frame_source(run: "Run", root: Path | None) -> "PixelReader":
    """Make a function that reads the pixels of a run's frame, or None where they are gone."""
    from pychip_stream.export.kinds import pixel_reader

    base = root or run.root
    if base is None or not base.is_dir():
        say(f"{base}: frames are not there; the pictures show the labels alone (--frames ROOT)")
        return _no_pixels
    return pixel_reader(run, base, moved=True)


def _no_pixels(_path: str, _index: int) -> None:
    return None
