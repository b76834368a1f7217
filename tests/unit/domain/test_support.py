from dataclasses import replace

import numpy as np
import pytest

from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import (
    Choice,
    SupportChip,
    SupportEmbedding,
    SupportSet,
    compose,
    make_classes,
)
from pychip_stream.errors import SupportError, SupportUsageError, UsageError

PICKS = {"alpha": [(0, 0), (0, 1)], "beta": [(1, 1)]}


@pytest.fixture
def support():
    pixels = np.random.default_rng(1).integers(0, 4000, (96, 96)).astype(np.uint16)
    frame = Frame(pixels, pixel_size=0.5, unit="nm", source="a.dm4", index=3)
    return SupportSet.from_picks(frame, 32, PICKS)


def test_picks_become_chips_with_their_surroundings_and_origin(support):
    assert support.names == ("alpha", "beta")
    assert support.counts == {"alpha": 2, "beta": 1}
    assert support.label_indices.tolist() == [0, 0, 1]
    chip = support.chips[2]
    assert chip.pixels.shape == (96, 96)
    assert (chip.source.path, chip.source.index) == ("a.dm4", 3)
    assert (chip.source.row, chip.source.column, chip.source.pixel_size) == (1, 1, 0.5)


def test_changing_anything_makes_a_new_version(support):
    other = support.chips[0].pixels.copy()
    other[50, 50] += 1
    changed = [
        replace(support, note="why"),
        replace(support, author="somebody else"),
        replace(support, parent=support.version),
        replace(support, normalization=Normalization("range", 0, 1)),
        replace(support, classes=make_classes(["alpha", "beta"], {"beta": "#123456"})),
        replace(support, chips=support.chips[1:]),
        replace(
            support,
            chips=(SupportChip("alpha", other, support.chips[0].source), *support.chips[1:]),
        ),
    ]
    versions = {s.version for s in changed} | {support.version}
    assert len(versions) == len(changed) + 1
    assert replace(support).version == support.version
    assert replace(support, reference=None).version == support.version


def test_the_version_is_hashed_once(support, monkeypatch):
    version = support.version
    monkeypatch.setattr("pychip_stream.domain.support._content_hash", lambda _: "again")
    assert support.version == version
    assert replace(support).version == "again"


def test_pictures_and_chips_of_a_frame_make_one_set(support):
    """What has less surroundings than the others gets them mirrored."""
    frame = support.reference
    picture = SupportChip("beta", frame.pixels[:32, :32])
    choices = [Choice("alpha", frame, 1, 1), Choice("gamma", chip=picture)]
    made = compose(support.chip_size, make_classes(["alpha", "gamma"]), choices)
    assert made.margin == (32, 32)
    assert [c.label for c in made.chips] == ["alpha", "gamma"]
    assert (made.chips[1].pixels[32:64, 32:64] == picture.pixels).all()
    assert (made.chips[1].pixels[31, 32:64] == picture.pixels[0]).all()
    assert made.reference is frame
    alone = compose(support.chip_size, support.classes, [
        Choice(name, chip=SupportChip(name, frame.pixels[32 * n : 32 * n + 32, :32]))
        for n, name in enumerate(support.names)
    ])  # fmt: skip
    assert alone.margin == (0, 0)


def test_what_an_encoder_made_of_it_is_not_part_of_the_identity(support):
    cells = np.zeros((3, 16, 2), np.float32)
    embedding = SupportEmbedding("filters", "abc", cells, cells[:, 0])
    assert support.with_embedding(embedding).version == support.version


@pytest.mark.parametrize(
    ("names", "labels", "message"),
    [
        (["alpha"], ["alpha"], "at least two"),
        (["alpha", "beta"], ["alpha"], "no chip"),
        (["alpha", "alpha"], ["alpha"], "two classes"),
        (["alpha", " "], ["alpha", " "], "empty"),
        (["alpha", "unknown"], ["alpha", "unknown"], "rejected"),
        (["alpha", "beta"], ["alpha", "beta", "gamma"], "undeclared"),
        (["alpha", "be\nta"], ["alpha", "be\nta"], "printable"),
    ],
)
def test_the_impossible_is_an_error(support, names, labels, message):
    chips = tuple(replace(support.chips[0], label=label) for label in labels)
    with pytest.raises(SupportError, match=message):
        replace(support, classes=make_classes(names), chips=chips)


def test_chips_of_different_sizes_are_an_error(support):
    small = replace(support.chips[0], pixels=np.zeros((10, 10)))
    with pytest.raises(SupportError, match="one size"):
        replace(support, chips=(*support.chips, small))


def test_nan_chips_are_an_error(support):
    empty = replace(support.chips[0], pixels=np.full((96, 96), np.nan))
    with pytest.raises(SupportError, match="no finite pixel"):
        replace(support, chips=(*support.chips, empty))


def test_a_pick_outside_the_grid_is_a_usage_error():
    with pytest.raises(UsageError, match="outside the grid"):
        SupportSet.from_picks(Frame(np.zeros((64, 64))), 32, {"a": [(0, 2)], "b": [(0, 0)]})


@pytest.mark.parametrize("name", ["unknown", "Unknown", "UNKNOWN "])
def test_no_new_class_is_called_like_unknown(name):
    with pytest.raises(SupportUsageError, match="rejected chips"):
        SupportSet.from_picks(Frame(np.eye(64)), 32, {name: [(0, 0)], "b": [(1, 1)]})


def test_a_chip_is_an_example_of_one_class():
    frame = Frame(np.eye(64), source="a.dm4")
    with pytest.raises(SupportUsageError, match="chip 0,1 is an example of 'a' and of 'b'"):
        SupportSet.from_picks(frame, 32, {"a": [(0, 0), (0, 1)], "b": [(1, 1), (0, 1)]})
    SupportSet.from_picks(frame, 32, {"a": [(0, 0), (0, 0)], "b": [(1, 1)]})


def test_equalised_frames_keep_equalised_chips():
    rng = np.random.default_rng(2)
    frame = Frame(rng.integers(0, 4000, (128, 128)).astype(np.uint16))
    norm = Normalization.from_percentiles(frame.pixels, clahe=True)
    support = SupportSet.from_picks(frame, 32, PICKS, normalization=norm)
    chip = support.chips[0].pixels[32:64, 32:64]
    assert np.array_equal(chip, norm.apply(frame.pixels)[:32, :32])
    assert np.array_equal(support.chip_normalization.apply(chip), chip)
