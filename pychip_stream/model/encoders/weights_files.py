"""Encoders from weights on disk: the package's own, and any file whose tensors fit a network."""

from dataclasses import replace
from pathlib import Path

from torch import nn

from pychip_stream.errors import EncoderError
from pychip_stream.model.encoders import checkpoint, network, resnet
from pychip_stream.model.encoders.dense import network_kind
from pychip_stream.model.encoders.encoder import EncoderKind

BUNDLED = Path(__file__).parent / "weights" / "bundled.pt"
"""The package's own trained weights."""


def former(weights_hash: str) -> Path | None:
    """Return the bundled weights of before that have a hash: archives made with them need them."""
    path = BUNDLED.with_name(f"bundled-{weights_hash[:8]}.pt")
    return path if path.is_file() else None


def weights_kind(name: str, path: Path) -> EncoderKind:
    """Make an encoder of the network that a file fits, unless other weights are asked for."""
    return network_kind(name, lambda weights: _from_file(weights or path))


def _from_file(path: Path) -> tuple[nn.Module, str]:
    """Build the network that the tensors of a file fit."""
    state, metadata = checkpoint.read(path)
    if metadata.get("architecture") == "cells":
        return network.load(path, state, metadata)
    name = resnet.guess_name(state)
    if name is None:
        raise EncoderError(
            f"{path}: the tensors fit none of the known networks ({', '.join(resnet.NAMES)})"
        )
    return resnet.load(name, path)


KIND = replace(weights_kind("bundled", BUNDLED), place=0)
