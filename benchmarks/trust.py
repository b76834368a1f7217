"""Whether the numbers can be trusted: calibration, unknown, and intervals, on simulated runs.

Every run has its own specimen, noise, drift and change; its support set is drawn from the first
frame as an operator would (clean chips, 3-10 per class at random). What the classifier says is
compared with what the simulator knows, for chips (majority class) and for fractions (share of
chips by majority class, which is what a phase fraction is; and share of pixels besides).

    python benchmarks/trust.py [--runs 200] [--seed 0] [--encoder NAME] [--json]

With `--micrographs DIR` (index.csv, images/*.tif, masks/*.png) calibration and coverage on real,
labelled images are measured as well.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.results import FrameResult
from pychip_stream.domain.support import SupportEmbedding, SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.embedding import BACKGROUND_CHIPS
from pychip_stream.model.ports import Encoder
from pychip_stream.sim.specimen import Experiment
from pychip_stream.sim.truth import class_shares, clean_chips, spread_out

CHIP = ChipSize(32, 32)
FRAMES = 60
LOOKED_AT = (0, 8, 16, 24, 32, 40, 48, 59)
CLEAN = 0.9


@dataclass(frozen=True, eq=False)
class Run:
    """One simulated run, embedded.

    Attributes
    ----------
    embeddings
        (frames, rows, columns, D).
    cells
        (rows, columns, CELLS², D) of the first frame.
    shares
        (frames, rows, columns, K) share of each of the experiment's classes in every chip.
    embed_s
        Seconds that embedding one frame took.
    """

    scenario: str
    seed: int
    names: tuple[str, ...]
    first: Frame = field(repr=False)
    embeddings: npt.NDArray[np.float32] = field(repr=False)
    cells: npt.NDArray[np.float32] = field(repr=False)
    shares: npt.NDArray[np.float64] = field(repr=False)
    embed_s: float = 0.0


def simulate(scenario: str, seed: int, encoder: Encoder) -> Run:
    """Take the frames of a run and embed them under the first frame's intensity range."""
    experiment = Experiment(scenario, seed, FRAMES)
    first = Frame(experiment.frame(0).pixels)
    scale = SupportSet.from_picks(first, CHIP, {"a": [(0, 0)], "b": [(0, 1)]}).normalization
    embedded, shares, spent = [], [], []
    for number in LOOKED_AT:
        shot = experiment.frame(number)
        begun = time.perf_counter()
        embedded.append(encoder.embed(shot.pixels, CHIP, scale))
        spent.append(time.perf_counter() - begun)
        shares.append(class_shares(shot.truth, len(experiment.names), CHIP))
    cells = encoder.embed_cells(first, CHIP, scale)
    return Run(
        scenario, seed, experiment.names, first, np.stack(embedded), cells, np.stack(shares),
        float(np.median(spent)),
    )  # fmt: skip


def draw_support(run: Run, per_class: int, encoder: Encoder, seed: int) -> SupportSet | None:
    """Pick clean chips of the first frame; None if fewer than two classes have any."""
    rng = np.random.default_rng(seed)
    clean = [clean_chips(run.shares[0, :, :, k], CLEAN) for k in range(len(run.names))]
    picks = {
        name: spread_out(places, per_class, rng)
        for name, places in zip(run.names, clean, strict=True)
        if places
    }
    if len(picks) < 2:
        return None
    support = SupportSet.from_picks(run.first, CHIP, picks)
    places = [(chip.source.row or 0, chip.source.column or 0) for chip in support.chips]
    background = run.embeddings[0].reshape(-1, run.embeddings.shape[-1])[:BACKGROUND_CHIPS]
    cells = np.stack([run.cells[place] for place in places])
    return support.with_embedding(
        SupportEmbedding(encoder.name, encoder.weights_hash, cells, background)
    )


@dataclass(frozen=True, eq=False)
class Judged:
    """A frame as classified and as it is, in the classes of the support set.

    Attributes
    ----------
    truth
        (n,) class index of each chip by majority; K where it is a class that was not shown.
    share
        (n,) share of the majority class in the chip.
    chip_fractions, pixel_fractions
        (K + 1,) by majority of chips, and by area.
    """

    result: FrameResult
    truth: npt.NDArray[np.intp]
    share: npt.NDArray[np.float64]
    chip_fractions: npt.NDArray[np.float64]
    pixel_fractions: npt.NDArray[np.float64]


def judge(run: Run, classifier: Classifier) -> Iterator[Judged]:
    """Classify the frames of a run after the first."""
    known = [run.names.index(name) for name in classifier.names]
    other = [i for i in range(len(run.names)) if i not in known]
    for embeddings, full in zip(run.embeddings[1:], run.shares[1:], strict=True):
        shares = np.concatenate(
            [full[..., known], full[..., other].sum(axis=-1, keepdims=True)], axis=-1
        ).reshape(-1, len(known) + 1)
        truth = shares.argmax(axis=1)
        yield Judged(
            classifier.score(embeddings),
            truth,
            shares.max(axis=1),
            np.bincount(truth, minlength=len(known) + 1) / len(truth),
            shares.mean(axis=0),
        )
