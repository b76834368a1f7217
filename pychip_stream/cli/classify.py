"""`classify`: frames that lie there already."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from pychip_stream.cli.opening import load_support
from pychip_stream.cli.options import Encoder, Json, PixelSize
from pychip_stream.cli.output import progress, report, run_document, say
from pychip_stream.errors import PychipError, StoppedError, UsageError

_MEASURED = (
    ", the fastest now; labels of chips at borders depend on the precision, which --device (of a "
    "run: encoder.device) fixes"
)


def classify(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="frames, or folders of them")
    ],
    support: Annotated[Path, typer.Option(metavar="SET", help="support set")],
    out: Annotated[Path, typer.Option(metavar="RUN", help="archive to write, for example run.h5")],
    cluster: Annotated[str | None, typer.Option(metavar="ADDRESS", help="not there yet")] = None,
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
    if cluster is not None:
        raise UsageError("`--cluster` is not there yet in this version")
    if method not in ("auto", "lda", "euclidean"):
        raise UsageError(f"--method {method!r}: choose auto, lda or euclidean")
    target = out if out.suffix == ".h5" else out.with_name(out.name + ".h5")
    if target.exists() and not force:
        raise UsageError(f"{target}: exists already; choose another name, or add --force")
    from pychip_stream.analysis import classification
    from pychip_stream.analysis import stimulus as stimuli
    from pychip_stream.analysis.analyst import Analyst
    from pychip_stream.archive.files import RunPlaces
    from pychip_stream.archive.joining import remove_run
    from pychip_stream.archive.run import open_run
    from pychip_stream.archive.stimulus import ReadingJournal
    from pychip_stream.archive.writer import RunWriter
    from pychip_stream.config import ClassifyConfig, EncoderConfig
    from pychip_stream.model.encoders import open_encoder

    batch = classification.Batch.of(paths, detector, pixel_size)
    logs = stimuli.settings_of(stimulus or [])
    support_set = load_support(support)
    settings = ClassifyConfig.model_validate(
        {"method": method, "sensitivity": sensitivity, "reject": not no_reject}
    )
    chosen = EncoderConfig(name=encoder, device=device)
    metadata = classification.describe(batch, support, chosen, settings)
    begun = "" if force else classification.check_begun(target, support_set, metadata)
    opened = open_encoder(chosen, begun.partition("/")[2] or None)
    say(f"classifying on {opened.device}" + _where(opened.device, begun, device))
    analyst = Analyst.of(support_set, opened, settings)
    if force:
        remove_run(target)
    writer = RunWriter(target.parent, target.stem, metadata=metadata)
    if writer.keys:
        done = classification.count_done(batch, writer.keys)
        say(f"{target}: resuming, {done} of {len(batch.paths)} done")
    stimuli.keep(ReadingJournal(RunPlaces.of(target)), logs)
    try:
        with progress("classifying") as told:
            path = classification.classify(
                batch, analyst, writer, lambda _name, done, total: told(done, total)
            )
    except KeyboardInterrupt:
        raise StoppedError(
            f"{target}: {len(writer.keys)} frames are kept; the same command goes on with the rest"
        ) from None
    with open_run(path) as run:
        document = {**run_document(run, path), "device": opened.device}
        empty = run.count == 0
        if logs:
            document["stimulus"] = stimuli.describe(run)
    if empty:
        remove_run(path)
        document["run"] = None
    report(document, as_json=as_json, text=_table(document))
    if empty:
        raise PychipError(
            f"{path}: not kept, since none of the frames could be analysed; the reasons stand above"
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
