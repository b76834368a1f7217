"""Small frames, support sets and runs for the tests of the archive; all follow from numbers."""

from dataclasses import replace

import numpy as np

from pychip_stream.archive.blocks import pack
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import FrameRef
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.domain.support import (
    UNKNOWN,
    ChipSource,
    SupportChip,
    SupportEmbedding,
    SupportSet,
    make_classes,
)
from tests.support.copies import put
from tests.support.failing_disks import QuickDisk

NAMES = ("alpha", "beta")
GRID = (3, 4)
DIM = 8
SIZE = ChipSize(16, 16)
ENCODER = "e" * 32


def support(names=NAMES, seed=0, *, chip_size=SIZE, encoder=ENCODER, low=0.0, high=4000.0):
    """A support set with three chips per class and an embedding of DIM components."""
    rng = np.random.default_rng(seed)
    shape = (chip_size.height, chip_size.width)
    chips = tuple(
        SupportChip(
            name,
            rng.integers(0, 4000, shape).astype(np.uint16),
            ChipSource("first.dm4", 0, n, number, 0.04, "nm", "somebody", 1.7e9),
        )
        for number, name in enumerate(names)
        for n in range(3)
    )
    centres = np.arange(len(names), dtype=np.float32)[:, None, None, None]
    noise = rng.normal(0, 0.2, (len(names), 3, 16, DIM))
    cells = (centres + noise).reshape(-1, 16, DIM).astype(np.float32)
    background = rng.normal(0.5, 0.7, (60, DIM)).astype(np.float32)
    return SupportSet(
        classes=make_classes(names),
        chips=chips,
        chip_size=chip_size,
        normalization=Normalization("range", low, high),
        embedding=SupportEmbedding("bundled", encoder, cells, background),
        author="somebody",
        note=f"set {seed}",
        created=1.7e9 + seed,
    )


def result(number, names=NAMES, grid=GRID, version="0" * 32):
    """A classified frame; what it holds follows from its number."""
    rng = np.random.default_rng(number)
    classes = len(names)
    labels = rng.integers(0, classes + 1, grid).astype(np.uint8)
    shares = np.bincount(labels.ravel(), minlength=classes + 1) / labels.size
    odds = rng.random((*grid, classes)).astype(np.float32) + 0.01
    return FrameResult(
        names,
        labels,
        odds / odds.sum(-1, keepdims=True),
        rng.random((*grid, classes)).astype(np.float32),
        rng.random(grid).astype(np.float32),
        np.stack([shares, np.maximum(shares - 0.1, 0), np.minimum(shares + 0.1, 1)], axis=1),
        version,
    )


def pieces(results):
    """Results as `add_scoring` takes them."""
    return [pack([one], [0], (*one.names, UNKNOWN)) for one in results]


def record(number, *, embeddings=True, **changes):
    """A frame that was classified; frame n was taken n seconds after the first."""
    one = FrameRecord(
        frame=FrameRef(
            path=f"Hour_00/frame_{number:06d}.dm4",
            size=1000 + number,
            mtime_ns=int((1.7e9 + number) * 1e9),
            time=1.7e9 + number,
            seen=1.7e9 + number + 0.1,
        ),
        content_hash=f"{number:032x}",
        read=1.7e9 + number + 0.2,
        classified=1.7e9 + number + 0.3,
        pixel_size=0.04,
        unit="nm",
        shape=(50, 70),
        chip_size=(16, 16),
        embeddings=vectors(number) if embeddings else None,
        result=result(number),
        encoder_hash=ENCODER,
        measured={"intensity_mean": 2000.0, "intensity_p1": 100.0, "intensity_p99": 3900.0},
        texts={"detector": "HAADF"},
    )
    of_frame = {name: changes.pop(name) for name in list(changes) if hasattr(one.frame, name)}
    return replace(one, frame=replace(one.frame, **of_frame), **changes)


def vectors(number, grid=GRID):
    """Embeddings of a frame."""
    return np.random.default_rng(number).normal(0.5, 0.7, (*grid, DIM)).astype(np.float16)


def failed(number, why="cannot be read"):
    """A frame that could not be analysed."""
    return FrameRecord(
        frame=FrameRef(
            path=f"Hour_00/frame_{number:06d}.dm4",
            size=1000 + number,
            mtime_ns=int((1.7e9 + number) * 1e9),
            time=1.7e9 + number,
            seen=1.7e9 + number + 0.1,
        ),
        status="failed",
        reason=why,
    )


def fill(writer, records):
    """Append records, publishing what is due; returns the acknowledged keys."""
    keys = []
    for one in records:
        writer.append(one)
        if writer.full:
            keys += writer.publish()
    return keys + writer.publish()


def make_run(folder, count=10, name="run", *, close=True, embeddings=True, segment_frames=4):
    """A run of `count` frames with a support set; returns its path."""
    put(folder, _write_run, count, name, close, embeddings, segment_frames)
    return folder / f"{name}.h5"


def _write_run(folder, count, name, close, embeddings, segment_frames):
    made = support()
    writer = RunWriter(
        folder, name, segment_frames=segment_frames, disk=QuickDisk(), embeddings=embeddings,
        metadata={"config": "watch: {root: frames}"},
    )  # fmt: skip
    writer.add_support(support_to_bytes(made), made.version)
    results = [result(n, version=made.version) for n in range(count)]
    fill(writer, [record(n, result=r, embeddings=embeddings) for n, r in enumerate(results)])
    if close:
        writer.close()
    writer.release()
