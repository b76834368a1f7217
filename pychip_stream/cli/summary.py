"""Summary: what a run holds, as commands print it."""

from pathlib import Path

from pychip_stream.archive.reader import Run


def run_document(run: Run, path: Path) -> dict[str, object]:
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


def failed_frames(run: Run) -> list[dict[str, object]]:
    """Frames of a run that could not be analysed, as [{"path", "index", "reason"}]."""
    return [
        {"path": str(row["path"]), "index": int(row["index"]), "reason": str(row["reason"])}
        for row in run.failed.to_dict("records")
    ]
