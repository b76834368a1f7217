"""What watching a large acquisition folder costs, and how soon a new frame is noticed.

    python -m benchmarks.ingest [--files 90000] [--frames 80] [--json]

A tree as in-situ software lays it out (25 frames a second) is made in a temporary folder. Then,
in one run: a bare os.scandir walk and a reconciliation by turns, the share of a core of a watch
at rest, and the time from closing a new file to its sighting, with file events and without.
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
from pathlib import Path

import psutil

from pychip_stream.acquisition.tree import Tree
from pychip_stream.acquisition.watch import FolderWatch
from pychip_stream.config import WatchConfig
from pychip_stream.sim.frame_files import insitu_path

PER_SECOND = 25
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
        }


def report(figures):
    """Print for people."""
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
    options = parser.parse_args()
    figures = measure(options.files, options.frames, options.rest)
    if options.json:
        print(json.dumps(figures, indent=1))
    else:
        report(figures)


if __name__ == "__main__":
    main()
