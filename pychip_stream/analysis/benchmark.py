"""Benchmark: ratios of encoder, usual ways and worker on this machine, measured side by side.

Machines are shared and clocks vary, so the contenders take turns and the best round of each
counts: a ratio then compares like with like.
"""

import contextlib
import copy
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.frames import Frame, FrameRef, mtime_of
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import EncoderError, UsageError
from pychip_stream.formats.reading import ReadChecked, read_checked, read_frame
from pychip_stream.model.encoders import Encoder, load_encoder, resnet
from pychip_stream.model.encoders.dense import CHIP, DenseEncoder
from pychip_stream.model.encoders.device import placements
from pychip_stream.model.encoders.network import CellNet
from pychip_stream.sim.frame_files import Exposure, encode
from pychip_stream.sim.specimen import Experiment
from pychip_stream.wire import codec
from pychip_stream.wire.result import to_message

_RANGE = Normalization("range", 0.0, 4096.0)
_PAPER = 224
"""Edge of the paper's chips on its network's input."""
_BATCHES = (32, 128)
_EDGES, _CHIPS = (512, 1024, 2048, 4096), (32, 64)
_QUICK_FRAME_S = 1.0
"""A quick run measures the frames that should take less than this."""
_EDGE, _FILES = 1024, 4
_CALLS = 8
_PICKS = 5
"""Example chips per class."""

Clock = Callable[[], float]


@dataclass
class Contender:
    """Something to be timed: a call, the work of one call, and its best time so far."""

    call: Callable[[], object]
    work: float
    seconds: float = float("inf")

    def rate(self) -> float:
        """Work per second in the best round."""
        return self.work / self.seconds


def take_turns(
    contenders: list[Contender],
    seconds: float,
    least: int = 2,
    clock: Clock = time.perf_counter,
) -> None:
    """Time contenders in turn, after one round of warming up, until the time is used.

    Parameters
    ----------
    least
        Rounds at least, however long they take.
    clock
        What the rounds are timed with.
    """
    for contender in contenders:
        contender.call()
    rounds, deadline = 0, time.perf_counter() + seconds
    while rounds < least or time.perf_counter() < deadline:
        for contender in contenders:
            start = clock()
            contender.call()
            contender.seconds = min(contender.seconds, clock() - start)
        rounds += 1


def benchmark(encoder: Encoder, *, quick: bool = False, busy: bool = False) -> dict[str, Any]:
    """Time an encoder against the usual ways, its frames per second, and the worker beside it.

    Parameters
    ----------
    busy
        Others use this machine as well: one thread, CPU seconds instead of the clock on the wall.

    Returns
    -------
    A dictionary with

    chips_per_s
        64-px chips of a 1024² uint16 frame, from counts to embeddings.
    precisions
        The same by device and precision, for those that are tried when an encoder is loaded.
    ratio_resnet18_64
        Against torchvision's ResNet-18 (random weights) at 64 px, best precision and batch.
    ratio_paper
        Against the paper's way: chip by chip to 224 px, ResNet-18, float32.
    gemm_share
        The network's multiply-adds per second over the machine's best matrix product in the
        same precision; with int8 an eighth of them are in float32.
    resnet18_64_per_s, paper_per_s, gemm_gflops, device
        What the ratios are made of.
    frames_per_s
        By "frame edge/chip edge".
    worker_chips_per_s
        Chips per second of a worker's step on DM4 files of 1024²: read and check the file,
        embed, label, interval, pack the message.
    worker_share
        That over the bare encoder's, both measured in turn on the same frames.
    clock
        "wall", or "cpu" with `busy`.

    Raises
    ------
    UsageError
        If `busy` is asked of a device that is not the CPU, or the encoder is no network of torch.
    """
    clock = time.process_time if busy else time.perf_counter
    if busy:
        if not encoder.device.startswith("cpu"):
            raise UsageError(f"--busy counts CPU time and says nothing of {encoder.device}")
        torch.set_num_threads(1)
    if not isinstance(encoder, DenseEncoder):
        raise UsageError(
            f"encoder {encoder.name!r} is no network of torch; only these are measured"
        )
    found = measure_speed(encoder, quick, clock)
    with tempfile.TemporaryDirectory(prefix="pychip-bench-") as folder:
        here = Path(folder)
        analyst, refs = worker(encoder, here, _EDGE)
        step, bare = (
            _block(worker_step(analyst, here, refs)),
            _block(bare_step(analyst, here, refs)),
        )
        take_turns([step, bare], 4.0 if quick else 15.0, clock=clock)
    found["worker_chips_per_s"] = step.rate()
    found["worker_share"] = step.rate() / bare.rate()
    found["clock"] = "cpu" if busy else "wall"
    return found


