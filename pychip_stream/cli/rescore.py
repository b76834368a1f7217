"""`rescore`: other examples for runs."""

import functools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pychip_stream.cli.opening import names_one_run, open_run, read_support, runs_at
from pychip_stream.cli.options import (
    ClusterAddress,
    EncoderOfRun,
    Json,
    TlsCa,
    TlsCertificate,
    TlsKey,
    open_cluster,
)
from pychip_stream.cli.output import progress, report, say
from pychip_stream.errors import ClusterError, ConfigError, PychipError, StoppedError, UsageError

if TYPE_CHECKING:
    from pychip_stream.analysis.many_runs import Order, RunOutcome
    from pychip_stream.analysis.rescoring import Rescored
    from pychip_stream.archive.run import Run
    from pychip_stream.config import Config

_LOOK_S = 0.5


def rescore(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN…", help="run archives, live or closed; folders of them, patterns (*.h5)"
        ),
    ],
    support: Annotated[Path, typer.Option(metavar="SET", help="support set")],
    cluster: ClusterAddress = None,
    tls_ca: TlsCa = None,
    tls_cert: TlsCertificate = None,
    tls_key: TlsKey = None,
    encoder: EncoderOfRun = None,
    no_reject: Annotated[bool, typer.Option("--no-reject", help="never label unknown")] = False,
    no_default: Annotated[
        bool, typer.Option("--no-default", help="the run goes on showing another scoring")
    ] = False,
    merge: Annotated[
        bool, typer.Option("--merge", help="write it into RUN itself, which copies RUN once")
    ] = False,
    as_json: Json = False,
) -> None:
    """Label runs under another support set, from their stored embeddings.

    The frames are not read again. While a run is live the support set is published as well,
    so that the past is labelled again and the future follows. Of several runs, those that are
    scored completely are skipped: after Ctrl-C the same command goes on with the rest.
    """
    from pychip_stream.analysis.block_scoring import scored_here
    from pychip_stream.analysis.many_runs import Order

    chosen, data = read_support(support)
    with open_cluster(cluster, tls_ca, tls_cert, tls_key) as many:
        score = scored_here
        if many is not None:
            from pychip_stream.batch.shared_runs import score_on

            score = functools.partial(score_on, many)
        order = Order(
            chosen, encoder, reject=not no_reject, default=not no_default, merge=merge, score=score
        )
        if len(runs) == 1 and names_one_run(runs[0]):
            outcome, published = _one(runs[0], order, data)
            report(
                _document(runs[0], outcome, published=published),
                as_json=as_json,
                text=_text(runs[0], outcome),
            )
        else:
            _all(runs, order, data, as_json=as_json)


def _all(runs: "Sequence[Path]", order: "Order", data: bytes, *, as_json: bool) -> None:
    """Re-score several runs, and report."""
    from pychip_stream.analysis.many_runs import RunOutcome

    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    failed: list[RunOutcome] = []
    for one in _several(runs_at(runs), order):
        if one.rescored is None:
            failed.append(one)
            continue
        outcome, published = one.rescored, False
        if one.live:
            try:
                outcome, published = _follow(one.path, order, data, outcome)
            except ClusterError:
                raise
            except PychipError as error:
                failed.append(RunOutcome(one.path, reason=str(error)))
                continue
        row = _document(one.path, outcome, published=published)
        rows.append({**row, "skipped": one.skipped})
        lines += [f"{one.path}: {note}" for note in outcome.notes]
        lines.append(f"{one.path}: is scored already" if one.skipped else _text(one.path, outcome))
    lines += [f"failed, {one.reason}" for one in failed]
    document = {
        "runs": rows,
        "failed": [{"run": str(one.path), "reason": one.reason} for one in failed],
    }
    report(document, as_json=as_json, text="\n".join(lines))
    if failed:
        raise PychipError(
            f"{len(failed)} of {len(failed) + len(rows)} runs failed; mend what is said of them, "
            "and the same command goes on with these"
        )


