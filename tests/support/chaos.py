"""Chaos: services are killed at random moments while frames arrive; what is left must be right."""

import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import psutil
import tifffile

from tests.support.copies import put
from tests.support.stack import call_json
from tests.support.waiting import wait_for

PATTERNS = 6
EDGE, CHIP = 64, 16
INSTANCES = {
    "services.hub": ("hub",),
    "services.archiver": ("archiver",),
    "services.watcher": ("watcher",),
    "services.inference": ("worker-1", "worker-2"),
}
PATIENT = {"longest_pause_s": 0.05, "give_up_after": 100000}
# Precision is measured at each start otherwise, and results would differ in the last digits.
EXACT = {"device": "cpu/float32"}
SECTIONS = {
    "encoder": EXACT,
    "watch": {"quiet_s": 0.2, "reconcile_s": 1.0},
    "archive": {"segment_s": 0.3, "segment_frames": 16},
    "inference": {"workers": 2, "attempts": 100},
    "supervision": PATIENT,
}


def patterns():
    """A few images that differ; a frame's result must be that of its pattern."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:EDGE, :EDGE]
    made = []
    for number in range(PATTERNS):
        stripes = 2000 + 900 * np.sin(x * (0.6 + 0.1 * number))
        noise = 2000 + 500 * rng.standard_normal((EDGE, EDGE))
        pixels = np.where(y < (number + 1) * EDGE // (PATTERNS + 1), stripes, noise)
        made.append(pixels.clip(0, 65535).astype(np.uint16))
    return made


def make_support(folder):
    """A support set picked from the first pattern."""
    put(folder, _make_support)
    return folder / "support.h5"


def _make_support(folder):
    folder.mkdir()
    path = folder / "pattern.tif"
    tifffile.imwrite(path, patterns()[PATTERNS // 2])
    picks = ("--pick", "stripes=0,0;0,2;1,1", "--pick", "noise=3,0;3,2;2,3")
    target = folder / "support.h5"
    call_json("support", "make", path, "--chip-size", CHIP, *picks, "-o", target)


class Camera:
    """Writes frames at a rate, each a pattern, from a thread; half of them slowly."""

    def __init__(self, root, rate_hz, seed=0, limit=None):
        self.root, self.rate, self.limit = root, rate_hz, limit
        self.written = {}
        self._rng = random.Random(seed)
        self._images = patterns()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self._thread.start()
        return self

    def stop(self):
        self._stop.set()
        self._thread.join()

    @property
    def running(self):
        return self._thread.is_alive()

    def _run(self):
        while not self._stop.is_set() and (self.limit is None or len(self.written) < self.limit):
            self.write()
            self._stop.wait(self._rng.expovariate(self.rate))

    def write(self):
        number = len(self.written)
        kind = self._rng.randrange(PATTERNS)
        path = self.root / f"minute_{number // 200:02}" / f"frame_{number:05}.tif"
        path.parent.mkdir(exist_ok=True)
        hidden = path.with_name("." + path.name)
        tifffile.imwrite(hidden, self._images[kind])
        if self._rng.random() < 0.5:
            hidden.rename(path)
        else:  # in two pieces, under its final name
            data = hidden.read_bytes()
            hidden.unlink()
            with path.open("wb", buffering=0) as file:
                file.write(data[: len(data) // 2])
                self._stop.wait(0.02)
                file.write(data[len(data) // 2 :])
        self.written[path.relative_to(self.root).as_posix()] = kind


@dataclass
class Outcome:
    """What a round of chaos did and found."""

    kills: Counter = field(default_factory=Counter)
    frames: int = 0
    lost: int = 0
    duplicated: int = 0
    failed: int = 0
    wrong: int = 0
    seconds: float = 0.0
    reasons: set = field(default_factory=set)

    def table(self):
        """Figures as a table for people."""
        kills = ", ".join(f"{name} {n}" for name, n in sorted(self.kills.items()))
        rows = [
            ("kills", f"{self.kills.total()} ({kills})"),
            ("frames", self.frames),
            ("lost", self.lost),
            ("archived twice", self.duplicated),
            ("recorded as failed", f"{self.failed} {'; '.join(sorted(self.reasons)[:5])}".strip()),
            ("with a wrong result", self.wrong),
            ("seconds", round(self.seconds)),
        ]
        return "\n".join(f"{name:<22}{value}" for name, value in rows)

    @property
    def clean(self):
        return not (self.lost or self.duplicated or self.failed or self.wrong)


def examine(run, written, outcome):
    """Compare the closed archive with what was written."""
    with run.run() as archive:
        table = archive.frames
        indices = table["index"]
        names = [f"{p}#{i}" if i else p for p, i in zip(table["path"], indices, strict=True)]
        keys = Counter(names)
        outcome.frames = len(written)
        outcome.lost = len(written.keys() - keys.keys())
        outcome.duplicated = sum(n - 1 for n in keys.values()) + len(keys.keys() - written.keys())
        outcome.failed = int((table["status"] != "ok").sum())
        outcome.reasons = set(table["reason"][table["status"] != "ok"])
        seen = {}
        for path, frame in zip(names, table["frame"], strict=True):
            if frame < 0 or path not in written:
                continue
            found = archive.label_map(frame), archive.probabilities(frame)
            first = seen.setdefault(written[path], found)
            outcome.wrong += not all(
                np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
                for a, b in zip(first, found, strict=True)
            )
        assert len({labels.tobytes() for labels, _ in seen.values()}) > 1  # they do differ
    return outcome


class Killer:
    """Chooses victims: mostly services that have just come to life again, some at any moment."""

    def __init__(self, run, weights, seed, early=0.1):
        self.run, self.weights, self.early = run, weights, early
        self.rng = random.Random(seed)
        self.killed = Counter()
        self._done = {}
        self._hasty = False

    def services(self):
        """Living service processes with their names."""
        for child in psutil.Process(self.run.process.pid).children():
            try:
                words = child.cmdline()
                name = words[words.index("-m") + 1].removeprefix("pychip_stream.")
                number = words[words.index("--instance") + 1] if "--instance" in words else "1"
                yield child, name, INSTANCES[name][int(number) - 1]
            except (psutil.Error, IndexError, KeyError, ValueError):
                continue

    def awake(self, child, instance):
        """Whether this very process has said that it works."""
        status = self.run.monitor.statuses.get(instance)
        return (
            status is not None
            and status.time > child.create_time() + 0.05
            and status.state in ("running", "waiting", "paused")
            and self._done.get(instance) != child.pid
        )

    def strike(self):
        """Kill one service if one is due; returns whether."""
        ready = [
            one for one in self.services()
            if (self._done.get(one[2]) != one[0].pid if self._hasty else self.awake(one[0], one[2]))
        ]  # fmt: skip
        if not ready:
            return False
        self._hasty = self.rng.random() < self.early
        child, name, instance = self.rng.choices(ready, [self.weights[n] for _, n, _ in ready])[0]
        self._done[instance] = child.pid
        child.kill()
        self.killed[name.removeprefix("services.")] += 1
        return True


def rage(run, kills, weights, rate_hz=1.5, seed=0, supervisors=0, frames=0, say=lambda _: None):
    """Kill services until there are so many kills, of each, and frames; then let the run finish.

    Returns the outcome.
    """
    start = time.monotonic()
    outcome = Outcome()
    run.start()
    camera = Camera(run.root, rate_hz, seed, limit=2 * kills).start()
    killer = Killer(run, weights, seed)
    due = [kills * (i + 1) // (supervisors + 1) for i in range(supervisors)]
    try:
        while (
            outcome.kills.total() < kills
            or len(camera.written) < frames
            or len(killer.killed) < len(weights)
        ):
            run.monitor.listen(killer.rng.uniform(0.01, 0.15))
            assert run.process.poll() is None, "\n".join(run.log[-30:])
            if due and killer.killed.total() >= due[0]:
                due.pop(0)
                restart(run)
                outcome.kills["supervisor"] += 1
                killer.run = run
            elif killer.strike() and killer.killed.total() % 50 == 0:
                say(f"{killer.killed.total()} kills, {len(camera.written)} frames")
            outcome.kills = killer.killed + Counter(supervisor=outcome.kills["supervisor"])
    finally:
        camera.stop()
    finish(run, len(camera.written))
    code, _ = run.stop(timeout_s=120)
    assert code == 0, "\n".join(run.log[-30:])
    outcome.seconds = time.monotonic() - start
    return examine(run, camera.written, outcome)


def finish(run, count, patience_s=180):
    """Wait until everything is archived, as long as it gets on."""
    before = -1.0
    while (done := run.monitor.counter("archived")) < count:
        assert done != before, f"{done} of {count}\n" + "\n".join(run.log[-20:])
        before = done
        end = time.monotonic() + patience_s
        while run.monitor.counter("archived") == before and time.monotonic() < end:
            run.monitor.listen(0.1)


def restart(run):
    """Kill the supervisor; its services must stop by themselves; start the run again."""
    children = run.children()
    os.kill(run.process.pid, signal.SIGKILL)
    run.process.wait()
    run.process.stdout.close()
    wait_for(lambda: not any(alive(c) for c in children), "no orphan", timeout_s=240)
    run.monitor.close()
    run.start()


def alive(process):
    """Whether a process runs; a dead child that nobody has waited for does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
