"""A run that is fed, disturbed and measured, and the table of what is done to it (see `faults`)."""

import contextlib
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tifffile

from tests.support import chaos, hostile
from tests.support.plant import QUICK, Plant
from tests.support.stack import Stack

RATE_HZ = 2.0
"""Frames per second while a run is disturbed."""
SERVICES = ("hub", "watcher", "inference", "archiver")
_LOOK_S = 0.25


@dataclass
class Experiment:
    """What is done to a run, for how long, and what must come of it.

    Attributes
    ----------
    does
        Generator that disturbs a `Rig` up to its `yield`.
    seconds
        How long frames are written meanwhile.
    memory_mb, handles
        Most that a service may grow by, with the reader that it guards.
    patience_s
        A run that has not recovered after so long never will.
    sections
        Of the configuration, beside `QUICK`.
    """

    name: str
    expects: str
    does: Callable[["Rig"], Iterator[None]]
    seconds: float
    memory_mb: float
    handles: int
    patience_s: float
    sections: dict[str, Any]


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(
    name: str,
    expects: str,
    *,
    seconds: float = 30.0,
    memory_mb: float = 150.0,
    handles: int = 60,
    patience_s: float = 300.0,
    **sections: Any,
) -> Callable[[Callable[["Rig"], Iterator[None]]], Callable[["Rig"], Iterator[None]]]:
    """Enter an experiment into the table."""

    def enter(does: Callable[["Rig"], Iterator[None]]) -> Callable[["Rig"], Iterator[None]]:
        EXPERIMENTS[name] = Experiment(
            name, expects, does, seconds, memory_mb, handles, patience_s, sections
        )
        return does

    return enter


@dataclass
class Row:
    """A line of the table; times in seconds, growth of the service that grew most."""

    name: str
    expects: str
    outcome: str = ""
    held: bool = False
    memory: str = "–"
    handles: str = "–"
    latency: str = "–"
    recovery: str = "–"

    def cells(self) -> tuple[str, ...]:
        """Texts of the columns."""
        return (
            self.name, self.expects, f"{'held' if self.held else 'BROKEN'}: {self.outcome}",
            self.memory, self.handles, self.latency, self.recovery,
        )  # fmt: skip


HEADINGS = (
    "experiment", "expectation", "outcome", "memory MB", "handles", "latency s (before, during)",
    "recovery s",
)  # fmt: skip


@dataclass
class Meter:
    """Largest growth of each service's memory and handles since it was first seen."""

    run: Stack
    memory: dict[str, float] = field(default_factory=dict)
    handles: dict[str, int] = field(default_factory=dict)
    first: dict[str, tuple[float, int]] = field(default_factory=dict)
    due: float = 0.0

    def again(self) -> None:
        """Forget what was measured; grow from here."""
        for figures in (self.memory, self.handles, self.first):
            figures.clear()
        self.due = 0.0

    def look(self) -> None:
        """Measure all services, a few times a second however often it is asked for."""
        if time.monotonic() < self.due:
            return
        self.due = time.monotonic() + _LOOK_S
        for name in SERVICES:
            with contextlib.suppress(psutil.Error):
                process = self.run.service(f"services.{name}")
                if process is None:
                    continue
                memory = sum(map(hostile.memory_mb, (process, *process.children())))
                now = memory, process.num_fds()
                first = self.first.setdefault(name, now)
                self.memory[name] = max(self.memory.get(name, 0.0), now[0] - first[0])
                self.handles[name] = max(self.handles.get(name, 0), now[1] - first[1])


