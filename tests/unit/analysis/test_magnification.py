"""Frames of another magnification, or contrast, than the examples."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.audit import draw_chips, write_audit
from pychip_stream.analysis.classification import Batch, classify
from pychip_stream.analysis.magnification import matched_size, pixel_ratio
from pychip_stream.analysis.rescoring import rescore, uncovered
from pychip_stream.analysis.verification import verify
from pychip_stream.archive.run import open_run
from pychip_stream.archive.writer import RunWriter
from pychip_stream.config import ClassifyConfig
from pychip_stream.domain.caveats import caveats
from pychip_stream.domain.chips import ChipSize, Grid
from pychip_stream.domain.frames import Frame, FrameRef
from pychip_stream.domain.support import SupportSet
from pychip_stream.export.pictures import to_grey
from pychip_stream.model.encoders import load_encoder
from tests.support.simple_runs import ENCODER, FIRST, picked, pixels

PICKS = {"stripes": [(0, 0), (2, 0), (3, 0)], "speckle": [(0, 4), (1, 4), (3, 4)]}


def a_frame(number=0, size=0.1, unit="nm", **known):
    return Frame(pixels(number), size, unit, **known)


SUPPORT = SupportSet.from_picks(a_frame(), 32, PICKS)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("filters", device="cpu")


@pytest.fixture
def analyst(encoder):
    return Analyst.of(SUPPORT, encoder, ClassifyConfig())


def analysed(analyst, frame):
    return analyst.analyse_frame(frame, "", FrameRef(path="a.tif"))


def enlarged(frame, times):
    """The same view with more pixels."""
    grown = frame.pixels.repeat(times, 0).repeat(times, 1)
    return replace(frame, pixels=grown, pixel_size=frame.pixel_size / times)


@pytest.mark.parametrize(
    ("size", "unit", "of_file", "ratio"),
    [
        (0.1, "nm", "", 1), (0.103, "nm", "", 1), (0.2, "nm", "", 2), (0.5, "Å", "", 0.5),
        (None, None, "", None), (0.1, "1/nm", "", None), (0.1, "", "", None),
        (0.2, "nm", "0.1 nm", 1), (0.2, "nm", "0.3 nm", 2), (0.2, "nm", "0.1 1/nm", 2),
    ],
)  # fmt: skip
def test_how_much_larger_pixels_are_than_those_of_the_examples(size, unit, of_file, ratio):
    assert pixel_ratio(SUPPORT, size, unit, of_file) == (ratio and pytest.approx(ratio))


def test_of_examples_without_a_size_nobody_knows():
    unknown = SupportSet.from_picks(a_frame(size=None, unit=None), 32, PICKS)
    assert pixel_ratio(unknown, 0.1, "nm") is None


@pytest.mark.parametrize(
    ("ratio", "size"),
    [(None, None), (1, None), (2, (16, 8)), (4, (8, 4)), (4.1, None), (0.25, (128, 64)),
     (0.24, None), (3, (11, 5)), (0.3, (107, 53))],
)  # fmt: skip
def test_chips_are_as_large_on_the_specimen(ratio, size):
    wide = SupportSet.from_picks(a_frame(), ChipSize(32, 16), PICKS)
    assert matched_size(wide, ratio, (256, 256)) == (size and ChipSize(*size))


def test_a_frame_must_hold_one_chip_and_a_chip_its_cells():
    assert matched_size(SUPPORT, 0.5, (63, 200)) is None
    assert matched_size(SUPPORT, 0.5, (200, 63)) is None
    narrow = SupportSet.from_picks(a_frame(), ChipSize(12, 32), PICKS)
    assert matched_size(narrow, 4, (200, 200)) is None


@pytest.mark.parametrize("times", [2])
def test_a_magnified_frame_gets_the_labels_that_it_had(encoder, times):
    analyst = Analyst.of(SUPPORT, encoder, ClassifyConfig(reject=False))
    before, after = (analysed(analyst, f) for f in (a_frame(1), enlarged(a_frame(1), times)))
    assert (before.chip_size, after.chip_size) == ((32, 32), (32 * times, 32 * times))
    assert np.mean(before.result.label_map == after.result.label_map) >= 0.9
    assert "pixel_size_ratio" not in before.measured
    assert after.measured["pixel_size_ratio"] == pytest.approx(1 / times)
    (line,) = (line for line in analyst.notices if "another magnification" in line)
    assert f"(pixels {1 / times:.3g} times as large)" in line
    assert line in caveats(after.measured)


def test_it_can_be_switched_off(encoder):
    analyst = Analyst.of(SUPPORT, encoder, ClassifyConfig(match_pixel_size=False))
    record = analysed(analyst, enlarged(a_frame(1), 2))
    assert record.chip_size == (32, 32)
    assert "pixel_size_ratio" not in record.measured
    assert any("make a support set at this one" in line for line in analyst.notices)


def test_areas_count_both_edges_of_pixels_and_the_chips_that_were_cut(analyst):
    frame = Frame(pixels(1)[:, :150], 0.1, "nm", pixel_ratio=1.5)
    chips = 4 * 4 * 32 * 32  # of the 128 x 150 pixels
    for taken in (frame, enlarged(frame, 2), replace(frame, pixel_size=1e-4, unit="um")):
        record = analysed(analyst, taken)
        areas = [record.measured[f"{name}.area_nm2"] for name in record.result.names]
        shares = record.result.intervals[:-1, 0]
        assert areas == pytest.approx(shares * chips * 0.1 * 0.15)
    for size, unit in ((None, None), (0.1, "1/nm")):
        record = analysed(analyst, replace(frame, pixel_size=size, unit=unit))
        assert not any("area" in name for name in record.measured)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A run that began at the magnification of the examples; from frame 2 on it is twice that."""
    folder = tmp_path_factory.mktemp("mixed")
    frames = folder / "frames"
    frames.mkdir()
    tell = {"imagej": True, "metadata": {"unit": "nm"}}
    for number in range(4):
        times = 1 + number // 2
        grown = pixels(number).repeat(times, 0).repeat(times, 1)
        tifffile.imwrite(
            frames / f"{number}.tif", grown, resolution=(10 * times, 10 * times), **tell
        )
    analyst = Analyst.of(FIRST, ENCODER, ClassifyConfig())
    writer = RunWriter(folder, "run", metadata={"root": str(frames)})
    return classify(Batch.of([frames]), analyst, writer)


