"""Do to a run what may happen to it, in the long form, and say what became of its promises.

`python -m benchmarks.faults --list` tells what there is, `python -m benchmarks.faults NAME …` does
some of it, without a name everything. Each experiment starts a run of its own on this machine,
feeds it, disturbs it, and then wants every frame in the archive, once and with the labels that an
undisturbed frame of its kind has. `kills` takes about two hours with 2,000 of them.

Another experiment is a generator here with `@experiment(...)`: it gets the `Rig`, disturbs the run
up to its `yield` and ends that after it; meanwhile frames are written and timed.
"""

import argparse
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import psutil
import zmq

from benchmarks.rig import EXPERIMENTS, HEADINGS, SERVICES, Rig, Row, experiment, perform
from pychip_stream.wire.endpoints import Endpoints
from pychip_stream.wire.messages import Job, Ready
from tests.support import chaos, hostile
from tests.support.material import hostile_file
from tests.support.plant import QUICK
from tests.support.stack import Stack

# ---------------------------------------------------------------- peers


@experiment("greedy-worker", "frames go on, and come back from it", seconds=30)
def greedy_worker(rig: Rig) -> Iterator[None]:
    """Ask for a million frames, say that none has come, never answer, go on asking."""
    yield from _greedy(rig, holds=False)


@experiment("hoarding-worker", "frames go on, and come back from it", seconds=30)
def hoarding_worker(rig: Rig) -> Iterator[None]:
    """Ask for a million frames, hold on to all that come, never answer, go on asking."""
    yield from _greedy(rig, holds=True)


def _greedy(rig: Rig, *, holds: bool) -> Iterator[None]:
    stop, had = threading.Event(), list[int]()

    def ask() -> None:
        with Endpoints(rig.run.resolved.wire) as endpoints:
            channel = endpoints.reach("tasks", zmq.DEALER, 1000, identity="greedy")
            while not stop.wait(0.1):
                had.extend(
                    received.packet.message.lease
                    for received in channel.drain(1000)
                    if isinstance(received.packet.message, Job)
                )
                held = tuple(had[-1000:]) if holds else ()
                for credit in (1_000_000, 1000):  # the first is refused as it comes
                    channel.send(Ready(worker="greedy/1", credit=credit, held=held))

    with _thread(ask, stop):
        for _ in range(50):  # more than the honest one can carry
            rig.plant.write(20)
            rig.run.monitor.listen(0.2)
            if had:
                break
        yield
        rig.recover()


@experiment("deaf-subscriber", "the hub drops for them and grows by little", seconds=40)
def deaf_subscriber(rig: Rig) -> Iterator[None]:
    """Twenty subscribe to everything and read nothing."""
    context = zmq.Context()
    for _ in range(20):
        peer = context.socket(zmq.SUB)
        peer.setsockopt(zmq.RCVHWM, 1)
        peer.setsockopt(zmq.RCVBUF, 4096)
        peer.setsockopt(zmq.SUBSCRIBE, b"")
        peer.connect(rig.run.resolved.wire.endpoint("events"))
    yield
    context.destroy(linger=0)


@experiment("connections", "frames go on; the handles come back", seconds=30, handles=1100)
def connections(rig: Rig) -> Iterator[None]:
    """Open a thousand connections, a quarter to each port, half of them speaking ZeroMQ."""
    wire, peers = rig.run.resolved.wire, []
    context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, 2000)
    for port in ("tasks", "results", "requests", "events"):
        address = wire.host_of(port), getattr(wire, port)
        for _ in range(125):
            peers.append(hostile.socket.create_connection(address, 5.0))
            peer = context.socket(zmq.SUB if port == "events" else zmq.DEALER)
            peer.connect(wire.endpoint(port))
    yield
    for one in peers:
        one.close()
    context.destroy(linger=0)
    names = ("hub", "watcher", "archiver")
    services = {name: rig.run.service(f"services.{name}") for name in names}
    rig.run.listen_for(
        lambda: all(one.num_fds() <= rig.meter.first[n][1] + 30 for n, one in services.items()),
        "the handles have come back",
    )


@experiment(
    "endless-message", "hub, watcher and archiver are started again before they fill the machine",
    seconds=40, memory_mb=700, patience_s=600,
    supervision={**QUICK["supervision"], "memory_mb": 512},
)  # fmt: skip
def endless_message(rig: Rig) -> Iterator[None]:
    """Send one message that never ends to each of three ports (with a ceiling of 512 MB)."""
    wire = rig.run.resolved.wire
    with contextlib.ExitStack() as stack:
        peers = [
            stack.enter_context(hostile.Endless(wire, port))
            for port in ("requests", "tasks", "results")
        ]
        yield
    print(f"endless-message: {[p.sent_mb for p in peers]} MB sent", file=sys.stderr)


