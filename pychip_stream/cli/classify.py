"""`classify`: frames that lie there already."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from pychip_stream.cli.opening import load_support
from pychip_stream.cli.options import (
    ClusterAddress,
    Encoder,
    Json,
    PixelSize,
    TlsCa,
    TlsCertificate,
    TlsKey,
    matching,
    open_cluster,
)
from pychip_stream.cli.output import progress, report, run_document, say
from pychip_stream.errors import ArchiveError, ClusterError, PychipError, StoppedError, UsageError

if TYPE_CHECKING:
    from pychip_stream.analysis.classification import Batch
    from pychip_stream.archive.writer import RunWriter
    from pychip_stream.batch.cluster import Cluster
    from pychip_stream.config import ClassifyConfig, EncoderConfig
    from pychip_stream.domain.progress import Progress
    from pychip_stream.domain.support import SupportSet

_MEASURED = (
    ", the fastest now; labels of chips at borders depend on the precision, which --device (of a "
    "run: encoder.device) fixes"
)


def classify(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH…", help="frames, folders, patterns (*.dm4)"),
    ],
    support: Annotated[Path, typer.Option(metavar="SET", help="support set")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="archive to write, for example run.h5")],
    cluster: ClusterAddress = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    encoder: Encoder = "bundled",
    device: Annotated[
        str | None,
        typer.Option(
            help='as encoder.device of a config, for example "cpu/float32"; default: fastest'
        ),
    ] = None,
    detector: Annotated[
        str,
        typer.Option(
            help='which image of files with several, for example "HAADF"; default: a rule'
        ),
    ] = "",
    pixel_size: PixelSize = "",
    method: Annotated[str, typer.Option(help="auto, lda, or euclidean (pyChip's way)")] = "auto",
    sensitivity: Annotated[
        float, typer.Option(min=0.01, max=10, help="larger rejects more chips as unknown")
    ] = 1.0,
    no_reject: Annotated[bool, typer.Option("--no-reject", help="never label unknown")] = False,
    stimulus: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="log of a holder, or .yaml with a list `stimulus:`; repeatable"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="replace the archive RUN")] = False,
    as_json: Json = False,
) -> None:
    """Classify frames with a support set into a run archive.

    After Ctrl-C, or whatever else has ended it, the same command goes on where it was.
    """
    if method not in ("auto", "lda", "euclidean"):
        raise UsageError(f"--method {method!r}: choose auto, lda or euclidean")
    target = out if out.suffix == ".h5" else out.with_name(out.name + ".h5")
    if target.exists() and not force:
        raise UsageError(f"{target}: exists already; choose another name, or add --force")
    from pychip_stream.analysis import classification, past_logs
    from pychip_stream.archive.files import RunPlaces
    from pychip_stream.archive.joining import remove_run
    from pychip_stream.archive.marks import MarkKeeper
    from pychip_stream.archive.readings import ReadingJournal
    from pychip_stream.archive.run import open_run
    from pychip_stream.archive.writer import RunWriter
    from pychip_stream.config import ClassifyConfig, EncoderConfig

    batch = classification.Batch.of(matching(paths), detector, pixel_size)
    logs = past_logs.settings_of(stimulus or [])
    support_set = load_support(support)
    settings = ClassifyConfig.model_validate(
        {"method": method, "sensitivity": sensitivity, "reject": not no_reject}
    )
    chosen = EncoderConfig(name=encoder, device=device)
    metadata = classification.describe(batch, support, chosen, settings)
    begun = "" if force else classification.check_begun(target, support_set, metadata)
    precision = begun.partition("/")[2] or None
    work = _Work(batch, support_set, chosen, settings, precision)
    with (
        open_cluster(cluster, tls_ca, tls_cert, tls_key) as many,
        _workers(work, many, target) as (where, classify_all),
    ):
        on = where if many is None else f"{where} by {many.slots} at once"
        say(f"classifying on {on}" + _where(where, begun, device))
        if force:
            remove_run(target)
        writer = RunWriter(target.parent, target.stem, metadata=metadata)
        if writer.keys:
            done = classification.count_done(batch, writer.keys)
            say(f"{target}: resuming, {done} of {len(batch.paths)} done")
        places = RunPlaces.of(target)
        past_logs.keep(ReadingJournal(places), MarkKeeper(places, writer.run_id), logs)
        try:
            with progress("classifying", "frames") as told:
                path = classify_all(writer, told)
        except KeyboardInterrupt:
            raise StoppedError(_kept(target)) from None
        except ClusterError as error:
            raise ClusterError(f"{error}; {_kept(target)}") from error
    with open_run(path) as run:
        document = {**run_document(run, path), "device": where}
        empty = run.count == 0
        if logs:
            document["stimulus"] = past_logs.describe(run)
    if empty:
        remove_run(path)
        document["run"] = None
    report(document, as_json=as_json, text=_table(document))
    if empty:
        raise PychipError(
            f"{path}: not kept, since none of the frames could be analysed; the reasons stand above"
        )


def _kept(target: Path) -> str:
    """Say what is on disk: the writer, interrupted anywhere, may not know its last segment."""
    from pychip_stream.archive.run import open_run

    try:
        with open_run(target) as run:
            count = len(run)
    except ArchiveError:
        count = 0
    return f"{target}: {count} frames are kept; the same command goes on with the rest"


class _Work(NamedTuple):
    """What is to be done, and how."""

    batch: "Batch"
    support: "SupportSet"
    encoder: "EncoderConfig"
    settings: "ClassifyConfig"
    precision: str | None


@contextlib.contextmanager
def _workers(
    work: _Work, cluster: "Cluster | None", target: Path
) -> "Iterator[tuple[str, Callable[[RunWriter, Progress], Path]]]":
    """Load the encoder here, or on the workers of a cluster: where it runs, and what uses it."""
    from pychip_stream.analysis import classification

    batch, support, encoder, settings, precision = work
    if cluster is None:
        from pychip_stream.analysis.analyst import Analyst
        from pychip_stream.model.encoders import open_encoder

        opened = open_encoder(encoder, precision)
        analyst = Analyst.of(support, opened, settings)
        yield opened.device, functools.partial(classification.classify, batch, analyst)
        return
    from pychip_stream.batch.shared_frames import crew

    with crew(cluster, batch, support, encoder, settings, target, precision) as many:
        yield (
            many.device,
            functools.partial(classification.classify_by, many.analyse, batch, support),
        )


def _where(now: str, begun: str, asked: str | None) -> str:
    """Say what the choice of a device and precision means for the labels."""
    if begun == now:
        return ", as the frames that are done"
    if begun:
        return f"; the frames that are done, on {begun}: labels of chips at borders may differ"
    return "" if asked and "/" in asked else _MEASURED


def _table(document: dict[str, Any]) -> str:
    lines = [document["run"]] if document["run"] else []
    for row in document["fractions"]:
        values = {name: value for name, value in row.items() if name not in ("path", "index")}
        told = " ".join(f"{k} {'-' if math.isnan(v) else f'{v:.3f}'}" for k, v in values.items())
        lines.append(f"{row['path']}: {told}")
    lines += [f"{row['path']}: failed, {row['reason']}" for row in document["failed"]]
    lines += [f"careful, {line}" for line in document["caveats"]]
    lines += [one["told"] for one in document.get("stimulus", [])]
    return "\n".join(lines)
