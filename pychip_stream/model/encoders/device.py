"""Where the encoder runs and in which precision, chosen by measurement."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pychip_stream.domain.normalization import Normalization
from pychip_stream.errors import EncoderError

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}
_PROBE = (1, 1, 512, 512)
_CLEAR_GAIN = 0.9
"""A lower precision must take less than this share of the time to be worth its rounding."""


_GRAPHS = 16
"""Shapes of windows that are recorded; each keeps its tensors on the device."""

Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Placement:
    """A device and a precision; brings networks and pixels there."""

    device: torch.device
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        return f"{self.device}/{str(self.dtype).removeprefix('torch.')}"

    def prepare(self, network: nn.Module) -> nn.Module:
        """Return a frozen copy of a network on the device.

        Only convolutions take the lower precision: normalisations and what the networks
        compute from intensities stay in float32. EncoderError if a network cannot be had in it.
        """
        moved = copy.deepcopy(network).eval().requires_grad_(False).to(self.device)
        if self.dtype.is_floating_point:
            for module in moved.modules():
                if isinstance(module, nn.Conv2d):
                    module.to(self.dtype)
        moved = moved.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._in_int8(moved) if self.dtype == torch.int8 else moved

    def _in_int8(self, network: nn.Module) -> nn.Module:
        make: Callable[[], nn.Module] | None = getattr(network, "in_int8", None)
        if make is None or self.device.type != "cpu":
            raise EncoderError(
                f"precision int8: this encoder has none on {self.device}; "
                f"choose {self.device}/float32"
            )
        return make()

    def recorded(self, network: Forward) -> Forward:
        """Return the network with float32 features, on CUDA as graphs: one for a shape of windows.

        Hundreds of small kernels, each launched by the processor, leave a GPU idle three quarters
        of the time. What a call returns holds until the next one.
        """
        return Graphs(network) if self.device.type == "cuda" else lambda x: network(x).float()

    def upload(self, norm: Normalization, pixels: npt.NDArray[np.generic]) -> torch.Tensor:
        """Bring a frame to the device as normalised (H, W) float32.

        A fixed range of narrow integers is applied on the device, so that only the detector's
        own bytes travel; everything else is normalised before.
        """
        narrow = pixels.dtype.kind in "ui" and pixels.dtype.itemsize <= 2
        if norm.mode != "range" or norm.clahe or not narrow:
            return torch.from_numpy(norm.apply(pixels)).to(self.device)
        native = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))
        if not native.flags.writeable:
            native = native.copy()
        counts = torch.from_numpy(native)
        if self.device.type == "mps":  # which knows no uint16
            counts = counts.float()
        # Page-locked memory would be faster only if the file were read into it: locking costs more.
        plane = counts.to(self.device).float()
        return plane.sub_(norm.low).mul_(1.0 / (norm.high - norm.low)).clamp_(-0.5, 1.5)


class Graphs:
    """A network that is recorded as a CUDA graph for each shape of its input, and replayed.

    Recordings share their memory: what one returns is overwritten by the next call.
    """

    def __init__(self, network: Forward) -> None:
        self._network = network
        self._recorded: dict[torch.Size, tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]]
        self._recorded = {}
        self._pool = torch.cuda.graph_pool_handle()
        self._can = True

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the features, float32, of windows on the device."""
        if x.shape not in self._recorded and self._can and len(self._recorded) < _GRAPHS:
            self._record(x)
        if x.shape not in self._recorded:
            return self._network(x).float()
        graph, given, found = self._recorded[x.shape]
        given.copy_(x)
        graph.replay()
        return found

    def _record(self, x: torch.Tensor) -> None:
        given = x.clone(memory_format=torch.contiguous_format)
        beside = torch.cuda.Stream(x.device)  # type: ignore[no-untyped-call]
        beside.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(beside):  # libraries choose their ways before the recording
            for _ in range(3):
                self._network(given)
        torch.cuda.current_stream(x.device).wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                found = self._network(given).float()
        except RuntimeError:  # a network that asks the processor, or too little memory
            self._can = False
            return
        self._recorded[x.shape] = graph, given, found


def choose(network: nn.Module, device: str | None, precision: str | None) -> Placement:
    """Decide where a network runs; what is not given is measured on this machine.

    Parameters
    ----------
    device
        "cpu", "cuda", "cuda:1", "mps", optionally with "/precision"; None: CUDA, else MPS,
        else CPU.
    precision
        A key of `PRECISIONS`, or None to measure. Networks that need it stay in float32.
    """
    if device and "/" in device:
        device, _, after = device.partition("/")
        precision = precision or after
    if precision is not None and precision not in PRECISIONS:
        raise EncoderError(f"precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    where = _device(device)
    if getattr(network, "full_precision", False):
        return Placement(where)
    if precision is not None:
        return Placement(where, PRECISIONS[precision])
    return _measure(network, where)


def _device(name: str | None) -> torch.device:
    if name is None or name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise EncoderError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0][:100]}); "
            "choose 'cpu', or leave it out"
        ) from error
    return device


def placements(device: torch.device) -> list[Placement]:
    """Return a device in the precisions that are worth timing there, float32 first."""
    last = torch.int8 if device.type == "cpu" else torch.float16
    return [Placement(device, dtype) for dtype in (torch.float32, torch.bfloat16, last)]


def _measure(network: nn.Module, device: torch.device) -> Placement:
    """Time float32 against the machine's other precisions on one small window.

    Not int8: beside examples that were embedded in another precision its rounding looks like
    drift, and intervals become up to four times as wide.
    """
    best = Placement(device)
    shortest = seconds(best, network)
    for candidate in placements(device)[1:]:
        if candidate.dtype == torch.int8:
            continue
        try:
            duration = seconds(candidate, network)
        except (RuntimeError, NotImplementedError, EncoderError):  # there is none here
            continue
        if duration < shortest * _CLEAR_GAIN:
            best, shortest = candidate, duration
    return best


def seconds(place: Placement, network: nn.Module) -> float:
    """Shortest time of three runs on one window of 8 × 8 chips, in seconds."""
    ready = place.prepare(network)
    x = torch.rand(_PROBE, generator=torch.Generator().manual_seed(0)).to(place.device)
    durations = []
    with torch.inference_mode():
        for _ in range(4):
            start = time.perf_counter()
            ready(x).float()
            _wait(place.device)
            durations.append(time.perf_counter() - start)
    return min(durations[1:])


def keep_memory() -> None:
    """Make the C library keep what the CPU's tensors free, for the next frame.

    Otherwise every frame's large tensors are mapped, cleared and unmapped again by the system,
    a tenth of the time. glibc raises its limits to the size of the largest block that was
    ever freed, up to 32 MiB; to others this call means nothing.
    """
    torch.empty((31 << 20,), dtype=torch.uint8)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def memory_in_use(device: str) -> dict[str, float]:
    """Memory in MB that a GPU, named as encoders do, has given to this process; empty without."""
    if not device.startswith("cuda"):
        return {}
    where = torch.device(device.partition("/")[0])
    return {
        "gpu_mb": torch.cuda.memory_reserved(where) / 2**20,
        "gpu_peak_mb": torch.cuda.max_memory_reserved(where) / 2**20,
    }
