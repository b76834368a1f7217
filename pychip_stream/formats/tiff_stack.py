"""Stacks in TIFF files: which planes OME and ImageJ announce, their channels and their times."""

import math
import re
from dataclasses import dataclass, field
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from pychip_stream.formats import metadata, tiff_metadata, units

_MAX_PLANES = 1_000_000
_MAX_CHANNELS = 7


@dataclass(frozen=True, slots=True)
class Stack:
    """What a file says of its planes, in the order in which they lie in it.

    Attributes
    ----------
    planes
        How many are announced; 1 where nothing is.
    channel
        (planes,) number of each plane's channel.
    seconds
        (planes,) time since the first plane; zeros where it is not known.
    names
        Of the channels, as far as they have any.
    """

    planes: int = 1
    channel: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    seconds: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    names: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return int(self.channel.max()) + 1

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of all channels; "channel N", from 0, of those that have none."""
        named = self.names[: self.channels]
        return (*named, *(f"channel {n}" for n in range(len(named), self.channels)))

    def left_out(self, chosen: int) -> tuple[str, ...]:
        """Say which channels are not analysed."""
        names = [*self.channel_names]
        name = names.pop(chosen)
        if not names:
            return ()
        return (f"{self.channels} channels: {name} is analysed, {', '.join(names)} left out",)


def find(description: str) -> Stack:
    """Read what the description of the first page says; what cannot be understood says nothing."""
    try:
        if tiff_metadata.is_imagej(description):
            return _imagej(description)
        root = metadata.xml(description) if tiff_metadata.is_ome(description) else None
        return Stack() if root is None else _ome(root)
    except (ValueError, OverflowError):
        return Stack()


def _made(
    order: str, sizes: dict[str, int], names: tuple[str, ...] = (), step: float = 0.0
) -> Stack:
    """Count planes up with the first axis of `order` running fastest."""
    planes = sizes["C"] * sizes["Z"] * sizes["T"]
    if not 1 <= planes <= _MAX_PLANES:
        return Stack()
    at = np.unravel_index(np.arange(planes), [sizes[axis] for axis in order], order="F")
    axes = dict(zip(order, at, strict=True))
    return Stack(planes, axes["C"], np.asarray(axes["T"] * step, np.float64), names)


def _ome(root: Element) -> Stack:
    """Axes and times of an OME description that speaks of this one file."""
    if root.find(".//{*}UUID[@FileName]") is not None:
        return Stack()  # spread over several files: nobody can tell from one of them
    planes = 0
    for number, pixels in enumerate(images := root.findall(".//{*}Pixels")):
        stack = _ome_image(pixels)
        planes += stack.planes
        if planes > _MAX_PLANES:
            return Stack()
        if number == len(images) - 1 == 0:
            return stack
    return Stack(max(planes, 1), np.zeros(max(planes, 1), np.int64), np.zeros(max(planes, 1)))


def _ome_image(pixels: Element) -> Stack:
    samples = [int(c.get("SamplesPerPixel", "1")) for c in pixels.findall("{*}Channel")]
    sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "CZT"}
    sizes["C"] = max(1, sizes["C"] // max(1, *samples)) if samples else sizes["C"]
    order = pixels.get("DimensionOrder", "XYCZT")[2:]
    names = tuple(c.get("Name", "") for c in pixels.findall("{*}Channel"))
    step = units.interval(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    stack = _made(
        order if sorted(order) == ["C", "T", "Z"] else "CZT",
        sizes,
        names if all(names) else (),
        step or 0.0,
    )
    _add_moments(stack, pixels, sizes, order)
    return stack


def _add_moments(stack: Stack, pixels: Element, sizes: dict[str, int], order: str) -> None:
    """Put in the times of single planes, where all of them have one."""
    moments = np.full(stack.planes, np.nan)
    for plane in pixels.findall("{*}Plane"):
        at = {axis: int(plane.get(f"The{axis}", "0")) for axis in "CZT"}
        number, stride = 0, 1
        for axis in order:
            number, stride = number + at[axis] * stride, stride * sizes[axis]
        delta = plane.get("DeltaT")
        factor = units.interval(1, plane.get("DeltaTUnit", "s"))
        if delta is not None and factor is not None and 0 <= number < stack.planes:
            moments[number] = float(delta) * factor
    if np.isfinite(moments).all():
        stack.seconds[:] = moments - moments.min()


def _imagej(description: str) -> Stack:
    told = dict(re.findall(r"^(\w+)=(.*?)\s*$", description, re.M))

    def number(key: str) -> int:
        return max(int(told.get(key, "1")), 1)

    images = number("images")
    sizes = {"C": number("channels"), "Z": number("slices"), "T": number("frames")}
    step: Any = told.get("finterval")
    if step is None and (rate := units.seconds(told.get("fps"))) is not None:
        step = 1 / rate
    every = units.interval(step, "s") or 0.0
    # Plain stacks have their times along slices or channels; ImageJ shows at most 7 channels.
    plain = every and sizes["T"] == 1 and 1 in (sizes["C"], sizes["Z"])
    if plain or sizes["C"] > _MAX_CHANNELS or math.prod(sizes.values()) != images:
        sizes = {"C": 1, "Z": 1, "T": images}
    return _made("CZT", sizes, step=every)
