"""Analysis: from a file to the record that the archive keeps."""

import logging
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pychip_stream.config import ClassifyConfig
from pychip_stream.domain import quantities
from pychip_stream.domain.frames import Frame, FrameRef, inside, time_of
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.formats import units
from pychip_stream.formats.reading import read_checked
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import Encoder
from pychip_stream.model.scoring import Monitor

logger = logging.getLogger(__name__)

_SAME_SCALE = 1.05
"""Pixel sizes closer than this factor are the same magnification."""


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
    max_bytes
        Frames that would need more memory are refused.
    monitor
        Follows drift and exposure over the frames.
    """

    encoder: Encoder
    support: SupportSet
    classifier: Classifier
    reject: bool = True
    embeddings: bool = True
    max_bytes: int = 2 << 30
    monitor: Monitor = field(default_factory=Monitor)
    _scales: set[str] = field(default_factory=set, repr=False)

    @classmethod
    def of(
        cls,
        support: SupportSet,
        encoder: Encoder,
        config: ClassifyConfig,
        *,
        embeddings: bool = True,
        max_bytes: int = 2 << 30,
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
        return cls(encoder, support, classifier, config.reject, embeddings, max_bytes)

    def analyse(self, root: Path, ref: FrameRef) -> FrameRecord:
        """Read and classify one frame; what is wrong with it becomes a failed record.

        Raises
        ------
        FrameIncompleteError
            If the file changed or is not whole; the frame must be tried again later.
        """
        started = time.time()
        try:
            path = inside(root, ref.path)
            frame, content_hash = read_checked(
                path, ref.index, ref.size, ref.mtime_ns, max_bytes=self.max_bytes
            )
        except FrameIncompleteError:
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
        return (*sorted(self._scales), *self.monitor.notices)

    def _notice(self, record: FrameRecord, frame: Frame) -> None:
        """Say once what a frame changes about how far the numbers can be trusted."""
        for line in self.monitor.observe(record.frame.path, record.measured):
            logger.warning("%s: %s", record.frame.path, line, extra={"frame": record.frame.path})
        scale = scale_warning(self.support, frame)
        if scale is not None and scale not in self._scales:
            self._scales.add(scale)
            logger.warning("%s: %s", record.frame.path, scale, extra={"frame": record.frame.path})

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
            read=read,
            classified=time.time(),
            pixel_size=frame.pixel_size,
            unit=frame.unit,
            shape=frame.shape,
            chip_size=(size.width, size.height),
            measured=quantities.measure(frame, result),
            embeddings=embeddings.astype(np.float16) if self.embeddings else None,
            result=result,
            encoder_hash=self.encoder.weights_hash,
            device=self.encoder.device,
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
    number, common = units.pixel_size(size, unit)
    return number if common == "nm" else None
