"""Stacks in TIFF files: which planes OME and ImageJ announce, their channels and their times."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.frames import Stamp
from pychip_stream.formats import metadata, tiff_metadata, units

_MAX_PLANES = 1_000_000
_MAX_CHANNELS = 7
_MOST_CHANNELS = 10_000
_LONGEST_S = 1e9


@dataclass(frozen=True, slots=True)
class Stack:
    """What a file says of its planes, in the order in which they lie in it.

    Attributes
    ----------
    planes
        How many are announced; 1 where nothing is.
    channel
        (planes,) number of each plane's channel; -1 where a page is no plane of an image.
    seconds
        (planes,) time since `start`, or since some moment where that is None; zeros where it is
        not known.
    names
        Of the channels, as far as they have any.
    start
        When the first image was begun, if the description says so.
    image
        (planes,) number of each plane's image in OME's description.
    told
        What OME says of single planes, by their number.
    """

    planes: int = 1
    channel: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    seconds: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    names: tuple[str, ...] = ()
    start: Stamp | None = None
    image: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    told: Mapping[int, Element] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """How many channels there are."""
        return int(self.channel.max(initial=0)) + 1

    @property
    def channel_names(self) -> tuple[str, ...]:
        """Names of all channels; "channel N", from 0, of those that have none."""
        named = self.names[: self.channels]
        return (*named, *map(_unnamed, range(len(named), self.channels)))


def _unnamed(channel: int) -> str:
    return f"channel {channel}"


def find(description: str) -> Stack:
    """Read what the description of the first page says; what cannot be understood says nothing."""
    try:
        if tiff_metadata.is_imagej(description):
            return _imagej(description)
        root = metadata.xml(description) if tiff_metadata.is_ome(description) else None
        return Stack() if root is None else _ome(root)
    except (ValueError, OverflowError):
        return Stack()


@dataclass(frozen=True, slots=True)
class _Axes:
    """Sizes of the axes beside rows and columns, and which of them runs fastest."""

    sizes: dict[str, int]
    order: str = "CZT"

    @property
    def planes(self) -> int:
        return math.prod(self.sizes.values())

    def places(self, planes: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[np.int64]]:
        """Place along each axis of planes that are counted in the order of the axes."""
        shape = [self.sizes[axis] for axis in self.order]
        at = np.unravel_index(planes, shape, order="F")
        return {axis: np.asarray(n, np.int64) for axis, n in zip(self.order, at, strict=True)}

    def number(self, item: Element, prefix: str) -> int:
        """Count the plane whose places are attributes such as FirstC or TheC."""
        number, stride = 0, 1
        for axis in self.order:
            number += int(item.get(f"{prefix}{axis}", "0")) * stride
            stride *= self.sizes[axis]
        return number


def _ome(root: Element) -> Stack:
    """Planes of this file by their pages, of all images that the description speaks of."""
    files = {
        (item.text or "").strip()
        for item in root.iterfind("{*}Image/{*}Pixels/{*}TiffData/{*}UUID")
    }
    # Where planes lie in several files the file's own are those under its UUID.
    own = files.pop() if len(files) == 1 else root.get("UUID", "")
    images = [(image, image.find("{*}Pixels")) for image in root.iterfind("{*}Image")]
    dates = [units.from_text(image.findtext("{*}AcquisitionDate")) for image, _ in images]
    start = None if not dates or None in dates else dates[0]
    names: dict[str, int] = {}
    parts: list[_Part] = []
    end = 0
    for number, (_, pixels) in enumerate(images):
        if pixels is None:
            continue
        axes = _axes(pixels)
        pages, planes = _pages(pixels, axes, own, end)
        if not len(pages):
            continue
        end = max(end, int(pages.max()) + 1)
        began = 0.0 if start is None else float(dates[number] or 0.0) - start
        parts.append(_part(number, pixels, axes, pages, planes, names, began))
    if not parts:
        return Stack()
    stack = Stack(
        end,
        np.full(end, -1),
        np.zeros(end),
        () if [*names] == [_unnamed(0)] else tuple(names),
        start,
        np.zeros(end, np.int64),
    )
    for part in parts:
        stack.channel[part.pages], stack.seconds[part.pages] = part.channel, part.seconds
        stack.image[part.pages] = part.image
    told = {page: item for part in parts for page, item in part.told.items()}
    return replace(stack, told=told)


def _axes(pixels: Element) -> _Axes:
    samples = [int(c.get("SamplesPerPixel", "1")) for c in pixels.iterfind("{*}Channel")]
    sizes = {axis: int(pixels.get(f"Size{axis}", "1")) for axis in "CZT"}
    sizes["C"] = max(1, sizes["C"] // max(1, *samples)) if samples else sizes["C"]
    order = pixels.get("DimensionOrder", "XYCZT")[2:]
    if min(sizes.values()) < 1 or sizes["C"] > _MOST_CHANNELS:
        raise ValueError("axes that cannot be")
    return _Axes(sizes, order if sorted(order) == ["C", "T", "Z"] else "CZT")


def _pages(
    pixels: Element, axes: _Axes, own: str, begin: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pages of a file that hold planes of an image, and which (OME-TIFF specification: TiffData).

    Parameters
    ----------
    own
        UUID of the file; planes of others are left out.
    begin
        The first page that no earlier image has.
    """
    pages, planes, held = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], begin
    for item in pixels.findall("{*}TiffData") or [Element("TiffData")]:
        file = (item.findtext("{*}UUID") or "").strip()
        if file and file != own:
            continue
        first, page = axes.number(item, "First"), int(item.get("IFD", begin))
        left = axes.planes - first
        count = min(int(item.get("PlaneCount", 1 if "IFD" in item.attrib else left)), left)
        held += max(count, 0)
        if min(first, page, count - 1) < 0 or max(held, page + count) > _MAX_PLANES:
            raise ValueError("planes that cannot be")
        pages.append(np.arange(page, page + count))
        planes.append(np.arange(first, first + count))
    return np.concatenate(pages), np.concatenate(planes)


