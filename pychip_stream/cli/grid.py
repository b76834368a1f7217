"""`grid`: which chip size suits a frame."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pychip_stream.cli.opening import open_frame
from pychip_stream.cli.options import Index, Json
from pychip_stream.cli.output import report


def grid(
    frame: Annotated[Path, typer.Argument(metavar="FRAME", help="a typical frame, or its folder")],
    index: Index = 0,
    png: Annotated[
        Path | None, typer.Option(metavar="OUT", help="draw the numbered grid over the frame")
    ] = None,
    chip_size: Annotated[
        str | None, typer.Option(help="of that grid: N or WxH; default: the recommended one")
    ] = None,
    as_json: Json = False,
) -> None:
    """Recommend a chip size for a frame, with the reason; --png shows what to type in --pick."""
    from pychip_stream.domain.chips import ChipSize
    from pychip_stream.model.grid_advice import recommend_grid

    size = ChipSize.parse(chip_size) if chip_size else None
    image = open_frame(frame, index)
    advice = recommend_grid(image)
    lines = [f"{advice.chip_size} pixels ({advice.smallest} to {advice.largest}): {advice.reason}"]
    if advice.downsampling > 1:
        lines.append(f"frames may be reduced by {advice.downsampling} without loss")
    lines += [f"- {line}" for line in advice.warnings]
    document = {"frame": image.source, **asdict(advice), "warnings": list(advice.warnings)}
    if png is not None:
        from pychip_stream.export.grid_picture import save_numbered_grid

        size = size or ChipSize.parse(advice.chip_size)
        save_numbered_grid(image, size, png)
        lines.append(f"{png}: the grid of {size} pixels with its rows and columns")
        document |= {"png": str(png)}
    report(document, as_json=as_json, text="\n".join(lines))
