"""`review`: the dashboard on archives, without a run."""

import runpy
import sys
from pathlib import Path
from typing import Annotated

import typer

from pychip_stream.cli.opening import open_run
from pychip_stream.cli.output import say


def review(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="run archives, or folders with some (also in runs/); default: this folder",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one")] = 0,
) -> None:
    """Look at run archives in the browser, or classify one image; Ctrl-C ends it."""
    places = []
    for path in paths or [Path()]:
        if path.is_dir() and path.suffix != ".segments":
            places += [path.resolve(), path.resolve() / "runs"]
        else:
            open_run(path)  # or says why not
            places.append(path.resolve())
    say("the page is made ready; Ctrl-C ends it")
    sys.argv[1:] = [*map(str, places), "--port", str(port)]
    # A program of its own, as the services are; it needs no process of its own.
    runpy.run_module("pychip_stream.dashboard.review", run_name="__main__", alter_sys=True)
