"""Comparability: bringing a support set to the conditions under which frames were embedded.

Embeddings can be compared when one encoder made them, from pixels in one intensity range. The
chips of a support set are kept, so they can be embedded again as the frames were.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pychip_stream.archive.reader import Run
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import ArchiveError, SupportError
from pychip_stream.model.embedding import embed_support
from pychip_stream.model.ports import Encoder

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


def conditions(
    run: Run,
    encoder_hash: str,
    frames: npt.NDArray[np.int64],
    versions: npt.NDArray[np.bytes_],
    support: SupportSet,
) -> list[tuple[Conditions, npt.NDArray[np.int64]]]:
    """Sort frames with embeddings by one encoder by what else these depend on.

    Parameters
    ----------
    versions
        (count,) support set that each frame of the run was classified with.
    support
        Whose version stands for itself, whether the run holds it or not.
    """
    found: dict[Conditions, list[npt.NDArray[np.int64]]] = {}
    for version in np.unique(versions[frames]):
        mine = frames[versions[frames] == version]
        norm = _normalization(run, version.decode(), support)
        found.setdefault(Conditions(encoder_hash, norm), []).append(mine)
    return [(one, np.sort(np.concatenate(parts))) for one, parts in found.items()]


def _normalization(run: Run, version: str, support: SupportSet) -> Normalization | None:
    if version == support.version:
        return support.normalization
    try:
        return run.support_set(version).normalization
    except ArchiveError:
        return None


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
    embedding = support.embedding
    if embedding is not None and embedding.encoder_hash == condition.encoder_hash:
        return support, notes
    encoder = find_encoder(condition.encoder_hash)
    if embedding is not None:
        notes.append(
            f"support set {short} was made with encoder {embedding.encoder_name} "
            f"({embedding.encoder_hash[:8]}); its chips are embedded again with the run's, "
            f"{encoder.name} ({encoder.weights_hash[:8]})"
        )
    return embed_support(support, encoder), notes


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