# ---------------------------------------------------------------- frames


@experiment("changing-sizes", "all have their rows; memory is that of the largest", seconds=40)
def changing_sizes(rig: Rig) -> Iterator[None]:
    """Between the usual frames come smaller and larger, longer ones, of other types of counts."""
    stop = threading.Event()
    for number in range(3):  # a worker keeps what the largest frame needs
        rig.put(f"large_{number}.tif", np.ones((1028, 1028)) * number)
    rig.recover()
    rig.meter.again()

    def write() -> None:
        number = 0
        while not stop.wait(0.3):
            shape = tuple(2 ** rig.random.randrange(2, 11) + rig.random.randrange(5) for _ in "yx")
            kind = rig.random.choice(["u1", "u2", "i2", "u4", "f4", "f8"])
            pixels = np.random.default_rng(number).uniform(0, 250, shape).astype(kind)
            rig.put(f"odd_{number:04}.tif", pixels, fails=min(shape) < chaos.CHIP)
            number += 1

    with _thread(write, stop):
        yield


@experiment(
    "stack", "its pages are read as fast as files; memory is that of the file",
    seconds=30, memory_mb=900, patience_s=1800,
)  # fmt: skip
def stack(rig: Rig) -> Iterator[None]:
    """Write a file of 2,000 pages of 256 x 256 pixels between the usual frames."""
    pages = np.random.default_rng(0).integers(0, 4000, (2000, 256, 256)).astype(np.uint16)
    rig.put("stack.tif", pages)
    for number in range(1, len(pages)):
        rig.written[f"stack.tif#{number}"] = 1000 + len(rig.written)
    yield


@experiment(
    "large-frame", "it is analysed; memory is a few times its own",
    seconds=30, memory_mb=6000, patience_s=2400, encoder={"device": "cpu"},
)  # fmt: skip
def large_frame(rig: Rig) -> Iterator[None]:
    """Write a frame of 16,384 x 16,384 pixels between the usual frames.

    A million chips of 16 pixels: two minutes in bfloat16 on two cores that do nothing else, four in
    float32, which the other experiments take.
    """
    tile = np.random.default_rng(0).integers(0, 250, (1024, 1024)).astype(np.uint8)
    rig.put("large.tif", np.tile(tile, (16, 16)))
    yield


@experiment(
    "burst", "all are seen soon, the newest shown; memory is under 2 kB for each",
    seconds=30, memory_mb=250, patience_s=1800,
)  # fmt: skip
def burst(rig: Rig) -> Iterator[None]:
    """Let 100,000 files appear at once, and take most away again before their turn comes."""
    folder, count = rig.run.root / "burst", 100_000
    folder.mkdir()
    first = rig.run.root / next(reversed(rig.written))
    begun = time.monotonic()
    for number in range(count):
        if number % 1000 == 0:  # a file may have so many names, no more
            source = folder / f"{number:06}.tif"
            shutil.copy(first, source)
        else:
            os.link(source, folder / f"{number:06}.tif")
    made_s = time.monotonic() - begun

    def seen() -> bool:
        rig.meter.look()
        return rig.run.monitor.counter("seen") >= count

    rig.run.listen_for(seen, "all are seen", rig.patience_s)
    seen_s = time.monotonic() - begun
    print(f"burst: made in {made_s:.0f} s, seen after {seen_s:.0f} s", file=sys.stderr)
    yield
    shutil.rmtree(folder)
    rig.run.listen_for(
        lambda: rig.run.monitor.counter("behind") == 0, "nothing is behind", rig.patience_s
    )
    rig.may_be_there = ("burst/",)


@experiment(
    "hostile-files", "each costs itself; good frames go on",
    seconds=60, watch={**QUICK["watch"], "patience_s": 3.0},
)  # fmt: skip
def hostile_files(rig: Rig) -> Iterator[None]:
    """Write files that hang, crash and swell their readers, and one that announces 10^12 frames."""
    for name in ("hang.emd", "crash.emd"):
        hostile_file(name, rig.run.root)
        for index in range(3):
            rig.written[f"{name}#{index}" if index else name] = 1000 + len(rig.written)
    for name, shape, chunks in (
        ("many.emd", (10**12, 8, 8), (1, 8, 8)), ("mem.emd", (1 << 25, 3), (3, 3)),
    ):  # fmt: skip
        with h5py.File(rig.run.root / name, "w") as file:
            group = file.create_group("data/img")
            group.attrs["emd_group_type"] = 1
            group.create_dataset("data", shape, "<i4", chunks=chunks)
        rig.written[name] = 1000 + len(rig.written)
        rig.failing.add(name)
    rig.may_fail = ("hang.emd", "crash.emd")
    yield


