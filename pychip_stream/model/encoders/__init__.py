"""Encoders: those that can be had by name, and any weights file.

A new one is a module here with a kind, listed below, or an entry point of the group
`pychip_stream.encoders` in another package. It need not be a network: `Encoder` says what counts.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pychip_stream.config import EncoderConfig
from pychip_stream.errors import EncoderError, EncoderUsageError
from pychip_stream.model.encoders.encoder import Encoder as Encoder
from pychip_stream.model.encoders.encoder import EncoderKind
from pychip_stream.plugins import Registry

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

BUNDLED = Path(__file__).parent / "weights" / "bundled.pt"
"""The package's own trained weights."""


def _own() -> Iterator[EncoderKind]:
    """Load the kinds of this package, which load torch."""
    from pychip_stream.model.encoders import filters, resnet
    from pychip_stream.model.encoders.dense import network_kind

    yield network_kind("bundled", lambda weights: _from_file(weights or BUNDLED))
    yield filters.KIND
    yield from resnet.KINDS


def _from_file(path: Path) -> "tuple[nn.Module, str]":
    """Build the network that the tensors of a file fit."""
    from pychip_stream.model.encoders import checkpoint, network, resnet

    state, metadata = checkpoint.read(path)
    if metadata.get("architecture") == "cells":
        return network.load(path, state, metadata)
    name = resnet.guess_name(state)
    if name is None:
        raise EncoderError(
            f"{path}: the tensors fit none of the known networks ({', '.join(resnet.NAMES)})"
        )
    return resnet.load(name, path)


ENCODERS = Registry[EncoderKind]("pychip_stream.encoders", _own)


def load_encoder(
    name: str = "bundled",
    weights: Path | None = None,
    device: str | None = None,
    precision: str | None = None,
) -> Encoder:
    """Load an encoder and place it where it runs fastest.

    Parameters
    ----------
    name
        "bundled" (the package's own), "filters" (a filter bank without training), a
        torchvision ResNet such as "resnet18", one of another package, or the path of a
        weights file.
    weights
        State dict on disk instead of the encoder's own weights.
    device
        "cpu", "cuda", "cuda:1", "mps"; None takes the fastest there is. A precision may
        follow after a slash: "cpu/float32".
    precision
        "float32", "bfloat16" or "float16"; None measures which is faster here.

    Raises
    ------
    EncoderError
        If there is no such encoder or device, or its weights are missing or do not fit.
    """
    path = Path(name)
    if name in ENCODERS:
        kind = ENCODERS[name]
    elif weights is None and (path.is_file() or path.suffix):
        from pychip_stream.model.encoders.dense import network_kind

        kind = network_kind(name, lambda _: _from_file(path))
    else:
        known = ", ".join(map(repr, ENCODERS.names))
        raise EncoderUsageError(
            f"encoder {name!r}: unknown; choose {known}, or the path of a weights file"
        )
    encoder = kind.load(weights, device, precision)
    logger.info("encoder %s (%s) on %s", encoder.name, encoder.weights_hash[:8], encoder.device)
    return encoder


def open_encoder(config: EncoderConfig, precision: str | None = None) -> Encoder:
    """Load the encoder that a configuration names; `precision` is for where it names none."""
    if "/" in (config.device or ""):
        precision = None
    return load_encoder(config.name, config.weights, config.device, precision)
