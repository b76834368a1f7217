"""Truth: what is really in each chip, and the record of it beside the frames."""

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import ChipSize, Grid


def class_shares(
    truth: npt.NDArray[np.uint8], classes: int, chip_size: ChipSize
) -> npt.NDArray[np.float64]:
    """Share of every class in every chip: (rows, columns, classes) float64.

    Raises
    ------
    FrameError
        If not even one chip fits on the frame.
    """
    grid = Grid.of((truth.shape[0], truth.shape[1]), chip_size)
    height, width = grid.shape
    chips = truth[:height, :width].reshape(
        grid.rows, chip_size.height, grid.columns, chip_size.width
    )
    counts = [np.count_nonzero(chips == number, axis=(1, 3)) for number in range(classes)]
    return np.stack(counts, axis=-1) / (chip_size.height * chip_size.width)


def majority_labels(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """(rows, columns) uint8 class with the largest share; of equal ones the first."""
    return np.argmax(shares, axis=-1).astype(np.uint8)


def clean_chips(share: npt.NDArray[np.float64], coverage: float) -> list[tuple[int, int]]:
    """(row, column) of the chips in which a class has at least this share."""
    return [(int(row), int(column)) for row, column in np.argwhere(share >= coverage)]


def spread_out(
    places: list[tuple[int, int]], number: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Draw places at random, preferring those far from the ones already drawn.

    Notes
    -----
    The seeding of k-means++ (Arthur & Vassilvitskii 2007): each next place with a
    probability that grows with the squared distance to its nearest drawn neighbour.
    """
    points = np.array(places, dtype=np.float64)
    chosen = [int(rng.integers(len(points)))]
    while len(chosen) < min(number, len(points)):
        gaps = np.sum((points[:, None] - points[chosen][None]) ** 2, axis=-1).min(axis=1)
        chosen.append(int(rng.choice(len(points), p=gaps / gaps.sum())))
    return [places[index] for index in chosen]
