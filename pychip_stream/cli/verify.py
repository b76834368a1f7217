"""`verify`: labels of a run computed once more."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pychip_stream.cli.opening import look_through_run, open_run
from pychip_stream.cli.options import EncoderOfRun, Frames, Json, RunPath, Scoring
from pychip_stream.cli.output import choose_scoring, progress, report
from pychip_stream.errors import ArchiveError, UsageError

if TYPE_CHECKING:
    from pychip_stream.analysis.verification import Verification


def verify(
    path: RunPath,
    frames: Frames = None,
    sample: Annotated[int, typer.Option(min=0, help="number of frames; 0: all")] = 20,
    scoring: Scoring = None,
    encoder: EncoderOfRun = None,
    seed: Annotated[int, typer.Option(help="of the random sample")] = 0,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="keep what is whole, tell what is lost"),
    ] = False,
    as_json: Json = False,
) -> None:
    """Compute labels again from the source frames and report how far they agree."""
    if repair:
        _repair(path, as_json=as_json)
        return
    from pychip_stream.analysis.rescoring import encoder_finder
    from pychip_stream.analysis.verification import verify as verify_run
    from pychip_stream.archive.repair import damage

    run = choose_scoring(open_run(path, everything=True), scoring)
    root = frames or run.root
    if root is None or not root.is_dir():
        raise UsageError(
            f"{root or path}: the frames are not there; say with --frames ROOT where they are"
        )
    with progress("verifying") as told:
        outcome = verify_run(
            run, root, encoder_finder(run, encoder), sample=sample, seed=seed, progress=told
        )
    damaged = damage(path)
    document = _verification(path, outcome) | {"damaged": damaged}
    report(document, as_json=as_json, text=_verified_text(path, outcome))
    if not outcome.passed:
        raise ArchiveError(f"{path}: {_why_failed(outcome)}")
    if damaged:
        raise ArchiveError(
            f"{path}: is damaged ({'; '.join(damaged)}); `pychip-stream verify RUN --repair` "
            "keeps what is whole"
        )


def _repair(path: Path, *, as_json: bool) -> None:
    from pychip_stream.archive.repair import repair_run

    look_through_run(path)
    found = repair_run(path)
    document = {"run": str(path)} | asdict(found)
    for key in ("lost", "unembedded"):
        document[key] = [{"path": p, "index": i} for p, i in document[key]]
    lines = [f"{path}: {len(found.files) or 'no'} damaged files, {found.kept} frames are kept"]
    lines += [f"lost: frame {p}" + (f"#{i}" if i else "") for p, i in found.lost]
    lines += [f"lost: embeddings of {p}" + (f"#{i}" if i else "") for p, i in found.unembedded]
    lines += [f"lost: scoring {name[:8]} of {n} frames" for name, n in found.scorings.items()]
    lines += [f"lost: column {name} of the frame table" for name in found.columns]
    lines += [f"lost: support set {version[:8]}" for version in found.supports]
    lines += [f"lost: {name}" for name in found.tables]
    report(document, as_json=as_json, text="\n".join(lines))


def _verification(path: Path, outcome: "Verification") -> dict[str, object]:
    return {
        "run": str(path),
        "scoring": outcome.scoring,
        "sampled": len(outcome.checks),
        "compared": outcome.compared,
        "agreement": outcome.agreement,
        "missing": [c.path for c in outcome.with_problem("missing")],
        "changed": [c.path for c in outcome.with_problem("changed")],
        "frames": [asdict(check) for check in outcome.checks],
    }


def _verified_text(path: Path, outcome: "Verification") -> str:
    lines = [f"{c.path}: {c.problem}" for c in outcome.checks if c.problem]
    lines.append(
        f"{path}: {100 * outcome.agreement:.3f} % of the labels agree "
        f"({outcome.compared} of {len(outcome.checks)} frames compared)"
        if outcome.compared
        else f"{path}: none of {len(outcome.checks)} frames could be compared"
    )
    return "\n".join(lines)


def _why_failed(outcome: "Verification") -> str:
    changed = len(outcome.with_problem("changed"))
    if changed:
        return f"{changed} of the frames are not the files that were analysed"
    if not outcome.compared:
        return "no frame could be compared; is --frames the right folder?"
    return f"only {100 * outcome.agreement:.2f} % of the labels agree"
