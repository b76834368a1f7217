"""Delivery: frames for workers that do not see the acquisition folder."""

from pathlib import Path

import msgspec

from pychip_stream.domain.frames import inside, time_of
from pychip_stream.formats.reading import ReadChecked
from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.messages import Image, Job


def with_pixels(job: Job, root: Path, read: ReadChecked) -> tuple[Job, Arrays]:
    """Read the frame of a job and put its pixels beside it.

    Raises
    ------
    FrameIncompleteError, FrameLostError
        If the file has changed since, or cost its reader; the frame must be tried again later.
    FrameError
        If it cannot be read.
    """
    ref = job.frame
    frame, content_hash = read(inside(root, ref.path), ref.index, ref.size, ref.mtime_ns)
    image = Image(
        content_hash=content_hash,
        pixel_size=frame.pixel_size,
        unit=frame.unit,
        time=time_of(frame, ref),
        exposure_s=frame.exposure_s,
        pixel_ratio=frame.pixel_ratio,
        notes=frame.notes,
        metadata=dict(frame.metadata),
    )
    return msgspec.structs.replace(job, image=image), {"pixels": frame.pixels}
