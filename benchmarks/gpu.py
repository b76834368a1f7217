"""Figures of a GPU, against the CPU beside it, in one table.

    python -m benchmarks.gpu [--device cuda] [--seconds 300] [--dry-run]

Builds nothing and needs no network: labels and embeddings against the CPU's in float32; chips/s of
the network by precision and batch (windows of 16 × 16 chips at 64 px), launched kernel by kernel
and as a CUDA graph; frames/s of a worker on DM4 files (read, check, upload, embed, label, pack),
one after the other and with the next file read meanwhile, as a share of the bare encoder; memory.
`--dry-run` does all of it on the CPU, small and once: what a machine without a GPU can test.
"""

import argparse
import itertools
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.benchmark import (
    Contender,
    bare_step,
    finish,
    take_turns,
    worker,
    worker_step,
)
from pychip_stream.domain.frames import FrameRef
from pychip_stream.formats.ahead import ReadAhead
from pychip_stream.formats.reading import read_checked, read_frame
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import load_encoder
from pychip_stream.model.encoders.dense import CHIP, DenseEncoder
from pychip_stream.model.encoders.device import memory_in_use

_GOAL_CHIPS, _GOAL_SHARE = 100_000, 0.8


class Size(NamedTuple):
    """How much is measured."""

    precisions: tuple[str, ...] = ("float32", "bfloat16", "float16")
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    window: int = 16
    edges: tuple[int, ...] = (1024, 2048, 4096)


DRY = Size(("float32", "bfloat16"), (1, 2), 2, (704,))

Row = tuple[str, str, str]
"""What was measured, what came out, and the goal."""


def _encoder(device: str, precision: str) -> DenseEncoder:
    found = load_encoder("bundled", device=f"{device}/{precision}")
    assert isinstance(found, DenseEncoder)
    return found


def agreement(device: str, size: Size, folder: Path) -> Iterator[Row]:
    """Compare labels and embeddings with those of the CPU in float32."""
    reference = _encoder("cpu", "float32")
    analyst, refs = worker(reference, folder, size.edges[0])
    classifier = Classifier.fit(analyst.support, reference)
    frames = [read_frame(folder / ref.path) for ref in refs]
    norm = analyst.support.normalization
    known = [reference.embed(frame, CHIP, norm) for frame in frames]
    labels = [classifier.score(one).label_map for one in known]
    for precision in size.precisions:
        encoder = _encoder(device, precision)
        found = [encoder.embed(frame, CHIP, norm) for frame in frames]
        same = np.mean([
            classifier.score(one).label_map == two for one, two in zip(found, labels, strict=True)
        ])  # fmt: skip
        spread = np.concatenate(known).std(axis=(0, 1))
        moved = np.abs(np.concatenate(found) - np.concatenate(known)) / spread
        told = f"{same:.2%} of the labels alike, embeddings moved by {moved.mean():.4f} deviations"
        yield f"{encoder.device} against cpu/float32", f"{told}, at most {moved.max():.2f}", ""


def network_speed(device: str, size: Size, seconds: float) -> Iterator[Row]:
    """Measure chips/s of the bare network by precision and batch, with and without a graph."""
    edge = size.window * CHIP
    cases = list(itertools.product(size.precisions, size.batches))
    best: tuple[float, str] = (0.0, "")
    for precision, batch in cases:
        encoder = _encoder(device, precision)
        whole = edge + 2 * encoder.network.margin
        windows = torch.rand((batch, 1, whole, whole), device=encoder.place.device)
        chips = batch * size.window**2
        ways = {"launched": Contender(launched(encoder, windows), chips)}
        if encoder.place.device.type == "cuda":
            ways["as a graph"] = Contender(graphed(encoder, windows), chips)
        try:
            take_turns(list(ways.values()), seconds / len(cases))
        except torch.OutOfMemoryError:
            yield f"{encoder.device}, batch {batch}", "too little memory", ""
            continue
        for way, one in ways.items():
            name = f"{encoder.device}, batch {batch} {way}"
            best = max(best, (one.rate(), name))
            yield name, f"{one.rate():,.0f} chips/s", ""
    yield f"best: {best[1]}", f"{best[0]:,.0f} chips/s", f"{_GOAL_CHIPS:,}"


def launched(encoder: DenseEncoder, windows: torch.Tensor) -> Callable[[], None]:
    """Return the network on windows, one kernel after the other."""

    @torch.inference_mode()
    def call() -> None:
        finish(encoder.network(windows).float())

    return call


def graphed(encoder: DenseEncoder, windows: torch.Tensor) -> Callable[[], None]:
    """Return the same as the encoder calls it on CUDA: recorded once and replayed."""
    forward = encoder.place.recorded(encoder.network)

    @torch.inference_mode()
    def call() -> None:
        finish(forward(windows))

    return call


def worker_speed(encoder: DenseEncoder, size: Size, folder: Path, seconds: float) -> Iterator[Row]:
    """Measure frames/s of a worker for frames of every size."""
    for edge in size.edges:
        analyst, refs = worker(encoder, folder, edge)
        yield from _of_edge(analyst, folder, refs, edge, seconds / len(size.edges))
    if memory := memory_in_use(encoder.device):
        yield "memory of the GPU, at most", f"{memory['gpu_peak_mb']:,.0f} MB", ""


def _of_edge(
    analyst: Analyst, folder: Path, refs: list[FrameRef], edge: int, seconds: float
) -> Iterator[Row]:
    ahead = ReadAhead(read_checked)
    turns = itertools.cycle([*refs[1:], refs[0]])  # what follows each
    try:
        bare = bare_step(analyst, folder, refs)
        plain = worker_step(analyst, folder, refs)
        overlapping = worker_step(
            analyst, folder, refs, lambda *wanted: ahead.then(folder, next(turns))(*wanted)
        )
        take_turns([bare, plain, overlapping], seconds)
    finally:
        ahead.close()
    yield f"bare encoder, {edge}²", f"{bare.rate() / bare.work:.1f} frames/s", ""
    for name, one in (("worker", plain), ("worker that reads ahead", overlapping)):
        told = f"{one.rate() / one.work:.1f} frames/s, {one.rate() / bare.rate():.2f} of bare"
        yield f"{name}, {edge}²", told, f"{_GOAL_SHARE} of bare"


def _where(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(torch.device(device))
    return platform.processor() or platform.machine()


def rows(device: str, size: Size, seconds: float) -> Iterator[Row]:
    """Measure everything; the seconds are shared by what is timed."""
    with (
        threadpool_limits(1, "blas"),  # as the installed commands do (`threads.settle`)
        tempfile.TemporaryDirectory(prefix="pychip-gpu-") as name,
    ):
        yield from agreement(device, size, Path(name))
        yield from network_speed(device, size, 0.6 * seconds)
        encoder = load_encoder("bundled", device=device)
        assert isinstance(encoder, DenseEncoder)
        yield from worker_speed(encoder, size, Path(name), 0.3 * seconds)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=240.0, help="for what is timed")
    parser.add_argument("--dry-run", action="store_true", help="all of it on the CPU, small")
    options = parser.parse_args(argv)
    device, size, seconds = options.device, Size(), options.seconds
    if options.dry_run:
        device, size, seconds = "cpu", DRY, 0.0
    print(f"{time.strftime('%Y-%m-%d')}, {_where(device)}, torch {torch.__version__}\n")
    print("| what | found | goal |\n|---|---|---|", flush=True)
    for row in rows(device, size, seconds):
        print(f"| {' | '.join(row)} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
