"""Change watch: change points of a run's curves as it goes on, told as events."""

import time
from collections import deque
from collections.abc import Mapping, Sequence

import numpy as np
import xxhash

from pychip_stream.domain.caveats import shows_nothing
from pychip_stream.domain.sequential import SequentialTests
from pychip_stream.wire.messages import Event, Live

AUTHOR = "change points"
RECENT_S = 60.0
"""For so long a change point counts for alert rules."""
_LEAST = 0.005
"""Noise of a fraction is taken for at least this: single chips that flicker are no change."""
_REMEMBERED = 512


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
        self._times: deque[float] = deque(maxlen=_REMEMBERED)
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
            self._times.clear()
        self._times.append(live.frame.time)
        ages = [
            *self._fractions.put(np.array([fractions[name] for name in shares])).tolist(),
            *self._numbers.put(np.array([live.measured.get(n, np.nan) for n in names])).tolist(),
        ]
        found = [(n, age) for n, age in zip((*shares, *names), ages, strict=True) if age]
        self._told.extend([time.monotonic()] * len(found))
        return [self._event(name, age) for name, age in found]

    @property
    def recent(self) -> float:
        """Change points that were told within the last minute."""
        return float(sum(at > time.monotonic() - RECENT_S for at in self._told))

    def _event(self, name: str, age: int) -> Event:
        began = self._times[-min(abs(age), len(self._times))]
        way = "rises" if age > 0 else "falls"
        text = f"{name} {way} against what it did before (told after {abs(age)} frames)"
        # The same change has the same id when another process tells it again.
        told = xxhash.xxh3_64_hexdigest(f"{name} {began}".encode())
        return Event(id=told, author=AUTHOR, text=text, time=began, kind="change")
