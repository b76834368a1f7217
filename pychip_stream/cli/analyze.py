"""`classify` and `export`: frames that lie there already, and what a run holds."""

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.progress import Progress

from pychip_stream.archive import export as exports
from pychip_stream.archive.reader import Run, open_run
from pychip_stream.archive.supports import load_support
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.output import console, report, say
from pychip_stream.cli.summary import run_document
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.errors import PychipError, UsageError
from pychip_stream.ingest.readers import read_frame
from pychip_stream.workflows.analysis import Analyst, inside, open_encoder
from pychip_stream.workflows.classification import Batch
from pychip_stream.workflows.classification import classify as classify_batch
from pychip_stream.workflows.summary import write_summary

Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]


def classify(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="frames, or folders of them")
    ],
    support: Annotated[Path, typer.Option(metavar="SET", help="support set")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="archive to write, for example run.h5")],
    cluster: Annotated[str | None, typer.Option(metavar="ADDRESS", help="not there yet")] = None,
    encoder: Annotated[str, typer.Option(help="bundled, or a torchvision ResNet")] = "bundled",
    method: Annotated[str, typer.Option(help="auto, lda, or euclidean (pyChip's way)")] = "auto",
    sensitivity: Annotated[
        float, typer.Option(min=0.01, max=10, help="larger rejects more chips as unknown")
    ] = 1.0,
    no_reject: Annotated[bool, typer.Option("--no-reject", help="never label unknown")] = False,
    as_json: Json = False,
) -> None:
    """Classify frames with a support set into a run archive."""
    if cluster is not None:
        raise UsageError("`--cluster` is not there yet in this version")
    target = out if out.suffix == ".h5" else out.with_name(out.name + ".h5")
    if target.exists():
        raise UsageError(f"{target}: exists already; choose another name or remove it")
    batch = Batch.of(paths)
    support_set = load_support(support)
    if method not in ("auto", "lda", "euclidean"):
        raise UsageError(f"--method {method!r}: choose auto, lda or euclidean")
    settings = ClassifyConfig.model_validate(
        {"method": method, "sensitivity": sensitivity, "reject": not no_reject}
    )
    analyst = Analyst.of(support_set, open_encoder(EncoderConfig(name=encoder)), settings)
    writer = RunWriter(
        target.parent,
        target.stem,
        segment_frames=64,
        segment_s=5.0,
        embeddings=True,
        metadata={"root": str(batch.root), "support": str(support)},
    )
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("classifying", total=len(batch.paths))
        path = classify_batch(
            batch, analyst, writer, lambda _name, done, _total: bar.update(task, completed=done)
        )
    with open_run(path) as run:
        document = run_document(run, path)
    failed = document["failed"]
    report(document, as_json=as_json, text=_table(document))
    if document["frames"] == len(failed if isinstance(failed, list) else []):
        raise PychipError(f"{path}: none of the frames could be analysed; the reasons stand above")


def export(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="run archive, live or closed")],
    csv: Annotated[
        Path | None, typer.Option(metavar="F", help="fractions, a row per frame")
    ] = None,
    chips_csv: Annotated[Path | None, typer.Option(metavar="F", help="a row per chip")] = None,
    png: Annotated[Path | None, typer.Option(metavar="DIR", help="label maps as pictures")] = None,
    svg: Annotated[Path | None, typer.Option(metavar="F", help="curves and bar chart")] = None,
    mp4: Annotated[Path | None, typer.Option(metavar="F", help="not there yet")] = None,
    summary: Annotated[
        Path | None, typer.Option(metavar="F", help="mean fraction of each class, as csv")
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="where the frames are now, for --png")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write what a run holds as csv, png or svg."""
    if mp4 is not None:
        raise UsageError("`--mp4` is not there yet in this version")
    if not any((csv, chips_csv, png, svg, summary)):
        raise UsageError("nothing to do; give --csv, --chips-csv, --png, --svg or --summary")
    written: dict[str, object] = {"run": str(path)}
    with open_run(path) as run:
        if csv is not None:
            exports.export_csv(run, csv)
            written["csv"] = str(csv)
        if chips_csv is not None:
            exports.export_chips_csv(run, chips_csv)
            written["chips_csv"] = str(chips_csv)
        if summary is not None:
            write_summary(run, summary)
            written["summary"] = str(summary)
        if svg is not None:
            exports.export_svg(run, svg)
            written["svg"] = str(svg)
        if png is not None:
            exports.export_png(run, png, frame_source(run, frames))
            written["png"] = str(png)
    text = "\n".join(str(v) for k, v in written.items() if k != "run")
    report(written, as_json=as_json, text=text)


def frame_source(run: Run, root: Path | None):  # type: ignore[no-untyped-def]
    """Make a function that reads the pixels of a run's frame, or None where they are gone."""
    base = root or run.root
    if base is None or not base.is_dir():
        say(f"{base}: frames are not there; the pictures show the labels alone (--frames ROOT)")

    def read(path: str, index: int) -> npt.NDArray[np.generic] | None:
        if base is None:
            return None
        try:
            return read_frame(inside(base, path), index).pixels
        except (PychipError, OSError):
            return None

    return read


def _table(document: dict[str, object]) -> str:
    rows = document["fractions"]
    failed = document["failed"]
    lines = [str(document["run"])]
    if isinstance(rows, list):
        for row in rows:
            values = " ".join(f"{k} {v:.3f}" for k, v in row.items() if k not in ("path", "index"))
            lines.append(f"{row['path']}: {values}")
    if isinstance(failed, list):
        lines += [f"{row['path']}: failed, {row['reason']}" for row in failed]
    return "\n".join(lines)
