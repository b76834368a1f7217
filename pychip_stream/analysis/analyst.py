"""Analysis: from a file to the record that the archive keeps."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pychip_stream.analysis.magnification import matched_size, ratio_of, scale_warning
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain import quantities
from pychip_stream.domain.caveats import STRANGE
from pychip_stream.domain.frames import Frame, FrameRef, inside, time_of
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.progress import Progress, no_progress
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import FrameError, FrameIncompleteError, FrameLostError
from pychip_stream.formats.reading import ReadChecked, read_checked
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import Encoder
from pychip_stream.model.scoring import Monitor

logger = logging.getLogger(__name__)

_SAME_SHAPE = 0.005
"""Pixels whose edges differ by less than this share are square."""
_UNUSUAL = 0.3
"""Share of strange chips from which on a frame is looked at with its contrast inverted."""
_OTHER_DEPTH = 8.0
"""A range of counts so many times as wide as that of the examples comes from other settings."""
_MIDDLE = 32
"""Chips per edge of the part of a frame that tells whether its contrast is inverted."""
_NO_SIGNAL = 0.1
"""Without beam all counts lie within this share of the examples' range, and at its dark end."""
_ALIKE = 0.2
"""Correlation of neighbouring pixels from which on a faint frame is a picture."""


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
    match
        Whether chips of frames of another magnification are cut as large as the examples are.
    monitor
        Follows drift and exposure over the frames.
    progress
        Told before each block of a large frame's chips is scored; a FrameError ends the frame.
    """

    encoder: Encoder
    support: SupportSet
    classifier: Classifier
    reject: bool = True
    embeddings: bool = True
    match: bool = True
    monitor: Monitor = field(default_factory=Monitor)
    progress: Progress = no_progress
    _said: set[str] = field(default_factory=set, repr=False)
    _detectors: list[str] = field(default_factory=list, repr=False)  # the first one
    _unusual: Iterator[int] = field(default_factory=lambda: count(1), repr=False)

    @classmethod
    def of(
        cls,
        support: SupportSet,
        encoder: Encoder,
        config: ClassifyConfig,
        *,
        embeddings: bool = True,
        progress: Progress = no_progress,
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
        return cls(
            encoder, support, classifier, config.reject, embeddings, config.match_pixel_size,
            progress=progress,
        )  # fmt: skip

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
        return self.analyse_frame(frame, content_hash, ref, started)

    def analyse_frame(
        self, frame: Frame, content_hash: str, ref: FrameRef, started: float = float("nan")
    ) -> FrameRecord:
        """Classify a frame that was read already; what is wrong becomes a failed record.

        Parameters
        ----------
        started
            When a worker began with it, in seconds since 1970; NaN where unknown.
        """
        read = time.time()
        try:
            result, embeddings = self._classify(frame)
            record = self._record(ref, frame, content_hash, result, embeddings, started, read)
            self._notice(record, frame)
        except FrameError as error:
            return FrameRecord.failed(ref, str(error), read=read)
        except MemoryError:
            return FrameRecord.failed(ref, "too little memory to classify it", read=read)
        return record

    @property
    def notices(self) -> tuple[str, ...]:
        """What makes the numbers less certain at present, one line each."""
        return (*sorted(self._said), *self.monitor.notices)

    def _notice(self, record: FrameRecord, frame: Frame) -> None:
        """Say once what a frame changes about how far the numbers can be trusted."""
        if record.blank:  # it says nothing about specimen, exposure or detector
            logger.info("%s: blank, left out", record.frame.path)
            return
        found = (
            *frame.notes,
            shape_warning(frame),
            self._other_detector(frame),
            None if "pixel_size_ratio" in record.measured else scale_warning(self.support, frame),
            range_warning(self.support, record.measured),
            self._inversion(record, frame),
        )
        new = {line for line in found if line is not None} - self._said
        self._said.update(new)
        for line in (*self.monitor.observe(record.frame.path, record.measured), *sorted(new)):
            logger.warning("%s: %s", record.frame.path, line, extra={"frame": record.frame.path})

    def _other_detector(self, frame: Frame) -> str | None:
        """Say that another detector took a frame than the first one that is known."""
        detector = frame.texts.get("detector")
        if detector is None:
            return None
        if not self._detectors:
            self._detectors.append(detector)
        if detector == self._detectors[0]:
            return None
        return (
            f"frames of the detector {detector} beside those of {self._detectors[0]}: their "
            "fractions cannot be compared; name one as watch.detector, or leave the others out"
        )

    def _inversion(self, record: FrameRecord, frame: Frame) -> str | None:
        """Say that a frame has the examples' contrast inverted: so turned, it is like them.

        Of the unusual frames only the first, second, fourth, eighth … are looked at, and of large
        ones the middle, since that costs twice as much as classifying the same pixels.
        """
        strange = record.measured.get("strange", 0.0)
        if strange <= _UNUSUAL or next(self._unusual).bit_count() != 1:
            return None
        norm = self.support.normalization
        pixels = _middle(frame.pixels, record.chip_size)
        low, high = norm.limits(pixels)
        own = Normalization.from_percentiles(pixels)
        straight = (pixels.astype(np.float64) - own.low) / (own.high - own.low)
        # An inverted detector has an offset and a gain of its own, so the ends of both ranges meet.
        turned, kept = (
            self._strangeness(replace(frame, pixels=low + shown * (high - low)), record.chip_size)
            for shown in (1 - straight, straight)
        )
        if turned >= min(strange, kept) / 2:
            return None
        return (
            "the contrast is inverted against that of the examples (bright is dark), so the labels "
            "mean nothing; set the detector as it was, or make a support set on such a frame"
        )

    def _strangeness(self, frame: Frame, size: tuple[int, int]) -> float:
        """Share of strange chips, as the quantity `strange` counts them."""
        embeddings = self.encoder.embed(frame, size, self.support.normalization)
        return self.classifier.score(embeddings).strange

    def _classify(self, frame: Frame) -> tuple[FrameResult, npt.NDArray[np.float32]]:
        ratio = ratio_of(self.support, frame) if self.match else None
        matched = matched_size(self.support, ratio, frame.shape)
        size = matched or self.support.chip_size
        embeddings = self.encoder.embed(frame, size, self.support.normalization)
        result = self.classifier.score(embeddings, self.reject, self.progress)
        known = ratio if ratio is not None and matched is not None else float("nan")
        blank = result.strange > STRANGE and is_blank(self.support, frame)
        told = replace(result, chip_size=size, pixel_size_ratio=known, blank=float(blank))
        return told, embeddings

    def _record(
        self,
        ref: FrameRef,
        frame: Frame,
        content_hash: str,
        result: FrameResult,
        embeddings: npt.NDArray[np.float32],
        started: float,
        read: float,
    ) -> FrameRecord:
        size = result.chip_size or self.support.chip_size
        return FrameRecord(
            frame=replace(ref, time=time_of(frame, ref)),
            content_hash=content_hash,
            frame_hash=frame.frame_hash,
            started=started,
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


def _middle(pixels: npt.NDArray[np.generic], size: tuple[int, int]) -> npt.NDArray[np.generic]:
    """Cut out what lies in the middle, whole where it is not large."""
    height, width = (
        slice(max((edge - _MIDDLE * chip) // 2, 0), (edge + _MIDDLE * chip) // 2)
        for edge, chip in zip(pixels.shape, size[::-1], strict=True)
    )
    return pixels[height, width]


def shape_warning(frame: Frame) -> str | None:
    """Say that pixels are not square; chips are square in pixels, not on the specimen."""
    if frame.pixel_size is None or abs(frame.pixel_ratio - 1) < _SAME_SHAPE:
        return None
    height = frame.pixel_size * frame.pixel_ratio
    return f"pixels are not square: {frame.pixel_size:.4g} wide, {height:.4g} {frame.unit} high"


def is_blank(support: SupportSet, frame: Frame) -> bool:
    """Whether a frame has no more signal than a detector without beam.

    Its counts are few and alike, and where they differ that is noise: a picture of a tenth of the
    exposure, or of 8 bits after examples of 16, is not blank.
    """
    _, dark, bright = quantities.intensity(frame)
    low, high = support.normalization.limits(frame.pixels)
    most = _NO_SIGNAL * (high - low)
    return bright - dark <= most and bright <= low + most and not _structured(frame)


def _structured(frame: Frame) -> bool:
    """Whether neighbouring pixels are alike, in both directions; those of noise are not."""
    pixels = frame.pixels
    step = max(min(pixels.shape) // 256, 1)
    here, right, below = (
        np.nan_to_num(part.astype(np.float64)).ravel()
        for part in (
            pixels[:-1:step, :-1:step],
            pixels[:-1:step, 1::step],
            pixels[1::step, :-1:step],
        )
    )
    with np.errstate(all="ignore"):  # a single grey value has none
        alike = [np.corrcoef(here, other)[0, 1] for other in (right, below)]
    return float(min(alike)) > _ALIKE


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
