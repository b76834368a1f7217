"""Latency: where the time goes between a file's last write and a viewer's screen."""

from collections import deque
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.frames import FrameRef

STAGES = ("seen", "started", "read", "classified", "received", "archived", "shown")
"""What ends each stretch of a frame's way: the watcher's sight, its turn at a worker, who has read
and then classified it, the archiver's receipt, the disk, a viewer's screen."""


def stretches(frame: FrameRef, read: float, classified: float, **later: float) -> dict[str, float]:
    """Seconds that a frame spent before each stage it has reached, and in "total".

    Moments that are not known (0 or NaN) and clocks of other machines that disagree say nothing.

    Parameters
    ----------
    read, classified, later
        When it reached these of the `STAGES`, in seconds since 1970.
    """
    moments = {"seen": frame.seen, "read": read, "classified": classified, **later}
    way = [("written", frame.mtime_ns * 1e-9), *((s, moments.get(s, 0.0)) for s in STAGES)]
    known = [(stage, t) for stage, t in way if np.isfinite(t) and t > 0]
    found = {b[0]: b[1] - a[1] for a, b in pairwise(known) if b[1] >= a[1]}
    if len(known) > 1 and known[-1][1] >= known[0][1]:
        found["total"] = known[-1][1] - known[0][1]
    return found


class LatencySplit:
    """Rolling percentiles of the seconds that frames spend before each of the `STAGES`."""

    def __init__(self, keep: int = 512) -> None:
        self._keep = keep
        self._stretches: dict[str, deque[float]] = {}

    def add(self, seconds: Mapping[str, float]) -> None:
        """Note the stretches of one frame."""
        for stage, value in seconds.items():
            self._stretches.setdefault(stage, deque(maxlen=self._keep)).append(value)

    def counters(self) -> dict[str, float]:
        """Return "latency.STAGE.p50", ….p95 and ….p99 in seconds, for a status."""
        found = {}
        for stage, values in self._stretches.items():
            sample: npt.NDArray[np.float64] = np.fromiter(values, np.float64)
            for which, value in zip((50, 95, 99), np.percentile(sample, (50, 95, 99)), strict=True):
                found[f"latency.{stage}.p{which}"] = round(float(value), 4)
        return found
