"""Scale: what more workers would give, and which part saturates next (`benchmarks.batch scale`).

A worker's cost of a frame is the processor time of one core for a worker's step
(`analysis.benchmark`). Watcher, archiver and hub are the real programs: they are given files of
the load's size (sparse ones, so that no disk is measured) and results that were computed once.
Their costs are measured at half the load's rate, the claims follow from them, and then they are
driven at the whole rate and with all files at once.
"""

import os
import platform
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import tifffile
import torch
import yaml
import zmq

from pychip_stream import config as configuration
from pychip_stream.analysis import benchmark
from pychip_stream.archive.support_sets import save_support
from pychip_stream.domain.records import FrameRecord
from pychip_stream.model.encoders import load_encoder
from pychip_stream.wire import messages
from pychip_stream.wire.channel import Channel
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.messages import Job, Live, Ready, Status
from pychip_stream.wire.result import to_message

WORKERS = (1, 4, 16, 64)
SERVICES = ("hub", "archiver", "watcher")
_PLAYED = 16
"""Workers that are played here."""
_CREDIT, _READY_S = 2, 0.5
_PATIENCE = 8
"""A drive that takes so many times longer than its frames should is given up."""
_RESTS_S = 3.0
_HEADER = 4096
_EXAMPLES_EDGE = 1024
"""Smaller frames are classified by the examples of one so large."""


@dataclass(frozen=True)
class Load:
    """Frames of edge × edge pixels of 16 bits, so many a second."""

    name: str
    edge: int
    rate: float

    @property
    def frame_bytes(self) -> int:
        """Of its file, but for the header."""
        return 2 * self.edge**2


_PATTERNS = 87_000.0
"""Patterns/s of the 4D Camera (576 × 576 pixels): Ercius et al., doi 10.1093/mam/ozae086."""
LOADS = (
    Load("OneView 4096² at 25/s", 4096, 25.0),
    Load("OneView 2048² at 100/s", 2048, 100.0),
    Load("OneView 512² at 300/s", 512, 300.0),
    Load("4D Camera, scans of 512² as one image", 512, _PATTERNS / 512**2),
    Load("4D Camera, each row of 512 patterns summed", 576, _PATTERNS / 512),
)


@dataclass(frozen=True)
class Driven:
    """What came of a drive: frames/s that were claimed and reached, and what became of them."""

    kind: str
    claimed: float
    reached: float
    frames: int
    archived: int
    shown: int


@dataclass(frozen=True)
class Row:
    """What so many workers give: frames/s, what holds them ("": nothing), what saturates next."""

    workers: int
    rate: float
    held_by: str
    following: str
    following_rate: float


def limits(load: Load, costs: Mapping[str, float], workers: int, gbit: float) -> dict[str, float]:
    """Frames/s that each part can do at most, each service with one core of its own.

    Parameters
    ----------
    costs
        Seconds of a core per frame: "worker", "watcher", "archiver", "hub".
    gbit
        Bandwidth of the share in Gbit/s; every frame is read over it once.
    """
    return {
        "workers": workers / costs["worker"],
        "share": gbit * 1e9 / 8 / load.frame_bytes,
        **{name: 1.0 / costs[name] for name in ("watcher", "archiver", "hub")},
    }


def scaled(load: Load, costs: Mapping[str, float], workers: int, gbit: float) -> Row:
    """Say what so many workers give."""
    most = limits(load, costs, workers, gbit)
    first, second = sorted(most, key=lambda part: most[part])[:2]
    if most[first] >= load.rate:
        return Row(workers, load.rate, "", first, most[first])
    return Row(workers, most[first], first, second, most[second])


def here(costs: Mapping[str, float], cores: int) -> float:
    """Frames/s of everything but the workers where all share a few cores.

    A service uses one core at most; the rest is the sum of the work.
    """
    return min(cores / sum(costs.values()), *(1.0 / cost for cost in costs.values()))


def worker_cost(folder: Path, edge: int) -> tuple[float, FrameRecord, Path]:
    """Measure a worker's step with one thread; returns core seconds, a record, a support set."""
    torch.set_num_threads(1)
    encoder = load_encoder("bundled", device="cpu")
    analyst, refs = benchmark.worker(encoder, folder, max(edge, _EXAMPLES_EDGE))
    if edge < _EXAMPLES_EDGE:
        refs = benchmark._write_files(folder, edge)
    step = benchmark.worker_step(analyst, folder, refs)
    benchmark.take_turns([step], 2.0, clock=time.process_time)
    support = folder / f"{edge}.h5"
    save_support(analyst.support, support)
    return step.seconds, analyst.analyse(folder, refs[0]), support


