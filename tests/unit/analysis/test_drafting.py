"""Drafts give exactly what the command line gives, and embed nothing twice."""

import numpy as np
import pytest

from pychip_stream.analysis.drafting import RememberingEncoder, agreement, attempt
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.chips import CELLS, ChipSize, Grid
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.support import Choice, SupportSet, compose, make_classes
from pychip_stream.errors import SupportError

SIZE = ChipSize(16, 16)
PICKS = {"dark": [(0, 0), (2, 1), (3, 0)], "bright": [(0, 3), (1, 2), (3, 3)]}


class Counting:
    """Mean and deviation of each cell; counts how often it is asked."""

    name, weights_hash, dim, device = "counting", "0" * 64, 2, "cpu"

    def __init__(self):
        self.calls = 0

    def embed_cells(self, image, chip_size, normalization=None):
        self.calls += 1
        pixels = image.pixels if isinstance(image, Frame) else image
        if normalization is not None:
            pixels = normalization.apply(pixels)
        size = ChipSize.parse(chip_size)
        grid = Grid.of(pixels.shape, size)
        height, width = size.height // CELLS, size.width // CELLS
        cells = pixels[: grid.shape[0], : grid.shape[1]].reshape(
            grid.rows, CELLS, height, grid.columns, CELLS, width
        )
        both = np.stack([cells.mean(axis=(2, 5)), cells.std(axis=(2, 5))], axis=-1)
        both = both.transpose(0, 2, 1, 3, 4)
        return np.ascontiguousarray(
            both.reshape(grid.rows, grid.columns, CELLS * CELLS, 2), dtype=np.float32
        )

    def embed(self, image, chip_size, normalization=None):
        return self.embed_cells(image, chip_size, normalization).mean(axis=2)


def frame(seed=0, name="a.tif"):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(100, 20, (64, 64))
    pixels[:, 32:] += rng.normal(400, 60, (64, 32))
    return Frame(np.clip(pixels, 0, None).astype(np.uint16), source=name)


def choices(on, picks=PICKS):
    return [Choice(n, on, r, c) for n, places in picks.items() for r, c in places]


def test_the_same_chips_as_the_command_line_takes():
    one = frame()
    wanted = SupportSet.from_picks(one, SIZE, PICKS, author="ann")
    made = compose(SIZE, make_classes(list(PICKS)), choices(one), author="ann")
    assert made.normalization == wanted.normalization
    assert made.margin == wanted.margin
    for ours, theirs in zip(made.chips, wanted.chips, strict=True):
        assert ours.label == theirs.label
        assert np.array_equal(ours.pixels, theirs.pixels)
        assert (ours.source.row, ours.source.column) == (theirs.source.row, theirs.source.column)


def test_a_further_click_embeds_nothing_again():
    counting = Counting()
    encoder, one = RememberingEncoder(counting), frame()
    classes = make_classes(list(PICKS))
    first = attempt(compose(SIZE, classes, choices(one)), one, encoder, ClassifyConfig())
    asked = counting.calls
    more = PICKS | {"dark": [*PICKS["dark"], (1, 1)]}
    second = attempt(compose(SIZE, classes, choices(one, more)), one, encoder, ClassifyConfig())
    assert counting.calls == asked == 1
    half = np.zeros((4, 4), np.uint8)
    half[:, 2:] = 1
    assert (first.result.label_map == half).mean() > 0.8
    assert agreement(first.result, second.result) > 0.8


def test_what_was_used_longest_ago_is_forgotten():
    counting = Counting()
    encoder = RememberingEncoder(counting, most_bytes=1)
    encoder.embed_cells(frame(0), SIZE)
    encoder.embed_cells(frame(1, "b.tif"), SIZE)
    encoder.embed_cells(frame(0), SIZE)
    assert counting.calls == 3


def test_saved_chips_and_fresh_ones_of_several_frames_go_together():
    old = SupportSet.from_picks(frame(), SIZE, PICKS, author="ann")
    saved = [Choice("old " + chip.label, chip=chip) for chip in old.chips]
    fresh = [Choice("old dark", frame(1, "b.tif"), 2, 0)]
    names = ["old dark", "old bright"]
    made = compose(SIZE, make_classes(names), [*saved, *fresh], old.normalization, parent="p")
    assert made.counts == {"old dark": 4, "old bright": 3}
    assert {chip.source.path for chip in made.chips} == {"a.tif", "b.tif"}
    assert made.parent == "p"


def test_imported_chips_without_surroundings_keep_their_own():
    old = SupportSet.from_picks(frame(), SIZE, PICKS)
    bare = [
        Choice(
            chip.label,
            chip=type(chip)(chip.label, chip.pixels[16:32, 16:32], chip.source),
        )
        for chip in old.chips
    ]
    classes = make_classes(list(PICKS))
    assert compose(SIZE, classes, bare).margin == (0, 0)
    mixed = compose(SIZE, classes, [*bare, Choice("dark", frame(), 1, 1)])
    assert mixed.margin == (16, 16)
    assert np.array_equal(mixed.chips[0].pixels[16:32, 16:32], bare[0].chip.pixels)


def test_one_class_is_not_enough():
    with pytest.raises(SupportError, match="two classes"):
        compose(SIZE, make_classes(["a"]), [Choice("a", frame(), 0, 0)])


def test_different_grids_cannot_be_compared():
    encoder, one = RememberingEncoder(Counting()), frame()
    classes = make_classes(list(PICKS))
    small = attempt(compose(SIZE, classes, choices(one)), one, encoder, ClassifyConfig())
    large = ChipSize(32, 32)
    picks = {"dark": [(0, 0)], "bright": [(0, 1), (1, 1)]}
    coarse = compose(large, classes, choices(one, picks))
    assert agreement(small.result, attempt(coarse, one, encoder, ClassifyConfig()).result) is None
