"""Archive: cost per frame, size, reading, compression, and what survives being killed.

    python -m benchmarks.archive [filters] [cost] [read] [rescore] [kill] [options] [--json]

Frames are simulated (20 x 20 chips of 32 x 32 pixels, or `--chips N`), embedded and classified as
in a run, then repeated with other names and times. *filters*: time and size of compression choices.
*cost*: CPU and wall time per archived frame near the start and the end of a long run, and the size
of an hour at 25 frames/s. *read*: opening that run and its curve, live and closed, and writing
while it is read. *rescore*: adding a scoring. *kill*: an archiver under load is killed at random,
over and over; every acknowledged frame must be there, whole and once.
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import numpy.typing as npt

from pychip_stream.analysis.rescoring import rescore as rescore_run
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.domain.records import FrameRecord
from pychip_stream.domain.support import SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.embedding import embed_support
from pychip_stream.model.encoders import load_encoder
from pychip_stream.sim.specimen import Experiment

CHIP_SIZE = ChipSize(32, 32)
RATE = 25
Report = dict[str, object]


def simulated(count: int, chips: int) -> Experiment:
    """Return an experiment whose frames have chips x chips chips."""
    return Experiment(frames=count, size=(chips * CHIP_SIZE.height, chips * CHIP_SIZE.width))


def pool(experiment: Experiment) -> tuple[SupportSet, list[FrameRecord]]:
    """Return a support set and really classified frames."""
    count = experiment.frames
    first = Frame(experiment.frame(0).pixels, pixel_size=0.04, unit="nm")
    picks = experiment.picks(count // 2, CHIP_SIZE, 6, np.random.default_rng(0))
    middle = Frame(experiment.frame(count // 2).pixels, pixel_size=0.04, unit="nm")
    encoder = load_encoder()
    support = embed_support(SupportSet.from_picks(middle, CHIP_SIZE, picks), encoder)
    classifier = Classifier.fit(support, encoder)
    records = []
    for number in range(count):
        frame = replace(first, pixels=experiment.frame(number).pixels)
        embeddings = encoder.embed(frame, CHIP_SIZE, support.normalization)
        records.append(
            FrameRecord(
                frame=FrameRef(path=""),
                content_hash="0" * 32,
                pixel_size=0.04,
                unit="nm",
                shape=frame.shape,
                chip_size=(32, 32),
                embeddings=embeddings.astype(np.float16),
                result=replace(classifier.score(embeddings), support_version=support.version),
                encoder_hash=encoder.weights_hash,
                measured={
                    "intensity_mean": 2000.0,
                    "intensity_p1": 1000.0,
                    "intensity_p99": 4000.0,
                },
            )
        )
    return support, records


def stream(records: Sequence[FrameRecord], count: int, start: int = 0) -> Iterator[FrameRecord]:
    """Repeat frames as a camera would deliver them."""
    for number in range(start, start + count):
        now = 1.7e9 + number / RATE
        second = number // RATE
        yield replace(
            records[number % len(records)],
            frame=FrameRef(
                path=f"Hour_{second // 3600:02d}/Minute_{second // 60 % 60:02d}/"
                f"Second_{second % 60:02d}/frame_{number:07d}.dm4",
                size=819_200,
                mtime_ns=int(now * 1e9),
                time=now,
                seen=now + 0.1,
            ),
            content_hash=f"{number:032x}",
            read=now + 0.2,
            classified=now + 0.3,
        )


def filters(records: Sequence[FrameRecord], folder: Path) -> Report:
    """Time and size of ways to compress each kind of array, per frame."""
    choices: dict[str, dict[str, object]] = {
        "none": {},
        "shuffle+lzf": {"compression": "lzf", "shuffle": True},
        "gzip 1": {"compression": "gzip", "compression_opts": 1},
        "shuffle+gzip 1": {"compression": "gzip", "compression_opts": 1, "shuffle": True},
        "shuffle+gzip 4": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
    }
    results = [r.result for r in records if r.result is not None]

    def flat(arrays: Iterable[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
        return np.concatenate([one.reshape(-1, one.shape[-1]) for one in arrays])

    kinds = {
        "embeddings": flat(r.embeddings for r in records if r.embeddings is not None),
        "probabilities": flat(r.probabilities for r in results),
        "distances": flat(r.distances for r in results),
        "novelty": np.concatenate([r.novelty.reshape(-1) for r in results]),
        "label_map": np.stack([r.label_map for r in results]),
    }
    report: Report = {}
    for kind, values in kinds.items():
        data = values if kind == "label_map" else values.astype(np.float16)
        rows = max(1, (1 << (18 if kind == "embeddings" else 16)) // (data[0].nbytes))
        for name, options in choices.items():
            path = folder / "filter.h5"
            start = time.process_time()
            with h5py.File(path, "w") as file:
                chunks = (min(rows, len(data)), *data.shape[1:])
                file.create_dataset("x", data=data, chunks=chunks, fletcher32=True, **options)
            wrote = time.process_time() - start
            with h5py.File(path) as file:
                size = file["x"].id.get_storage_size()
                start = time.process_time()
                file["x"][...]
                read = time.process_time() - start
            per_frame = {
                "bytes": round(size / len(records)),
                "write_ms": round(1e3 * wrote / len(records), 3),
                "read_ms": round(1e3 * read / len(records), 3),
            }
            report[f"{kind}, {name}"] = per_frame
            say(f"{kind:<14} {name:<16} {per_frame}")
    return report


def cost(
    support: SupportSet, records: Sequence[FrameRecord], folder: Path, frames: int, embeddings: bool
) -> Report:
    """CPU and wall time per frame, near frame 1,000 and near the end."""
    name = "with" if embeddings else "without"
    writer = RunWriter(folder, name, embeddings=embeddings, metadata={"config": "x" * 2000})
    writer.add_support(support_to_bytes(support), support.version)
    marks: dict[int, tuple[float, float]] = {}
    used = time.process_time()
    wall = time.perf_counter()
    window = min(8192, frames // 4)
    for number, record in enumerate(stream(records, frames), start=1):
        writer.append(record)
        if writer.full:
            writer.publish()
        if number in (1024, 1024 + window, frames - window, frames):
            marks[number] = (time.process_time() - used, time.perf_counter() - wall)
    writer.publish()

    def per_frame(first: int, last: int) -> tuple[float, float]:
        (cpu0, wall0), (cpu1, wall1) = marks[first], marks[last]
        return 1e3 * (cpu1 - cpu0) / (last - first), 1e3 * (wall1 - wall0) / (last - first)

    early, late = per_frame(1024, 1024 + window), per_frame(frames - window, frames)
    files = list((folder / f"{name}.segments").iterdir())
    report: Report = {
        "frames": frames,
        "cpu_ms_per_frame_early": round(early[0], 3),
        "cpu_ms_per_frame_late": round(late[0], 3),
        "wall_ms_per_frame_early": round(early[1], 3),
        "wall_ms_per_frame_late": round(late[1], 3),
        "late_to_early_cpu": round(late[0] / early[0], 3),
        "percent_of_a_core_at_25_per_s": round(late[0] * RATE / 10, 2),
        "files": len(files),
        "gigabytes_per_hour": round(
            sum(f.stat().st_size for f in files) / frames * 3600 * RATE / 1e9, 2
        ),
    }
    report |= {f"live_{k}": v for k, v in read(folder / f"{name}.h5").items()}
    start = time.perf_counter()
    path = writer.close()
    report["close_s"] = round(time.perf_counter() - start, 1)
    report["closed_gigabytes_per_hour"] = round(path.stat().st_size / frames * 3600 * RATE / 1e9, 2)
    report |= {f"closed_{k}": v for k, v in read(path).items()}
    for key, value in report.items():
        say(f"{name} embeddings: {key} {value}")
    return report


def read(path: Path) -> Report:
    """Open a run, its curve, its frame table, and one label map, in a fresh process."""
    code = (
        "import sys, time, json\n"
        "from pychip_stream.archive.run import open_run\n"
        "t = []\n"
        "def mark(): t.append((time.perf_counter(), time.process_time()))\n"
        "mark(); run = open_run(sys.argv[1]); n = len(run); mark()\n"
        "run.fractions; mark()\n"
        "run.frames; mark()\n"
        "[run.label_map(i * run.count // 20) for i in range(20)]; mark()\n"
        "out = {'frames': n}\n"
        "for i, k in enumerate(('open', 'curve', 'table', 'twenty_label_maps')):\n"
        "    out[k + '_s'] = round(t[i + 1][0] - t[i][0], 3)\n"
        "    out[k + '_cpu_s'] = round(t[i + 1][1] - t[i][1], 3)\n"
        "print(json.dumps(out))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    return dict(json.loads(done.stdout))


def read_while_writing(records: Sequence[FrameRecord], folder: Path, frames: int) -> Report:
    """Wall time per frame of an archiver, alone and with a reader that never rests."""
    times: dict[str, list[float]] = {"alone": [], "read": []}
    for number in range(6):
        kind = ("alone", "read")[number % 2]
        writer = RunWriter(folder, f"{kind}{number}")
        reader = None
        if kind == "read":
            reader = multiprocessing.get_context("spawn").Process(
                target=_keep_reading, args=(folder / f"{kind}{number}.h5",), daemon=True
            )
            reader.start()
            time.sleep(2.0)
        start = time.perf_counter()
        for record in stream(records, frames):
            writer.append(record)
            if writer.full:
                writer.publish()
        times[kind].append(1e3 * (time.perf_counter() - start) / frames)
        if reader is not None:
            reader.kill()
            reader.join()
        writer.release()
        shutil.rmtree(folder / f"{kind}{number}.segments")
    report: Report = {f"{k}_ms_per_frame": round(float(np.median(v)), 3) for k, v in times.items()}
    say(f"reading while writing: {report}")
    return report


def _keep_reading(path: Path) -> None:
    run = open_run(path)
    while True:
        run.refresh()
        _ = run.fractions
        if run.count:
            run.label_map(run.count - 1)
            run.embeddings(run.count // 2)


def rescore(
    experiment: Experiment,
    support: SupportSet,
    records: Sequence[FrameRecord],
    folder: Path,
    frames: int,
) -> Report:
    """Score a closed run again under other examples, and compare with classifying afresh."""
    writer = RunWriter(folder, "rescore")
    writer.add_support(support_to_bytes(support), support.version)
    for record in stream(records, frames):
        writer.append(record)
        if writer.full:
            writer.publish()
    path = writer.close()
    encoder = load_encoder()
    report: Report = {"frames": frames, "chips of each": int(records[0].result.label_map.size)}
    for kind, number in (("same range", len(records) // 3), ("own range", len(records) // 4)):
        norm = support.normalization if kind == "same range" else None
        frame = Frame(experiment.frame(number).pixels, pixel_size=0.04, unit="nm")
        picks = experiment.picks(number, CHIP_SIZE, 6, np.random.default_rng(number))
        other = SupportSet.from_picks(frame, CHIP_SIZE, picks, normalization=norm)
        other = embed_support(other, encoder)
        start, cpu = time.perf_counter(), time.process_time()
        outcome = rescore_run(path, other, lambda _hash: encoder)
        report[f"{kind}: seconds"] = round(time.perf_counter() - start, 2)
        report[f"{kind}: CPU seconds"] = round(time.process_time() - cpu, 2)
        report[f"{kind}: covered"] = outcome.frames
        classifier = Classifier.fit(other, encoder)
        run = open_run(path).with_scoring(outcome.scoring)
        same = {"the run's": [], "the set's own": []}
        for number in range(len(records)):
            pixels = experiment.frame(number).pixels
            stored = run.label_map(number)
            for which, scale in (
                ("the run's", support.normalization), ("the set's own", other.normalization)
            ):  # fmt: skip
                fresh = classifier.score(encoder.embed(pixels, CHIP_SIZE, scale))
                same[which].append((fresh.label_map == stored).mean())
        for which, values in same.items():
            report[f"{kind}: agreement with fresh labels in {which} range"] = round(
                float(np.mean(values)), 5
            )
    for key, value in report.items():
        say(f"rescore: {key} {value}")
    return report


def kill(folder: Path, kills: int, seed: int) -> Report:
    """Kill an archiver under load, again and again, and look what is left."""
    rng = random.Random(seed)
    report = {"kills": 0, "acknowledged": 0, "lost": 0, "twice": 0, "wrong": 0, "runs": 0}
    while report["kills"] < kills:
        run = folder / f"kill{report['runs']}"
        run.mkdir()
        for _ in range(min(25, kills - report["kills"])):
            with subprocess.Popen(
                [sys.executable, __file__, "child", str(run)], stdout=subprocess.PIPE
            ) as child:
                assert child.stdout is not None
                child.stdout.readline()  # it has started
                time.sleep(rng.uniform(0, 0.5))
                os.kill(child.pid, signal.SIGKILL)
            report["kills"] += 1
        _check(run, report)
        report["runs"] += 1
        shutil.rmtree(run)
        say(f"kill: {report}")
    return dict(report)


def _child(folder: Path) -> None:
    """Archive frames without end; every tenth time close the run and start again."""
    rng = random.Random(os.getpid())
    with (folder / "acknowledged").open("a") as acknowledged:
        print("started", flush=True)
        while True:
            writer = RunWriter(folder, "run", segment_frames=4, embeddings=True)
            first = len(writer.keys)
            for number in range(first, first + 4 * rng.randint(5, 40)):
                writer.append(_small(number))
                if writer.full:
                    for key in writer.publish():
                        acknowledged.write(f"{key.path}\n")
                    acknowledged.flush()
            writer.close()


def _small(number: int) -> FrameRecord:
    rng = np.random.default_rng(number)
    from pychip_stream.domain.records import FrameResult

    labels = rng.integers(0, 3, (6, 6)).astype(np.uint8)
    shares = np.bincount(labels.ravel(), minlength=3) / 36
    chances, away = rng.random((2, 6, 6, 2), np.float32)
    result = FrameResult(
        ("a", "b"), labels, chances, away, rng.random((6, 6), np.float32),
        np.stack([shares, shares, shares], axis=1), "0" * 32,
    )  # fmt: skip
    return FrameRecord(
        frame=FrameRef(path=f"{number:08d}.tif", size=number, mtime_ns=number, time=1e9 + number),
        shape=(96, 96), chip_size=(16, 16), result=result,
        embeddings=rng.random((6, 6, 8)).astype(np.float16),
    )  # fmt: skip


def _check(folder: Path, report: dict[str, int]) -> None:
    """Compare a run with what was acknowledged; also after going on and closing it."""
    wanted = (folder / "acknowledged").read_text().split()
    for closed in (False, True):
        if closed:
            RunWriter(folder, "run").close()
        run = open_run(folder / "run.h5")
        paths = list(run.frames["path"])
        report["lost"] += len(set(wanted) - set(paths))
        report["twice"] += len(paths) - len(set(paths))
        for frame, path in enumerate(run.fractions["path"]):
            record = _small(int(path[:8]))
            same = (run.label_map(frame) == record.result.label_map).all()
            same &= (run.embeddings(frame) == record.embeddings).all()
            report["wrong"] += not same
    report["acknowledged"] += len(wanted)


def say(text: str) -> None:
    """Tell people; standard output is for the document."""
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = ("filters", "cost", "read", "rescore", "kill")
    parser.add_argument("parts", nargs="*", choices=[*parts, []], help="default: all")
    parser.add_argument("--frames", type=int, default=100_000, help="of the long run")
    parser.add_argument("--chips", type=int, default=20, help="along an edge of each frame")
    parser.add_argument("--rescored", type=int, default=10_000, help="frames that are re-scored")
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--embeddings", choices=("with", "without", "both"), default="both")
    parser.add_argument("--folder", type=Path, help="where to write; default: temporary")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.parts = options.parts or parts
    return options


def _measure(options: argparse.Namespace, folder: Path) -> Report:
    report: Report = {}
    if set(options.parts) - {"kill"}:
        experiment = simulated(64, options.chips)
        support, records = pool(experiment)
    if "filters" in options.parts:
        report["filters"] = filters(records, folder)
    if "cost" in options.parts:
        for kind in ("without", "with"):
            if options.embeddings in (kind, "both"):
                report[f"cost {kind} embeddings"] = cost(
                    support, records, folder, options.frames, kind == "with"
                )
    if "read" in options.parts:
        report["read"] = read_while_writing(records, folder, 4096)
    if "rescore" in options.parts:
        report["rescore"] = rescore(experiment, support, records, folder, options.rescored)
    if "kill" in options.parts:
        report["kill"] = kill(folder, options.kills, options.seed)
    return report


def main() -> int:
    if sys.argv[1:2] == ["child"]:
        _child(Path(sys.argv[2]))
    options = _options()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        report = _measure(options, Path(name))
    if options.json:
        print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
