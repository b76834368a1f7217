"""What clicks are worth: suggestions on one frame against suggestions across the frames of a run.

A set of two clean chips per class of the first frame gets eight more chips, four at a time, as
`model.suggestion` proposes them: on the first frame alone, or on all frames of the run so far. A
chip is named after what covers most of it, also where that is a class of its own; one that nothing
covers by 60 % is skipped, but counts as a click. *random*: clean chips of the first frame instead.
Then the fractions of frames that no click has seen are judged as in `benchmarks.micrographs`.

    python -m benchmarks.clicks [DATA] [--runs 20] [--scenes 10] [--seed 0] [--json]

Simulated runs of all scenarios: frames 0-32 of 60 are clicked on, 40-59 judged. Procedural
specimens: three places of a session, then another place, and another session. DATA (as for
`benchmarks.accuracy`): an image and the next one of its family, then the one after these.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.micrographs import CLEAN, SCENE, Picture, flat, judge, read
from benchmarks.trust import CHIP
from pychip_stream.domain.chips import ChipSize
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import Choice, compose, make_classes
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.encoders import Encoder, load_encoder
from pychip_stream.model.suggestion import Place, suggest
from pychip_stream.sim.scenes import SCENARIOS
from pychip_stream.sim.specimen import Experiment
from pychip_stream.sim.truth import class_shares, clean_chips
from training.scenes import make_scene, sample_instrument, sample_specimen, vary

START, CLICKS, AT_ONCE = 2, 8, 4
NAMED = 0.6

Chosen = list[tuple[Place, int]]
"""Chips with their classes."""


def start(picture: Picture, rng: np.random.Generator, count: int) -> Chosen:
    """Draw clean chips of each class of a picture."""
    found: Chosen = []
    for k in range(picture.shares.shape[2]):
        places = clean_chips(picture.shares[..., k], CLEAN)
        if len(places) >= START:
            found += [((0, *places[i]), k) for i in rng.permutation(len(places))[:count]]
    return found


class Session:
    """Frames of a run, embedded in the range of the first, and those that are judged."""

    def __init__(
        self, frames: list[Picture], judged: dict[str, list[Picture]], encoder: Encoder
    ) -> None:
        self.frames = frames
        self._encoder = encoder
        self._shots = [Frame(p.pixels, source=str(i)) for i, p in enumerate(frames)]
        self._scale = Normalization.from_percentiles(frames[0].pixels)
        self.embedded = [p.embedded(encoder, self._scale) for p in frames]
        self._targets = [
            flat(kind, p.embedded(encoder, self._scale), p)
            for kind, ps in judged.items()
            for p in ps
        ]

    def fit(self, chosen: Chosen) -> Classifier:
        """Fit a classifier to chosen chips, as the Examples page does."""
        names = [str(k) for k in sorted({k for _, k in chosen})]
        choices = [Choice(str(k), self._shots[f], r, c) for (f, r, c), k in chosen]
        support = compose(
            self.frames[0].chip, make_classes(names), choices, self._scale, shown=self._shots[0]
        )
        return Classifier.fit(support, self._encoder)

    def clicked(self, chosen: Chosen, frames: int) -> Chosen:
        """Click on what is suggested on the first so many frames."""
        for _ in range(CLICKS // AT_ONCE):
            taken = [place for place, _ in chosen if place[0] < frames]
            found = suggest(self.embedded[:frames], self.fit(chosen), taken=taken, count=AT_ONCE)
            for one in found:
                shares = self.frames[one.frame].shares[one.row, one.column]
                if shares.max() >= NAMED:
                    place = (one.frame, one.row, one.column)
                    chosen = [*chosen, (place, int(shares.argmax()))]
        return chosen

    def judged(self, chosen: Chosen) -> Iterator[tuple[str, dict[str, Any]]]:
        """Judge the targets under what was chosen."""
        classifier = self.fit(chosen)
        for target in self._targets:
            yield target.kind, judge(classifier, target)


def simulated(count: int, seed: int, encoder: Encoder) -> Iterator[tuple[str, Session]]:
    """Take simulated runs of all scenarios."""
    for number in range(count):
        scenario = list(SCENARIOS)[number % len(SCENARIOS)]
        experiment = Experiment(scenario, 1_000_000 * (seed + 1) + number, 60)
        pictures = []
        for at in (0, 8, 16, 24, 32, 40, 48, 59):
            shot = experiment.frame(at)
            shares = class_shares(shot.truth, len(experiment.names), CHIP)
            pictures.append(Picture(shot.pixels, CHIP, shares))
        yield "simulated", Session(pictures[:5], {"later": pictures[5:]}, encoder)


def procedural(count: int, seed: int, encoder: Encoder) -> Iterator[tuple[str, Session]]:
    """Draw specimens at places of one session and of another."""
    size = ChipSize(64, 64)
    for number in range(count):
        rng = np.random.default_rng([seed, number, 17])
        specimen, instrument = sample_specimen(rng), sample_instrument(rng)
        places = []
        for one in (*[instrument] * 4, vary(instrument, rng)):
            raw = make_scene(specimen, one, SCENE, rng)
            truth = raw[1:].argmax(axis=0).astype(np.uint8)
            places.append(Picture(raw[0], size, class_shares(truth, len(raw) - 1, size)))
        judged = {"next place": places[3:4], "next session": places[4:]}
        yield "procedural", Session(places[:3], judged, encoder)


def micrographs(folder: Path, encoder: Encoder) -> Iterator[tuple[str, Session]]:
    """Take each image with the two that follow it in its family."""
    for pictures in read(folder).values():
        for number in range(len(pictures)):
            one, two, three = (pictures[(number + i) % len(pictures)] for i in range(3))
            yield "micrographs", Session([one, two], {"image after": [three]}, encoder)


def measure(sessions: Iterator[tuple[str, Session]], seed: int) -> dict[str, dict[str, Any]]:
    """Compare the ways to click: by kind of target and way, the means of what came out."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for number, (name, session) in enumerate(sessions):
        rng = np.random.default_rng([seed, number])
        first = start(session.frames[0], rng, START)
        classes = len({k for _, k in first})
        if classes < 2:
            continue
        more = start(session.frames[0], rng, START + CLICKS // classes)
        ways: dict[str, Callable[[], Chosen]] = {
            "none": lambda first=first: first,
            "random": lambda more=more: more,
            "one frame": lambda s=session, first=first: s.clicked(first, 1),
            "across": lambda s=session, first=first: s.clicked(first, len(s.frames)),
        }
        for way, choose in ways.items():
            for kind, one in session.judged(choose()):
                found.setdefault(f"{name}, {kind}", {}).setdefault(way, []).append(one)
    return {
        kind: {way: _means(cases) for way, cases in ways.items()} for kind, ways in found.items()
    }


def _means(cases: list[dict[str, Any]]) -> dict[str, float]:
    return {
        "cases": float(len(cases)),
        "accuracy": float(np.mean([c["accuracy"] for c in cases])),
        "error": float(np.mean([c["estimated"] for c in cases])),
        "within": float(np.concatenate([c["covered"][:-1] for c in cases]).mean()),
        "width": float(np.concatenate([c["width"] for c in cases]).mean()),
        "told": float(np.mean([c["strange"] for c in cases])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="what clicks are worth")
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--scenes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    encoder = load_encoder("bundled")

    def sessions() -> Iterator[tuple[str, Session]]:
        yield from simulated(args.runs, args.seed, encoder)
        yield from procedural(args.scenes, args.seed, encoder)
        if args.data is not None:
            yield from micrographs(args.data, encoder)

    table = measure(sessions(), args.seed)
    if args.json:
        print(json.dumps(table, indent=1))
        return
    for kind, ways in table.items():
        print(kind)
        for way, means in ways.items():
            print(f"  {way:12}" + "".join(f"{n} {v:7.3f}  " for n, v in means.items()))


if __name__ == "__main__":
    main()
