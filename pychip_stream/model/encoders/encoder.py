"""Encoder: what turns the chips of a frame into embeddings, and what there is to know of one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization


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


Load = Callable[[Path | None, str | None, str | None], Encoder]


@dataclass(frozen=True)
class EncoderKind:
    """An encoder that can be had by its name.

    Attributes
    ----------
    load
        Loads it: (weights, device, precision), each None for its own choice. Raises
        EncoderError where that is not possible.
    """

    name: str
    load: Load
