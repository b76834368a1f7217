"""Suggestions for a frame under a support set: which chips to label next."""

from pathlib import Path

from pychip_stream.domain.frames import Frame
from pychip_stream.domain.support import SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.ports import Encoder
from pychip_stream.model.suggestion import Suggestion, suggest


def suggest_chips(
    frame: Frame, support: SupportSet, encoder: Encoder, count: int = 5
) -> tuple[Suggestion, ...]:
    """Embed a frame and suggest chips of it, leaving out those that are examples already.

    Raises
    ------
    FrameError, SupportError, UsageError
        If the frame has no chip, the set cannot be used, or `count` is below 1.
    """
    classifier = Classifier.fit(support, encoder)
    embeddings = encoder.embed(frame, support.chip_size, support.normalization)
    rows, columns = embeddings.shape[:2]
    taken = [
        (s.row, s.column)
        for s in (chip.source for chip in support.chips)
        if s.row is not None and s.column is not None and _same_frame(s.path, s.index, frame)
    ]
    inside = [(row, column) for row, column in taken if row < rows and column < columns]
    return suggest(embeddings, classifier, taken=inside, count=count)


def _same_frame(path: str, index: int, frame: Frame) -> bool:
    """Whether an example is from this frame; folders may have moved, names stay."""
    return bool(path) and index == frame.index and Path(path).name == Path(frame.source).name
