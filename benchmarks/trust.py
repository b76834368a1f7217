"""Whether the numbers can be trusted: calibration, unknown, and intervals, on simulated runs.

Every run has its own specimen, noise, drift and change; its support set is drawn from the first
frame as an operator would (clean chips, 3-10 per class at random). What the classifier says is
compared with what the simulator knows, for chips (majority class) and for fractions (share of
chips by majority class, which is what a phase fraction is; and share of pixels besides).

    python -m benchmarks.trust [--runs 200] [--seed 0] [--jobs 2] [--encoder NAME]
        [--micrographs DIR] [--draws 10] [--scenes N] [--imported] [--json]

With `--micrographs DIR` (index.csv, images/*.tif, masks/*.png) the fractions of real, labelled
images are judged as well, and with `--scenes N` those of procedural ones, see
`benchmarks.micrographs`.
"""

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score

from benchmarks import micrographs
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.records import FrameResult
from pychip_stream.domain.support import SupportEmbedding, SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.embedding import BACKGROUND_CHIPS
from pychip_stream.model.encoders import Encoder, load_encoder
from pychip_stream.model.intervals import frame_shares, sampling
from pychip_stream.model.lda import largest_per_class
from pychip_stream.model.scoring import DRIFTED
from pychip_stream.sim.scenes import SCENARIOS
from pychip_stream.sim.specimen import Experiment
from pychip_stream.sim.truth import class_shares, clean_chips, spread_out

CHIP = ChipSize(32, 32)
FRAMES = 60
LOOKED_AT = (0, 8, 16, 24, 32, 40, 48, 59)
CLEAN = 0.9
SHOTS = 5
"""Examples per class for the calibration and the unknown."""
FEWEST, MOST = 3, 10
"""Examples per class for the intervals, drawn for each run."""
SENSITIVITIES = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.6)


def calibration_error(
    confidence: npt.NDArray[np.floating], correct: npt.NDArray[np.bool_], bins: int = 15
) -> float:
    """Measure the expected calibration error: |confidence - accuracy| over equal bins.

    Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015.

    Parameters
    ----------
    confidence, correct
        (n,) probability given to the predicted class, and whether it was right.
    """
    if confidence.size == 0:
        return 0.0
    number = np.minimum((confidence * bins).astype(np.intp), bins - 1)
    gap = np.bincount(number, confidence, bins) - np.bincount(number, correct, bins)
    return float(np.abs(gap).sum() / confidence.size)


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
        Seconds that embedding one frame took, the best of all frames (as the intervals are timed).
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
        float(np.min(spent)),
    )  # fmt: skip


def draw_support(
    run: Run, per_class: int, encoder: Encoder, seed: int, *, imported: bool = False
) -> SupportSet | None:
    """Pick clean chips of the first frame; None if fewer than two classes have any.

    `imported`: they come as pictures.
    """
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
    if imported:
        return micrographs.as_pictures(support, encoder)
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


@dataclass(eq=False)
class Tally:
    """What all runs said, by name of the figure and scenario."""

    values: dict[tuple[str, str], list[Any]] = field(default_factory=dict)

    def add(self, name: str, scenario: str, value: Any) -> None:
        """Keep a value or an array of them."""
        self.values.setdefault((name, scenario), []).append(value)

    def take(self, other: "Tally") -> None:
        """Add what another one holds."""
        for key, values in other.values.items():
            self.values.setdefault(key, []).extend(values)

    def all(self, name: str, scenario: str | None = None) -> npt.NDArray[Any]:
        """Values of one scenario, or of all, as one array."""
        found = [
            np.atleast_1d(value)
            for (key, where), values in self.values.items()
            if key == name and scenario in (None, where)
            for value in values
        ]
        return np.concatenate(found) if found else np.zeros(0)

    def mean(self, name: str, scenario: str | None = None) -> float:
        """Mean over everything; NaN without values."""
        values = self.all(name, scenario)
        return float(values.mean()) if len(values) else float("nan")


def tally_chips(tally: Tally, scenario: str, judged: Judged) -> None:
    """Calibration of the known chips, novelty of known and unknown ones."""
    classes = len(judged.result.names)
    known = judged.truth < classes
    probabilities = judged.result.probabilities.reshape(-1, classes)[known]
    novelty = judged.result.novelty.ravel()
    tally.add("confidence", scenario, probabilities.max(axis=1))
    tally.add("correct", scenario, probabilities.argmax(axis=1) == judged.truth[known])
    tally.add("novelty of known", scenario, novelty[known])
    tally.add("novelty of unknown", scenario, novelty[~known])


