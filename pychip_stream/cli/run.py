"""`run`: the services of a configuration."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pychip_stream import config as configuration
from pychip_stream.cli.options import Json
from pychip_stream.cli.output import report, say
from pychip_stream.errors import ArchiveError, PychipError


def run(
    path: Annotated[Path, typer.Argument(metavar="CONFIG", help="configuration file")],
    log_format: Annotated[
        Literal["text", "json"], typer.Option(help="form of the log on standard error")
    ] = "text",
    review: Annotated[
        bool, typer.Option("--review", help="keep the page for review when the run has ended")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the services of a config; Ctrl-C stops them in order."""
    config = configuration.load(path)
    from pychip_stream.cli.session import Session

    session = Session(config, log_format, path)
    if config.sees_frames and not config.watch.root.is_dir() and log_format == "text":
        say(f"watch.root {config.watch.root}: not there yet; waiting for it (misspelt in {path}?)")
    error = None
    try:
        session.run()
    except PychipError as one:
        error = one
    summary = session.summary()
    if error is None and "error" in summary:
        error = ArchiveError(summary["error"])
    if error is not None:
        if as_json:
            report({**summary, "error": str(error)}, as_json=True, text="")
        raise error
    text = f"{summary['run']}: {summary['frames']} frames, {len(summary['failed'])} failed"
    report(summary, as_json=as_json, text=text if summary["run"] else "no frame was archived")
    if review:
        say("the run has ended; its page stays for review, Ctrl-C ends it")
        session.review()
