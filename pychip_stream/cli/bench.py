"""`bench`: how fast this machine is, as ratios measured in one run."""

from typing import Annotated, Any

import typer

from pychip_stream.cli.options import Json
from pychip_stream.cli.output import report, say


def bench(
    quick: Annotated[bool, typer.Option("--quick", help="under 40 s; leaves out large frames")] = (
        False
    ),
    encoder: Annotated[
        str, typer.Option(help="bundled, filters, a torchvision ResNet, or a weights file")
    ] = "bundled",
    device: Annotated[
        str | None, typer.Option(help='for example "cpu/float32"; default: the fastest')
    ] = None,
    busy: Annotated[
        bool,
        typer.Option("--busy", help="others use the machine: one thread, CPU time; CPU only"),
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure the performance of the encoder and the worker on this machine."""
    from pychip_stream.analysis.benchmark import benchmark
    from pychip_stream.model.encoders import load_encoder

    say("measuring; close other programs, or add --busy")
    found = benchmark(load_encoder(encoder, device=device), quick=quick, busy=busy)
    report(found, as_json=as_json, text=_table(found))


def _table(found: dict[str, Any]) -> str:
    rows = [
        ("chips/s (1024² frame, 64-px chips)", f"{found['chips_per_s']:.0f}"),
        *((f"  on {where}", f"{v:.0f}") for where, v in found["precisions"].items()),
        ("ResNet-18 at 64 px, its best, chips/s", f"{found['resnet18_64_per_s']:.0f}"),
        ("  ratio", f"{found['ratio_resnet18_64']:.1f}"),
        ("the paper's way, chips/s", f"{found['paper_per_s']:.1f}"),
        ("  ratio", f"{found['ratio_paper']:.0f}"),
        ("matrix product, GFLOP/s", f"{found['gemm_gflops']:.0f}"),
        ("  share the network reaches", f"{found['gemm_share']:.2f}"),
        ("worker, chips/s", f"{found['worker_chips_per_s']:.0f}"),
        ("  share of the bare encoder", f"{found['worker_share']:.2f}"),
        *((f"frames/s at {size}", f"{v:.1f}") for size, v in found["frames_per_s"].items()),
    ]
    lines = [f"{found['encoder']} on {found['device']}, {found['threads']} threads"]
    return "\n".join([*lines, *(f"  {name:40}{value:>10}" for name, value in rows)])
