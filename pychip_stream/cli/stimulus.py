"""`stimulus`: readings of a holder, a furnace, … in a run, and the clocks of their sources."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pychip_stream.cli.opening import open_run
from pychip_stream.cli.options import Json, RunPath
from pychip_stream.cli.output import report, say
from pychip_stream.errors import UsageError


def stimulus(
    path: RunPath,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FILE…", help="logs to add, or .yaml with a list `stimulus:`; none: list them"
        ),
    ] = None,
    offset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE=SECONDS", help="add to the clock of a source; auto: as suggested"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show, add and line up what was done to the specimen; frames and labels stay as they are."""
    from pychip_stream.analysis import offset_suggestion, past_logs
    from pychip_stream.archive.clock_offsets import set_offset
    from pychip_stream.archive.files import RunPlaces
    from pychip_stream.domain.support import current_user

    settings = past_logs.settings_of(files or [])
    wanted = [_offset(text) for text in offset or []]
    with open_run(path) as run:
        added = past_logs.add_logs(run, settings)
        run.refresh()
        for source, seconds in wanted:
            if source not in run.stimulus.sources:
                known = ", ".join(run.stimulus.sources) or "none"
                raise UsageError(f"{path}: has no readings of {source!r}; there are: {known}")
            how = "by hand"
            if seconds is None:
                found = offset_suggestion.suggested(run, source)
                if found is None or not found.sure:
                    raise UsageError(
                        f"{path}: nothing that {source} and the frames both saw tells its offset; "
                        f"give it, --offset {source}=SECONDS"
                    )
                seconds, how = found.offset_s, found.how
                say(f"{source}: {found.told}, {how} (agreement {found.agreement:.2f})")
            set_offset(RunPlaces.of(path), run.run_id, source, seconds, who=current_user(), how=how)
        run.refresh()
        sources = past_logs.describe(run)
        for entry in sources:
            entry["suggested"] = _suggestion(offset_suggestion.suggested(run, entry["source"]))
    document = {"run": str(path), "added": added, "sources": sources}
    report(document, as_json=as_json, text="\n".join(_lines(path, sources)))


def _offset(text: str) -> tuple[str, float | None]:
    source, _, value = text.rpartition("=")
    try:
        seconds = None if value == "auto" else float(value)
    except ValueError:
        source = ""
    if not source or (seconds is not None and not abs(seconds) < 1e9):
        raise UsageError(f"--offset {text!r}: write SOURCE=SECONDS or SOURCE=auto")
    return source, seconds


def _suggestion(found: Any) -> dict[str, Any] | None:
    return None if found is None else dict(found._asdict())


def _lines(path: Path, sources: list[dict[str, Any]]) -> list[str]:
    lines = [f"{path}: {len(sources)} sources of readings"]
    for entry in sources:
        lines.append(f"{entry['told']}; clock {entry['offset_s']:+.1f} s")
        found = entry["suggested"]
        if found is not None:
            off = "" if found["within_s"] is None else f" ± {found['within_s']:.2g} s"
            word = (
                "suggested" if found["sure"] else "nothing clear; look at the curves; the best is"
            )
            lines.append(f"  {word} {found['offset_s']:+.1f} s{off}: {found['how']}")
    return lines
