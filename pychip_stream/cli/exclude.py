"""`exclude`: leave frames out of curve, mean and export, or take them back."""

import re
from pathlib import Path
from typing import Annotated

import typer

from pychip_stream.cli.opening import open_run
from pychip_stream.cli.options import Json, RunPath
from pychip_stream.cli.output import report
from pychip_stream.errors import UsageError

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def exclude(
    path: RunPath,
    frames: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FRAME…",
            help="number as in the csv, numbers 5-9, path as there (all its frames), or path#3; "
            "without any, what is left out is listed",
        ),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="take them back")] = False,
    as_json: Json = False,
) -> None:
    """Leave frames out of curve, mean and export; they stay archived and keep their numbers."""
    from pychip_stream.archive.exclusions import exclude as exclude_frames
    from pychip_stream.archive.files import RunPlaces
    from pychip_stream.archive.layout import frame_keys
    from pychip_stream.domain.support import current_user

    if undo and not frames:
        raise UsageError("--undo needs the frames to take back")
    with open_run(path) as run:
        keys = frame_keys(run.columns("path", "index"))
        chosen = _numbers(keys, frames or [], path)
        out = set(run.exclusions["frame"])
        changed = [number for number in chosen if (number in out) == undo]
        if changed:
            exclude_frames(
                RunPlaces.of(path), run.run_id, [keys[n] for n in changed],
                who=current_user(), undo=undo,
            )  # fmt: skip
            run.refresh()
        left = run.exclusions.to_dict("records")
    document = {"run": str(path), "changed": changed, "excluded": left}
    lines = [f"{row['frame']}  {_name(row['path'], row['index'])}  {row['who']}" for row in left]
    lines.append(f"{path}: {len(left)} frames are left out")
    report(document, as_json=as_json, text="\n".join(lines))


def _name(path: str, index: int) -> str:
    return f"{path}#{index}" if index else path


def _numbers(keys: list[tuple[str, int]], words: list[str], path: Path) -> list[int]:
    """Numbers of the frames that the words name, in order and once."""
    numbers: dict[int, None] = {}
    named: dict[str, list[int]] = {}
    for number, (name, index) in enumerate(keys):
        named.setdefault(name, []).append(number)
        named[f"{name}#{index}"] = [number]
    for word in words:
        found = named.get(word)
        if found is None and (span := _RANGE.fullmatch(word)):
            first, last = int(span[1]), int(span[2] or span[1])
            found = list(range(first, last + 1)) if last < len(keys) else None
        if not found:
            raise UsageError(
                f"{path}: has no classified frame {word}; there are 0 to {len(keys) - 1}, and "
                "their paths as in the csv"
            )
        numbers |= dict.fromkeys(found)
    return list(numbers)
