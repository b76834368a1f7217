"""Stimulus: joining readings to frames, live and afterwards, and reading long logs.

python -m benchmarks.stimulus [join | journal | seconds | iso | local] [--lines 10000000]

One log is written and read in a process, so that its memory is its own.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from pychip_stream import config as configuration
from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.readings import ReadingJournal, StimulusFiles
from pychip_stream.domain.signals import Readings, Signal, join, series_of
from pychip_stream.operation.stimulus_keeper import StimulusKeeper
from pychip_stream.stimulus.log_reading import read_log
from pychip_stream.stimulus_settings import StimulusConfig

START = 1.7e9
FORMS = ("seconds", "iso", "local")
FRAMES, READINGS = 100_000, 1_000_000
LINES = 1000


def join_many():
    """Seconds to join a million readings, some out of order, to a hundred thousand frames."""
    random = np.random.default_rng(0)
    moments = START + np.arange(READINGS) / 10 + random.normal(0, 0.2, READINGS)
    times = START + np.linspace(0, READINGS / 10, FRAMES)
    begun = time.perf_counter()
    one = series_of("s", "t", "K", "number", 10.0, moments, np.arange(READINGS, dtype=float))
    found = join([one], times)["t_K"]
    assert np.isfinite(found).mean() > 0.99
    return time.perf_counter() - begun


def join_live(folder):
    """Milliseconds that a live frame costs while five things are measured."""
    tree = {"watch": {"root": "."}, "archive": {"folder": "."}}
    (folder / "run.segments").mkdir()
    keeper = StimulusKeeper(configuration.parse(tree, "bench", folder), folder / "run.h5", "")
    values = np.arange(4096.0)
    signals = tuple(Signal(name, "V", "number", values) for name in "abcde")
    keeper._note(Readings("s", START + values / 10, signals))
    begun = time.perf_counter()
    for n in range(2000):
        assert len(keeper.at(START + n / 10)) == 5
    keeper.close()
    return (time.perf_counter() - begun) / 2000 * 1e3


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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["join", "journal", *FORMS], default="join")
    parser.add_argument("--lines", type=int, default=10_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if asked.what == "join":
            print(f"join {FRAMES} frames, {READINGS} readings: {join_many():.2f} s")
            print(f"join one live frame, 5 quantities: {join_live(folder):.3f} ms")
            return
        if asked.what == "journal":
            first, last, whole = follow_journal(folder)
            print(
                f"journal of {LINES} lines, 2 x 1000 readings each: {first:.2f} ms a line at first,"
            )
            print(f"{last:.2f} ms at the end, {whole:.0f} ms together")
            return
        wall, used = read_many(folder, asked.what, asked.lines)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"read {asked.lines} lines, {asked.what}: {wall:.1f} s, {used:.1f} s of the processor, "
        f"{memory:.0f} MB at the highest"
    )


if __name__ == "__main__":
    main()
