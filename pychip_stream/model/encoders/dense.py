"""Dense encoder: a network run over the whole frame, one embedding per chip in one call."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
from torch import nn

from pychip_stream.domain.chips import CELLS, ChipSize, Grid
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.model.encoders.device import Placement, choose, keep_memory
from pychip_stream.model.encoders.encoder import EncoderKind
from pychip_stream.model.encoders.resample import axis_filter, window

CHIP = 64
"""Edge of a chip in pixels on the encoder's scale."""
CELL = CHIP // CELLS
TILE = 24
"""Chips per edge of the windows a large frame is worked through in; bounds the memory."""


class Network(Protocol):
    """What the encoder asks of a network.

    Attributes
    ----------
    margin
        Pixels of surroundings, on the encoder's scale, that a window brings along.
    dim
        Components of a cell's features.
    """

    margin: int
    dim: int

    def __call__(self, x: torch.Tensor, /) -> torch.Tensor:
        """Turn (B, 1, H, W) windows into (B, dim, H / 16, W / 16) features."""
        ...


@dataclass(frozen=True)
class _Window:
    """A block of chips: first row and column, and how many."""

    row: int
    column: int
    rows: int
    columns: int


class DenseEncoder:
    """A network on a device, ready for frames.

    Attributes
    ----------
    name
        "bundled", "filters", a torchvision name, or the file the weights came from.
    weights_hash
        Names the weights and the code that uses them; equal hashes give equal embeddings
        up to the rounding of the device.
    dim
        Components D of an embedding.
    device
        Where it runs and in which precision, for example "cpu/bfloat16".
    """

    def __init__(self, name: str, network: Network, weights_hash: str, place: Placement) -> None:
        self.name = name
        self.weights_hash = weights_hash
        self.dim = network.dim
        self.device = str(place)
        self._network = network
        self._place = place
        self._lock = threading.Lock()

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it."""
        return self._place.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the convolutions."""
        return self._place.dtype

    @property
    def margin(self) -> int:
        """Pixels of surroundings, on the encoder's scale, around every window."""
        return self._network.margin

    def run_network(self, windows: torch.Tensor) -> torch.Tensor:
        """Run the bare network on (B, 1, H, W) float32 windows on the device."""
        with torch.inference_mode():
            return self._place.run(self._network, windows)

    def embed(
        self,
        image: Frame | npt.NDArray[np.generic],
        chip_size: ChipSize | int | str | tuple[int, int],
        normalization: Normalization | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed every chip of a frame.

        Parameters
        ----------
        image
            (H, W) counts of any real dtype.
        chip_size
            Edge(s) of a chip in pixels of the frame.
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
        chips = self._run(image, chip_size, normalization, CELLS)
        return cast(npt.NDArray[np.float32], chips.cpu().numpy())

    def embed_cells(
        self,
        image: Frame | npt.NDArray[np.generic],
        chip_size: ChipSize | int | str | tuple[int, int],
        normalization: Normalization | None = None,
    ) -> npt.NDArray[np.float32]:
        """Embed the cells of every chip; their mean is the chip's embedding.

        Returns
        -------
        (rows, columns, CELLS·CELLS, D) float32; cells row by row. See `embed`.
        """
        cells = self._run(image, chip_size, normalization, 1)
        rows, columns, dim = cells.shape
        split = cells.view(rows // CELLS, CELLS, columns // CELLS, CELLS, dim)
        ordered = split.permute(0, 2, 1, 3, 4).reshape(
            rows // CELLS, columns // CELLS, CELLS * CELLS, dim
        )
        return cast(npt.NDArray[np.float32], ordered.cpu().numpy())

    def warm_up(
        self, shape: tuple[int, int], chip_size: ChipSize | int | str | tuple[int, int]
    ) -> None:
        """Do everything once that the first frame of this shape would have to wait for."""
        noise = np.random.default_rng(0).integers(0, 4096, shape, dtype=np.uint16)
        self.embed(noise, chip_size, Normalization("range", 0.0, 4096.0))

    def _run(
        self,
        image: Frame | npt.NDArray[np.generic],
        chip_size: ChipSize | int | str | tuple[int, int],
        normalization: Normalization | None,
        pool: int,
    ) -> torch.Tensor:
        """Features on the device, (rows, columns, D) float32: of cells, or of chips (pooled)."""
        pixels = (image if isinstance(image, Frame) else Frame(np.asarray(image))).pixels
        height, width = pixels.shape
        grid = Grid.of((int(height), int(width)), ChipSize.parse(chip_size))
        norm = normalization or Normalization.from_percentiles(pixels)
        with self._lock, torch.inference_mode():
            plane = self._place.upload(norm, pixels)
            out = torch.empty(
                (grid.rows * CELLS // pool, grid.columns * CELLS // pool, self.dim),
                dtype=torch.float32,
                device=self._place.device,
            )
            for block in _blocks(grid):
                part = F.avg_pool2d(self._features(plane, grid, block), pool)[0].permute(1, 2, 0)
                top, left = block.row * CELLS // pool, block.column * CELLS // pool
                out[top : top + part.shape[0], left : left + part.shape[1]] = part
        return out

    def _features(self, plane: torch.Tensor, grid: Grid, block: _Window) -> torch.Tensor:
        """Cell features of one window: (1, D, rows·CELLS, columns·CELLS)."""
        margin = self._network.margin
        size, device = grid.chip_size, self._place.device
        spans = (
            (plane.shape[0], size.height, block.row, block.rows),
            (plane.shape[1], size.width, block.column, block.columns),
        )
        rows, columns = (
            axis_filter(
                limit, edge, CHIP, first * CHIP - margin, (first + count) * CHIP + margin
            ).to(device)
            for limit, edge, first, count in spans
        )
        x = window(plane, rows, columns)[None, None]
        features = self._place.run(self._network, x)
        skip = margin // CELL
        return features[..., skip : skip + block.rows * CELLS, skip : skip + block.columns * CELLS]


Find = Callable[[Path | None], tuple[nn.Module, str]]
"""From weights on disk, or None for a network's own, to the network and the hash of its weights."""


def network_kind(name: str, find: Find) -> EncoderKind:
    """Make an encoder of a network (`Network`), placed where it runs fastest."""

    def load(weights: Path | None, device: str | None, precision: str | None) -> DenseEncoder:
        network, digest = find(weights)
        place = choose(network.eval(), device, precision)
        if place.device.type == "cpu":
            keep_memory()
        return DenseEncoder(name, cast(Network, place.prepare(network)), digest, place)

    return EncoderKind(name, load)


def _blocks(grid: Grid) -> list[_Window]:
    """Cut a grid into windows of nearly equal size, none larger than TILE chips."""

    def spans(total: int) -> list[tuple[int, int]]:
        count = -(-total // TILE)
        edges = [total * i // count for i in range(count + 1)]
        return [(a, b - a) for a, b in itertools.pairwise(edges)]

    return [
        _Window(row, column, rows, columns)
        for row, rows in spans(grid.rows)
        for column, columns in spans(grid.columns)
    ]
