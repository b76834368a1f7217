"""NeXus views: what viewers show at once, the phase fractions over time and the label maps.

NXdata groups beside the arrays that the package itself reads; see the NeXus manual, "NXdata" and
"NXdata facilitates the automatic plotting of data".
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from typing import NamedTuple

import h5py
import numpy as np

from pychip_stream.archive import hdf
from pychip_stream.archive.blocks import stored_order
from pychip_stream.archive.hdf import Array

_SUFFIXES = ("_errors", "_low", "_high")
_TAKEN = {"time", "class_names", "class_colors"}


class Curve(NamedTuple):
    """The fractions of n frames in order of time.

    Attributes
    ----------
    time
        (n,) seconds; since 1970, where it is written.
    intervals
        (n, K + 1, 3) fraction, low, high of each of `class_names`.
    class_names
        Of the K classes, then unknown.
    colors
        Of the classes and unknown, where known.
    """

    time: Array
    intervals: Array
    class_names: tuple[str, ...]
    colors: Mapping[str, str]


def describe_entry(entry: h5py.Group, time: Array) -> None:
    """Say which program wrote the entry and when the frames were taken."""
    program = hdf.write_text(entry, "program_name", "pychip-stream")
    with suppress(metadata.PackageNotFoundError):
        program.attrs["version"] = metadata.version("pychip-stream")
    if len(time):
        hdf.write_text(entry, "start_time", iso(float(time.min())))
        hdf.write_text(entry, "end_time", iso(float(time.max())))


def write_curve(group: h5py.Group, curve: Curve) -> None:
    """Write an NXdata with a signal per class and for unknown, each with its errors.

    NAME_errors is half the width of the 95 % interval from NAME_low to NAME_high.
    """
    group.attrs["NX_class"] = "NXdata"
    start = float(curve.time[0]) if len(curve.time) else 0.0
    time = group.create_dataset("time", data=curve.time - start)
    time.attrs["units"] = "s"
    time.attrs["long_name"] = "time (s)"
    time.make_scale("time")
    if len(curve.time):
        time.attrs["start"] = iso(start)
    names = dataset_names(curve.class_names)
    for code, name in enumerate(names):
        value, low, high = (np.ascontiguousarray(curve.intervals[:, code, n]) for n in range(3))
        for suffix, data in zip(
            ("", *_SUFFIXES), (value, (high - low) / 2, low, high), strict=True
        ):
            dataset = group.create_dataset(f"{name}{suffix}", data=data)
            dataset.attrs["units"] = ""
            dataset.dims[0].attach_scale(time)
            label = {"_errors": ", half width of 95 % interval", "_low": ", low", "_high": ", high"}
            shown = curve.class_names[code].replace("\0", "")
            dataset.attrs["long_name"] = shown + label.get(suffix, "")
        color = curve.colors.get(curve.class_names[code])
        if color:
            group[name].attrs["color"] = color
    group.attrs["signal"] = names[0]
    group.attrs["auxiliary_signals"] = np.array(names[1:], h5py.string_dtype())
    group.attrs["axes"] = np.array(["time"], h5py.string_dtype())
    group.attrs["title"] = "Phase fractions"
    group.attrs["estimator"] = "prevalence; the shares of the labels are those of the label maps"


def write_label_view(
    group: h5py.Group, labels: h5py.Dataset | h5py.VirtualLayout, time: h5py.Dataset,
    class_names: Sequence[str],
) -> None:  # fmt: skip
    """Write an NXdata with the label maps as an image stack over time.

    Parameters
    ----------
    labels
        The stack, which is linked; or where a virtual one comes from.
    class_names
        Classes, then unknown.
    """
    group.attrs["NX_class"] = "NXdata"
    if isinstance(labels, h5py.VirtualLayout):
        stack = group.create_virtual_dataset("label_map", labels, fillvalue=255)
    else:
        group["label_map"] = stack = labels
        stack.attrs["target"] = labels.name
    stack.attrs["interpretation"] = "image"
    shown = [name.replace("\0", "") for name in stored_order(class_names)]
    stack.attrs["long_name"] = "label: " + ", ".join(f"{n} {name}" for n, name in enumerate(shown))
    group["time"] = time
    stack.dims[0].attach_scale(time)
    for axis, name in enumerate(("row", "column"), start=1):
        values = group.create_dataset(name, data=np.arange(stack.shape[axis], dtype=np.int32))
        values.attrs["long_name"] = f"{name} of chips"
        values.make_scale(name)
        stack.dims[axis].attach_scale(values)
    texts = hdf.texts(stored_order(class_names))
    hdf.write_texts(group, "class_names", texts).make_scale("class_names")
    group.attrs["signal"] = "label_map"
    group.attrs["axes"] = np.array(["time", "row", "column"], h5py.string_dtype())
    group.attrs["title"] = "Label maps"


def write_views(
    group: h5py.Group, curve: Curve, labels: h5py.Dataset | h5py.VirtualLayout | None
) -> None:
    """Write the curve and, where there are any, the label maps of a scoring, or of a live run."""
    fractions = group.create_group("fractions")
    write_curve(fractions, curve)
    if labels is not None:
        view = group.create_group("label_maps")
        write_label_view(view, labels, fractions["time"], curve.class_names)


def show(entry: h5py.Group, scoring: h5py.Group) -> None:
    """Make the views of a scoring those of the entry."""
    for name in ("fractions", "label_maps"):
        if name in scoring:
            entry[name] = scoring[name]
            scoring[name].attrs["target"] = f"{scoring.name}/{name}"
            entry.attrs.setdefault("default", name)


def dataset_names(class_names: Sequence[str]) -> list[str]:
    """Names that NeXus allows, as near to those of the classes as possible, no two alike."""
    chosen: list[str] = []
    used = set(_TAKEN)
    for number, name in enumerate(class_names, start=1):
        plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:60]
        if not re.search(r"[A-Za-z0-9]", plain):
            plain = f"class_{number}"
        candidate, counter = plain, 1
        while used & {candidate, *(candidate + s for s in _SUFFIXES)}:
            counter += 1
            candidate = f"{plain}_{counter}"
        used |= {candidate, *(candidate + s for s in _SUFFIXES)}
        chosen.append(candidate)
    return chosen


def iso(seconds: float) -> str:
    """Time since 1970 as ISO 8601 in UTC."""
    try:
        return datetime.fromtimestamp(seconds, tz=UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        return ""
