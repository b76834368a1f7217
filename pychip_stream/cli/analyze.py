"""`classify`: frames that lie there already."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from pychip_stream.archive.reader import open_run
from pychip_stream.archive.supports import load_support
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.output import progress, report
from pychip_stream.cli.summary import run_document
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.errors import PychipError, UsageError
from pychip_stream.workflows.analysis import Analyst, open_encoder
from pychip_stream.workflows.classification import Batch
from pychip_stream.workflows.classification import classify as classify_batch

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
    chosen = EncoderConfig(name=encoder)
    analyst = Analyst.of(support_set, open_encoder(chosen), settings)
    writer = RunWriter(
        target.parent,
        target.stem,
        segment_frames=64,
        segment_s=5.0,
        embeddings=True,
        metadata={
            "root": str(batch.root),
            "support": str(support),
            "config": yaml.safe_dump(
                {"encoder": chosen.model_dump(mode="json"), "classify": settings.model_dump()}
            ),
        },
    )
    with progress("classifying") as told:
        path = classify_batch(batch, analyst, writer, lambda _name, done, total: told(done, total))
    with open_run(path) as run:
        document = run_document(run, path)
    failed = document["failed"]
    report(document, as_json=as_json, text=_table(document))
    if document["frames"] == len(failed if isinstance(failed, list) else []):
        raise PychipError(f"{path}: none of the frames could be analysed; the reasons stand above")


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
