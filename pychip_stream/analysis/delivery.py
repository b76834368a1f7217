"""Delivery: frames for workers that do not see the acquisition folder."""

import msgspec

from pychip_stream.config import WatchConfig
from pychip_stream.domain.frames import inside, time_of
from pychip_stream.formats.reading import read_checked
from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.messages import Image, Job


def with_pixels(job: Job, config: WatchConfig) -> tuple[Job, Arrays]:
    """Read the frame of a job and put its pixels beside it.

    Raises
    ------
    FrameIncompleteError
        If the file has changed since; the frame must be tried again later.
    FrameError
        If it cannot be read.
    """
    ref = job.frame
    frame, content_hash = read_checked(
        inside(config.root, ref.path),
        ref.index,
        ref.size,
        ref.mtime_ns,
        max_bytes=int(config.max_frame_mb * 2**20),
    )
    image = Image(
        content_hash=content_hash,
        pixel_size=frame.pixel_size,
        unit=frame.unit,
        time=time_of(frame, ref),
        exposure_s=frame.exposure_s,
    )
    return msgspec.structs.replace(job, image=image), {"pixels": frame.pixels}