class Rig:
    """A run that is measured while it is disturbed."""

    def __init__(self, folder: Path, trial: Experiment) -> None:
        self.folder = folder
        self.random = random.Random(trial.name)
        support = chaos.make_support(folder)
        with pytest.MonkeyPatch.context() as patch:
            self.clock = hostile.bend(patch, folder)
            self.plant = Plant(Stack(folder / "run", support, **(QUICK | trial.sections)))
            self.run = self.plant.run
            try:
                self.run.start()
            except BaseException:
                self.run.kill_all()
                raise
        self.failing: set[str] = set()
        """Frames that cannot be analysed; their rows are to be there all the same."""
        self.may_fail: tuple[str, ...] = ()
        self.may_be_there: tuple[str, ...] = ()
        """Beginnings of names of frames that may fail, and that may be in the archive or not."""
        self.meter, self.recovery_s = Meter(self.run), 0.0
        self.patience_s = trial.patience_s

    @property
    def written(self) -> dict[str, int]:
        """Kind of every frame that was written; frames of a kind have the same labels."""
        return self.plant.camera.written

    def put(self, name: str, pixels: np.ndarray, *, fails: bool = False) -> None:
        """Write a frame of another kind than all before."""
        path = self.run.root / name
        hidden = path.with_name(f".{path.name}")
        tifffile.imwrite(hidden, pixels)
        hidden.rename(path)
        self.written[name] = 1000 + len(self.written)
        if fails:
            self.failing.add(name)

    def pace(self, seconds: float) -> list[float]:
        """Write frames for a while; seconds from each on disk until its labels were heard of."""
        begun, out, found = time.monotonic(), {}, []
        while (passed := time.monotonic() - begun) < seconds:
            if passed * RATE_HZ >= len(found) + len(out):
                self.plant.write(1)
                out[next(reversed(self.written))] = time.monotonic()
            self.run.monitor.listen(0.02)
            newest = self.run.monitor.newest
            if newest is not None and newest.frame.path in out:
                found.append(time.monotonic() - out.pop(newest.frame.path))
            self.meter.look()
            assert self.run.process.poll() is None, "\n".join(self.run.log[-30:])
        return found

    def recover(self) -> None:
        """Wait until every frame is archived and every service runs."""
        begun = time.monotonic()
        count = len(self.written)

        def well() -> bool:
            self.meter.look()
            monitor = self.run.monitor
            return monitor.counter("archived") >= count and not monitor.troubles()

        self.run.listen_for(well, f"{count} frames archived, no trouble", self.patience_s)
        self.recovery_s += time.monotonic() - begun

    def finish(self) -> chaos.Outcome:
        """End the run and compare its archive with what was written."""
        code, _ = self.run.stop(timeout_s=120)
        assert code == 0, "\n".join(self.run.log[-30:])
        with self.run.run() as archive:
            table = archive.frames
            columns = table["path"], table["index"], table["status"]
        for path, index, status in zip(*columns, strict=True):
            if path.startswith(self.may_be_there):
                self.written[path] = -1
            if status != "ok" and path.startswith(self.may_fail):
                self.failing.add(f"{path}#{index}")
        return chaos.examine(self.run, self.written, chaos.Outcome())


def perform(trial: Experiment, folder: Path) -> Row:
    """Do one experiment; whatever happens, its processes and files are gone afterwards."""
    row = Row(trial.name, trial.expects)
    rig = None
    try:
        rig = Rig(folder, trial)
        rig.plant.feed()
        before = rig.pace(5.0)
        with contextlib.contextmanager(trial.does)(rig):
            during = rig.pace(trial.seconds)
        row.latency = f"{_middle(before)}, {_middle(during)}"
        rig.recover()
        row.recovery = f"{rig.recovery_s:.1f}"
        outcome = rig.finish()
        outcome.failed -= len(rig.failing)
        row.outcome = (
            f"{outcome.frames} frames, {outcome.lost} lost, {outcome.duplicated} twice, "
            f"{outcome.failed} failed, {outcome.wrong} wrong"
        )
        grown = max(rig.meter.memory.values()), max(rig.meter.handles.values())
        row.held = outcome.clean and grown[0] <= trial.memory_mb and grown[1] <= trial.handles
    except Exception as error:
        row.outcome = f"{type(error).__name__}: {error}".splitlines()[0][:160]
    finally:
        if rig is not None:
            if rig.meter.memory:
                row.memory, row.handles = _most(rig.meter.memory), _most(rig.meter.handles)
            (folder / "log.txt").write_text("\n".join(rig.run.log))
            rig.run.kill_all()
    return row


def _middle(times: list[float]) -> str:
    return f"{statistics.median(times):.2f} ({len(times)})" if times else "none"


def _most(growth: dict[str, Any]) -> str:
    name = max(growth, key=lambda one: float(growth[one]))
    return f"{growth[name]:.0f} ({name})"
