"""torchvision ResNets run densely: several depths pooled over cells, with intensity.

The encoder of the pyChip paper (Doty et al. 2022) is a ResNet; here it sees the whole frame
at once, so that a chip sees its surroundings.
"""

import importlib
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import nn

from pychip_stream.errors import EncoderError
from pychip_stream.model.encoders import checkpoint
from pychip_stream.model.encoders.dense import CELL, network_kind

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def torchvision_models() -> ModuleType:
    """Return `torchvision.models`, importable whatever torch it was built for.

    A torchvision that is missing, or broken beyond the missing operators, is an EncoderError.
    """
    try:
        return importlib.import_module("torchvision.models")
    except ImportError as error:
        raise EncoderError(
            f"torchvision cannot be imported ({error}); install it, or use encoder 'bundled'"
        ) from error
    except RuntimeError as error:
        if "does not exist" not in str(error):
            raise EncoderError(
                f"torchvision does not fit this torch ({error}); use encoder 'bundled'"
            ) from error
    _missing_operators()
    return importlib.import_module("torchvision.models")


@cache  # what it returns must live: that keeps them registered
def _missing_operators() -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    return library


_BLOCKS = {
    "resnet18": (2, 2, 2),
    "resnet34": (3, 4, 6),
    "resnet50": (3, 4, 6),
    "resnet101": (3, 4, 23),
    "resnet152": (3, 8, 36),
}
NAMES = tuple(_BLOCKS)
_BOTTLENECK = ("resnet50", "resnet101", "resnet152")
_UNUSED = ("fc.", "layer4.")
# Mean and deviation of ImageNet's three channels, averaged: micrographs are grey.
_MEAN, _DEVIATION = 0.449, 0.226


class DenseResNet(nn.Module):
    """Layers 1 to 3 of a ResNet over whole windows.

    Layer 3 has one sample per 16 px, which is one per cell; the finer layers are averaged.
    """

    margin = 64
    version = "dense 1"

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *(cast(nn.Module, getattr(trunk, n)) for n in ("conv1", "bn1", "relu", "maxpool"))
        )
        layers = [cast(nn.Module, getattr(trunk, f"layer{i}")) for i in (1, 2, 3)]
        self.layers = nn.ModuleList(layers)
        self.dim = 3 + sum(_width(layer) for layer in layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Describe the cells of (B, 1, H, W) windows: (B, dim, H / 16, W / 16)."""
        mean = F.avg_pool2d(x, CELL)
        spread = (F.avg_pool2d(x.square(), CELL) - mean.square()).clamp_min(0)
        wide = F.avg_pool2d(F.pad(mean, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
        parts = [mean, spread.sqrt(), mean - wide]
        first = cast(nn.Conv2d, self.stem[0])
        h = self.stem(((x - _MEAN) / _DEVIATION).to(first.weight.dtype).expand(-1, 3, -1, -1))
        for depth, layer in enumerate(self.layers):
            h = layer(h)
            parts.append((F.avg_pool2d(h, 4 >> depth) if depth < 2 else h).float())
        return torch.cat(parts, dim=1)


def load(name: str, weights: Path | None) -> tuple[DenseResNet, str]:
    """Build a ResNet and return it with the hash of its weights.

    Parameters
    ----------
    name
        One of `NAMES`.
    weights
        State dict on disk; None takes torchvision's ImageNet weights, from the local cache
        or the network. Such that cannot be had or do not fit are an EncoderError.
    """
    models = torchvision_models()
    trunk: nn.Module = getattr(models, name)(weights=None)
    state = _downloaded(name) if weights is None else checkpoint.read(weights)[0]
    _fill(trunk, state, f"{weights or name}")
    used = {k: v for k, v in trunk.state_dict().items() if not k.startswith(_UNUSED)}
    network = DenseResNet(trunk)
    return network, checkpoint.weights_hash(f"{name} {network.version}", used)


def guess_name(state: Mapping[str, torch.Tensor]) -> str | None:
    """Name the ResNet that a state dict belongs to, or None."""
    if "layer1.0.conv1.weight" not in state:
        return None
    counts = tuple(
        len({k.split(".")[1] for k in state if k.startswith(f"layer{i}.")}) for i in (1, 2, 3)
    )
    deep = "layer1.0.conv3.weight" in state
    for name, blocks in _BLOCKS.items():
        if counts == blocks and deep == (name in _BOTTLENECK):
            return name
    return None


def _downloaded(name: str) -> Mapping[str, torch.Tensor]:
    models = torchvision_models()
    entry = models.get_model_weights(name).DEFAULT
    try:
        return cast(Mapping[str, torch.Tensor], entry.get_state_dict(progress=False))
    except Exception as error:  # urllib, ssl, socket and hash errors: all mean "not here"
        raise EncoderError(
            f"encoder {name!r}: its ImageNet weights are not on this machine and cannot be "
            f"downloaded ({type(error).__name__}); copy {entry.url.rsplit('/', 1)[-1]} here and "
            "name it in encoder.weights, or use encoder 'bundled'"
        ) from error


def _fill(trunk: nn.Module, state: Mapping[str, torch.Tensor], where: str) -> None:
    """Load what the dense layers need; the classification head may be missing or foreign."""
    wanted = {k: v for k, v in trunk.state_dict().items() if not k.startswith(_UNUSED)}
    usable = {k: v for k, v in state.items() if k in wanted}
    for key, value in usable.items():
        if value.shape != wanted[key].shape:
            raise EncoderError(
                f"{where}: {key} has shape {tuple(value.shape)} where "
                f"{tuple(wanted[key].shape)} is expected; are these weights of another network?"
            )
    needed = [k for k in wanted if not k.endswith("num_batches_tracked")]
    absent = [k for k in needed if k not in usable]
    if absent:
        raise EncoderError(
            f"{where}: {len(absent)} of {len(needed)} tensors are missing (first: {absent[0]}); "
            "are these weights of another network?"
        )
    trunk.load_state_dict(usable, strict=False)


def _width(layer: nn.Module) -> int:
    convolutions = [m for m in layer.modules() if isinstance(m, nn.Conv2d)]
    return convolutions[-1].out_channels


KINDS = tuple(network_kind(name, partial(load, name)) for name in NAMES)
