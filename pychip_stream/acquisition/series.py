"""Series: which frames of in-situ acquisitions exist, when they were taken, which are missing."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path, PurePosixPath

from pychip_stream.domain.frames import Stamp, agree, file_time, mtime_of
from pychip_stream.errors import FrameError
from pychip_stream.formats.reading import own_time

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
_LEVELS = tuple(
    re.compile(rf"{name}_(\d+)$", re.IGNORECASE) for name in ("Hour", "Minute", "Second")
)


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


def earliest(path: Path) -> tuple[Moment, Path] | None:
    """Find the first frame on disk of the series of an in-situ frame.

    Parameters
    ----------
    path
        Any frame of the series.

    Returns
    -------
    Its place in the series and its path, or None if there is none.
    """
    folder = path.parent
    if _FOLDERS.match("/".join(folder.parts[-3:])):
        folder = folder.parents[2]
        for level in _LEVELS:
            numbers = [
                (int(found[1]), name) for name in _names(folder) if (found := level.match(name))
            ]
            if not numbers:
                return None
            folder /= min(numbers)[1]
    moments = [(m, name) for name in _names(folder) if (m := _placed(folder, name)) is not None]
    if not moments:
        return None
    first, name = min(moments)
    return first, folder / name


def _placed(folder: Path, name: str) -> Moment | None:
    return parse("/".join((*folder.parts[-3:], name)).lstrip("/"))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208  (names only, and many)
    except OSError:
        return []


_MAX_FRAME = 99_999
# A longer silence is a pause of the acquisition, in steps of its pace.
_LONGEST_GAP = 10
# So many steps, and this share of them alike, make a pace.
_LEAST_STEPS, _EVEN = 5, 0.8


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


@dataclass(slots=True)
class _Series:
    """One acquisition: when it began, its fastest second, and the frames of each second.

    `written` is the beginning by the times of its files; None where those tell nothing.
    """

    start: float | None = None
    written: float | None = None
    per_second: int = 1
    seconds: dict[int, int] = field(default_factory=dict)


class SeriesBook:
    """Keeps count of the frames of all in-situ series in a folder.

    A second costs one integer, whose bits are its frames: an hour at 400 frames a second needs
    less than a megabyte.

    Parameters
    ----------
    own_time
        Asks a file when it was taken, as `formats.reading.own_time` does.

    Attributes
    ----------
    version
        Changes whenever a frame is added or removed.
    """

    def __init__(self, own_time: Callable[[Path], Stamp | None] = own_time) -> None:
        self._own_time = own_time
        self._series: dict[str, _Series] = {}
        self.version = 0

    def enter(self, path: str) -> None:
        """Enter a file whose time is not asked for, since it may still be written."""
        moment = parse(path)
        if moment is not None:
            self._enter(moment)

    def note(self, path: str, absolute: str, mtime_ns: int) -> float:
        """Enter a complete file and return its acquisition time in seconds since 1970.

        Parameters
        ----------
        path, absolute
            Relative to the acquisition root, with forward slashes; on this computer.
        mtime_ns
            Of the file, which is the time of a frame that belongs to no series.
        """
        moment = parse(path)
        if moment is None:
            return mtime_ns / 1e9
        series = self._enter(moment)
        if series.start is None:
            _begin(series, Path(absolute), self._own_time)
        return self.add(moment, mtime_ns / 1e9)

    def forget(self, path: str) -> None:
        """Strike a file out that was deleted or renamed."""
        moment = parse(path)
        if moment is not None:
            self.remove(moment)

    def begin(self, series: str, start: float) -> None:
        """Say when a series began, in seconds since 1970."""
        self._series.setdefault(series, _Series()).start = start

    def add(self, moment: Moment, mtime: float) -> float:
        """Note a frame that exists, and return its time.

        Parameters
        ----------
        mtime
            Of the file, seconds since 1970; used where nobody has said when the series began,
            and while its first second goes on.

        Returns
        -------
        Seconds since 1970: start of the series + whole seconds + the frame's share of its
        second, by the fastest second so far.
        """
        series = self._enter(moment)
        if series.start is None:
            series.start = mtime - moment.second
        return series.start + moment.second + _share(series, moment, mtime)

    def _enter(self, moment: Moment) -> _Series:
        series = self._series.setdefault(moment.series, _Series())
        if moment.frame <= _MAX_FRAME:
            series.per_second = max(series.per_second, moment.frame + 1)
            before = series.seconds.get(moment.second, 0)
            self._set(series, moment.second, before, before | 1 << moment.frame)
        return series

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
        that has none; where a second has one frame at most, that needs an even pace. Frames
        missing at the end of a second look like a camera that is a little slower, and are not
        reported.
        """
        for name in sorted(self._series):
            series = self._series[name]
            seconds = sorted(series.seconds)
            pace = 1 if series.per_second > 1 else _pace(seconds)
            last = None
            for second in seconds:
                if last is not None and pace:
                    for empty in _between(last, second, pace):
                        yield Gap(name, empty, tuple(range(series.per_second)))
                bits = series.seconds[second]
                if _holes(bits):
                    frames = tuple(n for n in range(bits.bit_length()) if not bits >> n & 1)
                    yield Gap(name, second, frames)
                last = second


def _begin(series: _Series, path: Path, own_time: Callable[[Path], Stamp | None]) -> None:
    """Let a series begin with its first frame on disk: when that says, else by its file's time.

    Where it says so in whole seconds, it was within that second as near to its file's time as
    may be; so no later frame of the series contradicts its own time.
    """
    found = earliest(path)
    if found is None:
        return
    first, file = found
    try:
        mtime = file_time(mtime_of(file.stat()))
    except OSError:
        return
    try:
        own = own_time(file)
    except FrameError:
        own = None
    near = own is None or agree(own, mtime)
    start: float = mtime
    before = first.second + first.frame / max(series.per_second, first.frame + 1)
    if own is not None:
        start = min(max(mtime, own), own + own.resolution) if near else own
    if near and not mtime.resolution:
        series.written = mtime - before
    series.start = start - before


def _share(series: _Series, moment: Moment, mtime: float) -> float:
    """Share of a frame of its second, by its number.

    While the first second goes on, nobody knows how many frames it will have; the file's time
    tells more then.
    """
    share = moment.frame / max(series.per_second, moment.frame + 1)
    if series.written is None or len(series.seconds) > 1:
        return share
    return max(0.0, min(share, mtime - series.written - moment.second))


def _between(last: int, second: int, pace: int) -> range:
    """Seconds between two that have frames, at which there should be some too."""
    step = second - last
    if step <= pace or step % pace or step > _LONGEST_GAP * pace:
        return range(0)
    return range(last + pace, second, pace)


def _pace(seconds: list[int]) -> int:
    """Seconds from one frame to the next, where most steps are alike; else 0."""
    steps = Counter(after - before for before, after in pairwise(seconds))
    if steps.total() < _LEAST_STEPS:
        return 0
    step, count = steps.most_common(1)[0]
    return step if count >= _EVEN * steps.total() else 0


def _holes(bits: int) -> int:
    """Zero bits below the highest set one."""
    return bits.bit_length() - bits.bit_count()
