"""Stimulus: joining readings to frames, live and afterwards, and reading long logs.

python -m benchmarks.stimulus [--lines 10000000]
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from pychip_stream import config as configuration
from pychip_stream.domain.signals import Readings, Signal, join, series_of
from pychip_stream.operation.stimulus_keeper import StimulusKeeper
from pychip_stream.stimulus.log_reading import read_log
from pychip_stream.stimulus_settings import StimulusConfig

START = 1.7e9
FRAMES, READINGS = 100_000, 1_000_000


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


def read_many(folder, lines):
    """Seconds to read a log of so many lines, and MB of memory at the highest."""
    path = folder / "long.csv"
    with path.open("w") as file:
        file.write("time,T (K)\n")
        for first in range(0, lines, 100_000):
            rows = range(first, min(first + 100_000, lines))
            file.write("".join(f"{START + n / 100:.2f},{300 + n % 7}\n" for n in rows))
    begun = time.perf_counter()
    count = sum(len(b.readings) for b in read_log(path, StimulusConfig(log=path)))
    assert count == lines
    took = time.perf_counter() - begun
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=10_000_000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"join {FRAMES} frames, {READINGS} readings: {join_many():.2f} s")
        print(f"join one live frame, 5 quantities: {join_live(folder):.3f} ms")
        took, memory = read_many(folder, lines)
        print(f"read {lines} lines: {took:.1f} s, {memory:.0f} MB at the highest")


if __name__ == "__main__":
    main()
