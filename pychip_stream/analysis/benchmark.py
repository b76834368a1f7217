"""Benchmark: the encoder against the usual ways, and the worker against the bare encoder."""

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import UsageError
from pychip_stream.formats.reading import read_frame
from pychip_stream.model.encoders import Encoder
from pychip_stream.model.encoders.dense import DenseEncoder
from pychip_stream.model.speed import Contender, measure_speed, take_turns
from pychip_stream.sim.frame_files import Exposure, encode
from pychip_stream.sim.specimen import Experiment
from pychip_stream.wire import codec
from pychip_stream.wire.result import to_message

_EDGE, _CHIP, _FILES = 1024, 64, 4
_CALLS = 8
_PICKS = 5
"""Example chips per class."""


def benchmark(encoder: Encoder, *, quick: bool = False, busy: bool = False) -> dict[str, Any]:
    """Measure what `measure_speed` does, and the worker beside it.

    Parameters
    ----------
    busy
        Others use this machine as well: one thread, CPU seconds instead of the clock on the wall.

    Returns
    -------
    The figures of `measure_speed` and

    worker_chips_per_s
        Chips per second of a worker's step on DM4 files of 1024²: read and check the file,
        embed, label, interval, pack the message.
    worker_share
        That over the bare encoder's, both measured in turn on the same frames.
    clock
        "wall", or "cpu" with `busy`.

    Raises
    ------
    UsageError
        If `busy` is asked of a device that is not the CPU, or the encoder is no network of torch.
    """
    clock = time.process_time if busy else time.perf_counter
    if busy:
        if not encoder.device.startswith("cpu"):
            raise UsageError(f"--busy counts CPU time and says nothing of {encoder.device}")
        torch.set_num_threads(1)
    if not isinstance(encoder, DenseEncoder):
        raise UsageError(
            f"encoder {encoder.name!r} is no network of torch; only these are measured"
        )
    found = measure_speed(encoder, quick, clock)
    with tempfile.TemporaryDirectory(prefix="pychip-bench-") as folder:
        worker, bare = _worker(encoder, Path(folder))
        blocks = [_block(worker), _block(bare)]
        take_turns(blocks, 4.0 if quick else 15.0, clock=clock)
    found["worker_chips_per_s"] = blocks[0].rate()
    found["worker_share"] = blocks[0].rate() / blocks[1].rate()
    found["clock"] = "cpu" if busy else "wall"
    return found


def _block(contender: Contender) -> Contender:
    """Many calls as one: what one call leaves running (threads that wait actively) slows the next.

    Taking turns call by call would charge the worker's leftovers to the bare encoder.
    """

    def calls() -> None:
        for _ in range(_CALLS):
            contender.call()

    return Contender(calls, _CALLS * contender.work)


def _worker(encoder: Encoder, folder: Path) -> tuple[Contender, Contender]:
    """Return a worker's step on the next of a few files, and the bare encoder on their pixels."""
    refs = _write_files(folder)
    frames = [read_frame(folder / ref.path) for ref in refs]
    support = _support(frames[-1])
    analyst = Analyst.of(support, encoder, ClassifyConfig())
    chips = (_EDGE // _CHIP) ** 2
    ways, turns = itertools.cycle(refs), itertools.cycle(frames)

    def step() -> None:
        record = analyst.analyse(folder, next(ways))
        codec.encode(*to_message(record, "bench"))

    return Contender(step, chips), Contender(_bare(encoder, turns, support.normalization), chips)


def _bare(
    encoder: Encoder, frames: "itertools.cycle[Frame]", norm: Normalization
) -> Callable[[], object]:
    return lambda: encoder.embed(next(frames), _CHIP, norm)


def _write_files(folder: Path) -> list[FrameRef]:
    experiment = Experiment(frames=_FILES, size=(_EDGE, _EDGE))
    exposure = Exposure(pixel_size_nm=0.04, time=0.0, exposure_s=0.1, interval_s=1.0)
    refs = []
    for number in range(_FILES):
        path = folder / f"{number}.dm4"
        path.write_bytes(encode("dm4", experiment.frame(number).pixels, exposure, path.stem))
        status = path.stat()
        refs.append(FrameRef(path=path.name, size=status.st_size, mtime_ns=status.st_mtime_ns))
    return refs


def _support(frame: Frame) -> SupportSet:
    """Two classes, from the left and the right of a frame: what they show does not matter."""
    last = _EDGE // _CHIP - 1
    picks = {
        name: [(row, column) for row in range(1, 2 * _PICKS, 2)]
        for name, column in (("left", 1), ("right", last - 1))
    }
    norm = Normalization.from_percentiles(frame.pixels)
    return SupportSet.from_picks(frame, _CHIP, picks, normalization=norm)
