"""The package's own network: multiscale patch stem, energies, context, fixed responses.

Built for dense 3×3 convolutions near the machine's matrix-multiply peak: the stem works on
4 × 4 blocks of three pyramid levels that all land on one grid of 4 px, the bulk of the work is
at strides 8 and 16, and batch normalisation folds into the convolutions once trained.
"""

import copy
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from pychip_stream.errors import EncoderError
from pychip_stream.model.encoders import checkpoint
from pychip_stream.model.encoders.dense import CELL
from pychip_stream.model.encoders.filters import BLOCK, Responses, stacked
from pychip_stream.model.encoders.int8 import (
    Int8Conv,
    Steps,
    check,
    example_pictures,
    inputs_of,
    one_thread,
)

_FLOOR = 0.02
"""Response of the stem below which differences are detector noise."""
_GAIN = 4.0
"""Norm of a stem kernel at the start."""
_INTENSITIES = 8


@dataclass(frozen=True)
class Design:
    """Sizes of the network.

    Attributes
    ----------
    stem
        Filters at full, half and quarter resolution.
    down
        Channels that the finest filters become at stride 8.
    middle
        Channels at stride 8.
    deep
        Channels at stride 16, the stride of a cell.
    dim
        Learnt components of an embedding; those of `Responses` follow them.
    """

    stem: tuple[int, int, int] = (32, 32, 48)
    down: int = 48
    middle: int = 64
    deep: int = 128
    dim: int = 96

    @classmethod
    def parse(cls, tree: dict[str, Any]) -> "Design":
        """Read the plain values of `asdict`."""
        return cls(**{**tree, "stem": tuple(tree["stem"])})


