"""Suggestions for a frame under a support set: which chips to label next."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xxhash

from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.records import FrameResult
from pychip_stream.domain.support import SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import Encoder
from pychip_stream.model.suggestion import Suggestion, suggest

_MOST_BYTES = 400 << 20

Float32 = npt.NDArray[np.float32]


class RememberingEncoder:
    """An encoder that embeds nothing twice; one thread at a time may use it.

    Parameters
    ----------
    most_bytes
        What was used longest ago is forgotten beyond this.

    Attributes
    ----------
    on_window
        As of `DenseEncoder`; other encoders tell nothing.
    """

    def __init__(self, encoder: Encoder, most_bytes: int = _MOST_BYTES) -> None:
        self._encoder = encoder
        self._most_bytes = most_bytes
        self._known: OrderedDict[object, Float32] = OrderedDict()
        self.name = encoder.name
        self.weights_hash = encoder.weights_hash
        self.dim = encoder.dim
        self.device = encoder.device
        self.on_window: Callable[[int, int], None] = lambda _done, _total: None
        if hasattr(encoder, "on_window"):
            encoder.on_window = lambda done, total: self.on_window(done, total)

    def embed(
        self,
        image: Frame | npt.NDArray[np.generic],
        chip_size: ChipSize | int | str | tuple[int, int],
        normalization: Normalization | None = None,
    ) -> Float32:
        """Embed every chip: (rows, columns, D) float32."""
        return np.asarray(self.embed_cells(image, chip_size, normalization).mean(axis=2))

    def embed_cells(
        self,
        image: Frame | npt.NDArray[np.generic],
        chip_size: ChipSize | int | str | tuple[int, int],
        normalization: Normalization | None = None,
    ) -> Float32:
        """Embed every cell of every chip: (rows, columns, CELLS², D) float32."""
        size = ChipSize.parse(chip_size)
        key = (_identity(image), size, normalization)
        known = self._known.pop(key, None)
        if known is None:
            known = self._encoder.embed_cells(image, size, normalization)
        self._known[key] = known
        while len(self._known) > 1 and self._bytes() > self._most_bytes:
            self._known.popitem(last=False)
        return known

    def _bytes(self) -> int:
        return sum(values.nbytes for values in self._known.values())


@dataclass(frozen=True, eq=False)
class Trial:
    """What a draft makes of a frame."""

    support: SupportSet
    classifier: Classifier
    result: FrameResult
    embeddings: Float32 = field(repr=False)


def attempt(support: SupportSet, frame: Frame, encoder: Encoder, settings: ClassifyConfig) -> Trial:
    """Fit a support set and classify a frame with it, as the worker will."""
    classifier = Classifier.fit(
        support, encoder, method=settings.method, sensitivity=settings.sensitivity
    )
    embeddings = encoder.embed(frame, support.chip_size, support.normalization)
    result = classifier.score(embeddings, reject=settings.reject)
    return Trial(classifier.support, classifier, result, embeddings)


def agreement(first: FrameResult, second: FrameResult) -> float | None:
    """Share of chips to which two support sets give the same name; None on different grids."""
    if first.label_map.shape != second.label_map.shape:
        return None
    return float((first.labels == second.labels).mean())


def _identity(image: Frame | npt.NDArray[np.generic]) -> object:
    if isinstance(image, Frame):
        if image.source:
            return image.source, image.index, image.time, image.shape
        image = image.pixels
    return xxhash.xxh3_128_digest(np.ascontiguousarray(image).data), image.shape


def suggest_chips(
    frame: Frame, support: SupportSet, encoder: Encoder, count: int = 5
) -> tuple[Suggestion, ...]:
    """Embed a frame and suggest chips of it, leaving out those that are examples already."""
    classifier = Classifier.fit(support, encoder)
    embeddings = encoder.embed(frame, support.chip_size, support.normalization)
    rows, columns = embeddings.shape[:2]
    taken = [
        (s.row, s.column)
        for s in (chip.source for chip in support.chips)
        if s.row is not None and s.column is not None and _same_frame(s.path, s.index, frame)
    ]
    inside = [(0, row, column) for row, column in taken if row < rows and column < columns]
    return suggest([embeddings], classifier, taken=inside, count=count)


def _same_frame(path: str, index: int, frame: Frame) -> bool:
    """Whether an example is from this frame; folders may have moved, names stay."""
    return bool(path) and index == frame.index and Path(path).name == Path(frame.source).name
