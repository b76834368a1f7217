"""What watching a large acquisition folder costs, and how soon a new frame is noticed.

    python -m benchmarks.ingest [--files 90000] [--frames 80] [--guard] [--json]

A tree as in-situ software lays it out (25 frames a second) is made in a temporary folder. Then,
in one run: a bare os.scandir walk and a reconciliation by turns, the share of a core of a watch
at rest, and the time from closing a new file to its sighting, with file events and without.

Last, or with --guard alone: what the guard adds to a good frame. The same frames are read by turns
in this process and in one of its own; the difference is a share of reading and classifying them,
on the clock and in processor seconds of both processes (other work on the machine counts less).
"""

import argparse
import base64
import gc
import json
import os
import platform
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import tifffile

from pychip_stream.acquisition.tree import Tree
from pychip_stream.acquisition.watch import FolderWatch
from pychip_stream.analysis.analyst import Analyst
from pychip_stream.config import ClassifyConfig, WatchConfig
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.support import SupportSet
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.formats.reading import read_checked, read_frame
from pychip_stream.model.encoders import load_encoder
from pychip_stream.sim.frame_files import insitu_path

PER_SECOND = 25
_CPU_READS = 300
TINY = base64.b64decode(  # a PNG of one grey pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
)


def grow(root, first, count):
    """Write frames `first`… of a series, each in the folder of its second."""
    for number in range(first, first + count):
        second, frame = divmod(number, PER_SECOND)
        path = root / insitu_path("run", second, frame, "png")
        if frame == 0 or number == first:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(TINY)


def bare_walk(folder):
    """Count entries with os.scandir and nothing else."""
    count, stack = 0, [str(folder)]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
    return count


