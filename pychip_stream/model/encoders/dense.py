"""Dense encoder: a network run over the whole frame, one embedding per chip in one call.

Windows of the frame are brought to the network's scale by an area filter and mirrored beyond the
borders.
"""

import functools
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
from pychip_stream.model.encoders.encoder import Encoder, EncoderKind, Image, Size

CHIP = 64
"""Edge of a chip in pixels on the encoder's scale."""
CELL = CHIP // CELLS
"""Edge of a cell in pixels on the encoder's scale."""
TILE = 24
"""Chips per edge of the windows a large frame is worked through in; bounds the memory."""

_Taps = npt.NDArray[np.int64]
_Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AxisFilter:
    """Each output sample along one axis as a weighted sum of input samples.

    Attributes
    ----------
    indices
        (taps, out) int64 input positions, already mirrored at the frame's borders; one tap where
        the axis is only cut or mirrored.
    weights
        (taps, out) float32; each column sums to 1.
    cut
        Where the axis is only cut: its first input sample, and the one after its last.
    """

    indices: torch.Tensor
    weights: torch.Tensor
    cut: tuple[int, int] | None = None


@functools.lru_cache(64)  # the windows of a run's frames are always the same
def axis_filter(
    limit: int, size: int, target: int, start: int, stop: int, device: torch.device | str = "cpu"
) -> AxisFilter:
    """Resample one axis so that `size` input samples become `target` output samples.

    Shrinking takes the exact area average (fractional overlap included); enlarging
    interpolates linearly, so that no steps appear that the specimen does not have.

    Parameters
    ----------
    limit
        Input samples there are; beyond them the frame is mirrored.
    size, target
        Input and output samples of one chip.
    start, stop
        Wanted output samples, 0 at the frame's border; may reach beyond the frame.
    """
    positions = np.arange(start, stop, dtype=np.int64)
    if size == target:
        taps, weights = positions[None], np.ones((1, len(positions)))
    elif size > target:
        taps, weights = _area(positions, size, target)
    else:
        taps, weights = _linear(positions, size, target)
    straight = size == target and start >= 0 and stop <= limit
    with torch.inference_mode(mode=False):  # whoever asks first, others may train with them
        return AxisFilter(
            torch.from_numpy(_mirror(taps, limit)).to(device),
            torch.from_numpy(weights.astype(np.float32)).to(device),
            (start, stop) if straight else None,
        )


