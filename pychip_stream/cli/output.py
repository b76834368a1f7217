"""What commands print: one JSON document for machines, everything else to standard error."""

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as ProgressBar
from rich.text import Text

from pychip_stream.errors import ArchiveError

if TYPE_CHECKING:
    from pychip_stream.archive.run import Run
    from pychip_stream.config import Config
    from pychip_stream.domain.progress import Progress


def choose_scoring(run: "Run", name: str | None) -> "Run":
    """Return the run under a scoring, which may be named by its first letters."""
    if name is None:
        return run
    found = [one for one in run.scorings if one == name] or [
        one for one in run.scorings if len(name) >= 4 and one.startswith(name)
    ]
    return run.with_scoring(found[0] if len(found) == 1 else name)


_BLANK = "blank (no beam?), left out; `exclude RUN FRAME… --undo` takes them back"


def run_document(run: "Run", path: Path) -> dict[str, object]:
    """Summarise a run as `classify --json` prints it."""
    from pychip_stream.archive.exclusions import BLANK
    from pychip_stream.domain.caveats import TRUST, caveats

    table = run.fractions
    trust = run.columns(*TRUST)
    lines = Counter(
        line
        for number in table["frame"].tolist()
        for line in caveats({name: float(values[number]) for name, values in trust.items()})
    )
    left_out = Counter(run.exclusions["who"])
    values = run.intervals[table["frame"], :, 0]
    names = [*run.names, "unknown"]
    return {
        "run": str(path),
        "frames": len(run),
        "failed": failed_frames(run),
        "displaced": run.displaced.to_dict("records"),
        "caveats": [
            *(f"{n} of {len(table)} frames: {line}" for line, n in lines.items()),
            *[f"{left_out[BLANK]} of {run.count} frames: {_BLANK}"] * (BLANK in left_out),
        ],
        "fractions": [
            {"path": path, "index": index, **dict(zip(names, values, strict=True))}
            for path, index, values in zip(
                table["path"], table["index"].tolist(), values.tolist(), strict=True
            )
        ],
    }


def failed_frames(run: "Run") -> list[dict[str, object]]:
    """Frames of a run that could not be analysed, as [{"path", "index", "reason"}]."""
    return [
        {"path": str(row["path"]), "index": int(row["index"]), "reason": str(row["reason"])}
        for row in run.failed.to_dict("records")
    ]


def run_holds(config: "Config", archived: int) -> dict[str, Any]:
    """Look what the archive of a run holds: {"run", "frames", "failed"}.

    "run" is the file, or the folder of the segments that are not merged into one; None where
    there is nothing, or where it is on another machine. "error" is there only where the archive
    cannot be opened or holds fewer than the `archived` frames, earlier revisions among them.
    """
    from pychip_stream.archive.files import RunPlaces
    from pychip_stream.archive.run import open_run

    found: dict[str, Any] = {"run": None, "frames": 0, "failed": []}
    if "archiver" not in (config.machine.services or ("archiver",)):
        return found
    places = RunPlaces.of(config.run_path)
    path = places.closed if places.closed.exists() else places.segments
    try:
        with open_run(path) as run:
            count, revisions, failed = len(run), run.archived, failed_frames(run)
    except ArchiveError as error:
        return {**found, "error": str(error)} if archived else found
    if count:
        found = {"run": str(path), "frames": count, "failed": failed}
    if revisions < archived:
        found["error"] = (
            f"{path}: holds {revisions} of {archived} frames that were archived; start the run "
            "again, and those whose files are still there are analysed anew"
        )
    return found


console = Console(stderr=True, highlight=False, soft_wrap=True)
"""People's text, progress and logs."""

printed = Console(highlight=False)
"""What a command was asked to show, where that is more than plain text."""


def say(text: str) -> None:
    """Print one line for people; names from files are not markup."""
    console.print(text, markup=False)


@contextmanager
def progress(label: str, of: str = "") -> "Iterator[Progress]":
    """Show a progress bar on a terminal; gives a function for what is done and the total.

    Parameters
    ----------
    of
        What is counted.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(of),
        _RateColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with ProgressBar(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _RateColumn(ProgressColumn):
    """How much is done in a second."""

    def render(self, task: Task) -> Text:
        """Draw it."""
        return Text("" if task.speed is None else f"{task.speed:.3g}/s")


def report(document: dict[str, Any], *, as_json: bool, text: str) -> None:
    """Print the outcome: `document` on standard output with --json, otherwise `text`.

    JSON has no NaN: what is not finite becomes null.
    """
    if as_json:
        text = json.dumps(_plain(document), ensure_ascii=False, allow_nan=False)
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    elif text:
        sys.stdout.write(text.rstrip() + "\n")


def _plain(value: Any) -> Any:
    """Return a value as JSON knows it, NumPy's numbers included."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
