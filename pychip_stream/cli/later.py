"""Commands of the contract that are not there yet: each says so in one line."""

from typing import Annotated

import typer

from pychip_stream.errors import UsageError

_LATER = {
    "grid": "recommended chip size of a frame",
    "rescore": "label a run again from its stored embeddings",
    "doctor": "what is wrong with this installation or config",
}


def register(app: typer.Typer) -> None:
    """Add a command for each name that answers that it is not there yet."""
    for name, what in _LATER.items():
        app.command(
            name,
            help=f"{what} (not there yet)",
            context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
        )(_refusal(name))


def _refusal(name: str):  # type: ignore[no-untyped-def]
    def refuse(
        words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    ) -> None:
        del words
        raise UsageError(f"`pychip-stream {name}` is not there yet in this version")

    return refuse
