"""What it costs to look at files of others in a process of their own, where they cannot hurt.

    python -m benchmarks.guarding [frames] [start] [--segments 40] [--json]

*frames*: what the guard adds to a good frame. The same frames are read by turns in this process
and in one of its own; the difference is a share of reading and classifying them. *start*: what it
adds to the start of an archiver, which has all files of its run looked through before it opens
them; by turns with and without. On the clock, and in processor seconds of both processes (other
work on the machine counts less).
"""

import argparse
import functools
import gc
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import tifffile

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.archive import probe
from pychip_stream.archive.writer import RunWriter
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.support import SupportSet
from pychip_stream.formats.guarded import GuardedReader
from pychip_stream.formats.reading import read_checked, read_frame
from pychip_stream.guard import Guard
from pychip_stream.model.encoders import load_encoder
from tests.support.archive_samples import fill, make_run, record

_READS = 100
"""Reads of a frame, of which processor seconds are the mean."""


def processor_s():
    """Processor seconds of this process and of those it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def timed(work):
    """Processor seconds of all processes and wall seconds of something."""
    gc.collect()
    cpu, wall = processor_s(), time.perf_counter()
    work()
    return processor_s() - cpu, time.perf_counter() - wall


def frames(turns=9):
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
            analyse = functools.partial(analyst.analyse, path.parent, ref)
            frame_cpu, frame = (
                min(column) for column in zip(*map(timed, [analyse] * 4), strict=True)
            )
            here, there = [], []
            for turn in range(-3, turns):
                for read, times in ((read_checked, here), (reader.read_checked, there)):
                    wall = timed(functools.partial(read, path, 0, ref.size, ref.mtime_ns))[1]
                    if turn >= 0:
                        times.append(wall)
            added = statistics.median(b - a for a, b in zip(here, there, strict=True))
            child = psutil.Process(reader._guard._child._process.pid)
            used = []
            for read in (read_checked, reader.read_checked):
                begun = time.process_time() + sum(child.cpu_times()[:2])
                for _ in range(_READS):
                    read(path, 0, ref.size, ref.mtime_ns)
                used.append(time.process_time() + sum(child.cpu_times()[:2]) - begun)
            added_cpu = (used[1] - used[0]) / _READS
            out[edge] = {
                "frame_ms": frame * 1e3,
                "frame_cpu_ms": frame_cpu * 1e3,
                "read_ms": statistics.median(here) * 1e3,
                "guarded_read_ms": statistics.median(there) * 1e3,
                "added_cpu_ms": added_cpu * 1e3,
                "share": added / frame,
                "cpu_share": added_cpu / frame_cpu,
            }
    return out


def start(segments, turns=7):
    """Seconds of the start of an archiver, with the guard and without, on a live and closed run."""
    out = {}
    with tempfile.TemporaryDirectory(prefix="pychip-guard-") as name:
        folder = Path(name)
        make_run(folder, 4, close=False, segment_frames=64)
        writer = RunWriter(folder, "run", segment_frames=64)
        fill(writer, (record(number) for number in range(4, 64 * segments)))
        writer.release()
        for kind in ("live", "closed"):
            if kind == "closed":
                RunWriter(folder, "run").close()
            plain, guarded = [], []
            for _ in range(turns):
                plain.append(timed(lambda: RunWriter(folder, "run").release()))
                guarded.append(timed(lambda: _guarded_start(folder)))
            files = list(probe.files_of_run(folder / "run.h5"))
            out[kind] = {
                "files": len(files),
                "megabytes": sum(file.stat().st_size for file in files) / 1e6,
                "cpu_s": statistics.median(cpu for cpu, _ in plain),
                "guarded_cpu_s": statistics.median(cpu for cpu, _ in guarded),
                "clock_s": statistics.median(wall for _, wall in plain),
                "guarded_clock_s": statistics.median(wall for _, wall in guarded),
            }
    return out


def _guarded_start(folder):
    """As the archiver does it, with a process that starts for it and ends."""
    with Guard((probe.__name__,)) as guard:
        destroys = functools.partial(probe.destroys, guard=guard)
        RunWriter(folder, "run", destroys=destroys).release()


def report(figures):
    """Print for people."""
    for edge, row in figures.get("frames", {}).items():
        print(
            f"frame of {edge:4} x {edge:4}: {row['cpu_share'] * 100:.2f} % in processor seconds "
            f"({row['added_cpu_ms']:.2f} of {row['frame_cpu_ms']:.0f} ms), "
            f"{row['share'] * 100:.2f} % on the clock of {row['frame_ms']:.0f} ms (read in "
            f"{row['read_ms']:.1f}, guarded in {row['guarded_read_ms']:.1f} ms)"
        )
    for kind, row in figures.get("start", {}).items():
        print(
            f"start on a {kind} run ({row['files']} files, {row['megabytes']:.1f} MB): "
            f"{row['cpu_s']:.2f} s of a core without the guard, {row['guarded_cpu_s']:.2f} s with "
            f"it; on the clock {row['clock_s']:.2f} and {row['guarded_clock_s']:.2f} s"
        )


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", default=["frames", "start"], metavar="WHAT")
    parser.add_argument("--segments", type=int, default=40, help="of the run, 64 frames each")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    found = {}
    if "frames" in options.what:
        found["frames"] = frames()
    if "start" in options.what:
        found["start"] = start(options.segments)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        report(found)


if __name__ == "__main__":
    main()
