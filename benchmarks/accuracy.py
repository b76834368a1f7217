"""Accuracy on labelled micrographs: few chips of one image name the others.

Protocol: per image, intensity limited to its 0.1-99.9 percentiles; grid chips of 64 px (ebc) and
32 px (super); a chip counts if one class covers at least 80 % of it; classes with at least 12
such chips take part, at most 400 chips per class; 5 support chips per class from one image, 20
draws (seed = image number). *within*: balanced accuracy over that image's other chips; *cross*:
over all chips of the next image of the family. Embeddings are standardised with the support
frame's mean and deviation.

    python -m benchmarks.accuracy DATA [--encoder NAME] [--device cpu/float32] [--draws 20] [--json]

DATA is a folder with index.csv, images/*.tif and masks/*.png (class indices).
"""

import argparse
import csv
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pychip_stream.domain.chips import CELLS, ChipSize, Grid
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import (
    SupportChip,
    SupportEmbedding,
    SupportSet,
    make_classes,
)
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import Encoder, load_encoder

CHIP_SIZES = {"ebc": 64, "super": 32}
SHOTS = 5
COVERAGE = 0.8
AT_LEAST, AT_MOST = 12, 400

Array = npt.NDArray[np.float64]
Labels = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Sample:
    """One labelled image, embedded: cells (n, 16, D) and labels (n,) of the chips that count."""

    cells: Array
    labels: Labels
    mean: Array
    deviation: Array

    @property
    def chips(self) -> Array:
        """(n, D) embeddings: the mean over the cells."""
        return self.cells.mean(1)

    def seen_by(self, support: "Sample") -> "Sample":
        """Standardise with the support frame's mean and deviation."""
        cells = (self.cells - support.mean) / support.deviation
        return Sample(cells, self.labels, self.mean, self.deviation)


Head = Callable[[Sample, Labels, Array], Labels]
"""Gets the standardised support image, the picked chips and (n, D) targets; names the targets."""


def chip_labels(mask: npt.NDArray[np.uint8], size: int, rng: np.random.Generator) -> Labels:
    """Class of every grid chip, -1 for those that do not count; (rows, columns)."""
    grid = Grid.of((mask.shape[0], mask.shape[1]), ChipSize(size, size))
    blocks = mask[: grid.shape[0], : grid.shape[1]].reshape(grid.rows, size, grid.columns, size)
    labels = np.full((grid.rows, grid.columns), -1, np.intp)
    for cls in np.unique(mask):
        places = np.argwhere((blocks == cls).mean((1, 3)) >= COVERAGE)
        if len(places) < AT_LEAST:
            continue
        if len(places) > AT_MOST:
            places = places[rng.choice(len(places), AT_MOST, replace=False)]
        labels[places[:, 0], places[:, 1]] = cls
    return labels


def embed(folder: Path, row: dict[str, str], number: int, encoder: Encoder | None) -> Sample:
    """Embed one image; without an encoder, mean intensity alone."""
    pixels = np.array(Image.open(folder / "images" / f"{row['name']}.tif").convert("L"))
    mask = np.array(Image.open(folder / "masks" / f"{row['name']}.png"))
    mask = mask[..., 0] if mask.ndim > 2 else mask
    size = CHIP_SIZES[row["family"]]
    labels = chip_labels(mask, size, np.random.default_rng(number))
    norm = Normalization.from_percentiles(pixels)
    if encoder is None:
        image = np.clip(norm.apply(pixels), 0, 1)[
            : labels.shape[0] * size, : labels.shape[1] * size
        ]
        blocks = image.reshape(labels.shape[0], size, labels.shape[1], size)
        cells = blocks.mean((1, 3))[:, :, None, None].repeat(16, axis=2).astype(np.float64)
    else:
        limited = np.clip(pixels, norm.low, norm.high)
        cells = encoder.embed_cells(limited, size, norm).astype(np.float64)
    everything = cells.mean(2).reshape(-1, cells.shape[-1])
    counts = labels >= 0
    return Sample(cells[counts], labels[counts], everything.mean(0), everything.std(0) + 1e-6)


def euclidean(own: Sample, picked: Labels, chips: Array) -> Labels:
    """Nearest prototype (Snell et al. 2017)."""
    cells, labels = own.cells[picked], own.labels[picked]
    names = np.unique(labels)
    prototypes = np.stack([cells[labels == c].mean((0, 1)) for c in names])
    return names[((chips[:, None] - prototypes) ** 2).sum(-1).argmin(1)]


