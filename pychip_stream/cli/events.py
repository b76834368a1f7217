"""`events`: marks of a run, what it tells of itself, and the change points of its curves."""

import math
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pychip_stream.cli.opening import open_run
from pychip_stream.cli.options import Json, RunPath, Scoring
from pychip_stream.cli.output import choose_scoring, report
from pychip_stream.errors import UsageError

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run


def events(
    path: RunPath,
    mark: Annotated[
        str | None, typer.Option(metavar="TEXT", help="mark a moment (--at), or --change a mark")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="MOMENT", help="seconds since the first frame, or ISO 8601"),
    ] = None,
    change: Annotated[
        str | None, typer.Option(metavar="EVENT", help="a mark of yours gets another text")
    ] = None,
    remove: Annotated[
        str | None, typer.Option(metavar="EVENT", help="take back a mark of yours")
    ] = None,
    propose: Annotated[
        bool, typer.Option("--propose", help="look for changes of the fractions and quantities")
    ] = False,
    take: Annotated[bool, typer.Option("--take", help="keep what is proposed as marks")] = False,
    scoring: Scoring = None,
    as_json: Json = False,
) -> None:
    """Mark moments of a run, list what happened, and propose where its curves change."""
    from pychip_stream.archive import marks as archive
    from pychip_stream.domain.support import current_user

    if change is not None and mark is None:
        raise UsageError(f"--change {change} needs the new text: --mark TEXT")
    if mark is not None and (at is None) == (change is None):
        raise UsageError("--mark needs either --at MOMENT or --change EVENT")
    if take and not propose:
        raise UsageError("--take needs --propose")
    who = current_user()
    with open_run(path) as opened:
        run = choose_scoring(opened, scoring)
        if mark is not None and at is not None:
            archive.mark(run, _moment(at, run), mark, who=who)
        if change is not None:
            archive.change_mark(run, change, who=who, text=mark)
        if remove is not None:
            archive.change_mark(run, remove, who=who, removed=True)
        proposed = _proposed(run) if propose else []
        for point in proposed if take else ():
            moment = run.start + point["time_s"]
            archive.mark(run, moment, point["text"], who=who, kind=archive.CHANGE)
        found: list[dict[str, Any]] = [
            {
                "event": one.event, "time_s": one.time - run.start, "time": one.time,
                "kind": one.kind, "text": one.text, "who": one.who, "when": one.when,
            }
            for one in archive.events_of(run)
        ]  # fmt: skip
    document = {"run": str(path), "events": found, "proposed": proposed}
    lines = [f"{e['time_s']:.2f} s  {e['event'][:8]}  {e['kind']}  {e['text']}" for e in found]
    lines += [f"{p['time_s']:.2f} s  proposed  {p['text']}" for p in proposed if not take]
    report(document, as_json=as_json, text="\n".join([*lines, f"{path}: {len(found)} events"]))


def _proposed(run: "Run") -> list[dict[str, Any]]:
    from pychip_stream.analysis.change_points import change_points_of

    return [
        {
            "name": point.name, "time_s": point.time - run.start, "step": point.step,
            "before": point.before, "after": point.after, "text": point.text,
        }
        for point in change_points_of(run)
    ]  # fmt: skip


def _moment(text: str, run: "Run") -> float:
    """Seconds since 1970 of a moment as people type it; without a zone it is that of here."""
    try:
        moment = run.start + float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError, OSError):
            moment = math.nan
    if not math.isfinite(moment):
        raise UsageError(
            f"--at {text}: is no moment; give seconds since the first frame, or ISO 8601"
        )
    return moment
