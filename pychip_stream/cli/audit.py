"""`audit`: random chips to label, and the fractions that they correct."""

from pathlib import Path
from typing import Annotated

import typer

from pychip_stream.cli.opening import open_run
from pychip_stream.cli.options import Frames, Json, RunPath
from pychip_stream.cli.output import report
from pychip_stream.errors import UsageError


def audit(
    path: RunPath,
    frames: Frames = None,
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
