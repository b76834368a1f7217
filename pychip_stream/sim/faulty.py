"""A storage with faults, done to real files on purpose and written down in a journal."""

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pychip_stream.sim.faults import EXPECTED, FaultPlan
from pychip_stream.sim.storage import PIECE, Delivery, Storage, write_pieces
from pychip_stream.sim.truth import TruthLog

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
            self._whole(delivery)
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

    def _whole(self, delivery: Delivery) -> None:
        with self._tree:
            super().put(delivery)

    def _truncated(self, delivery: Delivery) -> None:
        share = float(self.plan.random(delivery.number, 1).uniform(0.05, 0.95))
        kept = max(1, int(share * len(delivery.data)))
        self._enter(delivery, "truncated", bytes=len(delivery.data), kept=kept)
        with self._tree:
            self.note(delivery)
            write_pieces(self.root / delivery.path, delivery.data[:kept])

    def _damaged(self, delivery: Delivery) -> None:
        start = _structure_at(delivery.data)
        end = min(start + 64, len(delivery.data))
        data = delivery.data[:start] + b"\xff" * (end - start) + delivery.data[end:]
        self._enter(delivery, "damaged", overwritten=[start, end])
        with self._tree:
            self.note(delivery)
            write_pieces(self.root / delivery.path, data)

    def _missing(self, delivery: Delivery) -> None:
        self._enter(delivery, "missing")

    def _renamed(self, delivery: Delivery) -> None:
        final = self.root / delivery.path
        draft = final.with_name(final.name + ".tmp")
        self._enter(delivery, "renamed", first=draft.name)
        with self._tree:
            self.note(delivery)
            write_pieces(draft, delivery.data)
            draft.replace(final)

    def _slow(self, delivery: Delivery) -> None:
        self._enter(delivery, "slow", seconds=self.plan.slow_s)
        path = self.root / delivery.path
        pieces = [delivery.data[i : i + PIECE] for i in range(0, len(delivery.data), PIECE)]
        with self._tree:
            self.note(delivery)
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb", buffering=0)
        file.write(pieces[0])

        def grow() -> None:
            with file:
                for piece in pieces[1:]:
                    self._hurry.wait(self.plan.slow_s / max(len(pieces) - 1, 1))
                    file.write(piece)

        self._behind(grow)

    def _rewritten(self, delivery: Delivery) -> None:
        draft = delivery.draft() if delivery.draft is not None else delivery.data
        self._enter(delivery, "rewritten", after_s=self.plan.rewrite_s)
        path = self.root / delivery.path
        with self._tree:
            self.note(delivery)
            write_pieces(path, draft)

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
            self._whole(delivery)

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

    Raises
    ------
    OSError
        If it does not give way; the files then stay in `away`.
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
