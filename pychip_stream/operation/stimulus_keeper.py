"""Stimulus keeper: readings of logs and senders, kept with a live run and shown as they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pychip_stream.archive.changes import Changes
from pychip_stream.archive.clock_offsets import OFFSETS
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.marks import MarkKeeper
from pychip_stream.archive.readings import ReadingJournal
from pychip_stream.config import Config
from pychip_stream.domain.signals import Readings, Series, Signal, Times, series_of
from pychip_stream.stimulus.follower import LogFollower
from pychip_stream.wire.channel import Arrays
from pychip_stream.wire.messages import Measurement, Reply, Stimulus

if TYPE_CHECKING:
    from pychip_stream.stimulus.log_reading import Block

MOST_PER_SECOND = 1000
"""Readings of one sender; more are refused, so that it waits."""
_MOST_SENDERS = 1000
_RECENT = 4096
"""Readings of each thing that are kept for joining them to live frames."""
_MOST_SERIES = 200
_MOST_SHOWN = 20
_LOOK_S = 2.0


class Rates:
    """Bounds what is taken of each sender in a second."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: dict[bytes, tuple[float, int]] = {}

    def takes(self, sender: bytes) -> bool:
        """Whether one more is taken of a sender now."""
        now = time.monotonic()
        since, count = self._counts.get(sender, (now, 0))
        since, count = (now, 0) if now - since >= 1.0 else (since, count)
        if len(self._counts) >= _MOST_SENDERS:
            self._counts.clear()
        self._counts[sender] = (since, count + 1)
        return count < self._most


