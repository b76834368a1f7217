"""Support embedding: what an encoder makes of the example chips and of their frame."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import CELLS, ChipSize, Grid
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import SupportChip, SupportEmbedding, SupportSet
from pychip_stream.errors import EncoderError, FrameError, SupportError
from pychip_stream.model.encoders import Encoder

logger = logging.getLogger(__name__)

BACKGROUND_CHIPS = 1024
"""At most this many chips of the support frame are kept as its background."""

Float32 = npt.NDArray[np.float32]


def made_by(support: SupportSet, encoder_hash: str) -> bool:
    """Whether a set carries an embedding by the encoder with these weights."""
    return support.embedding is not None and support.embedding.encoder_hash == encoder_hash


def embedded(support: SupportSet, encoder: Encoder) -> tuple[SupportSet, str]:
    """Let an encoder see the examples where that was not done, or was done by another one.

    Returns
    -------
    The set with its embedding, and a line for people where another encoder's was replaced.
    """
    if made_by(support, encoder.weights_hash):
        return support, ""
    note, other = "", support.embedding
    if other is not None:
        note = (
            f"support set {support.version[:8]} was made with encoder {other.encoder_name} "
            f"({other.encoder_hash[:8]}); its chips are embedded again with {encoder.name} "
            f"({encoder.weights_hash[:8]})"
        )
    return embed_support(support, encoder), note


def embed_support(support: SupportSet, encoder: Encoder, *, seed: int = 0) -> SupportSet:
    """Return a set with its embedding: the examples in the surroundings they were picked from.

    Chips of the reference frame, while it is at hand, are embedded within the whole frame, as
    the chips of later frames will be. Others are embedded within the margin that was kept
    with them, or mirrored where there is none. `seed` chooses the background chips where the frame
    has more than `BACKGROUND_CHIPS`.

    Raises
    ------
    EncoderError
        If the encoder returns what is not finite or of an unexpected shape.
    """
    dense = _dense(support, encoder)
    cells: list[Float32] = []
    surroundings: list[Float32] = []
    for chip in support.chips:
        place = _place(chip, support, dense)
        if dense is not None and place is not None:
            cells.append(dense[place])
            continue
        pixels = centred_patch(chip.pixels, support.margin, support.chip_size)
        patch = encoder.embed_cells(pixels, support.chip_size, support.chip_normalization)
        cells.append(patch[1, 1])
        # Mirrored surroundings repeat the chip and say nothing about the frame.
        own = patch if min(support.margin) > 0 else patch[1:2, 1:2]
        surroundings.append(own.mean(axis=2).reshape(-1, own.shape[-1]))
    if dense is not None:
        surroundings.append(dense.mean(axis=2).reshape(-1, dense.shape[-1]))
    background = _sample(np.concatenate(surroundings), seed)
    stacked = np.stack(cells)
    _check(stacked, background, encoder)
    return support.with_embedding(
        SupportEmbedding(encoder.name, encoder.weights_hash, stacked, background)
    )


def centred_patch(
    pixels: npt.NDArray[np.generic], margin: tuple[int, int], size: ChipSize
) -> npt.NDArray[np.generic]:
    """Give a chip a margin of exactly one chip on every side, mirrored where it has less.

    `pixels` are (height + 2·margin[0], width + 2·margin[1]), the result (3·height, 3·width) of the
    same dtype.
    """
    spare = [have - want for have, want in zip(margin, (size.height, size.width), strict=True)]
    inner = pixels[tuple(slice(max(n, 0), -n if n > 0 else None) for n in spare)]
    return np.pad(inner, [(max(-n, 0),) * 2 for n in spare], mode="symmetric")


def _dense(support: SupportSet, encoder: Encoder) -> Float32 | None:
    """(rows, columns, CELLS², D) of the reference frame, or None without one."""
    if support.reference is None:
        return None
    try:
        return encoder.embed_cells(support.reference, support.chip_size, support.normalization)
    except FrameError as error:
        logger.warning("reference frame not used: %s", error)
        return None


def _place(chip: SupportChip, support: SupportSet, dense: Float32 | None) -> tuple[int, int] | None:
    """Grid position of a chip on the reference frame, or None if it is not from there.

    Frames without a file name all look alike: the frame must show there what the chip shows.
    """
    frame, source = support.reference, chip.source
    if frame is None or dense is None or source.row is None or source.column is None:
        return None
    if (source.path, source.index) != (frame.source, frame.index):
        return None
    if not (source.row < dense.shape[0] and source.column < dense.shape[1]):
        return None
    place = (source.row, source.column)
    if support.normalization.clahe:
        return place  # the chip holds equalised values, the frame counts
    size, (above, left) = support.chip_size, support.margin
    inner = chip.pixels[above : above + size.height, left : left + size.width]
    there = Grid.of(frame.shape, size).patch(frame.pixels, *place, (0, 0))
    return place if np.array_equal(there, inner) else None


def _sample(background: Float32, seed: int) -> Float32:
    if len(background) > BACKGROUND_CHIPS:
        rng = np.random.default_rng(seed)
        background = background[
            np.sort(rng.choice(len(background), BACKGROUND_CHIPS, replace=False))
        ]
    return np.ascontiguousarray(background, dtype=np.float32)


def _check(cells: Float32, background: Float32, encoder: Encoder) -> None:
    if cells.shape[1:] != (CELLS * CELLS, encoder.dim):
        raise EncoderError(
            f"encoder {encoder.name!r} returned cells of shape {cells.shape[1:]} where "
            f"{(CELLS * CELLS, encoder.dim)} are expected; its code and weights do not fit"
        )
    if not (np.isfinite(cells).all() and np.isfinite(background).all()):
        raise EncoderError(
            f"encoder {encoder.name!r} returned values that are not finite; try another precision"
        )


_SAME = 0.005
_NEAR = 0.05
"""Ranges nearer than these are taken for the same. Chips that are embedded again are seen without
the frame around them, which changes more labels (1 %) than a range that is 5 % off (0.6 %)."""

EncoderFinder = Callable[[str], Encoder]
"""Loads the encoder of a hash, or raises EncoderError."""


@dataclass(frozen=True)
class Conditions:
    """What embeddings of frames depend on, beside the frames.

    Attributes
    ----------
    encoder_hash
        Of the weights.
    normalization
        Of the support set that the frames were classified with while acquiring; None where the
        run does not hold it.
    """

    encoder_hash: str
    normalization: Normalization | None


def adapt(
    support: SupportSet, condition: Conditions, find_encoder: EncoderFinder, where: str
) -> tuple[SupportSet, list[str]]:
    """Return a support set with embeddings that can be compared, and notes for people.

    Parameters
    ----------
    where
        The run, for errors.

    Raises
    ------
    SupportError
        If its chips cannot be brought to these conditions.
    EncoderError
        If the encoder is needed and not there.
    """
    notes: list[str] = []
    norm, own = condition.normalization, support.normalization
    short = support.version[:8]
    if norm is None:
        notes.append(
            f"{where}: does not hold the support set that it was acquired with; its intensity "
            f"range is taken to be that of support set {short}"
        )
    elif norm != own:
        if norm.mode != own.mode or norm.clahe != own.clahe:
            raise SupportError(
                f"support set {short} normalises intensity by {_spoken(own)}, {where} by "
                f"{_spoken(norm)}; its embeddings cannot be compared, classify the frames again"
            )
        apart = _apart(own, norm)
        if apart > _SAME:
            again = apart > _NEAR and not own.clahe
            notes.append(
                f"support set {short} has the intensity range {_range(own)}, the run "
                f"{_range(norm)}; "
                + ("its chips are embedded again in the run's" if again else
                   "some labels may differ from those of frames that are classified afresh")
            )  # fmt: skip
            if again:
                support = replace(support, normalization=norm, embedding=None)
    if not made_by(support, condition.encoder_hash):
        support, note = embedded(support, find_encoder(condition.encoder_hash))
        notes += [note] if note else []
    return support, notes


def comparable(own: Normalization, norm: Normalization | None) -> bool:
    """Whether embeddings under two intensity ranges can be compared as they are."""
    if norm is None or (own.mode, own.clahe) != (norm.mode, norm.clahe):
        return False
    return _apart(own, norm) <= _NEAR


def _apart(own: Normalization, norm: Normalization) -> float:
    """Difference of two ranges as a share of their width; 0 where they have none."""
    if norm.mode != "range":
        return 0.0
    width = min(own.high - own.low, norm.high - norm.low)
    return max(abs(own.low - norm.low), abs(own.high - norm.high)) / width


def _range(norm: Normalization) -> str:
    return f"{norm.low:g}…{norm.high:g}"


def _spoken(norm: Normalization) -> str:
    return f"{norm.mode}{' with clahe' if norm.clahe else ''}"
