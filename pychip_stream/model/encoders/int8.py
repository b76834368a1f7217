"""Convolutions in whole numbers of 8 bits on the CPU, several times as fast as in float32.

Every channel has a step of its own, which the weights of the next layer take up. With one step
for all channels of a layer the weak ones vanish between the steps of the strong.
"""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import nn

from pychip_stream.errors import EncoderError

_HIGHEST = 255
_WEIGHT = 127
_TINY = 1e-9
_EDGE = 256
_SLOPES = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5)
"""From white noise to clouds."""
_MOST = 0.1
"""Deviations that embeddings may move, in the root mean square; 0.02 is usual."""

Geometry = tuple[list[int], list[int], list[int], int]
"""Stride, padding, dilation, groups."""


@dataclass(frozen=True)
class Steps:
    """How features become whole numbers from 0 to 255: feature ≈ low + step · number.

    Attributes
    ----------
    low, step
        (C,) float32, one for each channel; `low` is 0 where no feature is negative.
    """

    low: torch.Tensor
    step: torch.Tensor

    @classmethod
    def covering(cls, features: torch.Tensor) -> "Steps":
        """Return steps for all that is seen in features (B, C, H, W), and for 0."""
        low = features.amin((0, 2, 3)).clamp_max(0)
        high = features.amax((0, 2, 3)).clamp_min(0)
        return cls(low, ((high - low) / _HIGHEST).clamp_min(_TINY))

    def __getitem__(self, channels: slice) -> "Steps":
        return Steps(self.low[channels], self.step[channels])

    def numbers(self, features: torch.Tensor) -> torch.Tensor:
        """Round features (B, C, H, W) to uint8; what lies beyond the steps takes the last one."""
        low, step = self.low[:, None, None], self.step[:, None, None]
        shares = torch.addcmul(0.5 - low / step, features, 1 / step).clamp_(0, _HIGHEST + 0.5)
        return shares.to(torch.int16).to(torch.uint8)  # in one go it takes five times as long


class Int8Conv:
    """A convolution that reads whole numbers.

    Parameters
    ----------
    conv
        The convolution in float32; padded only where no feature is negative.
    seen
        (B, C, H, W) float32 features that it is given: they set the steps of what it reads, and
        what rounding changes in the mean over them is taken from its bias.
    wanted
        Steps of the result, which is uint8, so that what is negative becomes 0 as by a ReLU.
        None: float32.

    Raises
    ------
    EncoderError
        If they are not `available` on this CPU.
    """

    def __init__(self, conv: nn.Conv2d, seen: torch.Tensor, wanted: Steps | None = None) -> None:
        if not available():
            raise EncoderError("precision int8: needs a CPU with VNNI; choose cpu/float32")
        stride, padding, dilation = (
            list(cast(tuple[int, int], pair)) for pair in (conv.stride, conv.padding, conv.dilation)
        )
        self._geometry: Geometry = stride, padding, dilation, conv.groups
        given = Steps.covering(seen)
        weight = conv.weight * given.step[:, None, None]
        scale = (weight.abs().amax((1, 2, 3)) / _WEIGHT).clamp_min(_TINY)
        rounded = (weight / scale[:, None, None, None]).round()
        plain = F.conv2d(given.numbers(seen).float(), rounded, None, *self._geometry)
        bias = (conv(seen) - plain * scale[:, None, None]).mean((0, 2, 3))
        unit = torch.ones_like(scale) if wanted is None else wanted.step
        self._scale, self._bias = scale / unit, bias / unit
        self._packed = _packed(rounded, self._scale, self._geometry)
        self._dtype = torch.float32 if wanted is None else torch.uint8

    def __call__(self, numbers: torch.Tensor) -> torch.Tensor:
        """Convolve (B, C, H, W) uint8."""
        return _convolved(
            numbers, self._packed, self._scale, self._bias, self._geometry, self._dtype
        )


def _packed(rounded: torch.Tensor, scale: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """Lay weights out as the CPU wants them."""
    whole = rounded.to(torch.int8)
    packed = torch.ops.onednn.qconv_prepack(whole, scale, 1.0, 0, *geometry, None)
    return cast(torch.Tensor, packed)


def _convolved(
    numbers: torch.Tensor,
    packed: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    geometry: Geometry,
    dtype: torch.dtype,
) -> torch.Tensor:
    known = torch.ops.onednn
    former = not hasattr(known, "qconv_pointwise")  # older versions of torch have another name
    convolve = known.qconv2d_pointwise if former else known.qconv_pointwise
    zeros = torch.zeros(len(scale), dtype=torch.int64)
    given, wanted = (numbers, 1.0, 0), (1.0, 0, dtype)  # scale and zero of either
    found = convolve(*given, packed, scale, zeros, bias, *geometry, *wanted, "none", [], "")
    return cast(torch.Tensor, found)


@functools.cache
def available() -> bool:
    """Whether this CPU convolves whole numbers, and adds the products of the largest in full.

    Without VNNI it adds two of them in 16 bits and cuts the sum off.
    """
    geometry: Geometry = [1, 1], [0, 0], [1, 1], 1
    scale, bias = torch.ones(64), torch.zeros(64)
    numbers = torch.full((1, 64, 16, 16), _HIGHEST, dtype=torch.uint8)
    numbers = numbers.contiguous(memory_format=torch.channels_last)
    try:
        packed = _packed(torch.full((64, 64, 3, 3), float(_WEIGHT)), scale, geometry)
        found = _convolved(numbers, packed, scale, bias, geometry, torch.float32)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return bool((found > 0.999 * _HIGHEST * _WEIGHT * 64 * 9).all())


@torch.no_grad()
def inputs_of(
    convolutions: Sequence[nn.Conv2d], network: nn.Module, pictures: torch.Tensor
) -> list[torch.Tensor]:
    """Let a network look at pictures; return what its convolutions are given, in their order."""
    given: dict[nn.Module, torch.Tensor] = {}
    with contextlib.ExitStack() as stack:
        for one in convolutions:
            hook = one.register_forward_pre_hook(lambda conv, args: given.update({conv: args[0]}))
            stack.callback(hook.remove)
        network(pictures)
    return [given[one] for one in convolutions]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, so that the last digits are the same however many there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def example_pictures() -> torch.Tensor:
    """Return noise of all coarsenesses, weak, strong, and as grains with sharp borders.

    (B, 1, H, W) float32 intensities that span the useful range, always the same.
    """
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.fft.fftfreq(_EDGE)[:, None], torch.fft.rfftfreq(_EDGE)
    frequency = (rows.square() + columns.square() + 1e-4).sqrt()
    out = []
    for slope in _SLOPES:
        white = torch.randn((_EDGE, _EDGE), generator=generator)
        noise = torch.fft.irfft2(torch.fft.rfft2(white) * frequency**-slope, s=white.shape)
        noise = (noise - noise.mean()) / noise.std()
        out += [0.5 + 0.05 * noise, 0.5 + 0.25 * noise, 0.5 + 0.5 * torch.tanh(4 * noise)]
    return torch.stack(out)[:, None].clamp(-0.5, 1.5)


def check(features: torch.Tensor, reference: torch.Tensor) -> None:
    """Raise EncoderError if features (B, C, H, W) are not what float32 gives, but for rounding."""
    moved = (features - reference) / reference.std((0, 2, 3), keepdim=True).clamp_min(_TINY)
    far = float(moved.square().mean().sqrt())
    if not far <= _MOST:
        raise EncoderError(
            f"precision int8: moves the embeddings of these weights by {far:.2f} deviations "
            f"(at most {_MOST}); choose cpu/float32"
        )
