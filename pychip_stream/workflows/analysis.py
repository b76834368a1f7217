"""Analysis: from a file to the record that the archive keeps."""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pychip_stream.archive.records import FrameRecord
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.results import FrameResult
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import FrameError, FrameIncompleteError
from pychip_stream.ingest.readers import read_checked
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.embedding import embed_support
from pychip_stream.model.encoder import load_encoder
from pychip_stream.model.ports import Encoder
from pychip_stream.wire.messages import FrameRef
from pychip_stream.workflows.places import inside
from pychip_stream.workflows.translation import failed_record

logger = logging.getLogger(__name__)


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
    """

    encoder: Encoder
    support: SupportSet
    classifier: Classifier
    reject: bool = True
    embeddings: bool = True
    max_bytes: int = 2 << 30

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
        embedded = support
        if support.embedding is None or support.embedding.encoder_hash != encoder.weights_hash:
            if support.embedding is not None:
                logger.warning(
                    "support set %s was made with encoder %s; embedding its chips again with %s",
                    support.version[:8], support.embedding.encoder_name, encoder.name,
                )  # fmt: skip
            embedded = embed_support(support, encoder)
        classifier = Classifier.fit(
            embedded, encoder, method=config.method, sensitivity=config.sensitivity
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
            read = time.time()
            result, embeddings = self._classify(frame)
        except FrameIncompleteError:
            raise
        except FrameError as error:
            return failed_record(ref, str(error), started=started)
        except MemoryError:
            return failed_record(ref, "too little memory to read or classify it", started=started)
        return self._record(ref, frame, content_hash, result, embeddings, read)

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
            path=ref.path,
            index=ref.index,
            size=ref.size,
            mtime_ns=ref.mtime_ns,
            content_hash=content_hash,
            exposed=frame.time if frame.time is not None else ref.time,
            seen=ref.seen,
            read=read,
            classified=time.time(),
            pixel_size=frame.pixel_size,
            unit=frame.unit,
            shape=frame.shape,
            chip_size=(size.width, size.height),
            embeddings=embeddings.astype(np.float16) if self.embeddings else None,
            result=result,
            encoder_hash=self.encoder.weights_hash,
            intensity=_intensity(frame),
        )


def open_encoder(config: EncoderConfig) -> Encoder:
    """Load the encoder that a configuration names."""
    return load_encoder(config.name, config.weights, config.device)


def _intensity(frame: Frame) -> tuple[float, float, float]:
    """Mean, 1st and 99th percentile of a sample of the pixels, in counts."""
    step = max(int(np.sqrt(frame.pixels.size / 65536)), 1)
    sample = frame.pixels[::step, ::step].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return (0.0, 0.0, 0.0)
    low, high = np.percentile(sample, (1, 99))
    return (float(sample.mean()), float(low), float(high))
