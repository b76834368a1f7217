"""Fractions on labelled images: of real micrographs, and of procedural ones under many conditions.

Every image gets a support set of five clean chips per class, drawn at random; then its fractions
are judged on itself, on itself with one class thinned to 1-12 % of the chips ("rare"), on the next
image of its family, and on one of another family ("foreign"). Procedural specimens are seen at
another place of the same session, and in another session. Part of `python -m benchmarks.trust`.
"""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from pychip_stream.domain.caveats import STRANGE, WIDE
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import ChipSource, SupportEmbedding, SupportSet
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.embedding import BACKGROUND_CHIPS, embed_support
from pychip_stream.model.encoders import Encoder
from pychip_stream.model.prevalence import likeliest
from pychip_stream.sim.truth import class_shares, clean_chips
from training.scenes import make_scene, sample_instrument, sample_specimen, vary

CHIP_SIZES = {"ebc": 64, "super": 32}
SHOTS = 5
CLEAN = 0.8
SCENE = 1024
ACCURATE = 0.95

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Picture:
    """A labelled image: `shares` (rows, columns, K) of every class in each of its chips."""

    pixels: npt.NDArray[Any] = field(repr=False)
    chip: ChipSize
    shares: npt.NDArray[np.float64] = field(repr=False)

    def embedded(self, encoder: Encoder, scale: Normalization | None = None) -> Float32:
        """(rows, columns, D), in the range of another image or in its own."""
        scale = scale or Normalization.from_percentiles(self.pixels)
        return encoder.embed(Frame(self.pixels), self.chip, scale)


@dataclass(frozen=True)
class Target:
    """Chips to be judged: (n, D) embeddings and (n, K) shares."""

    kind: str
    embeddings: Float32 = field(repr=False)
    shares: npt.NDArray[np.float64] = field(repr=False)


