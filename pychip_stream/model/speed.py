"""How fast an encoder is on this machine, as ratios measured side by side in one run.

Machines are shared and clocks vary, so the contenders take turns and the best round of each
counts: a ratio then compares like with like.
"""

import itertools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pychip_stream.domain.normalization import Normalization
from pychip_stream.model.encoders import resnet
from pychip_stream.model.encoders.dense import CHIP, DenseEncoder

_RANGE = Normalization("range", 0.0, 4096.0)
_PAPER = 224
"""Edge of the paper's chips on its network's input."""
_BATCHES = (32, 128)
_EDGES, _CHIPS = (512, 1024, 2048, 4096), (32, 64)
_QUICK_FRAME_S = 1.0
"""A quick run measures the frames that should take less than this."""


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


def measure_speed(
    encoder: DenseEncoder, quick: bool = False, clock: Clock = time.perf_counter
) -> dict[str, Any]:
    """Time an encoder against the usual ways, and count its frames per second.

    Parameters
    ----------
    clock
        `time.process_time` on a machine that others use as well (CPU only, one thread).

    Returns
    -------
    A dictionary with

    chips_per_s
        64-px chips of a 1024² uint16 frame, from counts to embeddings.
    ratio_resnet18_64
        Against torchvision's ResNet-18 (random weights) at 64 px, best precision and batch.
    ratio_paper
        Against the paper's way: chip by chip to 224 px, ResNet-18, float32.
    gemm_share
        The network's multiply-adds per second over the machine's best matrix product in the
        same precision.
    resnet18_64_per_s, paper_per_s, gemm_gflops, device
        What the ratios are made of.
    frames_per_s
        By "frame edge/chip edge".
    """
    frame = _frame(1024)
    chips = (1024 // CHIP) ** 2
    own = Contender(lambda: encoder.embed(frame, CHIP, _RANGE), chips)
    network = Contender(*_network_call(encoder))
    product = Contender(*_product(encoder.torch_device, encoder.dtype))
    paper = Contender(*_paper(frame, encoder.torch_device))
    rivals = list(_rivals(encoder.torch_device))
    take_turns([own, network, product, paper, *rivals], 8.0 if quick else 40.0, clock=clock)
    rival = max(r.rate() for r in rivals)
    return {
        "encoder": encoder.name,
        "device": encoder.device,
        "threads": torch.get_num_threads(),
        "chips_per_s": own.rate(),
        "ratio_resnet18_64": own.rate() / rival,
        "ratio_paper": own.rate() / paper.rate(),
        "gemm_share": network.rate() / product.rate(),
        "resnet18_64_per_s": rival,
        "paper_per_s": paper.rate(),
        "gemm_gflops": product.rate() / 1e9,
        "frames_per_s": _frames(encoder, own.rate(), quick, clock),
    }


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


def _network_call(encoder: DenseEncoder) -> tuple[Callable[[], object], float]:
    """Return the bare network on one window of 16 × 16 chips, and its operations."""
    edge = 16 * CHIP + 2 * encoder.margin
    window = torch.rand((1, 1, edge, edge), device=encoder.torch_device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder.run_network(window)
    return lambda: _finish(encoder.run_network(window)), counter.get_total_flops()


def _product(device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    edge = 2048
    a = torch.randn((edge, edge), device=device).to(dtype)
    return lambda: _finish(a @ a), 2.0 * edge**3


def _resnet18() -> nn.Module:
    trunk: nn.Module = resnet.torchvision_models().resnet18(weights=None)
    return trunk.eval().requires_grad_(False)


def _paper(
    frame: npt.NDArray[np.uint16], device: torch.device
) -> tuple[Callable[[], object], float]:
    """Four chips one after the other, each enlarged to 224 px."""
    network = _resnet18().to(device)
    plane = torch.from_numpy(frame[:CHIP, : 4 * CHIP].astype(np.float32) / 4096).to(device)

    def call() -> None:
        with torch.inference_mode():
            for column in range(4):
                chip = plane[None, None, :, column * CHIP : (column + 1) * CHIP]
                large = F.interpolate(chip, size=(_PAPER, _PAPER), mode="bilinear")
                _finish(network(large.expand(-1, 3, -1, -1)))

    return call, 4.0


def _rivals(device: torch.device) -> Iterable[Contender]:
    """ResNet-18 at 64 px in every precision and batch that may be its best."""
    for dtype in (torch.float32, torch.bfloat16):
        network = cast(
            nn.Module,
            _resnet18().to(device, dtype).to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        )
        for batch in _BATCHES:
            chips = torch.rand((batch, 3, CHIP, CHIP), device=device, dtype=dtype)
            chips = chips.contiguous(memory_format=torch.channels_last)

            def call(network: nn.Module = network, chips: torch.Tensor = chips) -> None:
                with torch.inference_mode():
                    _finish(network(chips))

            yield Contender(call, batch)


def _finish(result: torch.Tensor) -> None:
    """Wait until a result is there (devices work behind our back)."""
    if result.device.type != "cpu":
        result.flatten()[:1].cpu()
