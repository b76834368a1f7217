"""What the hub says of a frame, for the state of the dashboard."""

import msgspec
import numpy as np

from dashboard.work.frame_pictures import FramePicture
from dashboard.work.state import Shot
from pychip_stream.domain.frames import FrameRef
from pychip_stream.wire.messages import Live

HALF = np.array([[0.5, 0.4, 0.6], [0.5, 0.4, 0.6]])
LABELS = np.zeros((2, 2), np.uint8)


def live(path="a.tif", time=1.0, version="v1", names=("alpha",), **measured):
    return Live(
        frame=FrameRef(path=path, time=time), names=names, colors=("#0072b2",) * len(names),
        support_version=version, chip_size=(8, 8), shape=(16, 16), status="ok", measured=measured,
    )  # fmt: skip


def seen_live(path, time, seen):
    """A frame with an own time, and when the watcher saw it."""
    frame = FrameRef(path=path, time=time, seen=seen, mtime_ns=int(1e9 * time))
    return replaced(live(path, time), frame=frame)


def replaced(message, **fields):
    """The same message with other fields."""
    return msgspec.structs.replace(message, **fields)


def shot(message):
    return Shot(message, FramePicture.of_live(message, LABELS, HALF))


def record(course, message):
    course.record(message, shot(message).picture)
