"""Translation between the record that is archived and the message that carries it there."""

import time

import numpy as np

from pychip_stream.domain.frames import Frame, FrameKey, best_time, file_time
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.errors import FrameError, WireError
from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import FrameRef, Result

_NARROW = ("probabilities", "distances", "novelty")


def time_of(frame: Frame, ref: FrameRef) -> float:
    """When a frame was taken, by itself or by its series or file, whichever tells it finer."""
    mtime = file_time(ref.mtime_ns)
    return float(best_time(frame.time, mtime if mtime == ref.time else ref.time))


def failed_record(ref: FrameRef, reason: str, *, started: float) -> FrameRecord:
    """Record of a frame that could not be analysed."""
    return FrameRecord(
        path=ref.path,
        index=ref.index,
        size=ref.size,
        mtime_ns=ref.mtime_ns,
        exposed=ref.time,
        seen=ref.seen,
        read=started,
        classified=time.time(),
        status="failed",
        reason=" ".join(reason.split()),
    )


def to_message(record: FrameRecord, worker: str) -> tuple[Result, Arrays]:
    """Turn a record into a message and its arrays (float16 where the archive keeps no more)."""
    result = record.result
    message = Result(
        worker=worker,
        frame=FrameRef(
            path=record.path,
            index=record.index,
            size=record.size,
            mtime_ns=record.mtime_ns,
            time=record.exposed,
            seen=record.seen,
        ),
        status=record.status,
        reason=record.reason,
        content_hash=record.content_hash,
        shape=record.shape,
        pixel_size=record.pixel_size,
        unit=record.unit,
        chip_size=record.chip_size,
        names=result.names if result else (),
        support_version=result.support_version if result else "",
        encoder_hash=record.encoder_hash,
        device=record.device,
        intensity=record.intensity,
        drift=result.drift if result else float("nan"),
        read=record.read,
        classified=record.classified,
    )
    arrays: dict[str, np.typing.NDArray[np.generic]] = {}
    if result is not None:
        arrays = {name: getattr(result, name).astype(np.float16) for name in _NARROW}
        arrays["label_map"] = result.label_map
        arrays["intervals"] = result.intervals
        if record.embeddings is not None:
            arrays["embeddings"] = record.embeddings
    return message, arrays


def to_record(packet: Packet) -> FrameRecord:
    """Read a result message, checking that its arrays fit together.

    Raises
    ------
    WireError
        If they do not.
    """
    message = packet.message
    if not isinstance(message, Result):
        raise WireError(f"{type(message).__name__} is not a result")
    try:
        FrameKey(message.frame.path)
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
        raise WireError(f"{message.frame.path}: embeddings do not fit the label map")
    return FrameRecord(
        path=message.frame.path,
        index=message.frame.index,
        size=message.frame.size,
        mtime_ns=message.frame.mtime_ns,
        content_hash=message.content_hash,
        exposed=message.frame.time,
        seen=message.frame.seen,
        read=message.read,
        classified=message.classified,
        pixel_size=message.pixel_size,
        unit=message.unit,
        shape=message.shape,
        chip_size=message.chip_size,
        status="ok" if result is not None else "failed",
        reason=message.reason,
        embeddings=None if embeddings is None else embeddings.astype(np.float16, copy=False),
        result=result,
        encoder_hash=message.encoder_hash,
        device=message.device,
        intensity=message.intensity,
    )


def _result(message: Result, arrays: Arrays) -> FrameResult:
    try:
        labels = arrays["label_map"]
        probabilities, distances, novelty = (arrays[name] for name in _NARROW)
        intervals = arrays["intervals"]
    except KeyError as error:
        raise WireError(f"{message.frame.path}: the result lacks {error}") from error
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
        raise WireError(f"{message.frame.path}: the arrays of the result do not fit together")
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
