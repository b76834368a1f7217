"""Furnace: lets somebody else set the temperature of the simulated specimen while it is watched."""

import json
from pathlib import Path

from pychip_stream.sim.specimen import Experiment

NORMAL_C = 300.0
"""Temperature at which an experiment takes its usual time."""
FROZEN_C = 200.0
"""At and below this temperature nothing changes."""
_DOUBLING_C = 25.0


class Furnace:
    """Reads the temperature from a small JSON file: {"temperature_c": 275}.

    A file that is missing or cannot be read leaves the temperature as it was, so that a half
    written one does no harm.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temperature_c = NORMAL_C

    @property
    def temperature_c(self) -> float:
        """Temperature in degrees Celsius, within 0 … 1000."""
        try:
            value = float(json.loads(self._path.read_text(encoding="utf-8"))["temperature_c"])
        except (OSError, ValueError, TypeError, KeyError):
            return self._temperature_c
        if 0.0 <= value <= 1000.0:
            self._temperature_c = value
        return self._temperature_c

    @property
    def speed(self) -> float:
        """How fast the specimen changes, 1 at `NORMAL_C`; doubles every 25 degrees."""
        temperature_c = self.temperature_c
        if temperature_c <= FROZEN_C:
            return 0.0
        return float(min(2.0 ** ((temperature_c - NORMAL_C) / _DOUBLING_C), 64.0))


class HeatedExperiment(Experiment):
    """An experiment whose change goes on at the pace of a furnace, from frame to frame.

    Frames have to be asked for in order the first time.
    """

    furnace: Furnace | None = None

    def _progress(self, i: int) -> float:
        if self.furnace is None:
            return super()._progress(i)
        passed: list[float] = self.__dict__.setdefault("_passed", [0.0])
        while len(passed) <= i:
            step = self.furnace.speed / max(self.frames - 1, 1)
            passed.append(min(passed[-1] + step, 1.0))
        super()._progress(i)  # checks the number
        return passed[i]
