"""Run sample: embeddings of a few frames from all over a run, for whoever chooses examples."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pychip_stream.analysis.rescoring import conditions
from pychip_stream.archive import hdf
from pychip_stream.archive.blocks import VALUES
from pychip_stream.archive.exclusions import FrameKey
from pychip_stream.archive.run import Run
from pychip_stream.domain.support import SupportSet
from pychip_stream.model.embedding import comparable

_FRAMES = 7
_LOOKED_FOR = 64
"""Frames whose files are looked for; one may have been moved, or many of the oldest."""
_CHIPS = 1 << 14
"""At most so many chips, unless a single frame has more; bounds the memory and the time."""

Index = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SampledFrame:
    """A frame of a run.

    Attributes
    ----------
    key
        Path and index.
    number
        In order of time, from 0.
    time
        Seconds since 1970.
    embeddings
        (rows, columns, D) float16, not standardised.
    """

    key: FrameKey
    number: int
    time: float
    embeddings: npt.NDArray[np.float16] = field(repr=False)


def sample_run(
    run: Run, support: SupportSet, at_hand: Callable[[FrameKey], bool]
) -> tuple[SampledFrame, ...]:
    """Read the embeddings of up to 7 frames, evenly spread over a run.

    Only what can be compared with the examples of `support` and clicked on its grid: embeddings by
    its encoder, in its intensity range, of chips of its size. Frames that were left out and frames
    whose file is not `at_hand` are passed over.

    Raises
    ------
    ArchiveError
        If the run cannot be read.
    """
    table = run.columns(
        "path", "index", "time", "height", "width", "chip_height", "chip_width", "support_version"
    )
    left_out, size = run.left_out, support.chip_size

    def key(number: int) -> FrameKey:
        return hdf.decode(table["path"][number]), int(table["index"][number])

    fits = (table["chip_width"] == size.width) & (table["chip_height"] == size.height)
    numbers = _spread(_comparable(run, support, table["support_version"], fits), _LOOKED_FOR)
    there = [n for n in numbers.tolist() if key(n) not in left_out and at_hand(key(n))]
    chips = table["height"] // size.height * (table["width"] // size.width)
    most = _CHIPS // max(int(chips[there].max(initial=1)), 1)
    chosen = _spread(np.array(there, np.int64), min(max(most, 1), _FRAMES))
    return tuple(
        SampledFrame(key(number), number, float(table["time"][number]), rows.array(VALUES, i))
        for numbers, rows in run.embedding_blocks(chosen)
        for i, number in enumerate(numbers.tolist())
    )


def _comparable(
    run: Run, support: SupportSet, versions: npt.NDArray[np.bytes_], fits: npt.NDArray[np.bool_]
) -> Index:
    """Numbers of the frames that fit and whose embeddings can be compared with the examples."""
    embedding = support.embedding
    assert embedding is not None, "a support set that no encoder has seen"
    embedded = run.embedded.get(embedding.encoder_hash, np.zeros(0, np.int64))
    groups = conditions(
        run, embedding.encoder_hash, embedded[fits[embedded]], versions, support
    )  # fmt: skip
    found = [n for one, n in groups if comparable(support.normalization, one.normalization)]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *found]))


def _spread(numbers: Index, count: int) -> Index:
    """At most so many of some numbers, evenly spaced, the first and the last among them."""
    places = np.linspace(0, len(numbers) - 1, min(count, len(numbers)))
    return numbers[places.round().astype(np.intp)]
