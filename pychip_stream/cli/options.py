"""Options that several commands share."""

import contextlib
import glob
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pychip_stream.domain.pixel_size import by_hand
from pychip_stream.errors import UsageError

if TYPE_CHECKING:
    from pychip_stream.batch.cluster import Cluster

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
ClusterAddress = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="share the work out: local:N workers of this machine, or the Dask scheduler at "
        "tcp://HOST:PORT or tls://…",
    ),
]
TlsCa = Annotated[
    Path | None, typer.Option("--tls-ca", metavar="PEM", help="authority that a cluster trusts")
]
TlsCertificate = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="PEM", help="certificate for a cluster")
]
TlsKey = Annotated[
    Path | None,
    typer.Option("--tls-key", metavar="PEM", help="its key, if in another file"),
]


def matching(paths: Sequence[Path]) -> list[Path]:
    """Replace patterns such as `*.dm4`, which shells of Windows leave as they are."""
    found: list[Path] = []
    for path in paths:
        there = path.exists() or not glob.has_magic(str(path))
        fitting = [str(path)] if there else sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
        if not fitting:
            raise UsageError(f"{path}: nothing fits this pattern")
        found += map(Path, fitting)
    return found


@contextlib.contextmanager
def open_cluster(
    address: str | None, ca: Path | None, certificate: Path | None, key: Path | None
) -> "Iterator[Cluster | None]":
    """Reach the cluster that was asked for; None where none was."""
    if address is None:
        if any((ca, certificate, key)):
            raise UsageError("--tls-ca, --tls-cert and --tls-key belong to --cluster tls://…")
        yield None
        return
    try:
        from pychip_stream.batch import cluster
    except ImportError as error:
        raise UsageError(
            f"--cluster needs Dask ({error.name} is not installed): "
            "pip install 'pychip-stream[batch]'"
        ) from error
    with cluster.open_cluster(address, cluster.Certificates(ca, certificate, key)) as opened:
        yield opened
