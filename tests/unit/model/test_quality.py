from dataclasses import replace

import numpy as np
import pytest

from pychip_stream.domain.frames import Frame
from pychip_stream.domain.support import ChipSource
from pychip_stream.model import lda
from pychip_stream.model.classifier import Classifier
from pychip_stream.model.quality import assess, influences

DIM = 8


def judge(support):
    return assess(support, Classifier.fit(support))


def simple(made, shots=4, gap=12.0, seed=0, **options):
    rng = np.random.default_rng(seed)
    centres = np.zeros((3, DIM))
    centres[1, 0], centres[2, 1] = gap, gap
    labels = np.repeat([0, 1, 2], shots)
    background = made.cells(np.repeat(centres, 80, axis=0), rng).mean(axis=1)
    return made.support(made.cells(centres[labels], rng), labels, background, **options)


def test_a_good_set_is_praised_and_left_alone(made):
    quality = judge(simple(made))
    assert quality.accuracy == 1.0
    assert quality.confusion is None
    assert quality.advice == ()
    assert [chip.label for chip in quality.chips] == ["class 0"] * 4 + ["class 1"] * 4 + [
        "class 2"
    ] * 4
    assert all(chip.silhouette > 0.3 for chip in quality.chips)
    assert all(chip.taken_for == chip.label for chip in quality.chips)
    assert all(0 <= chip.influence < 0.05 for chip in quality.chips)


def test_overlapping_classes_are_named(made):
    quality = judge(simple(made, shots=8, gap=0.3))
    assert quality.accuracy < 0.8
    own, other, share = quality.confusion
    assert own != other
    assert 0 < share <= 1
    assert any(f"{own!r} look like {other!r}" in line for line in quality.advice)


def test_a_mislabelled_chip_is_found(made):
    support = simple(made)
    chips = list(support.chips)
    chips[0] = replace(chips[0], label="class 2")
    quality = judge(replace(support, chips=tuple(chips)))
    assert quality.chips[0].taken_for == "class 0"
    assert quality.chips[0].silhouette < 0
    assert any(
        "is its label right?" in line and "row 0, column 0" in line for line in quality.advice
    )


def test_influence_is_what_refitting_without_the_chip_gives(made):
    support = simple(made, shots=3, gap=2.0)
    fitted = Classifier.fit(support)
    examples, background = fitted.examples, fitted.background
    before = np.bincount(fitted.rule.logits(background).argmax(axis=1), minlength=3)
    for chip, effect in enumerate(influences(fitted)):
        rest = examples.take(np.delete(np.arange(9), chip))
        rule = lda.fit(rest, fitted.shrinkage)
        after = np.bincount(rule.logits(background).argmax(axis=1), minlength=3)
        change = np.abs(after - before) / len(background)
        assert effect[0] == pytest.approx(change.max())
        assert change[effect[1]] == pytest.approx(change.max())


def test_the_only_example_of_a_class_carries_its_whole_fraction(made):
    support = simple(made)
    kept = (*support.chips[:4], support.chips[4], *support.chips[8:])
    cells = support.embedding.cells[[0, 1, 2, 3, 4, 8, 9, 10, 11]]
    support = replace(support, chips=kept, embedding=replace(support.embedding, cells=cells))
    chip = judge(support).chips[4]
    assert (chip.silhouette, chip.taken_for) == (None, None)
    assert chip.influence == pytest.approx(1 / 3, abs=0.05)


def test_counts_copies_and_places_get_advice(made):
    crowd = [(0, 0), (0, 1), (1, 0), (1, 1), *[(5 * i, 3) for i in range(8)]]
    lines = judge(simple(made, places=crowd)).advice
    assert any("'class 0' are from one corner" in line for line in lines)
    assert not any("'class 1'" in line for line in lines)
    lines = judge(simple(made, shots=11)).advice
    assert sum("more than 10" in line for line in lines) == 3
    lines = judge(simple(made, pixels=[0, 0, *range(1, 11)])).advice
    assert any("1 example(s) are there twice" in line for line in lines)


def test_with_the_frame_at_hand_a_corner_is_a_quarter_of_it(made):
    corner = [(0, 0), (0, 3), (3, 0), (3, 3)]
    spread = [(0, 0), (9, 4), (2, 12), (15, 15)]
    support = simple(made, places=[*corner, *spread, *spread])
    assert not any("corner" in line for line in judge(support).advice)
    large = replace(support, reference=Frame(np.zeros((16 * 8, 16 * 8))))
    assert any("'class 0' are from one corner" in line for line in judge(large).advice)


def test_one_chip_per_class_says_what_it_cannot_know(made):
    quality = judge(simple(made, shots=1))
    assert quality.accuracy is None
    assert any("only one example" in line for line in quality.advice)
    assert all(np.isfinite(chip.influence) for chip in quality.chips)


def on_frames(support, frames):
    """The same chips, each from the frame of this name; None: imported, a picture each."""
    chips = [
        replace(
            chip, source=ChipSource(name or f"pictures/{number}.png", 0, 0 if name else None, 0)
        )
        for number, (chip, name) in enumerate(zip(support.chips, frames, strict=True))
    ]
    return replace(support, chips=tuple(chips))


def shifted(made, frames, shift):
    """Three classes, in another place on the second frame: by 7, more than half their distance."""
    support = simple(made)
    cells = support.embedding.cells.copy()
    cells[[name == "b.tif" for name in frames], :, 0] += shift
    embedding = replace(support.embedding, cells=cells)
    return on_frames(replace(support, embedding=embedding), frames)


def test_a_frame_is_judged_by_rules_that_know_none_of_its_chips(made):
    """Chip by chip, the neighbours on the same frame give the answer away."""
    frames = ["a.tif", "a.tif", "b.tif", "b.tif"] * 3
    chips = judge(on_frames(shifted(made, frames, 7.0), ["a.tif"] * 12))
    over = judge(shifted(made, frames, 7.0))
    assert (chips.frames, chips.basis) == (None, "the examples")
    assert (over.frames, over.basis) == (2, "2 frames")
    assert chips.accuracy == 1.0
    assert over.accuracy < 0.8
    assert over.chips[2].taken_for == "class 1"
    assert judge(shifted(made, frames, 0.0)).accuracy == 1.0


def test_classes_of_one_frame_are_not_judged_over_frames(made):
    frames = ["a.tif", "a.tif", "b.tif", "b.tif"] * 2 + ["a.tif"] * 4
    quality = judge(shifted(made, frames, 0.0))
    assert quality.frames == 2
    assert [chip.taken_for is None for chip in quality.chips] == [False] * 8 + [True] * 4
    assert [line for line in quality.advice if "not judged" in line] == [
        "examples of 'class 2' are from one frame, and not judged"
    ]
    assert judge(shifted(made, ["a.tif"] * 8 + ["b.tif"] * 4, 0.0)).frames is None
    assert (
        judge(shifted(made, ["a.tif", "a.tif", "b.tif", "b.tif"] + ["a.tif"] * 8, 0)).frames is None
    )


def test_pictures_without_a_frame_count_as_one(made):
    assert judge(on_frames(simple(made), [None] * 12)).frames is None
    quality = judge(on_frames(simple(made), ["a.tif", "a.tif", None, None] * 3))
    assert (quality.frames, quality.accuracy) == (2, 1.0)
