"""`grid`, `suggest` and `audit`: guidance before, while and after examples are chosen."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pychip_stream.cli.frames import open_frame
from pychip_stream.cli.output import report
from pychip_stream.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Index = Annotated[int, typer.Option(min=0, help="frame within a stack")]


def grid(
    frame: Annotated[Path, typer.Argument(metavar="FRAME", help="a typical frame, or its folder")],
    index: Index = 0,
    png: Annotated[
        Path | None, typer.Option(metavar="OUT", help="draw the numbered grid over the frame")
    ] = None,
    chip_size: Annotated[
        str | None, typer.Option(help="of that grid: N or WxH; default: the recommended one")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recommend a chip size for a frame, with the reason; --png shows what to type in --pick."""
    from pychip_stream.domain.chips import ChipSize
    from pychip_stream.model.grid_advice import recommend_grid

    size = ChipSize.parse(chip_size) if chip_size else None
    image = open_frame(frame, index)
    advice = recommend_grid(image)
    lines = [f"{advice.chip_size} pixels ({advice.smallest} to {advice.largest}): {advice.reason}"]
    if advice.downsampling > 1:
        lines.append(f"frames may be reduced by {advice.downsampling} without loss")
    lines += [f"- {line}" for line in advice.warnings]
    document = {"frame": image.source, **asdict(advice), "warnings": list(advice.warnings)}
    if png is not None:
        from pychip_stream.export.grid_picture import save_numbered_grid

        size = size or ChipSize.parse(advice.chip_size)
        save_numbered_grid(image, size, png)
        lines.append(f"{png}: the grid of {size} pixels with its rows and columns")
        document |= {"png": str(png)}
    report(document, as_json=as_json, text="\n".join(lines))


def suggest(
    frame: Annotated[
        Path, typer.Argument(metavar="FRAME", help="to pick from; of a folder the first")
    ],
    support: Annotated[Path, typer.Option(metavar="SET", help="support set so far")],
    count: Annotated[int, typer.Option(min=1, help="how many chips")] = 5,
    index: Index = 0,
    encoder: Annotated[str, typer.Option(help="bundled, or a torchvision ResNet")] = "bundled",
    as_json: Json = False,
) -> None:
    """Suggest which chips of a frame to label next."""
    from pychip_stream.analysis.analyst import open_encoder
    from pychip_stream.analysis.drafting import suggest_chips
    from pychip_stream.archive.support_sets import load_support
    from pychip_stream.config import EncoderConfig

    image, chosen = open_frame(frame, index), load_support(support)
    found = suggest_chips(image, chosen, open_encoder(EncoderConfig(name=encoder)), count)
    report(
        {"frame": image.source, "support": str(support), "chips": [asdict(one) for one in found]},
        as_json=as_json,
        text="\n".join(f"{one.row},{one.column}  {one.kind}: {one.reason}" for one in found),
    )


def audit(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="run archive, live or closed")],
    frames: Annotated[
        Path | None, typer.Option(metavar="ROOT", help="where the frames are now")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="gets the chips to label; default: RUN.audit")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="chips to label")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="of the drawing")] = 0,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="the filled-in table: estimate")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw random chips to label; with --labels, correct the fractions by them."""
    if labels is not None:
        _estimate(path, labels, as_json=as_json)
        return
    from pychip_stream.analysis.audit import TABLE, draw_chips, write_audit
    from pychip_stream.archive.run import open_run
    from pychip_stream.cli.export import frame_source

    folder = out or path.with_suffix(".audit")
    with open_run(path) as run:
        chips = draw_chips(run, count, seed)
        painted = write_audit(run, folder, chips, frame_source(run, frames))
    if not painted:
        raise UsageError(f"{folder}: no frame was found, so there are no pictures; --frames ROOT")
    table = folder / TABLE
    report(
        {"run": str(path), "table": str(table), "chips": len(chips), "pictures": painted},
        as_json=as_json,
        text=f"{table}: {len(chips)} chips, {painted} pictures; fill in true_label, then\n"
        f"pychip-stream audit {path} --labels {table}",
    )


def _estimate(path: Path, labels: Path, *, as_json: bool) -> None:
    from pychip_stream.analysis.audit import read_audit
    from pychip_stream.archive.run import open_run

    with open_run(path) as run:
        found = read_audit(run, labels)
    document: dict[str, object] = {
        "run": str(path),
        "chips": found.chips,
        "accuracy": list(found.accuracy),
        "fractions": {name: list(f) for name, f in found.fractions.items()},
        "mapped": found.mapped,
        "warnings": list(found.warnings),
    }
    lines = [
        f"{name}: {f.value:.3f} ({f.low:.3f} to {f.high:.3f}), as mapped "
        f"{found.mapped.get(name, 0.0):.3f}"
        for name, f in found.fractions.items()
    ]
    right = found.accuracy
    lines.append(f"accuracy {right.value:.3f} ({right.low:.3f} to {right.high:.3f})")
    lines += [f"- {line}" for line in found.warnings]
    report(document, as_json=as_json, text="\n".join(lines))
