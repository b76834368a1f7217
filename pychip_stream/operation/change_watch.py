"""Change watch: change points of a run's curves as it goes on, told as events."""

import time
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
import xxhash

from pychip_stream.domain.caveats import shows_nothing
from pychip_stream.domain.quantities import find
from pychip_stream.domain.sequential import SequentialTests
from pychip_stream.wire.messages import Event, Live

AUTHOR = "change points"
RECENT_S = 60.0
"""For so long a change point counts for alert rules."""
_LEAST = 0.005
"""Noise of a fraction is taken for at least this: single chips that flicker are no change."""
_REMEMBERED = 512
_COURSE, _NEWEST = 100, 5
"""So many values before a change tell where the curve was going, so many where it is now."""


class ChangeWatch:
    """Tests the fractions, and quantities of frames, of each newest frame.

    Parameters
    ----------
    subjects
        "fraction" for all of them, and names of quantities.
    """

    def __init__(self, subjects: Sequence[str]) -> None:
        self._subjects = subjects
        self._of: tuple[str, tuple[str, ...]] = ("", ())
        self._fractions, self._numbers = SequentialTests(0), SequentialTests(0)
        self._seen: deque[tuple[float, dict[str, float]]] = deque(maxlen=_REMEMBERED)
        self._told: deque[float] = deque(maxlen=1000)

    def take(self, live: Live, fractions: Mapping[str, float]) -> list[Event]:
        """Take in a frame that is newer than those before; returns what has changed."""
        if shows_nothing(live.measured):
            return []
        shares = tuple(fractions) if "fraction" in self._subjects else ()
        names = tuple(name for name in self._subjects if name != "fraction")
        if self._of != (live.support_version, shares):  # other labels are no change of the specimen
            self._of = (live.support_version, shares)
            self._fractions = SequentialTests(len(shares), _LEAST)
            self._numbers = SequentialTests(len(names))
            self._seen.clear()
        values = {name: fractions[name] for name in shares}
        values |= {name: live.measured.get(name, np.nan) for name in names}
        self._seen.append((live.frame.time, values))
        told = np.array(list(values.values()))
        ages = [
            *self._fractions.put(told[: len(shares)]).tolist(),
            *self._numbers.put(told[len(shares) :]).tolist(),
        ]
        found = [(n, age) for n, age in zip(values, ages, strict=True) if age]
        self._told.extend([time.monotonic()] * len(found))
        return [self._event(name, age, share=name in shares) for name, age in found]

    @property
    def recent(self) -> float:
        """Change points that were told within the last minute."""
        return float(sum(at > time.monotonic() - RECENT_S for at in self._told))

    def _event(self, name: str, age: int, *, share: bool) -> Event:
        frames = min(abs(age), len(self._seen))
        began = self._seen[-frames][0]
        way = "rises above" if age > 0 else "falls below"
        now, expected = (_written(name, v, share) for v in self._course(name, frames))
        text = f"{name} {way} its course: {now} instead of {expected} after {frames} frames"
        # The same change has the same id when another process tells it again.
        told = xxhash.xxh3_64_hexdigest(f"{name} {began}".encode())
        return Event(id=told, author=AUTHOR, text=text, time=began, kind="change")

    def _course(self, name: str, frames: int) -> tuple[float, float]:
        """Where a curve is, and where a line through its values before the change leads to."""
        values = np.array([seen[name] for _, seen in self._seen])
        places = np.arange(len(values))
        before = np.isfinite(values) & (places < len(values) - frames)
        used = np.flatnonzero(before)[-_COURSE:]
        expected = float("nan")
        if len(used) > 1:
            expected = float(np.polyval(np.polyfit(places[used], values[used], 1), places[-1]))
        newest = values[-min(frames, _NEWEST) :]
        return float(np.nanmedian(newest)), expected


def _written(name: str, value: float, share: bool) -> str:
    """Write a value of a curve for people."""
    if share:
        return f"{100 * min(max(value, 0.0), 1.0):.1f} %"
    quantity = find(name)
    return f"{value:.4g} {quantity.unit if quantity else ''}".rstrip()
