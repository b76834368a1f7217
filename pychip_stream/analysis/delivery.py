"""Delivery: frames for workers that do not see the acquisition folder."""

from pathlib import Path

import msgspec

from pychip_stream.domain.frames import Frame, FrameRef, inside, time_of
from pychip_stream.errors import FrameError
from pychip_stream.formats.reading import ReadChecked
from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.messages import Image, Job

_CARRIED = (
    "pixel_size", "unit", "exposure_s", "pixel_ratio", "notes", "frame_hash", "metadata",
)  # fmt: skip
"""What a frame and the image of a job both have."""


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
        time=time_of(frame, ref),
        **{name: getattr(frame, name) for name in _CARRIED},
    )
    return msgspec.structs.replace(job, image=image), {"pixels": frame.pixels}


def delivered(ref: FrameRef, image: Image, arrays: Arrays) -> Frame:
    """Put a frame together from what came with its job.

    Raises
    ------
    FrameError
        If its pixels did not arrive.
    """
    if "pixels" not in arrays:
        raise FrameError(f"{ref.path}: its pixels did not arrive")
    return Frame(
        arrays["pixels"],
        time=image.time,
        source=ref.path,
        index=ref.index,
        **{name: getattr(image, name) for name in _CARRIED},
    )
