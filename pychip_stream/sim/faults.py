"""Faults: what goes wrong between a microscope and a folder, done to real files on purpose."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pychip_stream.errors import UsageError
from pychip_stream.sim.storage import PIECE, Delivery, Storage
from pychip_stream.sim.truth import TruthLog

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
    """Read names of faults, which must be known; "all" stands for every one."""
    kinds = tuple(dict.fromkeys(word.strip() for word in words if word.strip()))
    kinds = tuple(FAULTS) if "all" in kinds else kinds
    FaultPlan(kinds)
    return kinds


JOURNAL_NAME = "faults.json"
"""Journal of the faults, in the root of the acquisition folder."""

_SAVE_EVERY_S = 0.5
_RETURN_TRIES = 20


class FaultyStorage(Storage):
    """Puts files into the folder, some of them badly, and keeps a journal of it.

    Parameters
    ----------
    plan
        Which file suffers what.

    Notes
    -----
    `faults.json` holds {"seed", "rate", "kinds", "faults": […]}; each fault has the "number" and
    the "path" of its file, the "fault", what is "expected" of the frame in the end ("ok",
    "failed", "absent"), and details. It is replaced as a whole, so readers never see half of it,
    and is complete after `finish`.
    """

    def __init__(self, root: Path, truth: TruthLog | None, plan: FaultPlan) -> None:
        super().__init__(root, truth)
        self.plan = plan
        self.entries: list[dict[str, Any]] = []
        self._held: list[Delivery] = []
        self._tree = threading.RLock()  # held while the root is away, and to open a file below it
        self._hurry = threading.Event()
        self._threads: list[threading.Thread] = []
        self._errors: list[OSError] = []
        self._saved = 0.0
        self._save_journal()

    @property
    def counts(self) -> dict[str, int]:
        """How often each fault was done."""
        return dict(Counter(entry["fault"] for entry in self.entries))

    def put(self, delivery: Delivery) -> None:
        """Write one file, or do to it what the plan says."""
        if self._held:
            self._held.append(delivery)
            if len(self._held) >= self.plan.burst:
                self._release()
            return
        kind = self.plan.fault(delivery.number)
        if kind is None:
            super().put(delivery)
        else:
            deeds: dict[str, Callable[[Delivery], None]] = {
                "truncated": self._truncated,
                "slow": self._slow,
                "rewritten": self._rewritten,
                "renamed": self._renamed,
                "burst": self._held.append,
                "vanishing": self._vanishing,
                "missing": self._missing,
                "damaged": self._damaged,
            }
            deeds[kind](delivery)

    def finish(self, *, hurry: bool = False) -> None:
        """Write what is held back and wait for what is still being written."""
        if hurry:
            self._hurry.set()
        if self._held:
            self._release()
        for thread in self._threads:
            thread.join()
        self._save_journal()
        if self._errors:
            raise self._errors[0]

    def write(self, delivery: Delivery, data: bytes, name: str | None = None) -> Path:
        """Write while the folder is there."""
        with self._tree:
            return super().write(delivery, data, name)

    def _truncated(self, delivery: Delivery) -> None:
        share = float(self.plan.random(delivery.number, 1).uniform(0.05, 0.95))
        kept = max(1, int(share * len(delivery.data)))
        self._enter(delivery, "truncated", bytes=len(delivery.data), kept=kept)
        self.write(delivery, delivery.data[:kept])

    def _damaged(self, delivery: Delivery) -> None:
        start = _structure_at(delivery.data)
        end = min(start + 64, len(delivery.data))
        data = delivery.data[:start] + b"\xff" * (end - start) + delivery.data[end:]
        self._enter(delivery, "damaged", overwritten=[start, end])
        self.write(delivery, data)

    def _missing(self, delivery: Delivery) -> None:
        self._enter(delivery, "missing")

    def _renamed(self, delivery: Delivery) -> None:
        final = self.root / delivery.path
        draft = f"{final.name}.tmp"
        self._enter(delivery, "renamed", first=draft)
        with self._tree:
            self.write(delivery, delivery.data, draft).replace(final)

    def _slow(self, delivery: Delivery) -> None:
        self._enter(delivery, "slow", seconds=self.plan.slow_s)
        pieces = [delivery.data[i : i + PIECE] for i in range(0, len(delivery.data), PIECE)]
        with self._tree:
            file = self.write(delivery, pieces[0]).open("ab", buffering=0)

        def grow() -> None:
            with file:
                for piece in pieces[1:]:
                    self._hurry.wait(self.plan.slow_s / max(len(pieces) - 1, 1))
                    file.write(piece)

        self._behind(grow)

    def _rewritten(self, delivery: Delivery) -> None:
        draft = delivery.draft() if delivery.draft is not None else delivery.data
        self._enter(delivery, "rewritten", after_s=self.plan.rewrite_s)
        path = self.write(delivery, draft)

        def again() -> None:
            self._hurry.wait(self.plan.rewrite_s)
            with self._tree, path.open("r+b", buffering=0) as file:
                for start in range(0, len(delivery.data), PIECE):
                    file.write(delivery.data[start : start + PIECE])
                file.truncate()

        self._behind(again)

    def _vanishing(self, delivery: Delivery) -> None:
        """Take the folder away before the file is written, as a share that drops."""
        away = self.root.with_name(f".{self.root.name}.away")
        with self._tree:
            try:
                self.root.rename(away)
            except OSError as error:  # Windows: while somebody has a file below it open
                self._enter(delivery, "vanishing", refused=error.strerror or str(error))
            else:
                try:
                    self._hurry.wait(self.plan.away_s)
                finally:
                    _bring_back(away, self.root)
                self._enter(delivery, "vanishing", seconds=self.plan.away_s)
            super().put(delivery)

    def _release(self) -> None:
        """Write everything that a burst has held back."""
        held, self._held = self._held, []
        self._enter(held[0], "burst", paths=[delivery.path for delivery in held])
        for delivery in held:
            super().put(delivery)

    def _behind(self, work: Callable[[], None]) -> None:
        """Go on with a file while the next ones are written."""

        def guarded() -> None:
            try:
                work()
            except OSError as error:
                self._errors.append(error)

        thread = threading.Thread(target=guarded, name="late write")
        self._threads.append(thread)
        thread.start()

    def _enter(self, delivery: Delivery, fault: str, **details: Any) -> None:
        self.entries.append(
            {
                "number": delivery.number,
                "path": delivery.path,
                "fault": fault,
                "expected": EXPECTED.get(fault, "ok"),
                **details,
            }
        )
        if time.monotonic() - self._saved > _SAVE_EVERY_S:
            self._save_journal()

    def _save_journal(self) -> None:
        plan = self.plan
        document = {
            "seed": plan.seed,
            "rate": plan.rate,
            "kinds": list(plan.kinds),
            "faults": self.entries,
        }
        with self._tree:
            self.root.mkdir(parents=True, exist_ok=True)
            draft = self.root / f".{JOURNAL_NAME}.tmp"
            draft.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            draft.replace(self.root / JOURNAL_NAME)
        self._saved = time.monotonic()


def _bring_back(away: Path, root: Path) -> None:
    """Put the folder back; what somebody made in its place meanwhile gives way if empty.

    Where it does not, that is an OSError, and the files stay in `away`.
    """
    for _ in range(_RETURN_TRIES):
        with contextlib.suppress(OSError):
            root.rmdir()
        with contextlib.suppress(OSError):
            away.rename(root)
            return
        time.sleep(0.1)
    away.rename(root)


def _structure_at(data: bytes) -> int:
    """Find bytes without which a file cannot be read, behind its magic number."""
    orders: dict[bytes, Literal["little", "big"]] = {b"II": "little", b"MM": "big"}
    order = orders.get(data[:2])
    if order is not None:
        version = int.from_bytes(data[2:4], order)
        place = data[8:16] if version == 43 else data[4:8]
        return min(int.from_bytes(place, order), max(len(data) - 64, 8))
    return 24 if data[:3] == b"\0\0\0" else 8