def _area(positions: _Taps, size: int, target: int) -> tuple[_Taps, _Weights]:
    # Borders of the output samples in units of 1/target input samples: integers, so exact.
    low, high = positions * size, (positions + 1) * size
    first = low // target
    count = int(((high - 1) // target - first).max()) + 1
    taps = first[None] + np.arange(count)[:, None]
    overlap = np.minimum(high, (taps + 1) * target) - np.maximum(low, taps * target)
    return taps, np.maximum(overlap, 0) / size


def _linear(positions: _Taps, size: int, target: int) -> tuple[_Taps, _Weights]:
    centre = (positions + 0.5) * (size / target) - 0.5
    first = np.floor(centre).astype(np.int64)
    fraction = centre - first
    return np.stack([first, first + 1]), np.stack([1.0 - fraction, fraction])


def _mirror(taps: _Taps, limit: int) -> _Taps:
    if limit == 1:
        return np.zeros_like(taps)
    period = 2 * (limit - 1)
    folded = np.abs(taps) % period
    return np.where(folded >= limit, period - folded, folded)


def window(image: torch.Tensor, rows: AxisFilter, columns: AxisFilter) -> torch.Tensor:
    """Cut and resample a window of an (H, W) float image: (rows out, columns out)."""
    return _along(_along(image, rows, 0), columns, 1)


def _along(image: torch.Tensor, axis: AxisFilter, dim: int) -> torch.Tensor:
    if axis.cut is not None:
        start, stop = axis.cut
        return image.narrow(dim, start, stop - start)
    if len(axis.indices) == 1:
        return image.index_select(dim, axis.indices[0])
    shape = (-1, 1) if dim == 0 else (1, -1)
    out = image.index_select(dim, axis.indices[0]) * axis.weights[0].view(shape)
    for index, weight in zip(axis.indices[1:], axis.weights[1:], strict=True):
        out.addcmul_(image.index_select(dim, index), weight.view(shape))
    return out


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


class DenseEncoder(Encoder):
    """A network on a device, ready for frames.

    Attributes
    ----------
    on_window
        Told before each part of a frame how many are done, and of how many, so that whoever waits
        for a large one can say so; what it raises ends the work.
    """

    def __init__(self, name: str, network: Network, weights_hash: str, place: Placement) -> None:
        self.name = name
        self.weights_hash = weights_hash
        self.dim = network.dim
        self.device = str(place)
        self.network = network
        self.place = place
        self._forward = place.recorded(network)
        self.on_window: Callable[[int, int], None] = lambda _done, _total: None
        self._lock = threading.Lock()

    def embed(
        self, image: Image, chip_size: Size, normalization: Normalization | None = None
    ) -> npt.NDArray[np.float32]:
        """See `Encoder`."""
        return self._run(image, chip_size, normalization, CELLS)

    def embed_cells(
        self, image: Image, chip_size: Size, normalization: Normalization | None = None
    ) -> npt.NDArray[np.float32]:
        """See `Encoder`."""
        cells = self._run(image, chip_size, normalization, 1)
        rows, columns = cells.shape[0] // CELLS, cells.shape[1] // CELLS
        split = cells.reshape(rows, CELLS, columns, CELLS, self.dim).swapaxes(1, 2)
        return split.reshape(rows, columns, CELLS * CELLS, self.dim)

    def _run(
        self, image: Image, chip_size: Size, normalization: Normalization | None, pool: int
    ) -> npt.NDArray[np.float32]:
        """(rows, columns, D) features of cells, or of chips (pooled)."""
        pixels = (image if isinstance(image, Frame) else Frame(np.asarray(image))).pixels
        grid = Grid.of((int(pixels.shape[0]), int(pixels.shape[1])), ChipSize.parse(chip_size))
        norm = normalization or Normalization.from_percentiles(pixels)
        with self._lock, torch.inference_mode():
            plane = self.place.upload(norm, pixels)
            shape = (grid.rows * CELLS // pool, grid.columns * CELLS // pool, self.dim)
            out = torch.empty(shape, dtype=torch.float32, device=self.place.device)
            parts = list(itertools.product(_spans(grid.rows), _spans(grid.columns)))
            for number, (rows, columns) in enumerate(parts):
                self.on_window(number, len(parts))
                features = self._features(plane, grid.chip_size, rows, columns)
                part = F.avg_pool2d(features, pool)[0].permute(1, 2, 0)
                top, left = rows.start * CELLS // pool, columns.start * CELLS // pool
                out[top : top + part.shape[0], left : left + part.shape[1]] = part
        return cast(npt.NDArray[np.float32], out.cpu().numpy())

    def _features(
        self, plane: torch.Tensor, size: ChipSize, rows: range, columns: range
    ) -> torch.Tensor:
        """Cell features of some rows and columns of chips: (1, D, rows·CELLS, columns·CELLS)."""
        margin = self.network.margin

        def axis(limit: int, edge: int, span: range) -> AxisFilter:
            start, stop = span.start * CHIP - margin, span.stop * CHIP + margin
            return axis_filter(limit, edge, CHIP, start, stop, self.place.device)

        down, right = (
            axis(plane.shape[0], size.height, rows),
            axis(plane.shape[1], size.width, columns),
        )
        features = self._forward(window(plane, down, right)[None, None])
        skip = margin // CELL
        return features[..., skip : skip + len(rows) * CELLS, skip : skip + len(columns) * CELLS]


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


def _spans(total: int) -> list[range]:
    """Cut rows or columns of chips into spans of nearly equal size, none larger than TILE."""
    count = -(-total // TILE)
    return [range(total * i // count, total * (i + 1) // count) for i in range(count)]
