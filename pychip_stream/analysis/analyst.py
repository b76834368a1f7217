"""Analysis: from a file to the record that the archive keeps."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pychip_stream.config import ClassifyConfig
from pychip_stream.domain import quantities
from pychip_stream.domain.frames import Frame, FrameRef, inside, time_of
from pychip_stream.domain.pixel_size import pixel_size
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import FrameError, FrameIncompleteError, FrameLostError
from pychip_stream.formats.reading import ReadChecked, read_checked
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import Encoder
from pychip_stream.model.scoring import Monitor

logger = logging.getLogger(__name__)

_SAME_SCALE = 1.05
"""Pixel sizes closer than this factor are the same magnification."""
_SAME_SHAPE = 0.005
"""Pixels whose edges differ by less than this share are square."""
_OTHER_DEPTH = 8.0
"""A range of counts so many times as wide as that of the examples comes from other settings."""


@dataclass(frozen=True)
class Analyst:
    """Reads frames and classifies them with one support set.

    Attributes
    ----------
    encoder
        Loaded once; support sets made with another one are embedded again.
    classifier
        Fitted to `support`.
    reject
        Whether chips unlike every example become "unknown".
    embeddings
        Whether records carry the embeddings.
    monitor
        Follows drift and exposure over the frames.
    """

    encoder: Encoder
    support: SupportSet
    classifier: Classifier
    reject: bool = True
    embeddings: bool = True
    monitor: Monitor = field(default_factory=Monitor)
    _said: set[str] = field(default_factory=set, repr=False)

    @classmethod
    def of(
        cls,
        support: SupportSet,
        encoder: Encoder,
        config: ClassifyConfig,
        *,
        embeddings: bool = True,
    ) -> "Analyst":
        """Fit the classifier, embedding the support set first where that is needed.

        Raises
        ------
        SupportError
            If the support set cannot be used.
        """
        classifier = Classifier.fit(
            support, encoder, method=config.method, sensitivity=config.sensitivity
        )
        for warning in classifier.warnings:
            logger.warning("support set %s: %s", support.version[:8], warning)
        return cls(encoder, support, classifier, config.reject, embeddings)

    def analyse(self, root: Path, ref: FrameRef, read: ReadChecked = read_checked) -> FrameRecord:
        """Read and classify one frame; what is wrong with it becomes a failed record.

        Raises
        ------
        FrameIncompleteError, FrameLostError
            If the file changed, is not whole, or cost its reader; the frame must be tried again.
        """
        started = time.time()
        try:
            path = inside(root, ref.path)
            frame, content_hash = read(path, ref.index, ref.size, ref.mtime_ns)
        except (FrameIncompleteError, FrameLostError):
            raise
        except FrameError as error:
            return FrameRecord.failed(ref, str(error), read=started)
        except MemoryError:
            return FrameRecord.failed(ref, "too little memory to read it", read=started)
        return self.analyse_frame(frame, content_hash, ref)

    def analyse_frame(self, frame: Frame, content_hash: str, ref: FrameRef) -> FrameRecord:
        """Classify a frame that was read already; what is wrong becomes a failed record."""
        read = time.time()
        try:
            result, embeddings = self._classify(frame)
        except FrameError as error:
            return FrameRecord.failed(ref, str(error), read=read)
        except MemoryError:
            return FrameRecord.failed(ref, "too little memory to classify it", read=read)
        record = self._record(ref, frame, content_hash, result, embeddings, read)
        self._notice(record, frame)
        return record

    @property
    def notices(self) -> tuple[str, ...]:
        """What makes the numbers less certain at present, one line each."""
        return (*sorted(self._said), *self.monitor.notices)

    def _notice(self, record: FrameRecord, frame: Frame) -> None:
        """Say once what a frame changes about how far the numbers can be trusted."""
        found = (
            *frame.notes,
            shape_warning(frame),
            scale_warning(self.support, frame),
            range_warning(self.support, record.measured),
        )
        new = {line for line in found if line is not None} - self._said
        self._said.update(new)
        for line in (*self.monitor.observe(record.frame.path, record.measured), *sorted(new)):
            logger.warning("%s: %s", record.frame.path, line, extra={"frame": record.frame.path})

    def _classify(self, frame: Frame) -> tuple[FrameResult, "np.typing.NDArray[np.float32]"]:
        embeddings = self.encoder.embed(frame, self.support.chip_size, self.support.normalization)
        return self.classifier.score(embeddings, reject=self.reject), embeddings

    def _record(
        self,
        ref: FrameRef,
        frame: Frame,
        content_hash: str,
        result: FrameResult,
        embeddings: "np.typing.NDArray[np.float32]",
        read: float,
    ) -> FrameRecord:
        size = self.support.chip_size
        return FrameRecord(
            frame=replace(ref, time=time_of(frame, ref)),
            content_hash=content_hash,
            frame_hash=frame.frame_hash,
            read=read,
            classified=time.time(),
            pixel_size=frame.pixel_size,
            unit=frame.unit,
            pixel_ratio=frame.pixel_ratio,
            texts=frame.texts,
            shape=frame.shape,
            chip_size=(size.width, size.height),
            measured=quantities.measure(frame, result),
            embeddings=embeddings.astype(np.float16) if self.embeddings else None,
            result=result,
            encoder_hash=self.encoder.weights_hash,
            device=self.encoder.device,
        )


def shape_warning(frame: Frame) -> str | None:
    """Say that pixels are not square; chips are square in pixels, not on the specimen."""
    if frame.pixel_size is None or abs(frame.pixel_ratio - 1) < _SAME_SHAPE:
        return None
    height = frame.pixel_size * frame.pixel_ratio
    return f"pixels are not square: {frame.pixel_size:.4g} wide, {height:.4g} {frame.unit} high"


def range_warning(support: SupportSet, measured: Mapping[str, float]) -> str | None:
    """Say that the counts of a frame lie where none of the examples' did (another bit depth).

    None where the ranges overlap and are of like width, or the examples know no range of counts.
    """
    low, high = support.normalization.low, support.normalization.high
    dark, bright = measured.get("intensity_p1"), measured.get("intensity_p99")
    if support.normalization.mode != "range" or dark is None or bright is None:
        return None
    wider = (bright - dark) / (high - low)
    if dark < high and bright > low and wider < _OTHER_DEPTH:
        return None
    return (
        "the frames have other counts than the examples (another bit depth, exposure or gain); "
        "make a support set on a frame of this run"
    )


def scale_warning(support: SupportSet, frame: Frame) -> str | None:
    """Say by which factor the chips of a frame differ in physical size from the examples.

    None where the pixel sizes agree, or one of them is not known or in a unit of another kind.
    """
    here = _in_nanometres(frame.pixel_size, frame.unit)
    shown = {_in_nanometres(c.source.pixel_size, c.source.unit) for c in support.chips}
    known = sorted(size for size in shown if size is not None)
    if here is None or not known:
        return None
    factor = here / known[len(known) // 2]
    if max(factor, 1 / factor) < _SAME_SCALE:
        return None
    return (
        f"the physical size of a chip differs by a factor of {factor:.3g} from that of the "
        "examples (another magnification); make a support set at this one"
    )


def _in_nanometres(size: float | None, unit: str | None) -> float | None:
    """Pixel size in nanometres; None where it is not a known length."""
    number, common = pixel_size(size, unit)
    return number if common == "nm" else None
