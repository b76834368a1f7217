"""Follower: the logs of a run, read beside its work, so that a share that hangs stops nothing."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pychip_stream.stimulus.dialect import LogError
from pychip_stream.stimulus_settings import StimulusConfig

if TYPE_CHECKING:
    from pychip_stream.stimulus.log_reading import Block, LogFile

logger = logging.getLogger(__name__)

_PAUSE_S = 0.5
_MOST_WAITING = 4
_MOST_LOGS = 200
"""Of a pattern, the newest."""


class LogFollower:
    """Reads every log of the sources from its beginning and goes on as they grow.

    Queue: four blocks of at most 16 MiB of text wait; reading waits for their being taken.

    Parameters
    ----------
    positions
        By origin: up to which byte logs are known already, of which only blocks with notes are
        told again.

    Attributes
    ----------
    problems
        By source, in a line; replaced, never changed.
    heard
        By source: when it last grew, on the clock of `time.monotonic`; replaced likewise.
    """

    def __init__(self, sources: Sequence[StimulusConfig], positions: Mapping[str, int]) -> None:
        self._sources = [one for one in sources if one.log is not None]
        self._positions = dict(positions)
        self._queue: queue.Queue[tuple[int, Block]] = queue.Queue(_MOST_WAITING)
        self._stop = threading.Event()
        self._logs: dict[Path, LogFile] = {}
        self._said: set[tuple[str, str]] = set()
        self.problems: Mapping[str, str] = {}
        self.heard: Mapping[str, float] = {one.source: time.monotonic() for one in self._sources}
        self._ranks = {one.source: rank for rank, one in enumerate(sources)}
        # A read that hangs cannot be ended: the process must not wait for it.
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)

    def start(self) -> None:
        """Begin to look, twice a second."""
        if self._sources:
            self._thread.start()

    def take(self) -> Iterator[tuple[int, Block]]:
        """Give what was read since, with the rank of its source; at most four blocks."""
        for _ in range(_MOST_WAITING):
            try:
                yield self._queue.get_nowait()
            except queue.Empty:
                return

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()

    def look(self) -> None:
        """Read what is new in every log."""
        for source in self._sources:
            try:
                problem = self._look_at(source)
            except LogError as error:
                problem = str(error)
            except OSError as error:
                problem = f"{source.log}: cannot be read ({error.strerror or error})"
            except Exception as error:  # a log of others must not end the following of them all
                problem = f"{source.log}: {type(error).__name__}: {error}"
            if problem and (source.source, problem) not in self._said:
                self._said.add((source.source, problem))
                logger.warning("stimulus %s: %s", source.source, problem)
            self.problems = {**self.problems, source.source: problem}

    def _run(self) -> None:
        while not self._stop.wait(_PAUSE_S):
            self.look()

    def _look_at(self, source: StimulusConfig) -> str:
        # Reading logs takes pandas, which loads slowly; most runs have none.
        from pychip_stream.stimulus.log_reading import LogFile

        assert source.log is not None
        paths = _matching(source.log)
        for path in paths:
            log = self._logs.setdefault(path, LogFile(path, source, self._positions))
            before = log.understood
            for block in log.blocks():
                if log.understood != before:
                    before = log.understood
                    logger.info("stimulus %s: %s: %s", source.source, path, before)
                self._put(self._ranks[source.source], block)
                self.heard = {**self.heard, source.source: time.monotonic()}
        return "" if paths else f"{source.log}: is not there (yet)"

    def _put(self, rank: int, block: Block) -> None:
        known = self._positions.get(block.origin, 0)
        if block.end <= known and not block.notes:
            return
        while not self._stop.is_set():
            try:
                self._queue.put((rank, block), timeout=_PAUSE_S)
            except queue.Full:
                continue
            self._positions[block.origin] = max(block.end, known)
            return


def _matching(pattern: Path) -> list[Path]:
    if not any(sign in pattern.name for sign in "*?["):
        return [pattern] if pattern.exists() else []
    found = [(path.stat().st_mtime, path) for path in pattern.parent.glob(pattern.name)]
    return [path for _, path in sorted(found)[-_MOST_LOGS:]]
