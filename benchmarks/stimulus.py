"""Stimulus: joining readings to frames, live and afterwards, and reading long logs.

python -m benchmarks.stimulus [join | journal | seconds | iso | local] [--lines 10000000]
python -m benchmarks.stimulus [offsets | ramp | changes] [--seeds 10] [--first 0]

One log is written and read in a process, so that its memory is its own. `offsets` judges what is
suggested for a clock that is off, over programs of heating and kinds of noise, without pixels;
`ramp` the whole way over simulated runs: a ramp, a log that pauses, a clock that is off. `changes`
counts change points that are found in noise.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from pychip_stream import config as configuration
from pychip_stream.analysis import past_logs
from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.change_points import change_points
from pychip_stream.analysis.offset_suggestion import suggest_offset, suggested
from pychip_stream.archive.clock_offsets import set_offset
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.readings import ReadingJournal, StimulusFiles
from pychip_stream.archive.run import open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.cli.demo import CHIP_SIZE, examples_of
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.domain.sequential import SequentialTests
from pychip_stream.domain.signals import Readings, Signal, join, series_of
from pychip_stream.model.encoders import load_encoder
from pychip_stream.operation.stimulus_keeper import StimulusKeeper
from pychip_stream.sim.furnace import HeatingProgram, HolderLog
from pychip_stream.sim.specimen import Experiment, pace
from pychip_stream.stimulus.log_reading import read_log
from pychip_stream.stimulus_settings import StimulusConfig

START = 1.7e9
FORMS = ("seconds", "iso", "local")
FRAMES, READINGS = 100_000, 1_000_000
LINES = 1000
RAMP, RATE, OFFSET_S = 120, 8.0, 37.0
STAGES = 121
"""Of a reaction whose true fractions are looked at."""
PROGRAMS = ("ramp with a rest", "ramp", "steps", "pulses")
NOISES = ("white", "neighbours alike", "bias of a class", "wanders", "chip by chip")


def join_many():
    """Seconds of the processor to join a million readings to a hundred thousand frames."""
    random = np.random.default_rng(0)
    moments = START + np.arange(READINGS) / 10 + random.normal(0, 0.2, READINGS)
    times = START + np.linspace(0, READINGS / 10, FRAMES)
    begun = time.process_time()
    one = series_of("s", "t", "K", "number", 10.0, moments, np.arange(READINGS, dtype=float))
    found = join([one], times)["t_K"]
    assert np.isfinite(found).mean() > 0.99
    return time.process_time() - begun


def join_live(folder):
    """Milliseconds of the processor that a live frame costs while five things are measured."""
    tree = {"watch": {"root": "."}, "archive": {"folder": "."}}
    (folder / "run.segments").mkdir()
    keeper = StimulusKeeper(configuration.parse(tree, "bench", folder), folder / "run.h5", "")
    values = np.arange(4096.0)
    signals = tuple(Signal(name, "V", "number", values) for name in "abcde")
    keeper._note(Readings("s", START + values / 10, signals))
    begun = time.process_time()
    for n in range(2000):
        assert len(keeper.at(START + n / 10)) == 5
    keeper.close()
    return (time.process_time() - begun) / 2000 * 1e3


def follow_journal(folder):
    """Milliseconds from a line of the journal to the series, of the first and the last ten."""
    places = RunPlaces(folder, "run")
    places.segments.mkdir()
    journal, files, took = ReadingJournal(places), StimulusFiles(places), []
    values = np.arange(1000.0)
    signals = tuple(Signal(name, "V", "number", values) for name in "ab")
    for n in range(LINES):
        journal.add(Readings("s", START + 1000 * n + values, signals))
        begun = time.perf_counter()
        assert len(files.read("").series[0].time) == 1000 * (n + 1)
        took.append((time.perf_counter() - begun) * 1e3)
    return np.mean(took[:10]), np.mean(took[-10:]), np.sum(took)


def lines_of(form, first, last):
    """Lines of a log with a reading every 10 ms, their times in one of three forms."""
    rows = range(first, last)
    if form == "seconds":
        return "".join(f"{START + n / 100:.2f},{300 + n % 7}\n" for n in rows)
    moments = np.datetime64(int(START * 1e3), "ms") + np.arange(first, last) * np.timedelta64(
        10, "ms"
    )
    texts = np.datetime_as_string(moments).tolist()
    if form == "local":
        texts = [f"{t[8:10]}.{t[5:7]}.{t[:4]} {t[11:]}" for t in texts]
    return "".join(f"{text},{300 + n % 7}\n" for text, n in zip(texts, rows, strict=True))


def read_many(folder, form, lines):
    """Seconds to read a log of so many lines, of the wall and of the processor."""
    path = folder / "long.csv"
    with path.open("w") as file:
        file.write("time,T (K)\n")
        for first in range(0, lines, 100_000):
            file.write(lines_of(form, first, min(first + 100_000, lines)))
    begun, used = time.perf_counter(), time.process_time()
    settings = StimulusConfig(log=path, zone="Europe/Berlin")
    count = sum(len(b.readings) for b in read_log(path, settings))
    assert count == lines
    return time.perf_counter() - begun, time.process_time() - used


def heated(kind, random, seconds):
    """Moments 5 ms apart and temperatures (°C) of a program of heating of a kind of `PROGRAMS`."""
    moments = np.arange(0, seconds, 0.005)
    part = moments / seconds
    if kind == "ramp with a rest":  # that of `simulate`
        program = HeatingProgram(seconds)
        return moments, np.array([program.temperature_at(one) for one in moments])
    if kind == "ramp":
        turns = [0, *np.sort(random.uniform(0.1, 0.95, 3)), 1]
        peaks = [150, random.uniform(200, 280), random.uniform(250, 330), 340, 150]
        return moments, np.interp(part, turns, peaks)
    if kind == "steps":
        heights = np.append(180, random.uniform(180, 340, random.integers(2, 6)))
        places = np.sort(random.uniform(0.1, 0.95, len(heights) - 1))
        return moments, heights[np.searchsorted(places, part)]
    places = np.sort(random.uniform(0.1, 0.95, 2 * random.integers(1, 4)))
    return moments, np.where(np.searchsorted(places, part) % 2, 320.0, 150.0)


def noise_of(kind, random, progress, classes):
    """(frames, classes) of what a classification is off by, about half a percent."""
    shape = (len(progress), classes)
    noise = random.normal(0, random.uniform(0.002, 0.008), shape)
    if kind == "neighbours alike":
        for n in range(1, len(noise)):
            noise[n] = 0.8 * noise[n - 1] + 0.6 * noise[n]
    if kind == "bias of a class":
        places = np.linspace(0, 1, 30)
        walks = np.cumsum(random.normal(0, 0.005, (30, classes)), axis=0)
        noise += np.stack([np.interp(progress, places, walk) for walk in walks.T], axis=1)
    if kind == "wanders":
        noise += np.cumsum(random.normal(0, 0.01 / np.sqrt(shape[0]), shape), axis=0)
    return noise - noise.mean(axis=1, keepdims=True)


def judge_offset(seed, program, kind):
    """Give what is suggested where fractions are the true ones with noise, and how far off it is.

    Returns
    -------
    The suggestion or None, and what it is off in frames.
    """
    random = np.random.default_rng([seed, list(PROGRAMS).index(program), list(NOISES).index(kind)])
    moments, heat = heated(program, random, RAMP / RATE)
    pace_of = np.cumsum([pace(one) for one in heat])
    times = np.arange(RAMP) / RATE
    progress = np.interp(times, moments, pace_of / pace_of[-1])
    scenario = random.choice(["transformation", "particles", "amorphisation"])
    specimen = Experiment(scenario, seed=seed, frames=STAGES)
    shares = [specimen.true_shares(n, CHIP_SIZE) for n in range(STAGES)]
    if kind == "chip by chip":  # each is of the class that covers most of it
        shares = [np.eye(one.shape[2])[one.argmax(axis=2)] for one in shares]
    stages = np.array([one.mean(axis=(0, 1)) for one in shares])
    curves = [np.interp(progress, np.linspace(0, 1, STAGES), one) for one in stages.T]
    seen = np.stack(curves, axis=1) + noise_of(kind, random, progress, len(curves))
    named = dict(zip(specimen.names, seen.T, strict=True))
    named["intensity_mean"] = 1000 - 60 * seen[:, 0] + random.normal(0, 1, RAMP)
    every = random.choice([0.1, 0.2])  # s between readings
    log = np.arange(random.uniform(0, every), moments[-1], every)
    log = log[(log < 2.0) | (log >= 5.0)]  # it pauses
    offset = random.uniform(-60, 60)
    read = heat[np.searchsorted(moments, log, side="right") - 1]
    series = series_of("s", "T", "degC", "number", 10.0, START + log - offset, read)
    found = suggest_offset(series, START + times + random.normal(0, 2e-3, RAMP), named)
    return found, np.inf if found is None else (found.offset_s - offset) * RATE


def print_offsets(seeds):
    """Print a line for each program and noise, and one for all."""
    print("| program | noise | runs | within a frame | clear | of these wrong | ± holds |")
    print("|---|---|---|---|---|---|---|")
    every = []
    for program in PROGRAMS:
        for kind in NOISES:
            rows = []
            for seed in seeds:
                found, off = judge_offset(seed, program, kind)
                known = found is not None and found.within_s is not None
                within = found.within_s * RATE if known else np.nan
                rows.append((abs(off), found is not None and found.sure, within))
            every += rows
            print(f"| {program} | {kind} | {told_offsets(rows)} |", flush=True)
    print(f"| all | | {told_offsets(every)} |")


def told_offsets(rows):
    """Tell shares of what is suggested: off and within (both in frames) and clear, of each."""
    off, clear, within = np.array(rows, float).T
    wrong, known = off > 1, np.isfinite(within)
    held = f"{np.mean(off[known] <= within[known]):.0%}" if known.any() else ""
    return (
        f"{len(rows)} | {np.mean(~wrong):.0%} | {clear.mean():.0%} | "
        f"{int((clear * wrong).sum())} of {int(clear.sum())} | {held}"
    )


def print_changes(seeds):
    """Print how often change points are found where there is noise alone."""
    frames, each = 2000, 100
    for alike in (0.0, 0.5, 0.8, 0.9):
        random = np.random.default_rng([seeds.start, int(alike * 10)])
        alarms, proposed = 0, 0
        for _ in seeds:
            noise = random.normal(0, 0.02, (frames, each))
            for n in range(1, frames):
                noise[n] = alike * noise[n - 1] + np.sqrt(1 - alike**2) * noise[n]
            tests = SequentialTests(each)
            alarms += sum(int(np.count_nonzero(tests.put(row))) for row in 0.3 + noise)
            times = np.arange(frames, dtype=float)
            proposed += sum(bool(change_points("", times, one)) for one in noise.T[:10])
        curves = each * len(seeds)
        print(
            f"neighbours alike by {alike}: live a false alarm in "
            f"{curves * frames / max(alarms, 1):,.0f} frames of a curve ({alarms} of {curves} "
            f"curves of {frames}), afterwards in {proposed / (10 * len(seeds)):.1%} of the curves",
            flush=True,
        )


def judge_ramp(folder, seed):
    """Offset of a run with a ramp and a pause, what was suggested, and what holds of its frames.

    Returns
    -------
    Suggestion, and the shares of frames that have a temperature, of these that have the right one,
    and of fractions that are in their intervals.
    """
    program = HeatingProgram(RAMP / RATE)
    experiment = Experiment(seed=seed, frames=RAMP, interval_s=1 / RATE, furnace=program)
    support = examples_of(experiment, seed)
    analyst = Analyst.of(support, load_encoder(), ClassifyConfig(), embeddings=False)
    writer, true = RunWriter(folder, f"ramp-{seed}"), []
    writer.add_support(support_to_bytes(support), support.version)
    for n in range(RAMP):
        shot, moment = experiment.frame(n), START + n / RATE
        frame = Frame(shot.pixels, shot.pixel_size_nm, "nm", source="simulated", time=moment)
        ref = FrameRef(path=f"{n:03}.tif", size=1, mtime_ns=n + 1, time=moment)
        writer.append(analyst.analyse_frame(frame, f"{n:016x}", ref))
        true.append(experiment.true_fractions(n, CHIP_SIZE))
    path, log = writer.close(), folder / f"furnace-{seed}.csv"
    holder = HolderLog(log, program, "protochips", offset_s=OFFSET_S, pause_at_s=2.0)
    holder.write_until(START, RAMP / RATE)
    run = open_run(path)
    past_logs.add_logs(run, [StimulusConfig(name="furnace", log=log)])
    run.refresh()
    found = suggested(run, "furnace")
    set_offset(RunPlaces.of(path), run.run_id, "furnace", found.offset_s, who="benchmark")
    run.refresh()
    measured = run.columns("temperature_C")["temperature_C"]
    known = np.isfinite(measured)
    near = np.array(
        [[program.temperature_at((n + by) / RATE) for by in (-1, 1)] for n in range(RAMP)]
    )
    right = (near.min(axis=1) - 1 <= measured) & (measured <= near.max(axis=1) + 1)
    inside = [
        (run.intervals[:, k, 1] <= share) & (share <= run.intervals[:, k, 2])
        for k, name in enumerate(run.names)
        for share in [np.array([one[name] for one in true])]
    ]
    return found, known.mean(), right[known].mean(), np.array(inside)[:, known].mean()


def print_ramps(folder, seeds):
    """Print a line for each seed, and what holds of all."""
    print("| seed | suggested, s | off, frames | clear | with a value | right | fractions hold |")
    print("|---|---|---|---|---|---|---|")
    rows = []
    for seed in seeds:
        found, known, right, inside = judge_ramp(folder, seed)
        off = (found.offset_s - OFFSET_S) * RATE
        rows.append((found.sure, abs(off) > 1, right, inside))
        within = "" if found.within_s is None else f" ± {found.within_s:.3f}"
        print(
            f"| {seed} | {found.offset_s:.3f}{within} | {off:+.2f} "
            f"| {'yes' if found.sure else 'no'} | {known:.1%} | {right:.1%} | {inside:.1%} |",
            flush=True,
        )
    clear, off, right, inside = np.array(rows, float).T
    print(
        f"within a frame: {(1 - off).sum():.0f} of {len(rows)}; clear: {clear.sum():.0f}, ", end=""
    )
    print(f"of these further off: {(clear * off).sum():.0f}; ", end="")
    print(f"right values {right.mean():.1%}, fractions {inside.mean():.1%}, ", end="")
    print(f"worst run {inside.min():.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=["join", "journal", "offsets", "ramp", "changes", *FORMS],
        default="join",
    )
    parser.add_argument("--lines", type=int, default=10_000_000)
    parser.add_argument("--seeds", type=int, default=10, help="runs of each")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.what == "join":
            print(
                f"join {FRAMES} frames, {READINGS} readings: {join_many():.2f} s of the processor"
            )
            print(f"join one live frame, 5 quantities: {join_live(folder):.3f} ms of it")
            return
        if asked.what == "journal":
            first, last, whole = follow_journal(folder)
            print(
                f"journal of {LINES} lines, 2 x 1000 readings each: {first:.2f} ms a line at first,"
            )
            print(f"{last:.2f} ms at the end, {whole:.0f} ms together")
            return
        seeds = range(asked.first, asked.first + asked.seeds)
        if asked.what == "ramp":
            print_ramps(folder, seeds)
            return
        if asked.what in ("offsets", "changes"):
            print_offsets(seeds) if asked.what == "offsets" else print_changes(seeds)
            return
        wall, used = read_many(folder, asked.what, asked.lines)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"read {asked.lines} lines, {asked.what}: {wall:.1f} s, {used:.1f} s of the processor, "
        f"{memory:.0f} MB at the highest"
    )


if __name__ == "__main__":
    main()
