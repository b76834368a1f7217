"""In-situ names: order and time of frames, read from the names that Gatan gives them.

DigitalMicrograph writes NAME/Hour_00/Minute_00/Second_00/NAME_Hour_00_Minute_00_Second_00_
Frame_0000.dm4; frame numbers begin again every second.
"""

import os
import re
from dataclasses import dataclass
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
