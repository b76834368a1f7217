"""Blocks: what a run keeps per chip, some frames at a time."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pychip_stream.archive.finding import Finder
from pychip_stream.archive.hdf import Array
from pychip_stream.archive.results import FrameRows, Results

BLOCK_CHIPS = 1 << 17


class EmbeddingBlock(NamedTuple):
    """Embeddings of m frames by one encoder.

    Attributes
    ----------
    frame
        (m,) frame numbers.
    frames
        Sequence number, grid and first chip of each.
    values
        (chips, D) float16, frame after frame in row order.
    encoder_hash
        Of the encoder's weights.
    """

    frame: npt.NDArray[np.int64]
    frames: FrameRows
    values: npt.NDArray[np.float16]
    encoder_hash: str


def embedded(finder: Finder, sequence: Array) -> list[tuple[str, Array]]:
    """Hash of each encoder and the places in `sequence` of which it has embeddings."""
    catalog = finder.catalog
    return [
        (encoder[0], np.flatnonzero(catalog.embeddings(encoder, sequence)[1]))
        for encoder in catalog.encoders()
    ]


def embedding_blocks(
    finder: Finder, sequence: Array, wanted: Array, chips: int = BLOCK_CHIPS
) -> Iterator[EmbeddingBlock]:
    """Read embeddings of frames, encoder by encoder, about `chips` at once.

    Parameters
    ----------
    sequence
        (count,) sequence numbers of all frames.
    wanted
        Numbers of the frames to read, in the order they are wanted.
    """
    for encoder in finder.catalog.encoders():
        selection, present = finder.catalog.embeddings(encoder, sequence[wanted])
        numbers, at = wanted[present], 0
        for piece in selection.pieces(chips):
            mine = numbers[at : at + len(piece)]
            at += len(piece)
            frames, values = finder.embeddings(encoder, sequence[mine])
            yield EmbeddingBlock(mine, frames, values, encoder[0])


def result_blocks(
    finder: Finder,
    scoring: str,
    sequence: Array,
    class_names: tuple[str, ...],
    kept: tuple[str, ...],
    chips: int = BLOCK_CHIPS,
) -> Iterator[tuple[npt.NDArray[np.int64], Results]]:
    """Frame numbers and results of the frames that a scoring covers, block by block."""
    selection, present = finder.selection(scoring, sequence)
    numbers, at = np.flatnonzero(present), 0
    for piece in selection.pieces(chips):
        mine = numbers[at : at + len(piece)]
        at += len(piece)
        yield mine, finder.results(scoring, sequence[mine], class_names, kept)
