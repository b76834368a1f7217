"""`suggest`: which chips to label next."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pychip_stream.cli.opening import load_support, open_frame
from pychip_stream.cli.options import Encoder, Index, Json
from pychip_stream.cli.output import report


def suggest(
    frame: Annotated[
        Path, typer.Argument(metavar="FRAME", help="to pick from; of a folder the first")
    ],
    support: Annotated[Path, typer.Option(metavar="SET", help="support set so far")],
    count: Annotated[int, typer.Option(min=1, help="how many chips")] = 5,
    index: Index = 0,
    encoder: Encoder = "bundled",
    as_json: Json = False,
) -> None:
    """Suggest which chips of a frame to label next."""
    from pychip_stream.analysis.drafting import suggest_chips
    from pychip_stream.config import EncoderConfig
    from pychip_stream.model.encoders import open_encoder

    image, chosen = open_frame(frame, index), load_support(support)
    found = suggest_chips(image, chosen, open_encoder(EncoderConfig(name=encoder)), count)
    chips = [{k: v for k, v in asdict(one).items() if k != "frame"} for one in found]
    report(
        {"frame": image.source, "support": str(support), "chips": chips},
        as_json=as_json,
        text="\n".join(f"{one.row},{one.column}  {one.kind}: {one.reason}" for one in found),
    )
