"""`rescore`: other examples for a run."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pychip_stream.cli.opening import open_run, read_support
from pychip_stream.cli.options import EncoderOfRun, Json, RunPath
from pychip_stream.cli.output import progress, report, say
from pychip_stream.errors import ConfigError, PychipError, UsageError

if TYPE_CHECKING:
    from pychip_stream.analysis.rescoring import Rescored
    from pychip_stream.archive.run import Run
    from pychip_stream.config import Config
    from pychip_stream.domain.support import SupportSet

_LOOK_S = 0.5


def rescore(
    path: RunPath,
    support: Annotated[Path, typer.Option(metavar="SET", help="support set")],
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
    """Label a run under another support set, from its stored embeddings.

    The frames are not read again. While the run is live the support set is published as well,
    so that the past is labelled again and the future follows.
    """
    from pychip_stream.analysis.rescoring import classify_settings, encoder_finder
    from pychip_stream.analysis.rescoring import rescore as rescore_run
    from pychip_stream.archive.joining import merge_scorings

    run = open_run(path)
    if merge and run.live:
        raise UsageError(f"{path}: is live; --merge is for closed runs (closing merges by itself)")
    chosen, data = read_support(support)
    settings = classify_settings(run)
    if no_reject:
        settings = settings.model_copy(update={"reject": False})

    def score(*, keep: bool) -> "Rescored":
        with progress("re-scoring", "frames") as told:
            return rescore_run(
                path, chosen, encoder_finder(run, encoder), settings, keep=keep,
                default=not no_default, progress=told,
            )  # fmt: skip

    outcome = score(keep=False)
    for note in outcome.notes:
        say(note)
    config = _services(run)
    published = config is not None and _publish(config, chosen.version, data)
    if config is not None and published:
        outcome = _catch_up(path, chosen, config, outcome, score)
    if merge:
        say(f"writing it into {run.path}")
        merge_scorings(run.path)
    report(_document(path, outcome, published=published), as_json=as_json,
           text=_text(path, outcome))  # fmt: skip


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


def _catch_up(
    path: Path,
    support: "SupportSet",
    config: "Config",
    outcome: "Rescored",
    score: "Callable[..., Rescored]",
) -> "Rescored":
    """Score the frames that were on their way under the old support set."""
    from pychip_stream.analysis.rescoring import uncovered

    settle_s = 2 * config.archive.segment_s + 2.0
    say(f"waiting {settle_s:g} s for frames that are on their way")
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < settle_s:
        time.sleep(_LOOK_S)
        if uncovered(path, support):
            outcome = score(keep=True)
            quiet_since = time.monotonic()
    return outcome


def _document(path: Path, outcome: "Rescored", *, published: bool) -> dict[str, object]:
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
