"""Accuracy at another magnification, with chips of the set's pixels and of the examples' size.

Labelled images as of `benchmarks.accuracy` are resampled by a half and by two; examples come from
the image as it was. What is told of inverted contrast is counted on the same images.

    python -m benchmarks.magnification DATA [--draws 2]
"""

import argparse
import csv
import logging
import warnings
from collections import defaultdict
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.accuracy import CHIP_SIZES, SHOTS, balanced, chip_labels
from pychip_stream.analysis.analyst import Analyst
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.domain.support import SupportSet
from pychip_stream.errors import PychipError
from pychip_stream.model.encoders import load_encoder
from pychip_stream.model.scoring import Monitor

CASES = ((0.5, False), (0.5, True), (1.0, True), (2.0, False), (2.0, True))
"""Pixels along an edge as multiples of those of the examples, and whether chips are matched."""
Pixels = npt.NDArray[np.uint8]


def read(folder: Path, name: str) -> tuple[Pixels, Pixels]:
    """Grey values and class indices of an image."""
    pixels = np.array(Image.open(folder / "images" / f"{name}.tif").convert("L"))
    mask = np.array(Image.open(folder / "masks" / f"{name}.png"))
    return pixels, mask[..., 0] if mask.ndim > 2 else mask


def resampled(image: Pixels, factor: float, how: Image.Resampling) -> Pixels:
    """Return the same view with `factor` times as many pixels along each edge."""
    if factor == 1:
        return image
    size = (int(image.shape[1] * factor), int(image.shape[0] * factor))
    return np.array(Image.fromarray(image).resize(size, how))


def accuracy(analyst: Analyst, pixels: Pixels, mask: Pixels, factor: float) -> float:
    """Balanced accuracy over the chips of one class; NaN where there are none."""
    how = Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC
    frame = Frame(resampled(pixels, factor, how), 1 / factor, "nm")
    record = analyst.analyse_frame(frame, "", FrameRef(path="a"))
    assert record.result is not None
    shown = resampled(mask, factor, Image.Resampling.NEAREST)
    truth = chip_labels(shown, record.chip_size[0], np.random.default_rng(1))
    names = np.array([int(name) for name in record.result.names])
    counts = np.isin(truth, names)
    guess = names[record.result.probabilities.argmax(-1)]
    return balanced(truth[counts], guess[counts]) if counts.any() else float("nan")


def tells_inversion(analyst: Analyst, pixels: Pixels) -> bool:
    """Whether a frame is said to have its contrast inverted."""
    analyst = replace(analyst, monitor=Monitor(), _said=set(), _unusual=count(1))
    analyst.analyse_frame(Frame(pixels, 1.0, "nm"), "", FrameRef(path="a"))
    return any("contrast is inverted" in line for line in analyst.notices)


def main() -> None:
    parser = argparse.ArgumentParser(description="accuracy at another magnification")
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    encoder = load_encoder("bundled")
    found: dict[tuple[str, float, bool], list[float]] = defaultdict(list)
    told: dict[str, list[bool]] = defaultdict(list)
    with (options.data / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for family, size in CHIP_SIZES.items():
        images = [read(options.data, row["name"]) for row in rows if row["family"] == family]
        for number, (pixels, mask) in enumerate(images):
            rng = np.random.default_rng(number)
            labels = chip_labels(mask, size, rng)
            targets = {"same": (pixels, mask), "next": images[(number + 1) % len(images)]}
            for _ in range(options.draws):
                picks = {
                    str(c): [
                        (int(r), int(k))
                        for r, k in rng.permutation(np.argwhere(labels == c))[:SHOTS]
                    ]
                    for c in np.unique(labels[labels >= 0])
                }
                frame = Frame(pixels, 1.0, "nm", source="shown")
                try:
                    support = SupportSet.from_picks(frame, size, picks)
                except PychipError as error:
                    print(f"{family} {number}: {error}")
                    continue
                fitted = Analyst.of(support, encoder, ClassifyConfig())
                for where, (shown, truth) in targets.items():
                    for factor, match in CASES:
                        analyst = replace(fitted, match=match, monitor=Monitor())
                        found[where, factor, match].append(accuracy(analyst, shown, truth, factor))
                    told[where].append(tells_inversion(fitted, shown))
                    told[f"{where}, inverted"].append(tells_inversion(fitted, 255 - shown))
    for (where, factor, match), values in found.items():
        known = np.isfinite(values)
        print(
            f"{where} image, {factor:g} times the pixels, {'matched' if match else 'same'} chips: "
            f"{np.mean(np.array(values)[known]):.3f} ({known.sum()} of {len(values)} cases)"
        )
    for where, lines in told.items():
        print(f"{where} image: {sum(lines)} of {len(lines)} said to be inverted")


if __name__ == "__main__":
    main()
