"""Which encoders there are, and where their weights come from."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.errors import EncoderError, EncoderUsageError
from pychip_stream.model.encoders import checkpoint, resnet
from pychip_stream.model.encoders.filters import FilterBank
from pychip_stream.model.encoders.network import CellNet, Design


@runtime_checkable
class Encoder(Protocol):
    """A network (or filter bank) that turns the chips of a frame into embeddings.

    Attributes
    ----------
    name
        What it was loaded as.
    weights_hash
        Identifies its weights; embeddings with different hashes must not be mixed.
    dim
        Length D of an embedding.
    device
        Where it runs, for example "cpu".
    """

    name: str
    weights_hash: str
    dim: int
    device: str

    def embed(
        self,
        image: Frame | npt.NDArray[np.generic],
        chip_size: ChipSize | int | str | tuple[int, int],
        normalization: Normalization | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed every chip of a frame: (rows, columns, D) float32, not standardised.

        `image` is a frame or raw (H, W) counts; without a normalisation its own percentiles
        are taken.
        """
        ...

    def embed_cells(
        self,
        image: Frame | npt.NDArray[np.generic],
        chip_size: ChipSize | int | str | tuple[int, int],
        normalization: Normalization | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed every cell of every chip: (rows, columns, CELLS², D) float32.

        A chip's embedding is the mean over its cells.
        """
        ...


BUNDLED = Path(__file__).parent / "weights" / "bundled.pt"
"""The package's own trained weights."""


def find(name: str, weights: Path | None) -> tuple[nn.Module, str]:
    """Build the network that a name means and return it with the hash of its weights.

    Raises
    ------
    EncoderError
        If the name is unknown, or the weights are missing or do not fit.
    """
    if name == "bundled":
        return _from_file(weights or BUNDLED)
    if name == "filters" and weights is None:
        return _filters()
    if name in resnet.NAMES:
        return resnet.load(name, weights)
    path = Path(name)
    if weights is None and (path.is_file() or path.suffix):
        return _from_file(path)
    raise EncoderUsageError(
        f"encoder {name!r}: unknown; choose 'bundled', 'filters', "
        f"{', '.join(resnet.NAMES)}, or the path of a weights file"
    )


def _filters() -> tuple[nn.Module, str]:
    network = FilterBank()
    return network, checkpoint.weights_hash(network.version, network.state_dict())


def _from_file(path: Path) -> tuple[nn.Module, str]:
    state, metadata = checkpoint.read(path)
    if metadata.get("architecture") == "cells":
        return _cells(path, state, metadata)
    name = resnet.guess_name(state)
    if name is None:
        raise EncoderError(
            f"{path}: the tensors fit none of the known networks ({', '.join(resnet.NAMES)})"
        )
    return resnet.load(name, path)


def _cells(
    path: Path, state: dict[str, torch.Tensor], metadata: dict[str, Any]
) -> tuple[nn.Module, str]:
    """Build the package's own network, ready for inference."""
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