def measure_speed(
    encoder: DenseEncoder, quick: bool = False, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Measure all of `benchmark` but the worker."""
    device = encoder.place.device
    frame = _frame(1024)
    calls = {
        where: Contender(lambda one=one: one.embed(frame, CHIP, _RANGE), (1024 // CHIP) ** 2)  # type: ignore[misc]
        for where, one in _in_all_precisions(encoder).items()
    }
    own = calls[encoder.device]
    network, paper = _network_call(encoder), _paper(frame, device)
    product = _product(device, encoder.place.dtype)
    rivals = list(_rivals(device))
    contenders = [*calls.values(), network, product, paper, *rivals]
    take_turns(contenders, 8.0 if quick else 40.0, clock=clock)
    rival = max(r.rate() for r in rivals)
    return {
        "encoder": encoder.name,
        "device": encoder.device,
        "threads": torch.get_num_threads(),
        "chips_per_s": own.rate(),
        "precisions": {where: call.rate() for where, call in calls.items()},
        "ratio_resnet18_64": own.rate() / rival,
        "ratio_paper": own.rate() / paper.rate(),
        "gemm_share": network.rate() / product.rate(),
        "resnet18_64_per_s": rival,
        "paper_per_s": paper.rate(),
        "gemm_gflops": product.rate() / 1e9,
        "frames_per_s": _frames(encoder, own.rate(), quick, clock),
    }


def _in_all_precisions(encoder: DenseEncoder) -> dict[str, Encoder]:
    """Return an encoder, and the same in what other precisions its device has, by their names."""
    found: dict[str, Encoder] = {encoder.device: encoder}
    for where in map(str, placements(encoder.place.device)):
        if where not in found:
            with contextlib.suppress(EncoderError, RuntimeError, NotImplementedError):
                one = load_encoder(encoder.name, device=where)
                one.embed(_frame(CHIP), CHIP, _RANGE)
                found.setdefault(one.device, one)
    return found


def _frames(
    encoder: DenseEncoder, chips_per_s: float, quick: bool, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Frames per second by "frame edge/chip edge"; a quick run leaves out those that take long."""
    rates = {}
    for edge, chip in itertools.product(_EDGES, _CHIPS):
        if quick and (edge // chip) ** 2 > chips_per_s * _QUICK_FRAME_S:
            continue
        frame = _frame(edge)
        contender = Contender(lambda f=frame, c=chip: encoder.embed(f, c, _RANGE), 1)  # type: ignore[misc]
        take_turns([contender], 0.0 if quick else 1.0, least=1, clock=clock)
        rates[f"{edge}/{chip}"] = contender.rate()
    return rates


def _frame(edge: int) -> npt.NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 4096, (edge, edge), dtype=np.uint16)


def _network_call(encoder: DenseEncoder) -> Contender:
    """Run the bare network on one window of 16 × 16 chips; the work is its operations."""
    edge = 16 * CHIP + 2 * encoder.network.margin
    window = torch.rand((1, 1, edge, edge), device=encoder.place.device)

    @torch.inference_mode()
    def call() -> None:
        finish(encoder.network(window).float())

    plain = copy.copy(encoder.network)
    if isinstance(plain, CellNet):
        plain.whole = None  # whole numbers are as many operations, but torch does not count them
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        plain(window)
    return Contender(call, counter.get_total_flops())


def _product(device: torch.device, dtype: torch.dtype) -> Contender:
    edge = 2048
    if dtype == torch.int8:
        whole = torch.randint(-128, 128, (edge, edge), dtype=dtype)
        return Contender(lambda: torch._int_mm(whole, whole), 2.0 * edge**3)
    a = torch.randn((edge, edge), device=device).to(dtype)
    return Contender(lambda: finish(a @ a), 2.0 * edge**3)


def _resnet18() -> nn.Module:
    trunk: nn.Module = resnet.torchvision_models().resnet18(weights=None)
    return trunk.eval().requires_grad_(False)


def _paper(frame: npt.NDArray[np.uint16], device: torch.device) -> Contender:
    """Four chips one after the other, each enlarged to 224 px."""
    network = _resnet18().to(device)
    plane = torch.from_numpy(frame[:CHIP, : 4 * CHIP].astype(np.float32) / 4096).to(device)

    @torch.inference_mode()
    def call() -> None:
        for column in range(4):
            chip = plane[None, None, :, column * CHIP : (column + 1) * CHIP]
            large = F.interpolate(chip, size=(_PAPER, _PAPER), mode="bilinear")
            finish(network(large.expand(-1, 3, -1, -1)))

    return Contender(call, 4.0)


def _rivals(device: torch.device) -> Iterator[Contender]:
    """ResNet-18 at 64 px in every precision and batch that may be its best."""
    for dtype in (torch.float32, torch.bfloat16):
        network = cast(
            nn.Module,
            _resnet18().to(device, dtype).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        )
        for batch in _BATCHES:
            chips = torch.rand((batch, 3, CHIP, CHIP), device=device, dtype=dtype)
            chips = chips.contiguous(memory_format=torch.channels_last)

            @torch.inference_mode()
            def call(network: nn.Module = network, chips: torch.Tensor = chips) -> None:
                finish(network(chips))

            yield Contender(call, batch)


def finish(result: torch.Tensor) -> None:
    """Wait until a result is there (devices work behind our back)."""
    if result.device.type != "cpu":
        result.flatten()[:1].cpu()


def _block(contender: Contender) -> Contender:
    """Many calls as one: what one call leaves running (threads that wait actively) slows the next.

    Taking turns call by call would charge the worker's leftovers to the bare encoder.
    """

    def calls() -> None:
        for _ in range(_CALLS):
            contender.call()

    return Contender(calls, _CALLS * contender.work)


def worker(encoder: Encoder, folder: Path, edge: int) -> tuple[Analyst, list[FrameRef]]:
    """Make a worker's analyst, and a few DM4 files of edge² for it."""
    refs = _write_files(folder, edge)
    support = _support(read_frame(folder / refs[-1].path))
    return Analyst.of(support, encoder, ClassifyConfig()), refs


def worker_step(
    analyst: Analyst, folder: Path, refs: list[FrameRef], read: ReadChecked = read_checked
) -> Contender:
    """Return a worker's step on the next of a few files; the work is its chips."""
    turns = itertools.cycle(refs)

    def step() -> None:
        record = analyst.analyse(folder, next(turns), read)
        codec.encode(*to_message(record, "bench"))

    return Contender(step, _chips(folder, refs))


def bare_step(analyst: Analyst, folder: Path, refs: list[FrameRef]) -> Contender:
    """Return the bare encoder on the pixels of these files."""
    turns = itertools.cycle([read_frame(folder / ref.path) for ref in refs])
    encoder, norm = analyst.encoder, analyst.support.normalization
    return Contender(lambda: encoder.embed(next(turns), CHIP, norm), _chips(folder, refs))


def _chips(folder: Path, refs: list[FrameRef]) -> int:
    height, width = read_frame(folder / refs[0].path).shape
    return (height // CHIP) * (width // CHIP)


def _write_files(folder: Path, edge: int) -> list[FrameRef]:
    experiment = Experiment(frames=_FILES, size=(edge, edge))
    exposure = Exposure(pixel_size_nm=0.04, time=0.0, exposure_s=0.1, interval_s=1.0)
    refs = []
    for number in range(_FILES):
        path = folder / f"{edge}-{number}.dm4"
        path.write_bytes(encode("dm4", experiment.frame(number).pixels, exposure, path.stem))
        status = path.stat()
        refs.append(FrameRef(path=path.name, size=status.st_size, mtime_ns=mtime_of(status)))
    return refs


def _support(frame: Frame) -> SupportSet:
    """Two classes, from the left and the right of a frame: what they show does not matter."""
    last = frame.shape[1] // CHIP - 1
    picks = {
        name: [(row, column) for row in range(1, 2 * _PICKS, 2)]
        for name, column in (("left", 1), ("right", last - 1))
    }
    norm = Normalization.from_percentiles(frame.pixels)
    return SupportSet.from_picks(frame, CHIP, picks, normalization=norm)
