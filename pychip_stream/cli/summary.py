"""Summary: what a run holds, as commands print it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pychip_stream.archive.reader import Run


def choose_scoring(run: "Run", name: str | None) -> "Run":
    """Return the run under a scoring, which may be named by its first letters.

    Raises
    ------
    ArchiveUsageError
        If there is no such scoring, or several.
    """
    if name is None:
        return run
    found = [one for one in run.scorings if one == name] or [
        one for one in run.scorings if len(name) >= 4 and one.startswith(name)
    ]
    return run.with_scoring(found[0] if len(found) == 1 else name)


def run_document(run: "Run", path: Path) -> dict[str, object]:
    """Summarise a run as `classify --json` prints it."""
    table = run.fractions
    names = [*run.names, "unknown"]
    return {
        "run": str(path),
        "frames": len(run),
        "failed": failed_frames(run),
        "fractions": [
            {"path": row["path"], "index": int(row["index"]), **{n: float(row[n]) for n in names}}
            for row in table.to_dict("records")
        ],
    }


def failed_frames(run: "Run") -> list[dict[str, object]]:
    """Frames of a run that could not be analysed, as [{"path", "index", "reason"}]."""
    return [
        {"path": str(row["path"]), "index": int(row["index"]), "reason": str(row["reason"])}
        for row in run.failed.to_dict("records")
    ]
