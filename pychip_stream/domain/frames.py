"""Frames: what the microscope hands over."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from pychip_stream.errors import FrameError


class Stamp(float):
    """Seconds since 1970 that know how finely they are known.

    Attributes
    ----------
    resolution
        Step in seconds of whoever wrote the time: 1.0 for hours, minutes and seconds.
    """

    __slots__ = ("resolution",)
    resolution: float

    def __new__(cls, seconds: float, resolution: float) -> "Stamp":
        """Make a float with a resolution."""
        stamp = super().__new__(cls, seconds)
        stamp.resolution = resolution
        return stamp

    def __getnewargs__(self) -> tuple[float, float]:  # type: ignore[override]
        return float(self), self.resolution

    def later(self, seconds: float) -> "Stamp":
        """Return a time that is some seconds after this one, known as finely."""
        return Stamp(self + seconds, self.resolution)


EARLIEST_S, LATEST_S = -6.2e10, 2.5e11
"""Seconds since 1970 between which a calendar has moments."""
_LATEST_NS = 9_214_646_400_000_000_000  # 2262; others count on from 1970 in 63 bits


def mtime_of(stat: os.stat_result) -> int:
    """When a file was changed, in ns since 1970; times before 1678 and after 2262 count as those.

    File systems keep it in more bits than archives and messages do.
    """
    return max(-_LATEST_NS, min(stat.st_mtime_ns, _LATEST_NS))


def file_time(mtime_ns: int) -> Stamp:
    """When a file was changed; whole seconds come from archives and sticks that count by two."""
    return Stamp(mtime_ns / 1e9, 0.0 if mtime_ns % 1_000_000_000 else 2.0)


def resolution(time: float) -> float:
    """Step in seconds in which a time counts; a plain float counts as exact."""
    return time.resolution if isinstance(time, Stamp) else 0.0


def agree(own: float, other: float) -> bool:
    """Whether another time is at most a second away from the step that a frame gives."""
    return own - 1 <= other <= own + resolution(own) + 1


def best_time(own: float | None, other: float) -> float:
    """Decide between the time that a frame gives and the one of its series or file.

    Its own stands, unless it counts in whole seconds or coarser steps and the other one is finer
    and agrees with it within a second.
    """
    if own is None:
        return other
    step = resolution(own)
    return other if step >= 1 and resolution(other) < step and agree(own, other) else own


def natural(name: str) -> list[tuple[int, str]]:
    """Key that sorts names with their numbers by value: `img_9` before `img_10`."""
    return [
        (int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRef:
    """A revision of a frame: which one it is, and which bytes were meant.

    The one name of a frame on all its way, in memory and (encoded by msgspec) on the wire. Two
    are equal where path, index, size and mtime_ns are: what may be archived once.

    Attributes
    ----------
    path, index
        Relative to the acquisition root, with forward slashes; position within the file, from 0.
    size, mtime_ns
        Of the file when it was judged complete.
    time
        Acquisition time in seconds since 1970, as well as is known.
    seen
        When it was first seen, in seconds since 1970.
    """

    path: Annotated[str, msgspec.Meta(max_length=4096)]
    index: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)] = 0
    size: Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)] = 0
    mtime_ns: Annotated[int, msgspec.Meta(ge=-_LATEST_NS, le=_LATEST_NS)] = 0
    time: float = field(default=0.0, compare=False)
    seen: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        return f"{self.path}#{self.index}" if self.index else self.path


def check_inside(path: str) -> None:
    """Refuse the path of a frame that may lead out of its folder."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path or not path:
        raise FrameError(f"{path!r}: a frame's path must stay inside its folder")


def inside(root: Path, relative: str) -> Path:
    """Resolve the path of a frame; it must stay inside `root`, also through links."""
    check_inside(relative)
    base = root.resolve()
    path = (base / relative).resolve()
    if not path.is_relative_to(base):
        raise FrameError(f"{relative}: leads out of the acquisition folder; refused")
    return path


TEXTS = {
    "microscope": "what took the frame",
    "detector": "detector or camera",
    "holder": "specimen holder",
    "pixel_size_from": '"hand" where a person gave the pixel size; empty: the file did',
    "pixel_size_of_file": "what the file says where a person gave the pixel size",
}
"""Texts that frames may have, with their meanings."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One two-dimensional image with what is known about it.

    Attributes
    ----------
    pixels
        (H, W) array of any real dtype, as the detector delivered it; NaN and infinities
        are allowed and are dealt with by normalisation.
    pixel_size
        Edge of a pixel in `unit`, or None where the file does not say.
    unit
        Unit of `pixel_size` ("nm", "um", "1/nm", …), or None.
    time
        Acquisition time in seconds since 1970 (UTC), or None; a `Stamp` where it is known how
        finely the file gives it.
    exposure_s
        Exposure time in seconds, or None.
    before_last_s
        Seconds between it and the last frame of its file, 0 where that is not known.
    pixel_ratio
        Height of a pixel over its width (`pixel_size`).
    metadata
        What else the file says: numbers by the names of their quantities ("stage_alpha_deg"), and
        `TEXTS`. What it does not say is left out.
    notes
        What was left out or not believed when it was read, for people.
    frame_hash
        Of its own bytes in the file, for formats to which frames are added one by one.
    source
        File the frame came from, or an empty string.
    index
        Position within the file, from 0.
    """

    pixels: npt.NDArray[np.generic] = field(repr=False)
    pixel_size: float | None = None
    unit: str | None = None
    time: float | None = None
    exposure_s: float | None = None
    source: str = ""
    index: int = 0
    before_last_s: float = 0.0
    pixel_ratio: float = 1.0
    notes: tuple[str, ...] = ()
    frame_hash: str = ""
    metadata: Mapping[str, float | str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pixels = np.asarray(self.pixels)
        if pixels.ndim != 2 or 0 in pixels.shape:
            raise FrameError(
                f"{self.source or 'frame'}: expected a two-dimensional image, got shape "
                f"{pixels.shape}"
            )
        if pixels.dtype.kind not in "buif":
            raise FrameError(
                f"{self.source or 'frame'}: pixels of type {pixels.dtype} are not grey values"
            )
        if pixels.dtype.kind == "f" and np.isnan(pixels.min()):
            # Among those of a damaged file are some over which every calculation raises an alarm.
            pixels = np.where(np.isnan(pixels), pixels.dtype.type(np.nan), pixels)
        object.__setattr__(self, "pixels", pixels)

    @property
    def texts(self) -> dict[str, str]:
        """What of the metadata is text."""
        return {name: value for name, value in self.metadata.items() if isinstance(value, str)}

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.pixels.shape
        return int(height), int(width)


def time_of(frame: Frame, ref: FrameRef) -> float:
    """When a frame was taken, by itself or by its series or file, whichever tells it finer.

    The time of a file is that of its last frame.
    """
    mtime = file_time(ref.mtime_ns)
    other = mtime if mtime == ref.time else ref.time
    if frame.before_last_s:
        other = Stamp(other - frame.before_last_s, resolution(other))
    return float(best_time(frame.time, other))
