"""Records on the wire: a frame record as a message with arrays, checked where it arrives."""

from collections import deque
from collections.abc import Mapping

import numpy as np

from pychip_stream.domain.quantities import declare_stimulus
from pychip_stream.domain.records import FrameRecord, FrameResult, half
from pychip_stream.errors import WireError
from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import Result, Stimulus

_SAME = (
    "frame", "status", "reason", "content_hash", "frame_hash", "shape", "pixel_size", "unit",
    "chip_size", "encoder_hash", "device", "measured", "started", "read", "classified",
    "pixel_ratio", "texts",
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
        arrays = {name: half(getattr(result, name)) for name in _HALF}
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
    """Read a result message that `checks` has let in."""
    message, arrays = packet
    if not isinstance(message, Result):
        raise WireError(f"{type(message).__name__} is not a result")
    result, embeddings = None, None
    if message.status == "ok":
        probabilities, distances, novelty = (arrays[name].astype(np.float32) for name in _HALF)
        result = FrameResult(
            names=message.names,
            label_map=arrays["label_map"].astype(np.uint8, copy=False),
            probabilities=probabilities,
            distances=distances,
            novelty=novelty,
            intervals=arrays["intervals"].astype(np.float64, copy=False),
            support_version=message.support_version,
            drift=message.drift,
        )
        if "embeddings" in arrays:
            embeddings = arrays["embeddings"].astype(np.float16, copy=False)
    return FrameRecord(
        embeddings=embeddings,
        result=result,
        **{name: getattr(message, name) for name in _SAME},
    )


def newest_readings(message: Stimulus, arrays: Arrays) -> dict[str, deque[float]]:
    """Newest value of each quantity that a source tells, which is declared then."""
    found = {}
    columns = np.asarray(arrays["values"], np.float64).T
    for name, unit, values in zip(message.quantities, message.units, columns, strict=True):
        declare_stimulus(name, unit, f"as {message.source} tells it")
        known = values[np.isfinite(values)]
        if len(known):
            found[name] = deque(known[-1:].tolist(), maxlen=1)
    return found
