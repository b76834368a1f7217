"""Encoder: what turns the chips of a frame into embeddings, and what there is to know of one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization

Image: TypeAlias = Frame | npt.NDArray[np.generic]
"""A frame, or (H, W) counts of any real dtype."""
Size: TypeAlias = ChipSize | int | str | tuple[int, int]
"""Edge(s) of a chip in pixels of the frame, as `ChipSize.parse` reads them."""


class Encoder(Protocol):
    """A network (or filter bank) on a device that turns the chips of a frame into embeddings.

    Attributes
    ----------
    name
        What it was loaded as: "bundled", "filters", a torchvision name, a weights file.
    weights_hash
        Names the weights and the code that uses them; equal hashes give equal embeddings up to
        the rounding of the device, different ones must not be mixed.
    dim
        Components D of an embedding.
    device
        Where it runs and in which precision, for example "cpu/bfloat16".
    """

    name: str
    weights_hash: str
    dim: int
    device: str

    def embed(
        self, image: Image, chip_size: Size, normalization: Normalization | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed every chip of a frame.

        Parameters
        ----------
        normalization
            Range of the run; None takes the frame's own 0.1 and 99.9 percentiles.

        Returns
        -------
        (rows, columns, D) float32, not standardised: the mean over the chip's cells.

        Raises
        ------
        FrameError
            If not even one chip fits, or the image is not two-dimensional.
        """
        ...

    def embed_cells(
        self, image: Image, chip_size: Size, normalization: Normalization | None = None
    ) -> npt.NDArray[np.float32]:
        """Embed the cells of every chip: (rows, columns, CELLS·CELLS, D) float32, row by row."""
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
    place
        Among all kinds, in the order in which they are named.
    """

    name: str
    load: Load
    place: int = 1