@dataclass
class Pipeline:
    """Hub, watcher and archiver as processes; camera and workers are played by the caller."""

    folder: Path
    record: FrameRecord
    processes: dict[str, psutil.Popen]
    endpoints: Endpoints
    rests: dict[str, float] = field(default_factory=dict)
    written: int = 0
    answered: int = 0
    shown: list[float] = field(default_factory=list)
    archived: int = 0

    def __post_init__(self) -> None:
        self._events = self.endpoints.reach(
            "events", zmq.SUB, 10_000, topics=[messages.STATUS, messages.LIVE]
        )
        self._poller = zmq.Poller()
        self._poller.register(self._events.raw, zmq.POLLIN)
        self._workers = []
        for number in range(_PLAYED):
            name = f"played-{number}"
            tasks = self.endpoints.reach("tasks", zmq.DEALER, 100, identity=name)
            results = self.endpoints.reach("results", zmq.DEALER, 4, identity=name)
            self._poller.register(tasks.raw, zmq.POLLIN)
            self._workers.append((name, tasks, results))
        self._ready_at = 0.0
        edge, self._root = self.record.shape[0], self.folder / "acquisition"
        whole = self.folder / "whole.tif"
        tifffile.imwrite(whole, shape=(edge, edge), dtype="uint16")
        with whole.open("rb") as file:
            self._header = file.read(_HEADER)
        self._size = whole.stat().st_size

    def write(self, count: int, rate: float) -> None:
        """Write whole files without their pixels, at a rate, or at once (0)."""
        begun = time.perf_counter()
        for number in range(count):
            if rate:
                time.sleep(max(0.0, begun + number / rate - time.perf_counter()))
            path = self._root / f"second_{self.written // 100:05}" / f"{self.written:07}.tif"
            path.parent.mkdir(exist_ok=True)
            hidden = path.with_suffix(".tmp")
            hidden.write_bytes(self._header)
            os.truncate(hidden, self._size)
            hidden.rename(path)
            self.written += 1

    def play(self) -> None:
        """Do once what workers and listeners do; a job is answered at once."""
        now = time.monotonic()
        waiting = dict(self._poller.poll(20))
        regular = now - self._ready_at > _READY_S
        if regular:
            self._ready_at = now
        for name, tasks, results in self._workers:
            if tasks.raw not in waiting and not regular:
                continue
            # First, so that what waits in the socket is named, too: it would count as lost, and
            # the worker that loses frames is left alone for a while.
            jobs = [received.packet.message for received in tasks.drain(_CREDIT)]
            held = [job.lease for job in jobs if isinstance(job, Job)]
            tasks.send(Ready(worker=name, credit=_CREDIT - len(held), held=tuple(held)))
            for job in jobs:
                if isinstance(job, Job):
                    self._answer(job, name, results)
                    held.remove(job.lease)
                    tasks.send(Ready(worker=name, credit=_CREDIT - len(held), held=tuple(held)))
        for received in self._events.drain(500):
            message = received.packet.message
            if isinstance(message, Live):
                self.shown.append(time.perf_counter())
            elif isinstance(message, Status) and message.service == "archiver":
                self.archived = int(message.counters["archived"])

    def _answer(self, job: Job, name: str, results: Channel) -> None:
        now = time.time()
        record = replace(
            self.record, frame=job.frame, content_hash=f"{self.answered:032x}", read=now,
            classified=now,
        )  # fmt: skip
        self.answered += results.send_waiting(*to_message(record, name), 60.0)

    def seconds(self) -> dict[str, float]:
        """Processor seconds of each service and of what it started."""
        return {
            name: sum(
                sum(one.cpu_times()[:2]) for one in (process, *process.children(recursive=True))
            )
            for name, process in self.processes.items()
        }

    def rest(self) -> None:
        """Measure what the services cost while nothing comes."""
        before, until = self.seconds(), time.perf_counter() + _RESTS_S
        while time.perf_counter() < until:
            self.play()
        after = self.seconds()
        self.rests = {name: (after[name] - before[name]) / _RESTS_S for name in after}

    def drive(self, count: int, rate: float, patience_s: float) -> tuple[float, dict[str, float]]:
        """Bring frames through; returns frames/s and each part's core seconds per frame.

        The rate is that at which a listener of the hub heard of them: the archiver shows a frame
        when it takes it, and takes none while it writes. "played" is what camera, workers and
        listener cost here.
        """
        before, own, begun = self.seconds(), time.process_time(), time.perf_counter()
        first, wanted = len(self.shown), self.written + count
        camera = threading.Thread(target=self.write, args=(count, rate))
        camera.start()
        while self.archived < wanted and time.perf_counter() < begun + patience_s:
            self.play()
        camera.join()
        taken, after = time.perf_counter() - begun, self.seconds()
        times = self.shown[first:]
        handled = max(1, len(times))
        costs = {
            name: max(after[name] - before[name] - self.rests[name] * taken, 1e-6) / handled
            for name in after
        }
        costs["played"] = (time.process_time() - own) / handled
        reached = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
        return reached, costs


