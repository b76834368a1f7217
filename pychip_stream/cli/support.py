"""`support`: make, import, show and publish support sets."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pychip_stream.cli.opening import load_support, open_frame, read_support
from pychip_stream.cli.options import Encoder, Index, Json
from pychip_stream.cli.output import report
from pychip_stream.errors import UsageError

if TYPE_CHECKING:
    from pychip_stream.domain.support import SupportSet

app = typer.Typer(help="Support sets: the few examples that say what the classes are.")

Preprocess = Annotated[
    Literal["none", "clahe"],
    typer.Option(help="clahe: adaptive histogram equalisation of whole frames first"),
]
Output = Annotated[Path, typer.Option("-o", "--out", metavar="SET", help="file to write")]
Force = Annotated[bool, typer.Option("--force", help="replace the support set SET")]


@app.command("make")
def make(
    frame: Annotated[
        Path, typer.Argument(metavar="FRAME", help="to pick from; of a folder the first")
    ],
    chip_size: Annotated[str, typer.Option(help="N or WxH in pixels, width first")],
    pick: Annotated[
        list[str], typer.Option(help="CLASS=ROW,COL[;ROW,COL…]; rows and columns count from 0")
    ],
    out: Output,
    index: Index = 0,
    preprocess: Preprocess = "none",
    note: Annotated[str, typer.Option(help="why this set was made")] = "",
    encoder: Encoder = "bundled",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a support set from chips of one frame."""
    from pychip_stream.domain.normalization import Normalization
    from pychip_stream.domain.support import SupportSet

    picks = parse_picks(pick)
    _refuse_taken(out, force=force)
    image = open_frame(frame, index)
    normalization = Normalization.from_percentiles(image.pixels, clahe=preprocess == "clahe")
    support = SupportSet.from_picks(image, chip_size, picks, normalization=normalization, note=note)
    _finish(support, encoder, out, as_json=as_json)


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="DIR/CLASS/*.png|jpg|tif")],
    out: Output,
    chip_size: Annotated[str | None, typer.Option(help="N or WxH; default: the pictures'")] = None,
    preprocess: Preprocess = "none",
    range_: Annotated[
        str | None,
        typer.Option("--range", metavar="LO,HI", help="counts that the chips' 0 and 255 stand for"),
    ] = None,
    encoder: Encoder = "bundled",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make a support set from class folders of chip pictures (pyChip's own layout)."""
    from pychip_stream.analysis.chip_import import import_chips
    from pychip_stream.domain.chips import ChipSize

    _refuse_taken(out, force=force)
    size = ChipSize.parse(chip_size) if chip_size else None
    support = import_chips(folder, size, _parse_range(range_), clahe=preprocess == "clahe")
    _finish(support, encoder, out, as_json=as_json)


@app.command("show")
def show(
    path: Annotated[Path, typer.Argument(metavar="SET")],
    as_json: Json = False,
) -> None:
    """Show classes, counts, provenance, quality and advice."""
    from pychip_stream.analysis.support_report import describe

    document, text = describe(load_support(path))
    report(document, as_json=as_json, text=text)


@app.command("publish")
def publish(
    path: Annotated[Path, typer.Argument(metavar="SET")],
    config_path: Annotated[
        Path, typer.Option("--config", metavar="CONFIG", help="of the run that is going on")
    ],
    as_json: Json = False,
) -> None:
    """Make a support set the current one of a run; it takes effect at the next frame."""
    from pychip_stream.domain.support import current_user
    from pychip_stream.operation.running import running_config
    from pychip_stream.wire.codec import bytes_array
    from pychip_stream.wire.endpoints import request
    from pychip_stream.wire.messages import PublishSupport

    config = running_config(config_path)
    support, data = read_support(path)
    support.checked()
    reply = request(config.wire, PublishSupport(author=current_user()), bytes_array(data))
    report({"version": reply.detail}, as_json=as_json, text=f"published {reply.detail}")


def parse_picks(words: list[str]) -> dict[str, list[tuple[int, int]]]:
    """Read CLASS=ROW,COL[;ROW,COL…] words; a class may come several times."""
    picks: dict[str, list[tuple[int, int]]] = {}
    for word in words:
        name, equals, places = word.rpartition("=")
        try:
            pairs = [tuple(int(n) for n in p.split(",")) for p in places.split(";") if p.strip()]
        except ValueError:
            pairs = []
        if not equals or not name.strip() or not pairs or any(len(p) != 2 for p in pairs):
            raise UsageError(
                f"--pick {word!r}: write CLASS=ROW,COL[;ROW,COL…], for example a=0,3;2,5"
            )
        picks.setdefault(name.strip(), []).extend((p[0], p[1]) for p in pairs)
    return picks


def _parse_range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--range {text!r}: write LO,HI, for example 0,65535") from error
    return low, high


def _refuse_taken(out: Path, *, force: bool) -> None:
    if not out.exists():
        return
    if not force:
        raise UsageError(f"{out}: exists already; choose another name, or add --force")
    load_support(out)  # --force replaces a support set, not a file of another kind


def _finish(support: "SupportSet", encoder: str, out: Path, *, as_json: bool) -> None:
    from pychip_stream.analysis.support_report import describe, finish_support
    from pychip_stream.archive.support_sets import save_support

    embedded, derived = finish_support(support, encoder)
    save_support(embedded, out, derived)
    document, text = describe(embedded)
    report({"support": str(out), **document}, as_json=as_json, text=f"{out}\n{text}")
