"""One clock for a run: a time that cannot be of it gives way to when its file arrived."""

from bisect import bisect
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.frames import FrameRef, natural

Times = npt.NDArray[np.float64]

HOUR_S = 3600.0
_DAY_S = 86400.0
_STEADY_S = 2.0
"""A frame and its file tell the same, but for whole seconds and the time that writing takes."""
_MOST_HOURS = 14
"""No two zones are further apart."""
_MOST = 0.75
"""So many of the frames make the clock of the run."""
_FEW = 0.1
"""A file with more of the frames is a series of its own, not a stray."""
_STRAYS = 3
"""More files are a series."""
_SAME_S = 1e-5
_LATEST_S = 1e12
_WHILE_S = 1.0
"""What is seen within it may have been there together, in any order."""


class Stamps(NamedTuple):
    """What is known of when n frames were taken, in seconds since 1970; all of shape (n,).

    Attributes
    ----------
    own
        By the frame, its series or its file.
    written
        When its file was changed; not positive or NaN where that is not known.
    seen
        When it was first seen, likewise.
    paths
        Of its file, as text or in UTF-8.
    """

    own: Times
    written: Times
    seen: Times
    paths: npt.NDArray[Any]


def on_one_clock(stamps: Stamps) -> Times:
    """Put the frames of a run on one clock; no file stretches its axis alone.

    A whole number of hours is taken from frames that are early or late by it against their files,
    where the others tell the same time as theirs (a clock put back, another zone). Then, up to
    three files, further before or after all others than an hour and than these last together, are
    placed where they arrived: when the file was written, or it was seen, where the run went on
    then; else after the file before it in order of names. All others stay as they are: several
    files of one moment unless all were seen to come while the run went on, and what was seen
    within an hour of its time.

    Returns
    -------
    (n,) seconds since 1970.
    """
    own = np.clip(np.nan_to_num(stamps.own), -_LATEST_S, _LATEST_S)
    if len(own) < 4 or np.ptp(own) < HOUR_S - _STEADY_S:
        return own
    times, offset = _same_hour(own, stamps.written)
    stray = _strays(times, stamps)
    if not stray:
        return times
    body = np.ones(len(own), bool)
    body[np.concatenate(stray)] = False
    low, high = times[body].min(), times[body].max()
    reach = max(HOUR_S, high - low)
    placed = times.copy()
    names: list[tuple[list[tuple[int, str]], float]] = []
    for rows in stray:
        row, first, last = rows[-1], times[rows[0]], times[rows[-1]]
        if low - reach <= last and first <= high + reach:
            continue
        moments = [stamps.written[row], stamps.seen[row]]
        if offset is not None:
            moments.insert(0, moments[0] + offset)
        there = [one for one in moments if low - HOUR_S <= one <= high + HOUR_S]
        if not there:
            names = names or _by_name(stamps.paths[body], times[body])
            place = bisect(names, (_natural(stamps.paths[row]), np.inf))
            there = [names[max(place - 1, 0)][1]]
        placed[rows] = times[rows] - last + np.clip(there[0], low, high)
    return placed


def newness(frame: FrameRef) -> float:
    """Time by which the newest frame is found: none that was seen is of the future."""
    return frame.time if frame.time < frame.seen + _DAY_S or frame.seen <= 0 else frame.seen


def comes_after(frame: FrameRef, newest: FrameRef | None) -> bool:
    """Whether a frame is the newest from now on.

    Its time is not before the newest one's; or it came a while after that one, with a time that is
    not of these days, as files do that are copied in.
    """
    if newest is None or newness(frame) >= newness(newest):
        return True
    return frame.time < frame.seen - _DAY_S and frame.seen > newest.seen + _WHILE_S


def told(path: str, own: float, placed: float) -> str:
    """Say that a frame does not stand at its own time."""
    own_text, placed_text = _moment(own), _moment(placed)
    return f"{path}: its own time, {own_text}, is not of this run; it stands at {placed_text}"


def _moment(seconds: float) -> str:
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
        return moment.astimezone().isoformat(" ", "seconds")
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.4g} s since 1970"


def _same_hour(own: Times, written: Times) -> tuple[Times, float | None]:
    """Take jumps of whole hours out; how far the times are ahead of their files' steadily.

    None where the files' times tell nothing, for example since all were copied.
    """
    ahead = own - written
    middle = np.sort(ahead)[(len(ahead) - 1) // 2]
    hours = np.rint((ahead - middle) / HOUR_S)
    steady = (np.abs(ahead - middle - HOUR_S * hours) <= _STEADY_S) & (written > 0)
    if steady.mean() < _MOST:
        return own, None
    jumps, counts = np.unique(hours[steady], return_counts=True)
    usual = min(jumps[counts == counts.max()], key=lambda jump: abs(middle + HOUR_S * jump))
    counted = steady & (np.abs(hours - usual) <= _MOST_HOURS)
    times = np.where(counted, own - HOUR_S * (hours - usual), own)
    real = np.ptp(written[counted]) >= np.ptp(times[counted]) / 2 and counts.max() >= len(own) / 2
    return (times, float(middle + HOUR_S * usual)) if real else (own, None)


def _strays(times: Times, stamps: Stamps) -> list[npt.NDArray[np.intp]]:
    """Frames, in order of time, of each file that is an hour and more away from all of the run.

    None where there are too many for a mistake. Of several files that tell one moment, which may be
    a session, only those that were seen to come a while after the run was going on.
    """
    order = np.argsort(times, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(times[order]) > HOUR_S) + 1)
    if len(groups) == 1:
        return []
    few = max(1.0, _FEW * len(times))
    # Else it was seen by nobody, who only knows the file.
    watched = np.abs(stamps.seen - stamps.written) > _SAME_S
    on_time = watched & (np.abs(times - stamps.seen) < HOUR_S)
    going = stamps.seen[on_time].min(initial=np.inf) + _WHILE_S
    found = []
    for rows in groups:
        if len(rows) > _STRAYS * few or on_time[rows].any():
            continue
        paths = stamps.paths[rows]
        files = [rows[paths == path] for path in np.unique(paths)]
        came = watched[rows].all() and (stamps.seen[rows] > going).all()
        if (came or len(files) == 1) and max(map(len, files)) <= few:
            found += files
    many = len(found) > _STRAYS or sum(map(len, found)) > (1 - _MOST) * len(times)
    return [] if many else found


def _by_name(paths: npt.NDArray[Any], times: Times) -> list[tuple[list[tuple[int, str]], float]]:
    """Key of each file's name and time of its last frame, in order."""
    last = dict(sorted(zip(paths.tolist(), times.tolist(), strict=True), key=lambda one: one[1]))
    return sorted((_natural(path), time) for path, time in last.items())


def _natural(path: str | bytes) -> list[tuple[int, str]]:
    return natural(path if isinstance(path, str) else path.decode("utf-8", "replace"))
