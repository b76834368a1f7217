"""Faults: what can go wrong between a microscope and a folder, and when it is to."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pychip_stream.errors import UsageError

FAULTS = {
    "truncated": "the file stays shorter than it says",
    "slow": "the file grows over many frame periods",
    "rewritten": "a whole file is written again in place, with other pixels",
    "renamed": "the file is written under another name and then renamed",
    "burst": "several files are held back and appear at once",
    "vanishing": "the acquisition folder disappears and comes back",
    "missing": "the frame never appears, its number is used up",
    "damaged": "the file has its size, but its structure is overwritten",
}
"""Every fault and what it does."""

EXPECTED = {"truncated": "failed", "damaged": "failed", "missing": "absent"}
"""What must become of the frame; of all others "ok"."""


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """Which file suffers which fault: a pure function of the seed and the file's number.

    Attributes
    ----------
    kinds
        Some of `FAULTS`.
    rate
        Probability that a file suffers one.
    seed
        Changes which.
    slow_s
        How long a slow file takes, in seconds.
    rewrite_s
        Pause before a file is written again, in seconds.
    away_s
        How long the folder is away, in seconds.
    burst
        Files of a burst.
    """

    kinds: tuple[str, ...]
    rate: float = 0.1
    seed: int = 0
    slow_s: float = 1.5
    rewrite_s: float = 0.7
    away_s: float = 2.0
    burst: int = 8

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in FAULTS:
                raise UsageError(f"fault {kind!r} is unknown; choose {', '.join(FAULTS)} or all")
        if not 0 <= self.rate <= 1:
            raise UsageError(f"fault rate {self.rate:g}: choose a probability between 0 and 1")
        if self.seed < 0 or self.burst < 1 or min(self.slow_s, self.rewrite_s, self.away_s) < 0:
            raise UsageError("seed and times of the faults must not be negative")

    def fault(self, number: int) -> str | None:
        """Fault of file `number`, or None."""
        rng = self.random(number)
        if not self.kinds or rng.random() >= self.rate:
            return None
        return self.kinds[int(rng.integers(len(self.kinds)))]

    def random(self, number: int, stream: int = 0) -> np.random.Generator:
        """Random numbers of file `number`."""
        return np.random.default_rng([self.seed, 0xFA, number, stream])


def parse_faults(words: Sequence[str]) -> tuple[str, ...]:
    """Read names of faults; "all" stands for every one.

    Raises
    ------
    UsageError
        For an unknown name.
    """
    kinds = tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
    kinds = tuple(FAULTS) if "all" in kinds else kinds
    FaultPlan(kinds)
    return kinds
