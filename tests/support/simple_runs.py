"""Runs that were really classified, with an encoder that needs no network."""

import numpy as np
import tifffile

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.classification import Batch, classify
from pychip_stream.archive.writer import RunWriter
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import SupportSet
from pychip_stream.model.embedding import embed_support
from tests.support.copies import put
from tests.support.simple_encoder import SimpleEncoder

COUNT = 5
ENCODER = SimpleEncoder()


def pixels(number):
    """Left part stripes, right part speckle; the border wanders."""
    rng = np.random.default_rng(number)
    stripes = 2000 + 800 * np.sin(np.arange(160) * 2 * np.pi / 8)
    speckle = 2000 + 800 * rng.standard_normal((128, 160))
    left = np.arange(160) < 48 + 16 * number
    noise = rng.normal(0, 80, (128, 160))
    return np.where(left, stripes + noise, speckle).clip(0, 65535).astype(np.uint16)


def picked(number, seed=0, *, encoder=ENCODER, norm=None, names=("stripes", "speckle"), size=16):
    rng = np.random.default_rng(seed)
    rows = rng.permutation(128 // size)[:3].tolist()
    picks = {names[0]: [(r, 0) for r in rows], names[1]: [(r, 160 // size - 1) for r in rows]}
    norm = norm or Normalization("range", 0.0, 5000.0)
    frame = Frame(pixels(number), pixel_size=0.1, unit="nm")
    support = SupportSet.from_picks(frame, size, picks, normalization=norm, author="x")
    return embed_support(support, encoder) if encoder else support


FIRST = picked(0)


def archive(folder, support=FIRST, *, close=True, count=COUNT, **options):
    """A run of frames, really classified; returns its path."""
    if support is FIRST and not options:
        put(folder, _classified, close, count, root=folder / "frames")
    else:
        _classified(folder, close, count, support, **options)
    return folder / "run.h5"


def _classified(folder, close, count, support=FIRST, **options):
    frames = folder / "frames"
    frames.mkdir(parents=True)
    for n in range(count):
        tifffile.imwrite(frames / f"{n}.tif", pixels(n % 6))
    metadata = {"root": str(frames), "config": "classify: {sensitivity: 0.9}"}
    writer = RunWriter(folder, "run", segment_frames=2, metadata=metadata)
    settings = ClassifyConfig(sensitivity=0.9)
    analyst = Analyst.of(support, ENCODER, settings, **options)
    if not close:
        writer.close = lambda: None
    classify(Batch.of([frames]), analyst, writer)
    if not close:
        writer.publish()
        writer.release()
