"""`init`: an experiment folder."""

import importlib.resources
from pathlib import Path
from typing import Annotated

import typer

from pychip_stream.cli.options import Json
from pychip_stream.cli.output import report
from pychip_stream.errors import UsageError


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="the new experiment folder")],
    as_json: Json = False,
) -> None:
    """Make a new experiment folder with an annotated config."""
    target = folder / "config.yaml"
    if target.exists():
        raise UsageError(f"{target}: exists already; choose another folder or edit that file")
    (folder / "acquisition").mkdir(parents=True, exist_ok=True)
    template = importlib.resources.files("pychip_stream.cli").joinpath("template.yaml")
    target.write_text(template.read_text(encoding="utf-8"), encoding="utf-8")
    report(
        {"folder": str(folder), "config": str(target)},
        as_json=as_json,
        text=f"{target}: edit it, then start with `pychip-stream run {target}`",
    )