def lda(own: Sample, picked: Labels, chips: Array) -> Labels:
    """Shrinkage LDA (Ledoit & Wolf 2004) fitted on cells, applied to chip means."""
    cells, labels = own.cells[picked], own.labels[picked]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant components give zero divisions inside
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=None)
        count = len(np.unique(labels))
        model.set_params(priors=np.full(count, 1 / count))
        model.fit(cells.reshape(-1, cells.shape[-1]), labels.repeat(cells.shape[1]))
    return np.asarray(model.predict(chips), dtype=np.intp)


def package(own: Sample, picked: Labels, chips: Array) -> Labels:
    """Classify as the installed package does, without rejection."""
    names = [str(c) for c in own.labels[picked]]
    blank = np.zeros((CELLS, CELLS), np.uint8)
    support = SupportSet(
        classes=make_classes(sorted(set(names))),
        chips=tuple(SupportChip(name, blank) for name in names),
        chip_size=ChipSize(CELLS, CELLS),
        normalization=Normalization("range", 0.0, 1.0),
        embedding=SupportEmbedding(
            "any", "any", own.cells[picked].astype(np.float32), own.chips.astype(np.float32)
        ),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted = Classifier.fit(support)
    found = fitted.score(chips[None], reject=False)
    return np.array([int(name) for name in found.labels[0]], dtype=np.intp)


def balanced(truth: Labels, guess: Labels) -> float:
    return float(np.mean([(guess[truth == c] == c).mean() for c in np.unique(truth)]))


def evaluate(samples: Sequence[Sample], head: Head, draws: int) -> tuple[float, float]:
    """Accuracy within and across the images of one family."""
    within, cross = [], []
    for number, sample in enumerate(samples):
        rng = np.random.default_rng(number)
        own = sample.seen_by(sample)
        other = samples[(number + 1) % len(samples)].seen_by(sample)
        for _ in range(draws):
            picked = np.concatenate(
                [
                    rng.choice(np.flatnonzero(own.labels == c), SHOTS, replace=False)
                    for c in np.unique(own.labels)
                ]
            )
            rest = np.setdiff1d(np.arange(len(own.labels)), picked)
            known = np.isin(other.labels, own.labels[picked])
            targets = np.concatenate([own.chips[rest], other.chips[known]])
            guess = head(own, picked, targets)
            within.append(balanced(own.labels[rest], guess[: len(rest)]))
            cross.append(balanced(other.labels[known], guess[len(rest) :]))
    return float(np.mean(within)), float(np.mean(cross))


def measure(folder: Path, encoder: Encoder | None, draws: int) -> dict[str, dict[str, list[float]]]:
    """Figures by head and family: [within, cross]."""
    with (folder / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    heads: dict[str, Head] = {"euclidean": euclidean}
    if encoder is not None:
        heads["lda on cells"] = lda
        heads["as the package classifies"] = package
    out: dict[str, dict[str, list[float]]] = {name: {} for name in heads}
    for family in CHIP_SIZES:
        chosen = [row for row in rows if row["family"] == family]
        samples = [embed(folder, row, i, encoder) for i, row in enumerate(chosen)]
        for name, head in heads.items():
            out[name][family] = list(evaluate(samples, head, draws))
    for figures in out.values():
        figures["mean"] = [float(np.mean([figures[f][i] for f in CHIP_SIZES])) for i in (0, 1)]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description="accuracy on labelled micrographs")
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", action="append", default=None)
    parser.add_argument("--weights", type=Path, default=None)
    parser.add_argument("--device", default=None, help='"cpu/int8"; else its default in float32')
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not (args.data / "index.csv").is_file():
        sys.exit(f"{args.data}: no index.csv there; name the folder with the labelled images")
    table = {"mean intensity alone": measure(args.data, None, args.draws)["euclidean"]}
    for name in args.encoder or ["bundled"]:
        encoder = load_encoder(name, args.weights, args.device, None if args.device else "float32")
        for head, figures in measure(args.data, encoder, args.draws).items():
            table[f"{name} ({encoder.dim}), {head}"] = figures
    if args.json:
        print(json.dumps(table, indent=1))
        return
    print(f"{'within / cross':40}" + "".join(f"{f:>17}" for f in (*CHIP_SIZES, "mean")))
    for name, figures in table.items():
        cells = "".join(f"{w:>9.3f} / {c:.3f}" for w, c in figures.values())
        print(f"{name:40}{cells}")


if __name__ == "__main__":
    main()