def timed(work):
    """Processor seconds and wall seconds of something."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def reconciliation(root, turns=7):
    """Compare looks at the whole tree with bare walks, by turns."""
    tree = Tree(root)

    def look():
        for _ in tree.reconcile():
            pass

    first_cpu, first_wall = timed(look)
    tree.take()
    walks, looks = [], []
    for _ in range(turns):
        walks.append(timed(lambda: bare_walk(root)))
        looks.append(timed(look))
    ratios = [look / walk for (look, _), (walk, _) in zip(looks, walks, strict=True)]
    walls = [look / walk for (_, look), (_, walk) in zip(looks, walks, strict=True)]
    return {
        "walk_s": statistics.median(cpu for cpu, _ in walks),
        "reconcile_s": statistics.median(cpu for cpu, _ in looks),
        "ratio": statistics.median(ratios),
        "ratio_worst": max(ratios),
        "ratio_wall": statistics.median(walls),
        "first_look_s": first_cpu,
        "first_look_wall_s": first_wall,
    }


def settle(watch, count):
    """Wait until so many files are sighted."""
    seen = 0
    while seen < count:
        seen += len(watch.poll(0.5))


def at_rest(seconds):
    """Processor seconds of this process per second while only the watch has work."""
    cpu, wall = time.process_time(), time.perf_counter()
    time.sleep(seconds)
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


def notice(watch, root, first, count):
    """Milliseconds from the closing of new files to their sightings."""
    waits = []
    for number in range(first, first + count):
        grow(root, number, 1)
        closed = time.perf_counter()
        while not watch.poll(10.0):
            pass
        waits.append((time.perf_counter() - closed) * 1000)
        time.sleep(0.02 + 0.005 * (number % 50))  # not in step with the scans
    waits.sort()
    return {
        "median_ms": statistics.median(waits),
        "p95_ms": waits[int(0.95 * (len(waits) - 1))],
        "worst_ms": waits[-1],
    }


def watching(root, files, frames, rest_s):
    """Figures of a watch on the tree, with events and by looking alone."""
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    watch = FolderWatch(WatchConfig(root=root))
    start, cpu = time.perf_counter(), time.process_time()
    watch.start()
    settle(watch, files)
    out = {
        "all_sighted_s": time.perf_counter() - start,
        "all_sighted_cpu_s": time.process_time() - cpu,
        "bytes_per_file": (process.memory_info().rss - before) / files,
    }
    passes = watch.health().passes
    while watch.health().passes < passes + 1:  # until the stir of the beginning is over
        time.sleep(0.1)
    out["core_share"] = at_rest(rest_s)
    out["passes_in_rest"] = watch.health().passes - passes - 1
    out["with_events"] = notice(watch, root, files, frames)
    watch.stop()
    poll = FolderWatch(WatchConfig(root=root, mode="poll", quiet_s=0.0))
    poll.start()
    settle(poll, files + frames)
    out["by_looking"] = notice(poll, root, files + frames, frames)
    poll.stop()
    return out


def guard_cost(turns=15):
    """Milliseconds of a frame, of reading it here, and of reading it through a guard, by edge."""
    rng, out = np.random.default_rng(0), {}
    encoder = load_encoder("bundled", device="cpu")
    with tempfile.TemporaryDirectory(prefix="pychip-guard-") as name, GuardedReader() as reader:
        for edge in (256, 1024, 2048):
            path = Path(name, f"{edge}.tif")
            tifffile.imwrite(path, rng.integers(0, 4000, (edge, edge)).astype(np.uint16))
            stat = path.stat()
            ref = FrameRef(path=path.name, size=stat.st_size, mtime_ns=stat.st_mtime_ns)
            picks = {"a": [(0, 0), (1, 1)], "b": [(2, 2), (3, 3)]}
            support = SupportSet.from_picks(read_frame(path), 32, picks)
            analyst = Analyst.of(support, encoder, ClassifyConfig())
            runs = [timed(partial(analyst.analyse, path.parent, ref)) for _ in range(4)]
            frame_cpu, frame = (min(column) for column in zip(*runs, strict=True))
            here, there = [], []
            for turn in range(-3, turns):
                for read, times in ((read_checked, here), (reader.read_checked, there)):
                    wall = timed(partial(read, path, 0, ref.size, ref.mtime_ns))[1]
                    if turn >= 0:
                        times.append(wall)
            added = statistics.median(b - a for a, b in zip(here, there, strict=True))
            begun = time.process_time()
            for _ in range(_CPU_READS):
                read_checked(path, 0, ref.size, ref.mtime_ns)
            between = time.process_time()
            child = psutil.Process(reader._guard._child._process.pid)
            before = sum(child.cpu_times()[:2])
            for _ in range(_CPU_READS):
                reader.read_checked(path, 0, ref.size, ref.mtime_ns)
            cpu = time.process_time() - between + sum(child.cpu_times()[:2]) - before
            cpu = (cpu - (between - begun)) / _CPU_READS
            out[edge] = {
                "frame_ms": frame * 1e3,
                "read_ms": statistics.median(here) * 1e3,
                "guarded_read_ms": statistics.median(there) * 1e3,
                "share": added / frame,
                "cpu_share": cpu / frame_cpu,
            }
    return out


def measure(files, frames, rest_s):
    """All figures."""
    with tempfile.TemporaryDirectory(prefix="pychip-ingest-") as folder:
        root = Path(folder) / "acquisition"
        grow(root, 0, files)
        return {
            "date": time.strftime("%Y-%m-%d"),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
            "load_before": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            "files": files,
            "folders": files // PER_SECOND,
            "reconciliation": reconciliation(root),
            "watch": watching(root, files, frames, rest_s),
            "guard": guard_cost(),
        }


def report_guard(sizes):
    """Print what the guard adds."""
    for edge, row in sizes.items():
        print(
            f"guard, frame of {edge:4} x {edge:4}     {row['share'] * 100:8.2f} % "
            f"on the clock, {row['cpu_share'] * 100:.2f} % in processor seconds, of "
            f"{row['frame_ms']:.0f} ms (read in {row['read_ms']:.1f}, guarded in "
            f"{row['guarded_read_ms']:.1f} ms)"
        )


def report(figures):
    """Print for people."""
    report_guard(figures["guard"])
    tree, watch = figures["reconciliation"], figures["watch"]
    print(f"{figures['files']} files in {figures['folders']} folders; {figures['machine']}")
    print(f"bare os.scandir walk           {tree['walk_s'] * 1e3:8.0f} ms of a core")
    print(f"reconciliation of the tree     {tree['reconcile_s'] * 1e3:8.0f} ms of a core")
    print(f"  as a multiple of the walk    {tree['ratio']:8.2f} (worst {tree['ratio_worst']:.2f})")
    print(f"first look                     {tree['first_look_s'] * 1e3:8.0f} ms of a core")
    print(f"all files sighted              {watch['all_sighted_cpu_s']:8.1f} s of a core")
    print(f"memory                         {watch['bytes_per_file']:8.0f} bytes per file")
    print(f"watch at rest                  {watch['core_share'] * 100:8.2f} % of a core")
    for name in ("with_events", "by_looking"):
        waits = watch[name]
        print(
            f"new file noticed, {name.replace('_', ' '):12} {waits['p95_ms']:8.0f} ms p95 "
            f"(median {waits['median_ms']:.0f}, worst {waits['worst_ms']:.0f})"
        )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=90_000)
    parser.add_argument("--frames", type=int, default=80, help="new files to be noticed, twice")
    parser.add_argument("--rest", type=float, default=60.0, help="seconds of watching at rest")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--guard", action="store_true", help="what the guard costs, nothing else")
    options = parser.parse_args()
    if options.guard:
        report_guard(guard_cost())
        return
    figures = measure(options.files, options.frames, options.rest)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        report(figures)


if __name__ == "__main__":
    main()
