"""An encoder that needs no network: statistics of cells."""

import numpy as np

from pychip_stream.domain.chips import CELLS, ChipSize, Grid
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization


class SimpleEncoder:
    """Mean, deviation and gradients of each cell, mixed by `seed`."""

    dim = 6
    device = "nowhere/float32"

    def __init__(self, name="simple", seed=0):
        self.name = name
        self.weights_hash = f"{seed:032x}"
        self._mix = np.random.default_rng(seed).normal(size=(4, self.dim)).astype(np.float32)
        self.calls = 0

    def embed(self, image, chip_size, normalization=None):
        return self.embed_cells(image, chip_size, normalization).mean(axis=2)

    def embed_cells(self, image, chip_size, normalization=None):
        self.calls += 1
        pixels = (image if isinstance(image, Frame) else Frame(np.asarray(image))).pixels
        size = ChipSize.parse(chip_size)
        grid = Grid.of(pixels.shape, size)
        norm = normalization or Normalization.from_percentiles(pixels)
        plane = norm.apply(pixels)[: grid.rows * size.height, : grid.columns * size.width]
        cells = plane.reshape(
            grid.rows, CELLS, size.height // CELLS, grid.columns, CELLS, size.width // CELLS
        ).transpose(0, 3, 1, 4, 2, 5)
        features = np.stack(
            [
                cells.mean((-1, -2)),
                cells.std((-1, -2)),
                np.abs(np.diff(cells, axis=-1)).mean((-1, -2)),
                np.abs(np.diff(cells, axis=-2)).mean((-1, -2)),
            ],
            axis=-1,
        )
        mixed = features.reshape(grid.rows, grid.columns, CELLS * CELLS, 4) @ self._mix
        return mixed.astype(np.float32)