# ---------------------------------------------------------------- machine


@experiment("clock", "a frame's time may be odd; the run goes on", seconds=1)
def clock(rig: Rig) -> Iterator[None]:
    """Let the clock of every service jump: an hour, a day, ten years, both ways."""
    for jump_s in (3600.0, -3600.0, 86400.0, -86400.0, 3.2e8, -3.2e8, 0.0):
        rig.clock.write_text(str(jump_s))
        rig.pace(6.0)
        rig.plant.feed(3)
    yield


def _stopped(service: str) -> None:
    @experiment(f"stopped-{service}", "after it goes on, or is replaced, all catch up", seconds=60)
    def stopped(rig: Rig) -> Iterator[None]:
        victim = rig.run.service(f"services.{service}")
        victim.suspend()
        yield
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.resume()


for _service in SERVICES:
    _stopped(_service)


@experiment(
    "stopped-page", "frames go on without it", seconds=60, dashboard={"enabled": True}
)  # fmt: skip
def stopped_page(rig: Rig) -> Iterator[None]:
    """Stop the page."""
    rig.run.listen_for(lambda: rig.run.monitor.state("dashboard") == "running", "the page is there")
    victim = rig.run.service("dashboard.app")
    victim.suspend()
    yield
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.resume()


@experiment("stopped-supervisor", "the services go on without it, and end with it", seconds=60)
def stopped_supervisor(rig: Rig) -> Iterator[None]:
    """Stop the process that keeps the services."""
    os.kill(rig.run.process.pid, signal.SIGSTOP)
    yield
    os.kill(rig.run.process.pid, signal.SIGCONT)


@contextlib.contextmanager
def _thread(target: Callable[[], None], stop: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# ---------------------------------------------------------------- kills

WEIGHTS = {
    "services.hub": 1.0,
    "services.archiver": 1.0,
    "services.watcher": 1.0,
    "services.inference": 0.5,  # there are two
}


def kill(folder: Path, kills: int, seed: int, rate_hz: float) -> Row:
    """Kill the services at random moments while frames arrive, and count what is lost.

    Every service is killed about as often; the supervisor, with everything under it, once in a
    hundred kills.
    """
    row = Row("kills", f"{kills} kills lose nothing and repeat nothing")
    run = Stack(folder / "run", chaos.make_support(folder), **chaos.SECTIONS)
    try:
        outcome = chaos.rage(
            run, kills, WEIGHTS, rate_hz, seed, supervisors=kills // 100,
            say=lambda text: print(text, file=sys.stderr, flush=True),
        )  # fmt: skip
        print(f"seed {seed}\n{outcome.table()}", file=sys.stderr)
        row.held = outcome.clean
        row.outcome = (
            f"{outcome.kills.total()} kills, {outcome.frames} frames, {outcome.lost} lost, "
            f"{outcome.duplicated} twice, {outcome.failed} failed, {outcome.wrong} wrong"
        )
    except Exception as error:
        row.outcome = f"{type(error).__name__}: {error}".splitlines()[0][:160]
    finally:
        (folder / "log.txt").write_text("\n".join(run.log))
        run.kill_all()
    return row


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of --list; default: all")
    parser.add_argument("--list", action="store_true", help="tell what there is")
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the kills")
    parser.add_argument("--rate", type=float, default=1.5, help="frames per second at the kills")
    options = parser.parse_args()
    known = [*EXPERIMENTS, "kills"]
    if options.list:
        for one in EXPERIMENTS.values():
            print(f"{one.name:20} {one.expects}")
        print(f"{'kills':20} services killed at random moments: nothing is lost or repeated")
        return 0
    if strange := [name for name in options.names if name not in known]:
        parser.error(f"{strange[0]!r} is unknown; choose {', '.join(known)}")
    print("| " + " | ".join(HEADINGS) + " |\n|" + "---|" * len(HEADINGS), flush=True)
    held = True
    for name in options.names or known:
        folder = Path(tempfile.mkdtemp(prefix=f"pychip-{name}-"))
        if name == "kills":
            row = kill(folder, options.kills, options.seed, options.rate)
        else:
            row = perform(EXPERIMENTS[name], folder)
        print("| " + " | ".join(row.cells()) + " |", flush=True)
        held &= row.held
        if row.held:
            shutil.rmtree(folder)
        else:
            print(f"{name}: everything is left in {folder}", file=sys.stderr)
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
