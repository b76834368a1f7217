"""Encoders: those that can be had by name, and any weights file.

A new one is an `EncoderKind` in a module here, or an entry point of the group
`pychip_stream.encoders` in another package. It need not be a network: `Encoder` says what counts.
"""

import logging
from pathlib import Path

from pychip_stream.config import EncoderConfig
from pychip_stream.errors import EncoderUsageError
from pychip_stream.model.encoders.encoder import Encoder as Encoder
from pychip_stream.model.encoders.encoder import EncoderKind
from pychip_stream.plugins import Registry, members_of

logger = logging.getLogger(__name__)

ENCODERS = Registry[EncoderKind]("pychip_stream.encoders", members_of(__name__, EncoderKind))


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
        "float32", "bfloat16", "float16" or "int8"; None measures which is fastest here.

    Raises
    ------
    EncoderError
        If there is no such encoder or device, or its weights are missing or do not fit.
    """
    path = Path(name)
    if name in ENCODERS:
        kind = ENCODERS[name]
    elif weights is None and (path.is_file() or path.suffix):
        from pychip_stream.model.encoders.weights_files import weights_kind

        kind = weights_kind(name, path)
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