def test_the_archive_knows_how_every_frame_was_cut(mixed):
    run = open_run(mixed)
    assert run.columns("chip_width")["chip_width"].tolist() == [16, 16, 32, 32]
    ratios = run.columns("pixel_size_ratio")["pixel_size_ratio"]
    assert ratios == pytest.approx([np.nan, np.nan, 0.5, 0.5], nan_ok=True)
    assert [run.label_map(n).shape for n in range(4)] == [(8, 10)] * 4


def test_it_is_verified_as_it_was_cut(mixed):
    outcome = verify(open_run(mixed), mixed.parent / "frames", lambda _hash: ENCODER)
    assert (outcome.compared, outcome.agreement) == (4, 1.0)


def test_it_is_scored_anew_as_it_was_cut(mixed):
    other = picked(1, seed=4)
    assert uncovered(mixed, other) == 4
    assert rescore(mixed, other, lambda _hash: ENCODER, default=False).left_out == {}
    smaller = picked(1, seed=4, size=8)
    chips = tuple(replace(c, source=replace(c.source, pixel_size=0.2)) for c in smaller.chips)
    assert uncovered(mixed, replace(smaller, chips=chips)) == 4  # as large on the specimen


def test_chips_of_an_audit_are_drawn_as_they_were_cut(mixed, tmp_path):
    run = open_run(mixed)
    (chip, *_) = (chip for chip in draw_chips(run, 40) if chip.frame == 3)
    shown = pixels(3).repeat(2, 0).repeat(2, 1)
    write_audit(run, tmp_path / "audit", [chip], lambda *_: shown)
    seen = Grid.of(shown.shape, ChipSize(32, 32)).patch(shown, chip.row, chip.column, (32, 32))
    with Image.open(tmp_path / "audit" / "0000.png") as picture:
        zoom = picture.width // 96
        surroundings = np.asarray(picture.convert("L"))[::zoom, ::zoom][:30]
    assert np.array_equal(surroundings, to_grey(FIRST.normalization.apply(seen))[:30])


def test_inverted_contrast_is_said_and_nothing_else_is(encoder):
    bright = a_frame(0).pixels.astype(float)
    bright[:, :80] = np.linspace(500, 1500, 80)  # a class of its own grey
    support = SupportSet.from_picks(replace(a_frame(), pixels=bright), 32, PICKS)
    analyst = Analyst.of(support, encoder, ClassifyConfig())
    norm = support.normalization
    for shown in (bright, bright[::-1]):
        assert analysed(analyst, Frame(shown)).measured["strange"] < 0.3
    assert not any("inverted" in line for line in analyst.notices)
    inverted = 1.3 * (norm.high - bright) + 700  # its own offset and gain
    turned = analysed(analyst, Frame(inverted))
    assert turned.measured["strange"] > 0.3
    assert sum("contrast is inverted" in line for line in analyst.notices) == 1


def test_of_a_large_unusual_frame_the_middle_tells_whether_it_is_inverted(encoder, monkeypatch):
    support = picked(0, size=16)
    analyst = Analyst.of(support, encoder, ClassifyConfig())
    sizes, unpatched = [], type(encoder).embed
    monkeypatch.setattr(
        type(encoder),
        "embed",
        lambda self, image, *rest: [sizes.append(image.shape), unpatched(self, image, *rest)][1],
    )
    inverted = 1.3 * (support.normalization.high - a_frame(0).pixels.astype(float)) + 700
    large = np.tile(inverted, (10, 8))
    assert analysed(analyst, Frame(large)).measured["strange"] > 0.3
    assert sizes == [large.shape, (512, 512), (512, 512)]


def test_another_material_is_not_taken_for_inverted_contrast(encoder, monkeypatch):
    analyst = Analyst.of(SUPPORT, encoder, ClassifyConfig())
    looked = []
    unpatched = type(encoder).embed
    monkeypatch.setattr(
        type(encoder), "embed", lambda *given: [looked.append(given), unpatched(*given)][1]
    )
    other = np.full((128, 160), 3000.0)
    for _ in range(9):
        assert analysed(analyst, Frame(other)).measured["strange"] > 0.3
    assert not any("inverted" in line for line in analyst.notices)
    assert len(looked) == 9 + 2 * 4  # more often the first, second, fourth and eighth
