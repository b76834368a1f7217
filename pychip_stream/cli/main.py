"""The `pychip-stream` command: loads what was asked for and turns errors into exit codes."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import typer
from typer.exceptions import TyperException

from pychip_stream import logs, threads
from pychip_stream.cli.output import console, say
from pychip_stream.errors import ConfigError, PychipError

_HOMES = {
    "demo": "demo",
    "init": "experiment",
    "run": "experiment",
    "review": "review",
    "simulate": "simulate",
    "support": "support",
    "classify": "analyze",
    "export": "export",
    "rescore": "rescore",
    "verify": "rescore",
    "grid": "guide",
    "suggest": "guide",
    "audit": "guide",
    "status": "status",
    "keys": "keys",
    "doctor": "doctor",
    "bench": "bench",
}
"""Module of each command: a function of its name, or a group `app`."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the work failed, 2 wrong usage or config.

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
        app = _program(words)
        outcome = app(args=words, prog_name="pychip-stream", standalone_mode=False)
    except (PychipError, TyperException, typer.Abort, KeyboardInterrupt, OSError) as error:
        if debug:
            console.print_exception()
        return _explain(error)
    except Exception as error:
        if debug:
            console.print_exception()
        say(f"error: unexpected {type(error).__name__}: {error} (--debug shows where)")
        return 1
    return outcome if isinstance(outcome, int) else 0


def _program(words: Sequence[str]) -> typer.Typer:
    """Build the command line; only the module of the command in `words` is loaded.

    Torch and matplotlib take seconds to load, which `init` or a misspelt config need not wait for.
    """
    app = typer.Typer(
        name="pychip-stream",
        help="Live phase fractions from electron-microscope frames.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(lambda: None)  # stays a group with a single command, too
    asked = next((word for word in words if not word.startswith("-")), "")
    for name in [asked] if asked in _HOMES else _HOMES:
        module = import_module(f"pychip_stream.cli.{_HOMES[name]}")
        if hasattr(module, "app"):
            app.add_typer(module.app, name=name)
        else:
            app.command(name)(getattr(module, name))
    return app


def _explain(error: BaseException) -> int:
    """Print an error as one line; returns the exit code."""
    if isinstance(error, ConfigError) and len(error.problems) > 1:
        say(f"error: {error.where}: {len(error.problems)} problems")
        for problem in error.problems:
            say(f"  {problem}")
    elif isinstance(error, PychipError):
        say(f"error: {error}")
    elif isinstance(error, TyperException):
        message = error.format_message()
        if message:  # none: the help page was shown, since there was no command
            say(f"error: {message} (--help shows the usage)")
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
