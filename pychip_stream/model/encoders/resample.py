"""Windows of a frame on the encoder's scale: area filter, mirrored beyond the borders."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch


@dataclass(frozen=True, eq=False)
class AxisFilter:
    """Each output sample along one axis as a weighted sum of input samples.

    Attributes
    ----------
    indices
        (taps, out) int64 input positions, already mirrored at the frame's borders.
    weights
        (taps, out) float32; each column sums to 1.
    """

    indices: torch.Tensor
    weights: torch.Tensor

    @property
    def is_copy(self) -> bool:
        """Whether the axis is only cut or mirrored, not resampled."""
        return self.indices.shape[0] == 1

    def to(self, device: torch.device) -> "AxisFilter":
        """Return the filter on a device."""
        return AxisFilter(self.indices.to(device), self.weights.to(device))


def axis_filter(limit: int, size: int, target: int, start: int, stop: int) -> AxisFilter:
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
    return AxisFilter(
        torch.from_numpy(_mirror(taps, limit)), torch.from_numpy(weights.astype(np.float32))
    )


def _area(
    positions: npt.NDArray[np.int64], size: int, target: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    # Borders of the output samples in units of 1/target input samples: integers, so exact.
    low, high = positions * size, (positions + 1) * size
    first = low // target
    count = int(((high - 1) // target - first).max()) + 1
    taps = first[None] + np.arange(count)[:, None]
    overlap = np.minimum(high, (taps + 1) * target) - np.maximum(low, taps * target)
    return taps, np.maximum(overlap, 0) / size


def _linear(
    positions: npt.NDArray[np.int64], size: int, target: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    centre = (positions + 0.5) * (size / target) - 0.5
    first = np.floor(centre).astype(np.int64)
    fraction = centre - first
    return np.stack([first, first + 1]), np.stack([1.0 - fraction, fraction])


def _mirror(taps: npt.NDArray[np.int64], limit: int) -> npt.NDArray[np.int64]:
    if limit == 1:
        return np.zeros_like(taps)
    period = 2 * (limit - 1)
    folded = np.abs(taps) % period
    return np.where(folded >= limit, period - folded, folded)


def window(image: torch.Tensor, rows: AxisFilter, columns: AxisFilter) -> torch.Tensor:
    """Cut and resample a window.

    Parameters
    ----------
    image
        (H, W) float.

    Returns
    -------
    (rows out, columns out) of the same dtype and device.
    """
    return _along(_along(image, rows, 0), columns, 1)


def _along(image: torch.Tensor, axis: AxisFilter, dim: int) -> torch.Tensor:
    if axis.is_copy:
        return _take(image, axis.indices[0], dim)
    shape = (-1, 1) if dim == 0 else (1, -1)
    out = image.index_select(dim, axis.indices[0]) * axis.weights[0].view(shape)
    for index, weight in zip(axis.indices[1:], axis.weights[1:], strict=True):
        out.addcmul_(image.index_select(dim, index), weight.view(shape))
    return out


def _take(image: torch.Tensor, index: torch.Tensor, dim: int) -> torch.Tensor:
    """Cut along an axis; the straight part is a view, only mirrored ends are copied."""
    length = int(index.numel())
    if length <= image.shape[dim] and int(index[-1]) - int(index[0]) == length - 1:
        straight = torch.arange(length, device=index.device) + index[0]
        if torch.equal(straight, index):
            return image.narrow(dim, int(index[0]), length)
    return image.index_select(dim, index)
