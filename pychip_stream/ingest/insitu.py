"""In-situ series: order, time and gaps of frames, read from Gatan's names.

DigitalMicrograph writes NAME/Hour_00/Minute_00/Second_00/NAME_Hour_00_Minute_00_Second_00_
Frame_0000.dm4; frame numbers begin again every second.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

_NAME = re.compile(
    r"^(?P<stem>.*?)_?Hour_(?P<h>\d{1,4})_Minute_(?P<m>\d{1,2})_Second_(?P<s>\d{1,2})"
    r"_Frame_(?P<f>\d{1,6})$",
    re.IGNORECASE,
)
_FOLDERS = re.compile(
    r"^(?P<stem>.*?)/?Hour_(?P<h>\d{1,4})/Minute_(?P<m>\d{1,2})/Second_(?P<s>\d{1,2})$",
    re.IGNORECASE,
)
_FRAME = re.compile(r"(?:^|_)Frame_(?P<f>\d{1,6})$", re.IGNORECASE)
_LEVELS = tuple(re.compile(rf"{name}_\d+$", re.IGNORECASE) for name in ("Hour", "Minute", "Second"))
_MAX_FRAME = 99_999
_PAUSE_S = 10


@dataclass(frozen=True, slots=True, order=True)
class Moment:
    """Where a frame stands in its series; sorts in the order of acquisition.

    Attributes
    ----------
    series
        Folder and name that all frames of the acquisition share.
    second
        Whole seconds since the acquisition began.
    frame
        Number within the second, from 0.
    """

    series: str
    second: int
    frame: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that should be there and are not.

    Attributes
    ----------
    series, second
        As in `Moment`.
    frames
        Missing numbers within that second.
    """

    series: str
    second: int
    frames: tuple[int, ...]

    def __str__(self) -> str:
        hours, rest = divmod(self.second, 3600)
        numbers = ", ".join(str(n) for n in self.frames[:8])
        more = ", …" if len(self.frames) > 8 else ""
        return f"{self.series} {hours:02}:{rest // 60:02}:{rest % 60:02} frame {numbers}{more}"


def parse(path: str) -> Moment | None:
    """Read the place in a series from a path; None if it is no in-situ name.

    Parameters
    ----------
    path
        Relative to the acquisition root, with forward slashes.
    """
    pure = PurePosixPath(path)
    folder = "" if str(pure.parent) == "." else str(pure.parent)
    folders = _FOLDERS.match(folder)
    name = _NAME.match(pure.stem)
    if name is not None:
        base = folders["stem"] if folders else folder
        return _moment(f"{base}/{name['stem']}".strip("/"), name, name["f"])
    frame = _FRAME.search(pure.stem)
    if folders is not None and frame is not None:
        return _moment(folders["stem"], folders, frame["f"])
    return None


def _moment(series: str, clock: "re.Match[str]", frame: str) -> Moment:
    second = int(clock["h"]) * 3600 + int(clock["m"]) * 60 + int(clock["s"])
    return Moment(series, second, int(frame))


def earliest(path: Path) -> float | None:
    """When the series of an in-situ frame began, by the time of its first frame on disk.

    Parameters
    ----------
    path
        Any frame of the series.

    Returns
    -------
    Seconds since 1970, or None if there is nothing to go by.
    """
    folder = path.parent
    if _FOLDERS.match("/".join(folder.parts[-3:])):
        folder = folder.parents[2]
        for level in _LEVELS:
            names = sorted(name for name in _names(folder) if level.match(name))
            if not names:
                return None
            folder /= names[0]
    moments = [(m, name) for name in _names(folder) if (m := _placed(folder, name)) is not None]
    if not moments:
        return None
    first, name = min(moments)
    try:
        return (folder / name).stat().st_mtime - first.second
    except OSError:
        return None


def _placed(folder: Path, name: str) -> Moment | None:
    return parse("/".join((*folder.parts[-3:], name)).lstrip("/"))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  (names only, and many)
    except OSError:
        return []


@dataclass(slots=True)
class _Series:
    """One acquisition: when it began, its fastest second, and the frames of each second."""

    start: float
    per_second: int = 1
    seconds: dict[int, int] = field(default_factory=dict)


class SeriesBook:
    """Keeps count of the frames of all in-situ series in a folder.

    A second costs one integer, whose bits are its frames: an hour at 400 frames a second needs
    less than a megabyte.

    Attributes
    ----------
    version
        Changes whenever a frame is added or removed.
    """

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        self.version = 0

    def knows(self, series: str) -> bool:
        """Whether a series has begun."""
        return series in self._series

    def begin(self, series: str, start: float) -> None:
        """Say when a series began, in seconds since 1970."""
        self._series.setdefault(series, _Series(start))

    def add(self, moment: Moment, mtime: float) -> float:
        """Note a frame that exists, and return its time.

        Parameters
        ----------
        mtime
            Of the file, seconds since 1970; used where nobody has said when the series began.

        Returns
        -------
        Seconds since 1970: start of the series + whole seconds + the frame's share of its
        second, by the fastest second so far.
        """
        series = self._series.get(moment.series)
        if series is None:
            series = self._series[moment.series] = _Series(mtime - moment.second)
        if moment.frame <= _MAX_FRAME:
            series.per_second = max(series.per_second, moment.frame + 1)
            before = series.seconds.get(moment.second, 0)
            self._set(series, moment.second, before, before | 1 << moment.frame)
        return (
            series.start + moment.second + moment.frame / max(series.per_second, moment.frame + 1)
        )

    def remove(self, moment: Moment) -> None:
        """Forget a frame that was deleted or renamed."""
        series = self._series.get(moment.series)
        before = series.seconds.get(moment.second, 0) if series else 0
        if series is not None and moment.frame <= _MAX_FRAME:
            self._set(series, moment.second, before, before & ~(1 << moment.frame))

    def _set(self, series: _Series, second: int, before: int, after: int) -> None:
        if before == after:
            return
        self.version += 1
        if after:
            series.seconds[second] = after
        else:
            del series.seconds[second]

    def gaps(self) -> Iterator[Gap]:
        """Missing frames, series by series in order of time.

        Within a second: numbers below the highest one. Between seconds: all frames of a second
        that has none, in a series of several frames a second; a longer silence is a pause.
        """
        for name in sorted(self._series):
            series = self._series[name]
            last = None
            for second in sorted(series.seconds):
                if last is not None and series.per_second > 1 and second - last <= _PAUSE_S:
                    for empty in range(last + 1, second):
                        yield Gap(name, empty, tuple(range(series.per_second)))
                bits = series.seconds[second]
                if _holes(bits):
                    frames = tuple(n for n in range(bits.bit_length()) if not bits >> n & 1)
                    yield Gap(name, second, frames)
                last = second


def _holes(bits: int) -> int:
    """Zero bits below the highest set one."""
    return bits.bit_length() - bits.bit_count()
