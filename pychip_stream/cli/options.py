"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from pychip_stream.domain.pixel_size import by_hand
from pychip_stream.errors import UsageError

Json = Annotated[bool, typer.Option("--json", help="print one JSON document")]
Index = Annotated[int, typer.Option(min=0, help="frame within a stack")]
Encoder = Annotated[str, typer.Option("--encoder", help="bundled, or a torchvision ResNet")]
EncoderOfRun = Annotated[
    str | None,
    typer.Option("--encoder", metavar="NAME", help="of the run; default: as its config says"),
]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="run archive, live or closed")]
Scoring = Annotated[
    str | None, typer.Option(metavar="NAME", help="default: the one that the run shows")
]
Frames = Annotated[Path | None, typer.Option(metavar="ROOT", help="where the frames are now")]


def _checked(pixel_size: str) -> str:
    try:
        return pixel_size and str(by_hand(pixel_size))
    except ValueError as error:
        raise UsageError(f"--pixel-size: {error}") from error


PixelSize = Annotated[
    str,
    typer.Option(
        metavar="SIZE", callback=_checked, help='by hand, such as "0.5nm"; default: what files say'
    ),
]
