"""The `pychip-stream` command: loads what was asked for and turns errors into exit codes."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from pychip_stream import __version__, logs, threads

if TYPE_CHECKING:
    import typer

_COMMANDS = (
    "demo", "init", "run", "review", "simulate", "support", "classify", "export", "exclude",
    "events", "rescore", "stimulus", "verify", "grid", "suggest", "audit", "status", "keys",
    "doctor", "bench",
)  # fmt: skip
"""Each in a module of its name: a function of that name, or a group `app`.

The modules load torch, scikit-learn, pandas, matplotlib and the like inside their functions, so
that help, completion and a misspelt word answer at once.
"""

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C.

    `--debug` anywhere on the line shows the traceback of an error.
    """
    threads.settle(os.environ)  # before anything loads a matrix library
    logs.speak_utf8()
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    if debug:
        words.remove("--debug")
    sys.exit(_run(words, debug=debug))


def _run(words: list[str], *, debug: bool) -> int:
    try:
        outcome = _program(words)(args=words, prog_name="pychip-stream", standalone_mode=False)
        code = outcome if isinstance(outcome, int) else 0
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:
        if debug:
            from pychip_stream.cli.output import console

            console.print_exception()
        return _explain(error)
    if code == _INTERRUPTED:  # typer makes this of Ctrl-C
        sys.stderr.write("interrupted: what was finished is kept; the same command does the rest\n")
    return code


def _program(words: Sequence[str]) -> "typer.Typer":
    """Build the command line; only the module of the command in `words` is loaded."""
    import typer

    app = typer.Typer(
        name="pychip-stream",
        help="Live phase fractions from electron-microscope frames.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"pychip-stream {__version__}")
            raise typer.Exit

    @app.callback()
    def _everywhere(
        _: bool = typer.Option(
            False, "--version", callback=show_version, is_eager=True, help="show the version"
        ),
    ) -> None:
        pass

    asked = next((word for word in words if not word.startswith("-")), "")
    for name in [asked] if asked in _COMMANDS else _COMMANDS:
        module = import_module(f"pychip_stream.cli.{name}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def _explain(error: Exception) -> int:
    """Print an error as one line; returns the exit code."""
    from typer.exceptions import TyperException

    from pychip_stream.cli.output import say
    from pychip_stream.errors import ConfigError, PychipError, StoppedError

    if isinstance(error, ConfigError) and len(error.problems) > 1:
        say(f"error: {error.where}: {len(error.problems)} problems")
        for problem in error.problems:
            say(f"  {problem}")
    elif isinstance(error, PychipError):
        say(f"{'interrupted' if isinstance(error, StoppedError) else 'error'}: {error}")
    elif isinstance(error, TyperException):
        message = error.format_message()
        if message:  # none: the help page was shown, since there was no command
            say(f"error: {message} (--help shows the usage)")
        return 2
    elif isinstance(error, OSError):
        say(f"error: {error.filename or 'input/output'}: {error.strerror or error}")
    else:
        say(f"error: unexpected {type(error).__name__}: {error} (--debug shows where)")
    return error.exit_code if isinstance(error, PychipError) else 1


if __name__ == "__main__":
    main()
