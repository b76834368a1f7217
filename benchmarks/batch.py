"""Batch: what sharing frames out costs and gives.

    python -m benchmarks.batch [cost] [memory] [live] [--frames N] [--json]
    python -m benchmarks.batch scale [--gbit 10] [--seconds 5] [--json]

*cost*: frames of 512 x 512 pixels (chips of 64) by one process and by two Dask workers of this
machine, the start of the workers apart. *memory*: tiny frames through the same workers, 100 and
then 3,000 (`--frames`); the most memory that this process and a worker ever had. *live*: a run
with one worker and with two that is given frames at once; frames per second until all are archived.
*scale*: a table of what more workers would give, and drives that check it (`benchmarks.scale`).
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import tifffile
from distributed import Worker

from benchmarks import scale
from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.classification import Batch, classify, classify_by
from pychip_stream.archive.support_sets import save_support, support_from_bytes, support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.batch.cluster import open_cluster
from pychip_stream.batch.shared_frames import crew
from pychip_stream.config import ClassifyConfig, EncoderConfig
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.support import SupportSet
from pychip_stream.model.encoders import open_encoder
from pychip_stream.sim.specimen import Experiment

WORKERS = 2
COST_FRAMES, MEMORY_FRAMES, LIVE_FRAMES = 120, 3_000, 60
Report = dict[str, object]


def written(folder: Path, count: int, edge: int, chip: int) -> tuple[Batch, SupportSet]:
    """Write simulated frames, eight different ones over and over, and make a support set."""
    experiment = Experiment(frames=8, size=(edge, edge))
    picks = experiment.picks(4, ChipSize(chip, chip), 4, np.random.default_rng(0))
    folder.mkdir()
    pixels = [experiment.frame(number).pixels for number in range(8)]
    for number in range(count):
        tifffile.imwrite(folder / f"{number:05}.tif", pixels[number % 8])
    support = SupportSet.from_picks(Frame(pixels[4]), ChipSize(chip, chip), picks)
    return Batch.of([folder]), support_from_bytes(support_to_bytes(support))


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def cost(folder: Path, count: int) -> Report:
    batch, support = written(folder / "frames", count, 512, 64)
    encoder, settings = open_encoder(EncoderConfig()), ClassifyConfig()
    chosen = EncoderConfig(device=encoder.device)
    analyst = Analyst.of(support, encoder, settings)
    classify(Batch(batch.root, batch.paths[:8]), analyst, RunWriter(folder, "warm"))
    plain = timed(lambda: classify(batch, analyst, RunWriter(folder, "plain")))
    begun = time.perf_counter()
    with (
        open_cluster(f"local:{WORKERS}") as cluster,
        crew(cluster, batch, support, chosen, settings, folder / "many.h5") as many,
    ):
        start = time.perf_counter() - begun
        writer = RunWriter(folder, "many")
        shared = timed(lambda: classify_by(many.analyse, batch, support, writer))
    return {
        "frames": count, "device": encoder.device, "plain_frames_per_s": count / plain,
        "workers_frames_per_s": count / shared, "workers_over_plain": shared / plain,
        "start_s": start,
    }  # fmt: skip


def peak(dask_worker: Worker | None = None) -> float:  # noqa: ARG001  (Dask goes by the name)
    """Most memory that a process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(folder: Path, count: int) -> Report:
    report: Report = {}
    chosen, settings = EncoderConfig(name="filters", device="cpu/float32"), ClassifyConfig()
    with open_cluster(f"local:{WORKERS}") as cluster:
        for number in (100, count):
            batch, support = written(folder / str(number), number, 64, 16)
            target = folder / f"run{number}.h5"
            with crew(cluster, batch, support, chosen, settings, target) as many:
                writer = RunWriter(folder, target.stem)
                taken = timed(
                    lambda many=many, batch=batch, support=support, writer=writer: classify_by(
                        many.analyse, batch, support, writer
                    )
                )
                workers = max(cluster.client.run(peak).values())
            report[str(number)] = {
                "frames_per_s": number / taken, "peak_mb": peak(), "worker_peak_mb": workers,
            }  # fmt: skip
    return report


def live(folder: Path, count: int) -> Report:
    from tests.support.stack import Stack

    report: Report = {}
    for workers in (1, 2):
        place = folder / f"live{workers}"
        place.mkdir()
        batch, support = written(place / "made", count + 8, 512, 64)
        save_support(support, place / "set.h5")
        run = Stack(
            place,
            place / "set.h5",
            encoder={"device": "cpu/float32"},
            inference={"workers": workers},
        )
        with ExitStack() as stack:
            stack.callback(run.kill_all)
            run.start()
            for path in batch.paths[:8]:  # every worker has loaded what it needs
                path.rename(run.root / path.name)
            run.wait_archived(8, timeout_s=180)
            begun = time.perf_counter()
            for path in batch.paths[8:]:
                path.rename(run.root / path.name)
            run.wait_archived(count + 8, timeout_s=180)
            report[f"{workers}_frames_per_s"] = count / (time.perf_counter() - begun)
            run.stop()
    return report


def main() -> None:
    kinds = {
        "cost": (cost, COST_FRAMES), "memory": (memory, MEMORY_FRAMES), "live": (live, LIVE_FRAMES),
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", help=f"scale, or (default) {', '.join(kinds)}")
    parser.add_argument("--frames", type=int)
    parser.add_argument("--gbit", type=float, default=10.0, help="bandwidth of the share (scale)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each drive (scale)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reports: dict[str, Report] = {}
    for name in options.what or kinds:
        if name == "scale":
            with tempfile.TemporaryDirectory() as folder:
                reports[name] = scale.measure(Path(folder), options.gbit, options.seconds)
            if not options.json:
                print("\n".join(scale.show(reports[name])))
            continue
        work, usual = kinds[name]
        with tempfile.TemporaryDirectory() as folder:
            reports[name] = work(Path(folder), options.frames or usual)
        if not options.json:
            print(f"{name}: {reports[name]}")
    if options.json:
        print(json.dumps(reports))


if __name__ == "__main__":
    main()