def read(folder: Path) -> dict[str, list[Picture]]:
    """Read the labelled micrographs of a folder by family."""
    found: dict[str, list[Picture]] = {}
    with (folder / "index.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            pixels = np.array(Image.open(folder / "images" / f"{row['name']}.tif").convert("L"))
            mask = np.array(Image.open(folder / "masks" / f"{row['name']}.png"))
            mask = mask[..., 0] if mask.ndim > 2 else mask
            size = ChipSize(CHIP_SIZES[row["family"]], CHIP_SIZES[row["family"]])
            found.setdefault(row["family"], []).append(
                Picture(pixels, size, class_shares(mask, 3, size))
            )
    return found


def scenes(seed: int) -> list[Picture]:
    """Draw a specimen at two places of one session, and in another session."""
    rng = np.random.default_rng([seed, 16])
    specimen, instrument = sample_specimen(rng), sample_instrument(rng)
    seen = (instrument, instrument, vary(instrument, rng))
    size = ChipSize(64, 64)
    out = []
    for one in seen:
        raw = make_scene(specimen, one, SCENE, rng)
        truth = raw[1:].argmax(axis=0).astype(np.uint8)
        out.append(Picture(raw[0], size, class_shares(truth, len(raw) - 1, size)))
    return out


def as_pictures(support: SupportSet, encoder: Encoder) -> SupportSet:
    """Let the examples of a set be pictures: cut out, embedded by themselves, without the frame."""
    down, right = support.margin
    chips = tuple(
        replace(
            chip, pixels=chip.pixels[down : -down or None, right : -right or None],
            source=ChipSource(),
        )
        for chip in support.chips
    )  # fmt: skip
    alone = replace(support, chips=chips, margin=(0, 0), reference=None, embedding=None)
    return embed_support(alone, encoder)


def fit(
    picture: Picture, cells: Float32, rng: np.random.Generator, pictures_by: Encoder | None = None
) -> Classifier | None:
    """Fit a classifier to examples drawn from a picture; None without two classes to show.

    With an encoder the examples are `as_pictures`.
    """
    picks = {}
    for k in range(picture.shares.shape[2]):
        places = clean_chips(picture.shares[..., k], CLEAN)
        if len(places) >= SHOTS:
            drawn = rng.choice(len(places), SHOTS, replace=False)
            picks[str(k)] = [places[i] for i in drawn]
    unnamed = [k for k in range(picture.shares.shape[2]) if str(k) not in picks]
    if len(picks) < 2 or picture.shares[..., unnamed].sum(axis=-1).mean() > 0.1:
        return None
    support = SupportSet.from_picks(Frame(picture.pixels), picture.chip, picks)
    if pictures_by is not None:
        return Classifier.fit(as_pictures(support, pictures_by))
    shown = np.stack([cells[c.source.row, c.source.column] for c in support.chips])
    background = cells.mean(axis=2).reshape(-1, cells.shape[-1])
    if len(background) > BACKGROUND_CHIPS:
        background = background[rng.permutation(len(background))[:BACKGROUND_CHIPS]]
    return Classifier.fit(
        support.with_embedding(SupportEmbedding("any", "0" * 16, shown, background))
    )


def thinned(target: Target, number: int, rng: np.random.Generator) -> Target | None:
    """Leave out most chips of a class, so that it becomes rare."""
    mine = target.shares.argmax(axis=1) == number
    share = float(rng.uniform(0.01, 0.12))
    kept = round(share / (1 - share) * int((~mine).sum()))
    if not 0 < kept < mine.sum():
        return None
    chosen = np.concatenate([np.flatnonzero(~mine), rng.permutation(np.flatnonzero(mine))[:kept]])
    return Target("rare", target.embeddings[chosen], target.shares[chosen])


def judge(classifier: Classifier, target: Target) -> dict[str, Any]:
    """Compare the fractions of a target with what it shows."""
    known = [int(name) for name in classifier.names]
    shares = target.shares[:, known]
    truth = np.where(shares.sum(axis=1) > 0.5, shares.argmax(axis=1), len(known))
    wanted = np.bincount(truth, minlength=len(known) + 1) / len(truth)
    result = classifier.score(target.embeddings[None])
    value, low, high = result.intervals.T
    accepted = result.label_map[0] < len(known)
    alone = np.zeros(len(known))
    if accepted.any():
        odds = result.probabilities[0, accepted].T.astype(np.float64)
        alone = likeliest(odds, rounds=200) * accepted.mean()
    right, shown = result.label_map[0] == truth, truth < len(known)
    return {
        "accuracy": float(right[shown].mean()) if shown.any() else 0.0,
        "known rejected": float((~accepted)[shown].mean()) if shown.any() else 0.0,
        "unknown found": None if shown.all() else float((~accepted)[~shown].mean()),
        "strange": result.strange > STRANGE,
        "covered": ((low - 1e-9 <= wanted) & (wanted <= high + 1e-9)).tolist(),
        "width": (high - low)[:-1].tolist(),
        "estimated": float(np.abs(value - wanted)[:-1].mean()),
        "counted": float(np.abs(result.counted - wanted)[:-1].mean()),
        "likeliest": float(np.abs(alone - wanted[:-1]).mean()),
        "why": max(result.doubts, key=lambda name: result.doubts[name]),
    }


def flat(kind: str, embedded: Float32, picture: Picture) -> Target:
    """Make a target of all the chips of a picture."""
    classes = picture.shares.shape[2]
    return Target(
        kind, embedded.reshape(-1, embedded.shape[-1]), picture.shares.reshape(-1, classes)
    )


def of_micrographs(
    folder: Path, encoder: Encoder, seed: int, draws: int, *, imported: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Judge the images of a folder: kind of target and what came out.

    `imported`: the examples come as pictures.
    """
    families = read(folder)
    for name, pictures in families.items():
        strangers = [p for other, found in families.items() if other != name for p in found]
        for number, picture in enumerate(pictures):
            scale = Normalization.from_percentiles(picture.pixels)
            cells = encoder.embed_cells(Frame(picture.pixels), picture.chip, scale)
            own = flat("same image", cells.mean(axis=2), picture)
            following = pictures[(number + 1) % len(pictures)]
            stranger = replace(strangers[number % len(strangers)], chip=picture.chip)
            targets = [
                own,
                flat("next image", following.embedded(encoder), following),
                foreign(stranger.embedded(encoder, scale), picture),
            ]
            yield from _judged(
                picture, cells, targets, np.random.default_rng([seed, number]), draws,
                encoder if imported else None,
            )  # fmt: skip


def of_scenes(
    count: int, encoder: Encoder, seed: int, *, imported: bool = False
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Judge procedural specimens, as `of_micrographs` does."""
    before: Picture | None = None
    for number in range(count):
        first, later, session = scenes(1_000 * (seed + 1) + number)
        scale = Normalization.from_percentiles(first.pixels)
        cells = encoder.embed_cells(Frame(first.pixels), first.chip, scale)
        targets = [
            flat("same image", cells.mean(axis=2), first),
            flat("next place", later.embedded(encoder, scale), later),
            flat("next session", session.embedded(encoder, scale), session),
        ]
        if before is not None:
            targets.append(foreign(before.embedded(encoder), first))
        before = first
        yield from _judged(
            first, cells, targets, np.random.default_rng([seed, number]), 2,
            encoder if imported else None,
        )  # fmt: skip


def foreign(embedded: Float32, picture: Picture) -> Target:
    """Make a target of the chips of another material: all of no class of the picture."""
    chips = embedded.reshape(-1, embedded.shape[-1])
    return Target("foreign", chips, np.zeros((len(chips), picture.shares.shape[2])))


def _judged(
    picture: Picture, cells: Float32, targets: list[Target], rng: np.random.Generator, draws: int,
    pictures_by: Encoder | None,
) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
    for _ in range(draws):
        classifier = fit(picture, cells, rng, pictures_by)
        if classifier is None:
            continue
        rare = thinned(targets[0], int(rng.choice([int(n) for n in classifier.names])), rng)
        for target in [*targets, *([rare] if rare is not None else [])]:
            yield target.kind, judge(classifier, target)


def figures(judged: Iterator[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Reduce what came out, by kind of target."""
    kinds: dict[str, list[dict[str, Any]]] = {}
    for kind, one in judged:
        kinds.setdefault(kind, []).append(one)
    out: dict[str, Any] = {kind: _reduced(found) for kind, found in kinds.items()}
    named = [one for kind, found in kinds.items() if kind != "foreign" for one in found]
    usual = [one for one in named if not one["strange"]]
    accurate = [one for one in usual if one["accuracy"] >= ACCURATE]
    wide = Counter(one["why"] for one in usual if max(one["width"]) > WIDE)
    return {
        **out,
        "all but foreign": _reduced(named),
        f"of accuracy from {ACCURATE} on": _reduced(accurate),
        "why wider than 0.3": {why: float(n) for why, n in wide.most_common()},
    }


def _reduced(found: list[dict[str, Any]]) -> dict[str, float]:
    if not found:
        return {"cases": 0.0}
    usual = [one for one in found if not one["strange"]]
    out = {"cases": float(len(found)), "told to be strange": 1 - len(usual) / len(found)}
    if told := [one["unknown found"] for one in found if one["unknown found"] is not None]:
        out["unknown found"] = float(np.mean(told))
    if usual:
        widths = np.concatenate([one["width"] for one in usual])
        out |= {
            name: float(np.mean([one[name] for one in usual]))
            for name in ("accuracy", "known rejected", "counted", "likeliest", "estimated")
        }
        out |= {
            "within": float(np.concatenate([one["covered"][:-1] for one in usual]).mean()),
            "within, unknown": float(np.mean([one["covered"][-1] for one in usual])),
            "median width": float(np.median(widths)),
        }
    return out