def tally_intervals(tally: Tally, scenario: str, judged: Judged, shots: int) -> None:
    """Coverage and width of the interval of every class, and of unknown."""
    value, low, high = judged.result.intervals.T
    slack = 1e-9
    chips, pixels = judged.chip_fractions, judged.pixel_fractions
    covered = (low - slack <= chips) & (chips <= high + slack)
    few = f"{FEWEST}-4" if shots < 5 else "5-7" if shots < 8 else f"8-{MOST}"
    tally.add("covered", scenario, covered[:-1])
    tally.add("pixels covered", scenario, ((low - slack <= pixels) & (pixels <= high + slack))[:-1])
    tally.add("width", scenario, (high - low)[:-1])
    tally.add("error", scenario, np.abs(value - chips)[:-1])
    tally.add("error of the count", scenario, np.abs(judged.result.counted - chips)[:-1])
    tally.add("unknown covered", scenario, covered[-1])
    tally.add("unknown width", scenario, (high - low)[-1])
    tally.add(f"covered {few}", scenario, covered[:-1])
    tally.add(f"width {few}", scenario, (high - low)[:-1])


def tally_run(
    tally: Tally, run: Run, encoder: Encoder, seed: int, *, imported: bool = False
) -> bool:
    """Judge one run with two support sets; False if it has no two classes to show."""
    shots = int(np.random.default_rng([seed, 1]).integers(FEWEST, MOST + 1))
    five = draw_support(run, SHOTS, encoder, seed, imported=imported)
    some = draw_support(run, shots, encoder, seed + 1, imported=imported)
    if five is None or some is None:
        return False
    for judged in judge(run, Classifier.fit(five)):
        tally_chips(tally, run.scenario, judged)
    begun = time.perf_counter()
    classifier = Classifier.fit(some)
    tally.add("fit_s", run.scenario, time.perf_counter() - begun)
    drifts = []
    for judged in judge(run, classifier):
        tally_intervals(tally, run.scenario, judged, shots)
        drifts.append(judged.result.drift)
    tally.add("drift at the end", run.scenario, float(np.median(drifts[-3:])))
    cost = interval_seconds(classifier, run.embeddings[-1])
    tally.add("interval_share", run.scenario, cost / (run.embed_s + cost))
    return True


@cache
def encoder_here(name: str, weights: Path | None) -> Encoder:
    """Load the encoder of a process once; the processes share the cores, one thread each."""
    torch.set_num_threads(1)
    return load_encoder(name, weights)


def one_run(
    name: str, weights: Path | None, seed: int, imported: bool, number: int
) -> Tally | None:
    """Simulate and judge run `number`; None if it has no two classes to show."""
    encoder, names = encoder_here(name, weights), list(SCENARIOS)
    own = 1_000_000 * (seed + 1) + number
    run = simulate(names[number % len(names)], own, encoder)
    tally = Tally()
    return tally if tally_run(tally, run, encoder, own, imported=imported) else None


def interval_seconds(classifier: Classifier, embeddings: npt.NDArray[np.float32]) -> float:
    """Seconds that the intervals of a frame take, best of three."""
    scorer = classifier.scorer
    flat = embeddings.reshape(1, -1, embeddings.shape[-1])
    scores = scorer.score(flat, reject=True)
    chips = (flat - scorer.mean) / scorer.deviation
    logits = largest_per_class(chips @ scorer.weights + scorer.offsets, scorer.owners)
    sample = chips[:, :: sampling(chips.shape[1], len(classifier.names))]
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        frame_shares(
            scorer.ensemble, sample, np.swapaxes(logits, 1, 2), scores.labels,
            np.swapaxes(scores.probabilities, 1, 2), scores.novelty, scores.shifts,
            reject=True, strange=np.zeros(1, np.bool_),
        )  # fmt: skip
        best = min(best, time.perf_counter() - begun)
    return best


