"""A small archived run whose labels are known, without any encoder."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile

from pychip_stream.archive.run import Run, open_run
from pychip_stream.archive.support_sets import support_to_bytes
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.domain.records import FrameRecord, FrameResult
from pychip_stream.domain.support import SupportSet


@dataclass(frozen=True)
class Archived:
    """A closed run, where its frames lie, and (frames, rows, columns) labels: 2 is unknown."""

    path: Path
    root: Path
    labels: np.ndarray

    def open(self) -> Run:
        return open_run(self.path)


@pytest.fixture
def archived(tmp_path) -> Archived:
    rng = np.random.default_rng(0)
    size = ChipSize(8, 6)
    root = tmp_path / "frames"
    root.mkdir()
    labels = rng.choice([0, 0, 0, 1, 1, 2], size=(12, 5, 7)).astype(np.uint8)
    writer = RunWriter(
        tmp_path, "run", segment_frames=64, segment_s=5.0, embeddings=False,
        metadata={"root": str(root)},
    )  # fmt: skip
    for number, grid in enumerate(labels):
        pixels = (grid.repeat(6, 0).repeat(8, 1) * 100 + 50).astype(np.uint16)
        tifffile.imwrite(root / f"f{number}.tif", pixels)
        if number == 0:
            picks = {
                name: [tuple(p) for p in np.argwhere(grid == k)[:3]]
                for k, name in enumerate(["alpha", "beta"])
            }
            support = SupportSet.from_picks(Frame(pixels), size, picks)
            writer.add_support(support_to_bytes(support), support.version)
        share = np.bincount(grid.ravel(), minlength=3) / grid.size
        result = FrameResult(
            names=("alpha", "beta"),
            label_map=grid,
            probabilities=np.full((*grid.shape, 2), 0.5, np.float32),
            distances=np.ones((*grid.shape, 2), np.float32),
            novelty=np.zeros(grid.shape, np.float32),
            intervals=np.stack([share, share - 0.01, share + 0.01], axis=1).clip(0, 1),
            support_version=support.version,
            drift=0.25 * number,
        )
        writer.append(
            FrameRecord(
                frame=FrameRef(path=f"f{number}.tif", mtime_ns=10**9 * (number + 1)),
                result=result,
                measured={"drift": result.drift},
                shape=pixels.shape,
                chip_size=(8, 6),
                classified=1.0,
            )
        )
    return Archived(writer.close(), root, labels)