class CellNet(nn.Module):
    """Cell features of windows; a `Network`."""

    margin = 32
    version = "cells 2"
    """Changes whenever equal weights would give other features."""

    def __init__(self, design: Design | None = None) -> None:
        super().__init__()
        self.design = d = design or Design()
        self.dim = d.dim + Responses.dim
        self.responses = Responses()
        fine, medium, coarse = d.stem
        # 3 × 3 blocks of 4 × 4 samples: kernels of 12, 24 and 48 px.
        self.stems = nn.ModuleList(
            nn.Conv2d(BLOCK**2, filters, 3, padding=1, bias=False) for filters in d.stem
        )
        self.down = _convolution(fine, d.down, stride=2)
        self.middle = _convolution(d.down + medium, d.middle)
        self.deeper = _convolution(d.middle, d.deep, stride=2)
        told = fine + medium + coarse + _INTENSITIES
        self.told_norm = nn.BatchNorm2d(told)
        gathered = told + sum(d.stem) + d.down + d.middle + d.deep
        self.mix = _convolution(gathered, d.deep, kernel=1)
        self.context = nn.Sequential(_convolution(d.deep, d.deep), _convolution(d.deep, d.deep))
        self.project = nn.Conv2d(gathered + 2 * d.deep, d.dim, 1)
        self.joint: nn.Conv2d | None = None
        self.rest: nn.Conv2d | None = None
        self.whole: WholeNumbers | None = None
        _start_stems(self.stems)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Describe the cells of windows.

        `x` are (B, 1, H, W) float32 intensities, useful range 0…1; H and W multiples of 16. The
        result is (B, dim, H / 16, W / 16) float32: what is learnt, then the fixed responses.
        """
        half = _halved(x)
        block = _halved(half)
        raw = [
            self._filter(stem, stacked(level))
            for stem, level in zip(self.stems, (x, half, block), strict=True)
        ]
        powers = [F.avg_pool2d(r.square(), n) for r, n in zip(raw, (4, 2, 1), strict=True)]
        energies = torch.cat(powers, 1).float().add_(_FLOOR**2).log()
        told = self.told_norm(torch.cat([energies, _channels_last(_intensities(block))], 1))
        learnt = self.whole(raw, told) if self.whole else self._learnt(raw, told)
        with torch.autocast(x.device.type, enabled=False):
            fixed = self.responses(half, block)
        return torch.cat([learnt.float(), fixed], 1)

    def _learnt(self, raw: list[torch.Tensor], told: torch.Tensor) -> torch.Tensor:
        """Learnt components from what the stems give and from energies and intensities."""
        fine, medium, coarse = (F.relu(r) for r in raw)
        early = torch.cat([self.down(fine), medium], 1)
        middle = self.middle(early)
        deep = self.deeper(middle)
        pooled = [F.avg_pool2d(fine, 4), F.avg_pool2d(early, 2), coarse, F.avg_pool2d(middle, 2)]
        return self._describe(torch.cat([told.to(deep.dtype), *pooled, deep], 1))

    def _describe(self, gathered: torch.Tensor) -> torch.Tensor:
        """Let neighbouring cells speak to each other and project everything."""
        if self.joint is not None and self.rest is not None:
            both = self.joint(gathered)
            mixed = F.relu(both[:, : self.design.deep])
            around = self.rest(torch.cat([mixed, self.context(mixed)], 1))
            learnt: torch.Tensor = both[:, self.design.deep :].float() + around
            return learnt
        mixed = self.mix(gathered)
        context = mixed + self.context(mixed)
        out: torch.Tensor = self.project(torch.cat([gathered, mixed, context], 1))
        return out

    def _filter(self, stem: nn.Module, level: torch.Tensor) -> torch.Tensor:
        """Convolve with zero-mean kernels: plain intensity gives no response."""
        assert isinstance(stem, nn.Conv2d)
        weight = stem.weight
        if self.training:
            weight = weight - weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(level.to(weight.dtype), weight, padding=1)

    def folded(self) -> "CellNet":
        """Return a copy for inference, its normalisations folded into the convolutions."""
        ready = copy.deepcopy(self).eval()
        for module in ready.modules():
            if isinstance(module, nn.Sequential) and isinstance(module[0], nn.Conv2d):
                norm = cast(nn.BatchNorm2d, module[1])
                module[0] = fuse_conv_bn_eval(module[0], norm)
                module[1] = nn.Identity()
        for stem in ready.stems:
            weight = cast(torch.Tensor, stem.weight).data
            weight -= weight.mean((1, 2, 3), keepdim=True)
        ready.joint, ready.rest = _regrouped(cast(nn.Conv2d, ready.mix[0]), ready.project)
        return ready

    @torch.no_grad()
    def in_int8(self) -> "CellNet":
        """Return a copy of a folded network that computes what is learnt in whole numbers.

        Raises
        ------
        EncoderError
            If that is not possible on this CPU, or would move the embeddings of these weights.
        """
        ready, pictures = copy.copy(self), example_pictures()
        with one_thread():
            ready.whole = WholeNumbers(self, pictures)
            check(ready(pictures), self(pictures))
        return ready


class WholeNumbers:
    """What a folded network has learnt, in whole numbers of 8 bits.

    What carries the intensities stays in float32: stems, energies, and the fixed responses.
    """

    def __init__(self, network: CellNet, pictures: torch.Tensor) -> None:
        d = network.design
        joint, rest = cast(nn.Conv2d, network.joint), cast(nn.Conv2d, network.rest)
        layers = (network.down, network.middle, network.deeper, *network.context)
        down, middle, deeper, near, far = (cast(nn.Conv2d, layer[0]) for layer in layers)
        fine, early, mid, mixed, context, gathered, described = inputs_of(
            (down, middle, deeper, near, far, joint, rest), network, pictures
        )
        sizes = (network.told_norm.num_features, d.stem[0], d.down + d.stem[1], d.stem[2], d.middle)
        ends = list(itertools.accumulate(sizes))
        told, pooled_fine, pooled_early, coarse, pooled_middle, deep = (
            Steps.covering(part) for part in gathered.tensor_split(ends, 1)
        )
        self.fine = Steps.covering(fine)
        self.medium = Steps.covering(early[:, d.down :])
        self.told, self.coarse = told, coarse
        self.down = Int8Conv(down, fine, Steps.covering(early[:, : d.down]))
        self.middle = Int8Conv(middle, early, Steps.covering(mid))
        self.deeper = Int8Conv(deeper, mid, deep)
        self.pool_fine = Int8Conv(_pooling(d.stem[0], 4), fine, pooled_fine)
        self.pool_early = Int8Conv(_pooling(d.down + d.stem[1], 2), early, pooled_early)
        self.pool_middle = Int8Conv(_pooling(d.middle, 2), mid, pooled_middle)
        self.mix = Int8Conv(_filters(joint, slice(d.deep)), gathered, Steps.covering(mixed))
        self.project = Int8Conv(_filters(joint, slice(d.deep, None)), gathered)
        self.near = Int8Conv(near, mixed, Steps.covering(context))
        self.far = Int8Conv(far, context, Steps.covering(described[:, d.deep :]))
        self.rest = Int8Conv(rest, described)

    def __call__(self, raw: list[torch.Tensor], told: torch.Tensor) -> torch.Tensor:
        """As `CellNet` does in float32."""
        fine, medium, coarse = raw
        first = self.fine.numbers(fine)
        early = torch.cat([self.down(first), self.medium.numbers(medium)], 1)
        middle = self.middle(early)
        gathered = torch.cat(
            [
                self.told.numbers(told),
                self.pool_fine(first),
                self.pool_early(early),
                self.coarse.numbers(coarse),
                self.pool_middle(middle),
                self.deeper(middle),
            ],
            1,
        )
        mixed = self.mix(gathered)
        context = self.far(self.near(mixed))
        return self.project(gathered) + self.rest(torch.cat([mixed, context], 1))


def _pooling(channels: int, edge: int) -> nn.Conv2d:
    """Average edge × edge samples of every channel."""
    conv = nn.Conv2d(channels, channels, edge, edge, bias=False)
    conv.weight.copy_(torch.eye(channels)[:, :, None, None].expand_as(conv.weight) / edge**2)
    return conv


def _filters(conv: nn.Conv2d, which: slice) -> nn.Conv2d:
    """Take some of the filters of a 1 × 1 convolution."""
    assert conv.bias is not None
    part = nn.Conv2d(conv.in_channels, len(conv.bias[which]), 1)
    part.weight.copy_(conv.weight[which])
    cast(nn.Parameter, part.bias).copy_(conv.bias[which])
    return part


@torch.no_grad()
def _regrouped(mix: nn.Conv2d, project: nn.Conv2d) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Split the projection by what it reads, so that wide features are read and copied once.

    Returns
    -------
    What is done to the gathered features, both `mix` and their part of the projection; and the
    projection of what `mix` gives and of what its context adds to that.
    """
    gathered, deep, dim = mix.in_channels, mix.out_channels, project.out_channels
    assert mix.bias is not None
    assert project.bias is not None
    joint, rest = nn.Conv2d(gathered, deep + dim, 1), nn.Conv2d(2 * deep, dim, 1, bias=False)
    joint.weight.copy_(torch.cat([mix.weight, project.weight[:, :gathered]]))
    cast(nn.Parameter, joint.bias).copy_(torch.cat([mix.bias, project.bias]))
    own, around = project.weight[:, gathered:].chunk(2, dim=1)
    rest.weight.copy_(torch.cat([own + around, around], 1))
    return joint, rest