@contextmanager
def pipeline(folder: Path, record: FrameRecord, support: Path) -> Iterator[Pipeline]:
    """Start hub, archiver and watcher, and wait until the first frames are archived."""
    from tests.support.ports import free_wire

    (folder / "acquisition").mkdir(parents=True)
    path = folder / "config.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "watch": {"root": "acquisition"},
                "archive": {"segment_s": 2.0},
                "support": {"initial": str(support)},
                "wire": free_wire(),
            }
        )
    )
    config = configuration.load(path)
    with ExitStack() as stack:
        log = stack.enter_context((folder / "log.txt").open("ab"))
        processes = {}
        for name in SERVICES:
            command = [sys.executable, "-m", f"pychip_stream.services.{name}", str(path)]
            processes[name] = psutil.Popen(command, stdout=log, stderr=log)
            stack.callback(_end, processes[name])
        endpoints = stack.enter_context(Endpoints(config.wire))
        made = Pipeline(folder, record, processes, endpoints)
        made.rests = dict.fromkeys(SERVICES, 0.0)
        made.drive(20, 0.0, 60.0)
        if made.archived < made.written:
            raise RuntimeError(f"nothing is archived: {(folder / 'log.txt').read_text()[-2000:]}")
        made.rest()
        yield made


def _end(process: psutil.Popen) -> None:
    for one in (*process.children(recursive=True), process):
        one.kill()
    process.wait()


def driven(run: Pipeline, rate: float, seconds: float) -> tuple[dict[str, float], list[Driven]]:
    """Measure costs at half a rate; then compare claims with drives at the rate and at once."""
    count = max(20, round(rate * seconds))
    cores = os.cpu_count() or 1
    _, costs = run.drive(count // 2, rate / 2, _PATIENCE * seconds)
    most, found = here(costs, cores), []
    for kind, asked in (("at its rate", rate), ("all at once", 0.0)):
        archived, shown = run.archived, len(run.shown)
        reached, _ = run.drive(count, asked, _PATIENCE * seconds)
        claimed = min(most, asked) if asked else most
        found.append(
            Driven(kind, claimed, reached, count, run.archived - archived, len(run.shown) - shown)
        )
    return costs, found


def measure(folder: Path, gbit: float, seconds: float) -> dict[str, object]:
    """Make the whole table: costs by edge, rows by load, drives by edge."""
    costs: dict[int, dict[str, float]] = {}
    drives: dict[int, list[Driven]] = {}
    for edge in sorted({load.edge for load in LOADS}):
        place = folder / str(edge)
        place.mkdir()
        rate = max(load.rate for load in LOADS if load.edge == edge)
        cost, record, support = worker_cost(place, edge)
        with pipeline(place / "run", record, support) as run:
            found, drives[edge] = driven(run, rate, seconds)
        costs[edge] = {"worker": cost, **found}
        print(edge, costs[edge], drives[edge], file=sys.stderr, flush=True)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "gbit": gbit, "core_ms": {
            edge: {part: 1e3 * cost for part, cost in parts.items()}
            for edge, parts in costs.items()
        },
        "drives": {edge: [asdict(one) for one in found] for edge, found in drives.items()},
        "rows": {
            load.name: [
                asdict(scaled(load, costs[load.edge], count, gbit)) for count in WORKERS
            ]
            for load in LOADS
        },
    }  # fmt: skip


def show(report: Mapping[str, Any]) -> Iterator[str]:
    """Lines of the tables, as they stand in `docs/scale.md`."""
    load = report["load_average"]
    yield f"{report['date']}; {report['machine']}; load average at the end {load}"
    yield ""
    yield "| core ms per frame | worker | watcher | archiver | hub | played camera and workers |"
    yield "|---|---|---|---|---|---|"
    for edge, parts in report["core_ms"].items():
        order = ("worker", "watcher", "archiver", "hub", "played")
        yield f"| {edge}² | " + " | ".join(f"{parts[name]:.2f}" for name in order) + " |"
    yield ""
    yield f"| load (share of {report['gbit']:g} Gbit/s) | workers | frames/s | held by | next |"
    yield "|---|---|---|---|---|"
    for name, rows in report["rows"].items():
        for row in rows:
            following = f"{row['following']} at {row['following_rate']:,.3g}/s"
            held = row["held_by"] or "nothing"
            yield f"| {name} | {row['workers']} | {row['rate']:.3g} | {held} | {following} |"
    yield ""
    yield "| driven with simulated results | claimed /s | reached /s | frames | archived | shown |"
    yield "|---|---|---|---|---|---|"
    for edge, drives in report["drives"].items():
        for one in drives:
            yield (
                f"| {edge}², {one['kind']} | {one['claimed']:.0f} | {one['reached']:.0f} | "
                f"{one['frames']} | {one['archived']} | {one['shown']} |"
            )
