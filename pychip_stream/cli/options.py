"""What several commands share: options, and the frame that one names."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pychip_stream.domain.pixel_size import by_hand
from pychip_stream.errors import UsageError

if TYPE_CHECKING:
    from pychip_stream.domain.frames import Frame

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
        return pixel_size and "{:.12g} {}".format(*by_hand(pixel_size))
    except ValueError as error:
        raise UsageError(f"--pixel-size: {error}") from error


PixelSize = Annotated[
    str,
    typer.Option(
        metavar="SIZE", callback=_checked, help='by hand, such as "0.5nm"; default: what files say'
    ),
]


def open_frame(path: Path, index: int) -> "Frame":
    """Read a frame of a file, or of the first file in a folder or anywhere below it."""
    from pychip_stream.formats.reading import read_frame

    if path.is_dir():
        from pychip_stream.analysis.classification import Batch  # loads torch

        path = Batch.of([path]).paths[0]
    return read_frame(path, index)