def _convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _halved(level: torch.Tensor) -> torch.Tensor:
    """Average 2 × 2 samples; twice as fast as pooling one channel."""
    rows = level[:, :, ::2] + level[:, :, 1::2]
    return (rows[..., ::2] + rows[..., 1::2]).mul_(0.25)


def _channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _intensities(block: torch.Tensor) -> torch.Tensor:
    """Mean and log-deviation of a cell, and its mean against its surroundings.

    `block` is (B, 1, H / 4, W / 4) float32.
    """
    mean = F.avg_pool2d(block, CELL // BLOCK)
    spread = F.avg_pool2d(block.square(), CELL // BLOCK) - mean.square()
    parts = [mean, torch.log(spread.clamp_min(0) + 1e-5)]
    for reach in (1, 3):
        edge = 2 * reach + 1
        padded = F.pad(mean, (reach,) * 4, mode="replicate")
        both = torch.cat([padded, -padded], 1)  # the lowest is minus the highest of minus
        along = F.max_pool2d(both, (1, edge), stride=1)
        high, low = F.max_pool2d(along, (edge, 1), stride=1).chunk(2, dim=1)
        parts += [mean - F.avg_pool2d(padded, edge, stride=1), high - mean, mean + low]
    return torch.cat(parts, dim=1)


def _start_stems(stems: nn.ModuleList) -> None:
    """Give every stem kernel the same norm, so that no filter starts silent."""
    with torch.no_grad():
        for stem in stems:
            weight = torch.randn_like(cast(torch.Tensor, stem.weight))
            weight -= weight.mean((1, 2, 3), keepdim=True)
            weight *= _GAIN / weight.flatten(1).norm(dim=1)[:, None, None, None]
            cast(torch.Tensor, stem.weight).copy_(weight)


def load(
    path: Path, state: dict[str, torch.Tensor], metadata: dict[str, Any]
) -> tuple[nn.Module, str]:
    """Build the network that fits the tensors and metadata of a file, ready for inference."""
    try:
        network = CellNet(Design.parse(metadata["design"]))
        missing, unexpected = network.load_state_dict(state, strict=False)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise EncoderError(
            f"{path}: weights and design do not fit together ({str(error).splitlines()[0][:100]}); "
            "the file was written by another version"
        ) from error
    absent = [name for name in missing if not name.endswith("num_batches_tracked")]
    if absent or unexpected:
        raise EncoderError(
            f"{path}: tensors do not fit this version (first: {[*absent, *unexpected][0]}); "
            "export the weights again"
        )
    return network.eval().folded(), checkpoint.weights_hash(network.version, state)
