"""What the classifier asks of an encoder; keeps it free of any deep-learning import."""

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization


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
