"""`keys`: the keys that let machines talk to each other."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pychip_stream.cli.options import Json
from pychip_stream.cli.output import report
from pychip_stream.errors import UsageError
from pychip_stream.wire.keys import make_client, make_keys


def keys(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder of the keys")],
    client: Annotated[
        str | None,
        typer.Option(help="make keys for another machine, in DIR/NAME, and allow it to connect"),
    ] = None,
    services: Annotated[
        bool, typer.Option("--services", help="that machine runs a watcher, an archiver or a hub")
    ] = False,
    role: Annotated[
        Literal["any", "worker", "operator", "instrument", "viewer"],
        typer.Option(help="what that machine may do; any: everything, as the services themselves"),
    ] = "any",
    as_json: Json = False,
) -> None:
    """Make the keys that services on more than one machine need."""
    if client is None:
        if services or role != "any":
            raise UsageError("--services and --role go with --client NAME")
        made = make_keys(folder)
        more = f"pychip-stream keys {folder} --client NAME"
        hint = f"set wire.keys to {folder}; for another machine: {more}"
    else:
        made = make_client(folder, client, services=services, role=role)
        hint = (
            f"move {folder / client} to that machine (not by mail) and set wire.keys to it there; "
            f"remove {folder / 'allowed' / client}.key to shut it out"
        )
    report(
        {"folder": str(folder), "files": [str(path) for path in made]},
        as_json=as_json,
        text="\n".join(map(str, made)) + f"\n{hint}",
    )