def figures(tally: Tally) -> dict[str, Any]:
    """Reduce the tally to the figures of the documentation."""
    known = tally.all("novelty of known", "newphase")
    unknown = tally.all("novelty of unknown", "newphase")
    truth = np.repeat([0, 1], [len(known), len(unknown)])
    scenarios = [s for s in SCENARIOS if len(tally.all("covered", s))]
    buckets = (f"{FEWEST}-4", "5-7", f"8-{MOST}")
    quiet = [s for s in scenarios if s != "drift"]

    def error(chosen: list[str]) -> float:
        confidence = np.concatenate([tally.all("confidence", s) for s in chosen])
        correct = np.concatenate([tally.all("correct", s) for s in chosen])
        return calibration_error(confidence, correct.astype(bool))

    def rejected(novelty: npt.NDArray[np.float64]) -> dict[str, float]:
        shares = [float((s * novelty > 1).mean()) for s in SENSITIVITIES] if len(novelty) else []
        return dict(zip(map(str, SENSITIVITIES), shares, strict=False))

    return {
        "calibration_error": error(scenarios),
        "calibration_error_without_drift": error(quiet),
        "calibration_error_by_scenario": {s: error([s]) for s in scenarios},
        "accuracy_by_scenario": {s: tally.mean("correct", s) for s in scenarios},
        "unknown_auroc": float(roc_auc_score(truth, np.concatenate([known, unknown])))
        if len(known) and len(unknown)
        else float("nan"),
        "known_rejected": float((known > 1).mean()),
        "known_rejected_all_runs": float((tally.all("novelty of known") > 1).mean()),
        "unknown_found": float((unknown > 1).mean()) if len(unknown) else float("nan"),
        "known_rejected_by_sensitivity": rejected(known),
        "unknown_found_by_sensitivity": rejected(unknown),
        "coverage": tally.mean("covered"),
        "coverage_pixels": tally.mean("pixels covered"),
        "coverage_by_scenario": {s: tally.mean("covered", s) for s in scenarios},
        "coverage_by_shots": {b: tally.mean(f"covered {b}") for b in buckets},
        "coverage_unknown": tally.mean("unknown covered"),
        "width": tally.mean("width"),
        "width_by_scenario": {s: tally.mean("width", s) for s in scenarios},
        "width_by_shots": {b: tally.mean(f"width {b}") for b in buckets},
        "error": tally.mean("error"),
        "error_of_the_count": tally.mean("error of the count"),
        "error_of_the_count_by_scenario": {
            s: tally.mean("error of the count", s) for s in scenarios
        },
        "error_by_scenario": {s: tally.mean("error", s) for s in scenarios},
        "interval_share": float(np.median(tally.all("interval_share"))),
        "fit_s": float(np.median(tally.all("fit_s"))),
        "drift_noticed": {
            s: float((tally.all("drift at the end", s) > DRIFTED).mean()) for s in scenarios
        },
    }


def show(name: str, value: Any, depth: int = 0) -> None:
    """Print a figure, or a table of them."""
    if isinstance(value, dict):
        print("  " * depth + name)
        for key, inner in value.items():
            show(str(key), inner, depth + 1)
    elif isinstance(value, float):
        print(f"{'  ' * depth + name:40} {value:8.4f}")
    else:
        print(f"{'  ' * depth + name:40} {value}")


def main() -> None:
    parser = argparse.ArgumentParser(description="whether the numbers can be trusted")
    parser.add_argument("--runs", type=int, default=200, help="simulated runs, all scenarios")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--encoder", default="bundled")
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--micrographs", type=Path, default=None, metavar="DIR")
    parser.add_argument("--draws", type=int, default=10, help="support sets of each micrograph")
    parser.add_argument("--scenes", type=int, default=0, metavar="N", help="procedural specimens")
    parser.add_argument(
        "--imported", action="store_true", help="examples are pictures without their frame"
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = load_encoder(args.encoder, args.weights)
    tally, used = Tally(), 0
    work = partial(one_run, args.encoder, args.weights, args.seed, args.imported)
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn")) as pool:
        for found_here in pool.map(work, range(args.runs)):
            used += found_here is not None
            if found_here is not None:
                tally.take(found_here)
    found: dict[str, Any] = {
        "runs": used, "seed": args.seed, "encoder": encoder.name,
        "weights": encoder.weights_hash[:8], **(figures(tally) if used else {}),
    }  # fmt: skip
    if args.micrographs is not None:
        judged = micrographs.of_micrographs(
            args.micrographs, encoder, args.seed, args.draws, imported=args.imported
        )
        found["micrographs"] = micrographs.figures(judged)
    if args.scenes:
        found["scenes"] = micrographs.figures(
            micrographs.of_scenes(args.scenes, encoder, args.seed, imported=args.imported)
        )
    if args.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        show(name, value)


if __name__ == "__main__":
    main()
