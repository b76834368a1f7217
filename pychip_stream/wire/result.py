"""Records on the wire: a frame record as a message with arrays, checked where it arrives."""

from collections.abc import Mapping

import numpy as np

from pychip_stream.domain.frames import check_inside
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.errors import FrameError, WireError
from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Result

_SAME = (
    "frame", "status", "reason", "content_hash", "shape", "pixel_size", "unit", "chip_size",
    "encoder_hash", "device", "measured", "read", "classified",
)  # fmt: skip
"""Fields that record and message share."""
_HALF = ("probabilities", "distances", "novelty")
"""Arrays that travel as the archive keeps them, in half precision."""
_INTENSITY = ("intensity_mean", "intensity_p1", "intensity_p99")


def to_message(record: FrameRecord, worker: str) -> tuple[Result, Arrays]:
    """Turn a record into a message and its arrays."""
    result, measured = record.result, record.measured
    message = Result(
        worker=worker,
        names=result.names if result else (),
        support_version=result.support_version if result else "",
        intensity=intensity(measured),
        drift=measured.get("drift", float("nan")),
        **{name: getattr(record, name) for name in _SAME},
    )
    arrays: dict[str, np.typing.NDArray[np.generic]] = {}
    if result is not None:
        arrays = {name: getattr(result, name).astype(np.float16) for name in _HALF}
        arrays["label_map"] = result.label_map
        arrays["intervals"] = result.intervals
        if record.embeddings is not None:
            arrays["embeddings"] = record.embeddings
    return message, arrays


def intensity(measured: Mapping[str, float]) -> tuple[float, float, float]:
    """Mean, 1st and 99th percentile of a frame in counts, for listeners of old."""
    mean, low, high = (measured.get(name, float("nan")) for name in _INTENSITY)
    return mean, low, high


def to_record(packet: Packet) -> FrameRecord:
    """Read a result message, checking that its arrays fit together."""
    message = packet.message
    if not isinstance(message, Result):
        raise WireError(f"{type(message).__name__} is not a result")
    try:
        check_inside(message.frame.path)
    except FrameError as error:
        raise WireError(str(error)) from error
    result = _result(message, packet.arrays) if message.status == "ok" else None
    embeddings = packet.arrays.get("embeddings")
    if embeddings is not None and (
        result is None
        or embeddings.ndim != 3
        or embeddings.shape[:2] != result.label_map.shape
        or embeddings.dtype != np.float16
    ):
        raise WireError(f"{message.frame}: embeddings do not fit the label map")
    return FrameRecord(
        embeddings=None if embeddings is None else embeddings.astype(np.float16, copy=False),
        result=result,
        **{name: getattr(message, name) for name in _SAME},
    )


def _result(message: Result, arrays: Arrays) -> FrameResult:
    try:
        labels = arrays["label_map"]
        probabilities, distances, novelty = (arrays[name] for name in _HALF)
        intervals = arrays["intervals"]
    except KeyError as error:
        raise WireError(f"{message.frame}: the result lacks {error}") from error
    classes = len(message.names)
    if (
        labels.ndim != 2
        or labels.dtype != np.uint8
        or novelty.shape != labels.shape
        or probabilities.shape != (*labels.shape, classes)
        or distances.shape != probabilities.shape
        or intervals.shape != (classes + 1, 3)
        or int(labels.max(initial=0)) > classes
    ):
        raise WireError(f"{message.frame}: the arrays of the result do not fit together")
    return FrameResult(
        names=message.names,
        label_map=labels.astype(np.uint8, copy=False),
        probabilities=probabilities.astype(np.float32),
        distances=distances.astype(np.float32),
        novelty=novelty.astype(np.float32),
        intervals=intervals.astype(np.float64, copy=False),
        support_version=message.support_version,
        drift=message.drift,
    )