class StimulusKeeper:
    """Takes readings in, writes them to the journal of the run, and joins them to live frames.

    Parameters
    ----------
    run, run_id
        The archive, and its identity.
    """

    def __init__(self, config: Config, run: Path, run_id: str) -> None:
        self._run_id = run_id
        self._settings = {one.source: one for one in config.stimulus}
        self._ranks = {one.source: rank for rank, one in enumerate(config.stimulus)}
        places = RunPlaces.of(run)
        self._journal = ReadingJournal(places)
        self._marks = MarkKeeper(places, run_id)
        self._follower = LogFollower(config.stimulus, self._journal.positions)
        self._offsets = Changes(places, OFFSETS)
        self._offset_s: Mapping[str, float] = {}
        self._look_at = 0.0
        self._blocks: deque[tuple[int, Block]] = deque()
        self._sent: list[tuple[Measurement, bytes]] = []
        self._refused: list[tuple[Reply, bytes]] = []
        self._rates = Rates(MOST_PER_SECOND)
        self._recent: dict[tuple[str, str, str], Series] = {}
        self._held: list[tuple[str, Series]] = []
        self._shown: deque[tuple[Stimulus, Arrays]] = deque(maxlen=_MOST_SHOWN)
        self._heard = dict.fromkeys(self._settings, time.monotonic())
        self._counts = {"readings": 0, "readings_damaged": 0, "readings_refused": 0}
        self._follower.start()

    def close(self) -> None:
        """Read what the logs hold, as far as it is there now, and no more."""
        self._follower.close()

    def add(self, message: Measurement, sender: bytes) -> None:
        """Take a reading of a sender, or refuse it where there are too many."""
        if not self._rates.takes(sender):
            self._counts["readings_refused"] += 1
            why = f"more than {MOST_PER_SECOND} readings in a second; send fewer, it was not kept"
            self._refused.append((Reply(ok=False, detail=why), sender))
        else:
            self._sent.append((message, sender))

    def keep(self) -> Iterator[tuple[Reply, bytes]]:
        """Write what has come; gives what to answer to whom.

        Raises
        ------
        ArchiveError
            If that cannot be written; it is tried again at the next call.
        """
        refused, self._refused = self._refused, []
        yield from refused
        if not self._blocks:
            self._blocks.extend(self._follower.take())
        while self._blocks:
            rank, block = self._blocks[0]
            # Before the place in the log is known: should this end here, they come again.
            self._marks.put_notes(block.readings.source, block.notes)
            new = block.end > self._journal.position(block.origin)
            if new and len(block.readings):
                self._journal.add(block.readings, rank, block.origin, block.end)
                self._note(block.readings)
            self._counts["readings_damaged"] += block.damaged * new
            self._blocks.popleft()
        if self._sent:
            for readings in _gathered([message for message, _ in self._sent]):
                gap = self._settings.get(readings.source)
                one = replace(readings, max_gap_s=gap.max_gap_s) if gap else readings
                self._journal.add(one, self._rank(one.source))
                self._note(one)
            sent, self._sent = self._sent, []
            for message, sender in sent:
                yield Reply(ok=True, detail=message.name), sender

    def shown(self) -> list[tuple[Stimulus, Arrays]]:
        """Messages for whoever looks on, each once; the oldest give way."""
        found = list(self._shown)
        self._shown.clear()
        return found

    def at(self, moment: float) -> dict[str, float]:
        """Values of every quantity at the time of a frame, as far as they are known now.

        The newest reading counts for as long as the gap of its source, until the next comes; the
        archive derives it anew.
        """
        found: dict[str, float] = {}
        if not self._held:
            return found
        self._follow_offsets()
        for quantity, one in self._held:
            if quantity not in found:
                own = np.array([moment - self._offset_s.get(one.source, 0.0)])
                value = float(one.at(own)[0])
                if np.isfinite(value):
                    found[quantity] = value
        return found

    def counters(self) -> dict[str, float]:
        """Counters of these, for the status of the service."""
        found = {name: float(count) for name, count in self._counts.items() if count}
        if self._heard:
            found["stimulus_silence"] = time.monotonic() - min(self._heard.values())
        return found

    @property
    def detail(self) -> str:
        """What is wrong with a source, for people."""
        return next((f"stimulus {n}: {p}" for n, p in self._follower.problems.items() if p), "")

    def _note(self, readings: Readings) -> None:
        self._heard[readings.source] = time.monotonic()
        self._counts["readings"] += len(readings)
        self._follow_offsets()
        time_s, signals = readings.time[-_RECENT:], readings.signals
        for signal in signals:
            key = (readings.source, signal.name, signal.unit)
            if key not in self._recent and len(self._recent) >= _MOST_SERIES:
                continue
            old = self._recent.get(key)
            values = signal.values[-_RECENT:]
            if old is not None:
                values = np.concatenate([old.values, values])
            both = time_s if old is None else np.concatenate([old.time, time_s])
            one = series_of(*key, signal.kind, readings.max_gap_s, both, values)
            self._recent[key] = replace(one, time=one.time[-_RECENT:], values=one.values[-_RECENT:])
        ranked = sorted(self._recent.values(), key=lambda one: self._rank(one.source))
        self._held = [(one.quantity, _held(one)) for one in ranked if len(one.time)]
        message = Stimulus(
            source=readings.source,
            quantities=tuple(signal.quantity for signal in signals),
            units=tuple(signal.unit for signal in signals),
        )
        values = np.stack([signal.values[-_RECENT:] for signal in signals], axis=1)
        offset = self._offset_s.get(readings.source, 0.0)
        self._shown.append((message, {"time": time_s + offset, "values": values}))

    def _rank(self, source: str) -> int:
        return self._ranks.get(source, len(self._ranks))

    def _follow_offsets(self) -> None:
        if time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_S
            rows = self._offsets.read(self._run_id)
            self._offset_s = {row.source: row.offset_s for row in rows}


def _held(one: Series) -> Series:
    """Let the newest value of a series count for as long as its gap."""
    time_s = np.append(one.time, one.time[-1] + one.max_gap_s)
    return replace(one, time=time_s, values=np.append(one.values, one.values[-1]))


def _gathered(messages: list[Measurement]) -> Iterator[Readings]:
    """Put single readings together, by what they are of, in the order in which they came."""
    found: dict[tuple[str, str, str], list[Measurement]] = {}
    for one in messages:
        found.setdefault((one.source, one.name, one.unit), []).append(one)
    for (source, name, unit), some in found.items():
        times: Times = np.array([one.time for one in some])
        values: Times = np.array([one.value for one in some])
        yield Readings(source, times, (Signal(name, unit, some[-1].kind, values),))