def _several(runs: Sequence[tuple[Path, str]], order: "Order") -> "Iterator[RunOutcome]":
    """Re-score runs one after the other; those that cannot be opened are told as they are."""
    from pychip_stream.analysis.many_runs import RunOutcome, rescore_run

    encoders: list[Any] = []
    rest = f" of {len(runs)} runs are done; the same command goes on with the rest"
    with progress("re-scoring", "runs") as told:
        for number, (path, reason) in enumerate(runs):
            told(number, len(runs))
            try:
                if reason:
                    yield RunOutcome(path, reason=reason)
                else:
                    yield rescore_run(path, order, encoders)
            except KeyboardInterrupt:
                raise StoppedError(f"{number}{rest}") from None
            except ClusterError as error:
                raise ClusterError(f"{error}; {number}{rest}") from error
        told(len(runs), len(runs))


def _one(path: Path, order: "Order", data: bytes) -> "tuple[Rescored, bool]":
    """Re-score the one run that was asked for; also says whether its hub was told."""
    from pychip_stream.archive.joining import merge_scorings

    run = open_run(path)
    if order.merge and run.live:
        raise UsageError(f"{path}: is live; --merge is for closed runs (closing merges by itself)")
    outcome = _scored(path, order, keep=False)
    for note in outcome.notes:
        say(note)
    outcome, published = _follow(path, order, data, outcome)
    if order.merge:
        say(f"writing it into {run.path}")
        merge_scorings(run.path)
    return outcome, published


def _scored(path: Path, order: "Order", *, keep: bool) -> "Rescored":
    from pychip_stream.analysis import rescoring
    from pychip_stream.analysis.many_runs import settings_for

    run = open_run(path)
    with progress("re-scoring", "frames") as told:
        return rescoring.rescore(
            path, order.support, rescoring.encoder_finder(run, order.encoder),
            settings_for(run, reject=order.reject), keep=keep, default=order.default,
            progress=told, score=order.score,
        )  # fmt: skip


def _follow(
    path: Path, order: "Order", data: bytes, outcome: "Rescored"
) -> "tuple[Rescored, bool]":
    """Let the services that write a live run follow, if they are here; whether they were told."""
    config = _services(open_run(path))
    if config is None or not _publish(config, order.support.version, data):
        return outcome, False
    return _catch_up(path, order, config, outcome), True


def _services(run: "Run") -> "Config | None":
    """Find the configuration of the services that write a live run, if they are here."""
    from pychip_stream import config as configuration
    from pychip_stream.operation.running import resolved_beside

    resolved = resolved_beside(run.path)
    if not run.live or resolved is None:
        return None
    try:
        return configuration.load(resolved)
    except ConfigError:
        return None


def _publish(config: "Config", version: str, data: bytes) -> bool:
    """Make a support set the current one; whether there was anybody to tell."""
    from pychip_stream.domain.support import current_user
    from pychip_stream.wire.codec import bytes_array
    from pychip_stream.wire.endpoints import request
    from pychip_stream.wire.messages import PublishSupport

    message = PublishSupport(author=current_user())
    try:
        request(config.wire, message, bytes_array(data))
    except PychipError as error:
        say(f"the frames to come are not classified with it: {error}")
        return False
    say(f"published {version}; the frames to come are classified with it")
    return True


def _catch_up(path: Path, order: "Order", config: "Config", outcome: "Rescored") -> "Rescored":
    """Score the frames that were on their way under the old support set."""
    from pychip_stream.analysis.rescoring import uncovered

    settle_s = 2 * config.archive.segment_s + 2.0
    say(f"waiting {settle_s:g} s for frames that are on their way")
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < settle_s:
        time.sleep(_LOOK_S)
        if uncovered(path, order.support):
            outcome = _scored(path, order, keep=True)
            quiet_since = time.monotonic()
    return outcome


def _document(path: Path, outcome: "Rescored", *, published: bool) -> dict[str, Any]:
    return {
        "run": str(path),
        "scoring": outcome.scoring,
        "frames": outcome.frames,
        "left_out": dict(outcome.left_out),
        "notes": list(outcome.notes),
        "published": published,
        "seconds": round(outcome.seconds, 3),
    }


def _text(path: Path, outcome: "Rescored") -> str:
    lines = [
        f"{path}: scoring {outcome.scoring}, {outcome.frames} frames in {outcome.seconds:.1f} s"
    ]
    lines += [f"left out: {count} frames, {why}" for why, count in outcome.left_out.items()]
    return "\n".join(lines)
