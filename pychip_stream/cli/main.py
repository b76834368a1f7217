"""The `pychip-stream` command: registers the subcommands and turns errors into exit codes."""

import sys
from collections.abc import Sequence

import click
import typer

from pychip_stream.cli import analyze, bench, demo, experiment, later, support
from pychip_stream.cli.output import console, say
from pychip_stream.cli.simulate import simulate
from pychip_stream.errors import ConfigError, PychipError

app = typer.Typer(
    name="pychip-stream",
    help="Live phase fractions from electron-microscope frames.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo.demo)
app.command()(experiment.init)
app.command()(experiment.run)
app.command()(simulate)
app.command()(analyze.classify)
app.command()(analyze.export)
app.command()(bench.bench)
app.add_typer(support.app, name="support")
later.register(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the work failed, 2 wrong usage or config.

    `--debug` anywhere on the line shows the traceback of an error.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    if debug:
        words.remove("--debug")
    sys.exit(_run(words, debug=debug))


def _run(words: list[str], *, debug: bool) -> int:
    try:
        outcome = app(args=words, prog_name="pychip-stream", standalone_mode=False)
    except (PychipError, click.ClickException, click.Abort, KeyboardInterrupt, OSError) as error:
        if debug:
            console.print_exception()
        return _explain(error)
    except Exception as error:
        if debug:
            console.print_exception()
        say(f"error: unexpected {type(error).__name__}: {error} (--debug shows where)")
        return 1
    return outcome if isinstance(outcome, int) else 0


def _explain(error: BaseException) -> int:
    """Print an error as one line; returns the exit code."""
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        say(f"error: {error.where}: {len(error.problems)} problems")
        for problem in error.problems:
            say(f"  {problem}")
    elif isinstance(error, PychipError):
        say(f"error: {error}")
    elif isinstance(error, click.exceptions.NoArgsIsHelpError):
        sys.stderr.write(error.format_message() + "\n")
        return 2
    elif isinstance(error, click.ClickException):
        say(f"error: {' '.join(error.format_message().split())} (--help shows the usage)")
        return 2
    elif isinstance(error, OSError):
        say(f"error: {error.filename or 'input/output'}: {error.strerror or error}")
        return 1
    else:
        say("interrupted")
        return 1
    return error.exit_code


if __name__ == "__main__":
    main()
