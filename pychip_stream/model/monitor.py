"""Monitor: what changes between frames and makes their numbers less certain.

Two quantities: the drift of the chips (see `drift`), and the exposure, which multiplies dark
and bright pixels alike, while a specimen that transforms does not.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

DRIFTED = 1.0
"""Drift from which on a class's typical chip stands on its border."""
_CALM = 0.8
_EXPOSURE = 1.12
"""Factor by which dark, mean and bright all change when the exposure was changed."""
_WINDOW = 9
_FEWEST = 3

_LEVELS = ("intensity_mean", "intensity_p1", "intensity_p99")
_Levels = tuple[float, ...]


@dataclass
class Monitor:
    """Follows the frames of a run in the order in which they are analysed.

    Attributes
    ----------
    exposure_changes
        How often the exposure changed.
    """

    exposure_changes: int = 0
    _drifts: deque[float] = field(default_factory=lambda: deque(maxlen=_WINDOW), repr=False)
    _levels: deque[_Levels] = field(default_factory=lambda: deque(maxlen=_WINDOW), repr=False)
    _drifted: bool = False
    _exposure: str = ""

    @property
    def drift(self) -> float:
        """Median drift of the last frames; 0 before the first."""
        return float(np.median(self._drifts)) if self._drifts else 0.0

    @property
    def notices(self) -> tuple[str, ...]:
        """What holds now, one line each, for people."""
        out = []
        if self._drifted:
            out.append(
                f"the chips have moved away from the examples (drift {self.drift:.1f}, 1 is the "
                "border between classes); add examples from a recent frame"
            )
        if self._exposure:
            out.append(self._exposure)
        return tuple(out)

    def observe(self, where: str, measured: Mapping[str, float]) -> tuple[str, ...]:
        """Take in the quantities of a frame; returns the notices that are new with it."""
        before = self.notices
        drifted, exposure = self._drifted, self._exposure
        drift = measured.get("drift", np.nan)
        intensity = tuple(measured.get(name, np.nan) for name in _LEVELS)
        if np.isfinite(drift):
            self._drifts.append(drift)
            enough = len(self._drifts) >= _FEWEST
            self._drifted = enough and self.drift > (_CALM if self._drifted else DRIFTED)
        factor = self._exposure_factor(intensity)
        if factor is not None:
            self.exposure_changes += 1
            self._exposure = (
                f"the exposure changed by a factor of {factor:.2f} at {where}; the intensity "
                "range of the support set no longer fits, make a new one"
            )
        changed = (self._drifted and not drifted) or self._exposure != exposure
        return tuple(line for line in self.notices if line not in before) if changed else ()

    def _exposure_factor(self, intensity: _Levels) -> float | None:
        """Factor against the frames before, if everything became brighter or darker by it."""
        level = np.array(intensity)
        if not (np.isfinite(level).all() and (level > 0).all()):
            return None
        factor = None
        if len(self._levels) >= _FEWEST:
            ratio = np.log(level / np.median(self._levels, axis=0))
            same = (ratio > 0).all() or (ratio < 0).all()
            if same and np.abs(ratio).min() > np.log(_EXPOSURE):
                factor = float(np.exp(np.median(ratio)))
                self._levels.clear()
        self._levels.append(intensity)
        return factor
