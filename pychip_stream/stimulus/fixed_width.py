"""Fixed width: times of a block of lines that are all written alike, read without a text each."""

import re
from datetime import datetime

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.signals import Times
from pychip_stream.stimulus.dialect import Layout

_PARTS = {
    "%Y": r"(?P<Y>(?:19|20)\d\d)", "%m": r"(?P<m>\d\d)", "%d": r"(?P<d>\d\d)", "%H": r"(?P<H>\d\d)",
    "%M": r"(?P<M>\d\d)", "%S": r"(?P<S>\d\d)", "%f": r"(?P<f>\d{1,6})",
}  # fmt: skip
_SECONDS = rf"{_PARTS['%S']}(?:[.,](?P<f>\d{{1,9}}))?"
_CLOCK = f"{_PARTS['%H']}:{_PARTS['%M']}:{_SECONDS}"
_ISO = (
    f"{_PARTS['%Y']}-{_PARTS['%m']}-{_PARTS['%d']}[T ]{_CLOCK}"
    r"(?P<z>Z|[+-](?:0\d|1\d|2[0-3]):?[0-5]\d)?"
)
_BLANK = b"1970-01-01T00:00:00.000000000"
_PLACES = {"Y": 0, "m": 5, "d": 8, "H": 11, "M": 14, "S": 17, "f": 20}

Bytes = npt.NDArray[np.uint8]


def written_times(data: bytes, layout: Layout) -> Times | None:
    """Read what stands in the time columns of every line.

    Parameters
    ----------
    data
        Whole lines.

    Returns
    -------
    Times or None
        (n,) seconds since 1970 (form "text", on the clock of the log unless it tells its zone) or
        since midnight ("clock"). None where a line is written otherwise than the first one, or is
        no time: each line must then be read for itself.
    """
    pattern = _pattern(layout)
    first = data[: data.find(b"\n")].decode("latin-1").rstrip("\r").split(layout.delimiter)
    if pattern is None or len(layout.delimiter) != 1 or len(first) != layout.width:
        return None
    text = " ".join(first[i] for i in layout.time.indices)
    match = re.fullmatch(pattern, text, re.ASCII)
    if match is None or not text.isascii():
        return None
    if (match.groupdict().get("z") is not None) != layout.time.zoned:
        return None
    cells = _cells(data, layout, [len(first[i]) for i in layout.time.indices])
    return None if cells is None else _seconds(cells, match)


def _pattern(layout: Layout) -> str | None:
    """Return a regular expression of the times, with a group for each part."""
    time = layout.time
    if time.form == "clock":
        return _CLOCK
    if time.form != "text":
        return None
    if not time.pattern:
        return _ISO
    parts = re.split(r"(%.)", time.pattern)
    known = {part for part in parts if part.startswith("%")}
    # Each once, all that make a day: strptime has defaults of its own for the others.
    if not {"%Y", "%m", "%d"} <= known <= set(_PARTS) or len(known) != len(parts) // 2:
        return None
    return "".join(_PARTS.get(part) or re.escape(part) for part in parts)


def _cells(data: bytes, layout: Layout, widths: list[int]) -> Bytes | None:
    """(n, width) uint8: the time columns, a blank between two; None where a width differs."""
    block = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(block == ord("\n"))
    if not data.endswith(b"\n"):
        ends = np.append(ends, len(block))
    signs = np.flatnonzero(block == ord(layout.delimiter))
    if len(signs) != len(ends) * (layout.width - 1):
        return None
    # (n, width + 1): where each cell of a line ends, after the end of the line before.
    edges = np.empty((len(ends), layout.width + 1), np.int64)
    edges[0, 0], edges[1:, 0] = -1, ends[:-1]
    edges[:, 1:-1] = signs.reshape(len(ends), -1)
    edges[:, -1] = ends - (block[ends - 1] == ord("\r"))
    if (edges[:, 1] <= edges[:, 0]).any() or (edges[:, -2] >= ends).any():
        return None
    found: list[Bytes] = []
    for index, width in zip(layout.time.indices, widths, strict=True):
        begins = edges[:, index] + 1
        if (edges[:, index + 1] - begins != width).any():
            return None
        if found:
            found.append(np.full((len(ends), 1), ord(" "), np.uint8))
        found.append(np.lib.stride_tricks.sliding_window_view(block, width)[begins])
    return np.hstack(found) if len(found) > 1 else found[0]


def _seconds(cells: Bytes, match: re.Match[str]) -> Times | None:
    """(n,) seconds of times that are written as the first one; None where one is not."""
    spans = {name: match.span(name) for name in _PLACES if match.groupdict().get(name)}
    digits = np.zeros(cells.shape[1], bool)
    for name, (begin, end) in spans.items():
        digits[begin + 2 * (name == "Y") : end] = True  # nanoseconds count for a few centuries only
    if (cells[:, ~digits] != cells[0, ~digits]).any() or (cells[:, digits] - ord("0") > 9).any():
        return None
    iso = np.tile(np.frombuffer(_BLANK, np.uint8), (len(cells), 1))
    for name, (begin, end) in spans.items():
        place = _PLACES[name]
        iso[:, place : place + end - begin] = cells[:, begin:end]
    try:
        moments = iso.view(f"S{len(_BLANK)}")[:, 0].astype("datetime64[ns]")
    except ValueError:  # of a day or an hour that there is not
        return None
    zone = match.groupdict().get("z")
    if zone is not None:
        moments -= np.timedelta64(datetime.strptime(zone, "%z").utcoffset())
    return np.asarray(moments.astype(np.int64) / 1e9)
