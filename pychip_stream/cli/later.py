"""Commands of the contract that are not there yet: each says so in one line."""

from collections.abc import Callable
from typing import Annotated

import typer

from pychip_stream.errors import UsageError

context_settings = {"allow_extra_args": True, "ignore_unknown_options": True}


def _refusal(name: str, what: str) -> Callable[..., None]:
    def refuse(
        words: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    ) -> None:
        del words
        raise UsageError(f"`pychip-stream {name}` ({what}) is not there yet in this version")

    refuse.__doc__ = f"{what.capitalize()} (not there yet)."
    return refuse


doctor = _refusal("doctor", "what is wrong with this installation or config")
bench = _refusal("bench", "the performance report")