@dataclass(frozen=True, slots=True)
class _Part:
    """The planes of one image, by their pages."""

    image: int
    pages: npt.NDArray[np.int64]
    channel: npt.NDArray[np.int64]
    seconds: npt.NDArray[np.float64]
    told: dict[int, Element]


def _part(
    number: int,
    pixels: Element,
    axes: _Axes,
    pages: npt.NDArray[np.int64],
    planes: npt.NDArray[np.int64],
    names: dict[str, int],
    began: float,
) -> _Part:
    """Channels and times of the planes of an image; `names` are those of all channels so far."""
    named = [channel.get("Name", "") for channel in pixels.iterfind("{*}Channel")]
    if not all(named) or len({*named}) != axes.sizes["C"]:
        named = [*map(_unnamed, range(axes.sizes["C"]))]
    # Images of one detector each are channels, too: by its name.
    numbers = [names.setdefault(name, len(names)) for name in named]
    at = axes.places(planes)
    items = {axes.number(item, "The"): item for item in pixels.iterfind("{*}Plane")}
    told = (
        {
            page: items[plane]
            for page, plane in zip(pages.tolist(), planes.tolist(), strict=True)
            if plane in items
        }
        if items
        else {}
    )
    step = units.interval(pixels.get("TimeIncrement"), pixels.get("TimeIncrementUnit", "s"))
    moments = [_moment(told.get(page)) for page in pages.tolist()] if told else [None]
    every = at["T"] * (step or 0.0)
    seconds = np.asarray(every if None in moments else moments, np.float64) + began
    channel = np.array(numbers)[at["C"]]
    return _Part(number, pages, channel, seconds, told)


def _moment(plane: Element | None) -> float | None:
    """Seconds of a plane since its image was begun."""
    delta = None if plane is None else plane.get("DeltaT")
    factor = None if plane is None else units.interval(1, plane.get("DeltaTUnit", "s"))
    seconds = None if delta is None or factor is None else float(delta) * factor
    return seconds if seconds is not None and abs(seconds) < _LONGEST_S else None


def _imagej(description: str) -> Stack:
    told = dict(re.findall(r"^(\w+)=(.*?)\s*$", description, re.M))

    def number(key: str) -> int:
        return max(int(told.get(key, "1")), 1)

    images = number("images")
    sizes = {"C": number("channels"), "Z": number("slices"), "T": number("frames")}
    # `fps` is how fast a stack is played, not how fast it was taken.
    every = units.interval(told.get("finterval"), told.get("tunit", "s")) or 0.0
    # Plain stacks have their times along slices or channels; ImageJ shows at most 7 channels.
    plain = every and sizes["T"] == 1 and 1 in (sizes["C"], sizes["Z"])
    if plain or sizes["C"] > _MAX_CHANNELS or math.prod(sizes.values()) != images:
        sizes = {"C": 1, "Z": 1, "T": images}
    axes = _Axes(sizes)
    if axes.planes > _MAX_PLANES:
        return Stack()
    at = axes.places(np.arange(axes.planes))
    return Stack(axes.planes, at["C"], np.asarray(at["T"] * every, np.float64))
