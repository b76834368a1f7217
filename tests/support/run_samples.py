"""Runs with their frames beside them, for the review page."""

import numpy as np
import tifffile

from pychip_stream.archive.files import RunPlaces
from pychip_stream.archive.readings import add_readings
from pychip_stream.archive.run import open_run
from pychip_stream.archive.scorings import add_scoring
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.signals import Readings, Signal
from tests.support.archive_samples import fill, pieces, record, result, support
from tests.support.copies import put
from tests.support.failing_disks import QuickDisk

SHAPE = (50, 70)


def write_frame(path, number):
    rng = np.random.default_rng(number)
    tifffile.imwrite(path, rng.integers(0, 4000, SHAPE).astype(np.uint16))


def make_run(folder, root, count=6, name="run", *, close=True, missing=(), extra=(), seed=0):
    """A run whose frames lie in `root`, but for the `missing` ones."""
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        if number not in missing:
            write_frame(root / _frame(number), number)
    if extra:
        _write_run(folder, count, name, close, seed, extra, root)
    else:
        put(folder, _write_run, count, name, close, seed, root=root)
    return folder / f"{name}.h5"


def _frame(number):
    return f"frame_{number:03d}.tif"


def _write_run(folder, count, name, close, seed, extra=(), root=""):
    made = support(seed=seed)
    metadata = {"config": "watch: {}", "root": str(root)}
    writer = RunWriter(folder, name, segment_frames=4, disk=QuickDisk(), metadata=metadata)
    writer.add_support(support_to_bytes(made), made.version)
    results = [result(n + 1000 * seed, version=made.version) for n in range(count)]
    records = [record(n, path=_frame(n), result=one) for n, one in enumerate(results)]
    fill(writer, [*records, *extra])
    if close:
        writer.close()
    writer.release()


def add_ramp(path):
    """Readings of a furnace that heats by a degree per second, from 0 at the first frame on."""
    run, steps = open_run(path), np.arange(-60.0, 61)
    signal = Signal("temperature", "degC", "number", steps)
    add_readings(
        RunPlaces.of(path), run.run_id, [Readings("furnace", run.start + steps, (signal,))]
    )


def add_second_scoring(path, count):
    """The same run under another support set, whose labels are others."""
    other = support(seed=9)
    results = [result(500 + n, version=other.version) for n in range(count)]
    sequence = np.arange(count)
    return add_scoring(path, other, sequence, pieces(results), default=False)
