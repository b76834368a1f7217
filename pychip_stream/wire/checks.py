"""What a message must say to be let in: names, moments, and arrays that fit together.

`codec` has seen to its form, `messages` to ranges and lengths. Whatever passes here can be used,
shown and archived without a second look; what does not costs that message alone.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.frames import EARLIEST_S, LATEST_S, FrameRef, check_inside
from pychip_stream.domain.pixel_size import by_hand
from pychip_stream.domain.support import MAX_CLASSES, UNKNOWN
from pychip_stream.errors import FrameError, WireError
from pychip_stream.wire.codec import Packet
from pychip_stream.wire.messages import (
    Alert,
    Archived,
    Event,
    Job,
    Live,
    Measurement,
    PixelSizeChanged,
    PublishSupport,
    Result,
    Status,
    Stimulus,
    SupportChanged,
)

_NAMES = (
    "worker", "run", "service", "instance", "state", "status", "id", "rule", "quantity", "version",
    "content_hash", "frame_hash", "support_version", "encoder_hash", "device", "unit", "source",
    "name",
)  # fmt: skip
_LISTS = ("names", "colors", "measured", "counters", "quantities", "units")
_MOMENTS = ("started", "read", "classified")
"""Moments that may be unknown (NaN), but not infinite."""
_RESULT = {"probabilities": 3, "distances": 3, "novelty": 2}

Array = npt.NDArray[np.generic]


def check(packet: Packet) -> None:
    """Refuse a message that makes no sense, by a `WireError` that says why.

    Arrays of names that are not known are none of its business.
    """
    message, arrays = packet
    _check_names(message)
    for name in _LISTS:
        for text in getattr(message, name, ()):
            _need(text.isprintable(), f"{name} hold {text[:40]!r}, which cannot be printed")
    for name in _MOMENTS:
        _need(not math.isinf(getattr(message, name, 0.0)), f"its moment {name!r} is infinite")
    if isinstance(message, Archived):
        _need(not any("\0" in key.path for key in message.keys), "a path holds a NUL")
    elif isinstance(message, Alert):
        _need("\0" not in message.path, "its path holds a NUL")
    frame = getattr(message, "frame", None)
    if isinstance(frame, FrameRef):
        _check_frame(frame)
    further = _FURTHER.get(type(message))
    if further is not None:
        further(message, arrays)


def _need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise WireError(otherwise)


def _check_names(holder: object) -> None:
    for name in _NAMES:
        text = getattr(holder, name, None) or ""
        _need(text.isprintable(), f"its {name} {text[:40]!r} cannot be printed")


def _check_frame(frame: FrameRef) -> None:
    try:
        check_inside(frame.path)
    except FrameError as error:
        raise WireError(str(error)) from error
    _need("\0" not in frame.path, f"{frame.path[:40]!r} holds a NUL")
    moments = (frame.time, frame.seen)
    known = all(EARLIEST_S <= moment <= LATEST_S for moment in moments)
    _need(known, f"{frame}: its times {moments} are none")


def _check_classes(names: Sequence[str]) -> None:
    _need(len(names) <= MAX_CLASSES, f"{len(names)} classes, at most {MAX_CLASSES} are possible")
    _need(len(set(names)) == len(names), "two classes of one name")
    _need(
        all(name.strip() and name != UNKNOWN for name in names), "a class without a name of its own"
    )


def _check_job(message: Job, arrays: dict[str, Array]) -> None:
    _check_names(message.image)  # the worker's result will have them
    pixels = arrays.get("pixels")
    _need(pixels is None or (pixels.ndim == 2 and pixels.size > 0), "pixels that are no image")


def _check_data(_message: PublishSupport | SupportChanged, arrays: dict[str, Array]) -> None:
    data = arrays.get("data")
    _need(data is None or (data.ndim == 1 and data.dtype == np.uint8), "data that are no bytes")


def _check_pixel_size(message: PixelSizeChanged, _arrays: dict[str, Array]) -> None:
    try:
        if message.size:
            by_hand(message.size)
    except ValueError as error:
        raise WireError(str(error)) from error


def _check_result(message: Result, arrays: dict[str, Array]) -> None:
    if message.status == "failed":
        return
    _check_classes(message.names)
    _need(len(message.names) > 0, f"{message.frame}: the result has no classes")
    _check_grid(message, arrays)
    grid, classes = arrays["label_map"].shape, len(message.names)
    for name, axes in _RESULT.items():
        array = arrays.get(name)
        _need(array is not None, f"{message.frame}: the result lacks {name}")
        assert array is not None
        fits = array.shape == (*grid, classes)[:axes] and array.dtype.kind == "f"
        _need(fits, f"{message.frame}: {name} of {array.dtype} {array.shape} do not fit {grid}")
    embeddings = arrays.get("embeddings")
    fits = embeddings is None or (
        embeddings.ndim == 3
        and embeddings.shape[:2] == grid
        and embeddings.size > 0
        and embeddings.dtype == np.float16
    )
    _need(fits, f"{message.frame}: embeddings do not fit the label map")


def _check_live(message: Live, arrays: dict[str, Array]) -> None:
    _check_classes(message.names)
    known = len(message.colors) in (0, len(message.names))
    _need(known, f"{len(message.colors)} colours of {len(message.names)} classes")
    bounds = (message.low, message.high)
    _need(all(map(math.isfinite, bounds)), f"grey between {bounds}")
    if "label_map" in arrays or "intervals" in arrays or "confidence" in arrays:
        _check_grid(message, arrays)
        _need("confidence" in arrays, f"{message.frame}: confidence is missing")
        for name in {"confidence", "novelty"} & arrays.keys():
            levels, grid = arrays[name], arrays["label_map"].shape
            fits = levels.shape == grid and levels.dtype == np.uint8
            _need(fits, f"{message.frame}: {name} does not fit the label map")


def _check_grid(message: Result | Live, arrays: dict[str, Array]) -> None:
    """Refuse labels that are not those of a grid of whole chips, and fractions that are none."""
    frame, classes = message.frame, len(message.names)
    labels, intervals = arrays.get("label_map"), arrays.get("intervals")
    if labels is None or intervals is None:
        raise WireError(f"{frame}: the result lacks its label map or intervals")
    width, height = message.chip_size
    _need(width > 0 and height > 0, f"{frame}: chips of {width} x {height} pixels")
    grid = (message.shape[0] // height, message.shape[1] // width)
    fits = labels.shape == grid and labels.size > 0 and labels.dtype == np.uint8
    _need(fits, f"{frame}: a label map of {labels.dtype} {labels.shape} where {grid} chips are")
    _need(int(np.max(labels)) <= classes, f"{frame}: labels beyond its {classes} classes")
    fits = intervals.shape == (classes + 1, 3) and intervals.dtype.kind == "f"
    _need(fits, f"{frame}: intervals of {intervals.dtype} {intervals.shape}")
    _need(not np.isinf(intervals.astype(np.float64)).any(), f"{frame}: infinite fractions")


def _check_measurement(message: Measurement, _arrays: dict[str, Array]) -> None:
    _need(bool(message.source.strip() and message.name.strip()), "a reading without a name")
    _need(not math.isinf(message.value), f"its value {message.value} is infinite")


def _check_event(message: Event, _arrays: dict[str, Array]) -> None:
    for text in (message.id, message.author, message.text):
        _need(bool(text.strip()), "an event without an id, an author or a text")


def _check_stimulus(message: Stimulus, arrays: dict[str, Array]) -> None:
    time, values, count = arrays.get("time"), arrays.get("values"), len(message.quantities)
    fits = time is not None and values is not None and len(message.units) == count
    fits = fits and time.ndim == 1 and time.dtype == values.dtype == np.float64  # type: ignore[union-attr]
    _need(fits and values.shape == (len(time), count), "readings that do not fit")  # type: ignore[arg-type, union-attr]


def _check_files(status: Status, _arrays: dict[str, Array]) -> None:
    for file in status.files:
        for text in (file.path, file.state, file.reason):
            _need(text.isprintable(), f"its files hold {text[:40]!r}, which cannot be printed")


_FURTHER: dict[type, Callable[..., None]] = {
    Job: _check_job,
    Live: _check_live,
    PixelSizeChanged: _check_pixel_size,
    Event: _check_event,
    Measurement: _check_measurement,
    PublishSupport: _check_data,
    Result: _check_result,
    Status: _check_files,
    Stimulus: _check_stimulus,
    SupportChanged: _check_data,
}
