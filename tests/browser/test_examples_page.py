"""The examples page: a support set is clicked together, judged, kept, saved and loaded."""

import re

import pytest
import tifffile
from playwright.sync_api import expect

from pychip_stream.analysis.analyst import Analyst
from pychip_stream.analysis.classification import Batch, classify
from pychip_stream.archive.support_sets import SupportFolder, load_support
from pychip_stream.archive.writer import RunWriter
from pychip_stream.domain.frames import Frame
from pychip_stream.domain.normalization import Normalization
from pychip_stream.domain.support import SupportSet
from pychip_stream.model.encoders import open_encoder
from tests.support.looks import Chips, data, wait_data
from tests.support.rehearsal import Rehearsal
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    one = Rehearsal(tmp_path_factory.mktemp("shared") / "e", size=512, chip=64).start()
    one.frame(0.5)
    yield one
    one.stop()


@pytest.fixture
def fresh(tmp_path):
    """A run in which nothing was chosen yet."""
    one = Rehearsal(tmp_path / "e", size=512, chip=64).start()
    one.frame(0.5)
    yield one
    one.stop()


def open_examples(have, run):
    page = have(run.address)
    page.get_by_role("tab", name="Examples").click()
    wait_data(page, "picked", "v !== undefined")
    return page, Chips(page, (run.size, run.size), (64, 64))


@pytest.fixture
def examples(borrow, shared):
    """The page of the test before without its picks, on a grid of 8 × 8."""
    page, chips = open_examples(borrow, shared)
    number = page.get_by_label("px: N or W×H")
    number.fill("64")
    number.press("Enter")
    wait_data(page, "grid", "v === '8x8'")
    while left := page.locator(".class .thumb").count():
        page.locator(".class .thumb").first.click()
        expect(page.locator(".class .thumb")).to_have_count(left - 1)
    return page, chips


def archive_before(run, name):
    """An archive of a frame that was classified before the one that is shown."""
    tifffile.imwrite(run.root / name, run.texture(0.3))
    pixels = run.texture(0.5)
    scale = Normalization.from_percentiles(pixels)
    picks = {"a": [(0, 0)], "b": [(0, 7)]}
    support = SupportSet.from_picks(Frame(pixels), run.chip, picks, normalization=scale)
    analyst = Analyst.of(support, open_encoder(run.config.encoder), run.config.classify)
    writer = RunWriter(run.config.archive.folder, run.config.archive.name)
    classify(Batch.of([run.root / name]), analyst, writer)


def test_a_support_set_from_clicks_to_publication(fresh, visit):
    archive_before(fresh, "before.tif")
    page, chips = open_examples(visit, fresh)
    chips.click((0, 0), (3, 1), (6, 2))
    page.keyboard.press("2")
    chips.click((1, 5))
    chips.drag((4, 6), (4, 7))
    wait_data(page, "picked", "v === '6'")
    page.keyboard.press("u")
    wait_data(page, "picked", "v === '4'")
    chips.click((4, 6), (7, 7))
    chips.click((7, 7))  # a second click takes it out
    wait_data(page, "picked", "v === '5'")
    expect(page.locator(".class .thumb")).to_have_count(5)
    name = page.get_by_label("name of the class").first
    name.fill("fine <b>")
    name.press("Tab")
    expect(page.locator(".pill").first).to_contain_text("fine <b>")
    expect(page.locator(".legend .row").first).to_contain_text("fine <b>", timeout=60_000)
    expect(page.locator(".legend .row").first).to_contain_text(re.compile(r"(4|5)\d\.\d %"))
    expect(page.locator(".line").first).to_contain_text("accuracy")

    there = page.locator(".hint").first  # a chip of another frame is worth choosing, too
    expect(there).to_contain_text("frame 1, ")
    there.click()
    expect(page.locator(".caption")).to_have_text("before.tif")
    wait_data(page, "highlights", "Number(v) >= 1")

    page.reload()  # nothing is lost
    page.get_by_role("tab", name="Examples").click()
    wait_data(page, "picked", "v === '5'")

    page.get_by_label("note").fill("first try")
    page.get_by_role("button", name="Publish to the run").click()
    expect(page.get_by_text(re.compile("published [0-9a-f]{8}"))).to_be_visible()
    folder = SupportFolder(fresh.config.support.folder)
    support = load_support(folder.path(folder.current_version()))
    assert support.counts == {"fine <b>": 3, "feature 2": 2}
    assert support.note == "first try"
    assert {(c.source.path, c.source.row, c.source.column) for c in support.chips} == {
        ("frame_00000.tif", r, c) for r, c in ((0, 0), (3, 1), (6, 2), (1, 5), (4, 6))
    }


def test_frames_are_counted_from_one_and_the_grid_is_there_from_the_start(shared, borrow):
    """M8, M11: it said 0 whatever was shown, and took 99,999 in silence."""
    shared.frame(0.4)
    page, _ = open_examples(borrow, shared)
    expect(page.get_by_label("grid")).to_be_checked()
    number = page.get_by_label("frame of the run")
    expect(number).to_have_value("2")
    expect(page.get_by_text("of 2 in the run")).to_be_visible()
    number.fill("1")
    number.press("Enter")
    expect(page.locator(".caption")).to_have_text("frame_00000.tif")
    number.fill("99999")
    number.press("Enter")
    expect(page.locator(".line[data-level=error]")).to_contain_text("has the frames 1 to 2")
    expect(page.locator(".caption")).to_have_text("frame_00000.tif")


def test_the_grid_follows_the_slider_and_the_keyboard_is_enough(shared, examples):
    page, _ = examples
    page.locator(".chipwrap canvas").focus()
    before = int(data(page, "picked"))
    page.keyboard.press("1")
    for key in ("ArrowLeft", "ArrowUp", "Space"):
        page.keyboard.press(key)
    wait_data(page, "picked", "v !== String(arg)", before)
    slider = page.locator(".MuiSlider-root input").first
    slider.focus()
    slider.press("ArrowRight")
    wait_data(page, "grid", "v === '7x7'")
    kept = shared.config.support.folder / "drafts" / "everybody.json"
    wait_for(kept.exists, "a draft")
    wait_for(lambda: '"chip_size": [65, 65]' in kept.read_text(), "the draft follows")
    page.get_by_role("button", name="Use the recommended size").click()
    wait_data(page, "grid", "v !== '7x7'")


def test_the_chip_size_is_a_number_and_says_what_it_costs(examples):
    """M3, M4: 12 sizes a pixel of the slider; larger chips merged examples and said nothing."""
    page, chips = examples
    chips.click((0, 0), (0, 1), (3, 3))
    number = page.get_by_label("px: N or W×H")
    number.fill("128x64")
    number.press("Enter")
    wait_data(page, "grid", "v === '8x4'")
    expect(page.locator(".line", has_text="fewer examples at 128x64 px")).to_be_visible()
    number.fill("128")
    number.press("Enter")
    wait_data(page, "grid", "v === '4x4'")
    number.fill("100")  # M11: what the strip is that no chip covers
    number.press("Enter")
    wait_data(page, "grid", "v === '5x5'")
    canvas, readout = page.locator(".chipwrap canvas"), page.locator(".readout")
    inside, outside = (chips.place(px / 64 - 0.5, px / 64 - 0.5) for px in (450, 506))
    canvas.hover(position=outside)
    expect(readout).to_have_text("no whole chip fits here: left out")
    canvas.hover(position=inside)
    expect(readout).to_contain_text("row 4, column 4")
    said, top = readout.bounding_box(), canvas.bounding_box()["y"]
    assert said["y"] + said["height"] < top + inside["y"]  # beside what it is about
    number.fill("128")
    number.press("Enter")
    wait_data(page, "grid", "v === '4x4'")
    number.fill("much")
    number.press("Enter")
    expect(page.locator("input[aria-invalid=true]")).to_have_count(1)
    wait_data(page, "grid", "v === '4x4'")


def test_what_was_clicked_is_counted_at_once_and_the_wait_is_said(visit, tmp_path):
    """S17: for most of a minute 4k frames said "0 chips", and nothing of what went on."""
    run = Rehearsal(tmp_path / "large", size=4096, chip=64).start()
    try:
        run.frame(0.5)
        page = visit(run.address)
        page.get_by_role("tab", name="Examples").click()
        wait_data(page, "picked", "v !== undefined")
        chips = Chips(page, (run.size, run.size), (64, 64))
        chips.click((3, 3), (9, 9))
        expect(page.locator(".class .count").first).to_have_text("2 chips", timeout=5000)
        page.keyboard.press("2")
        chips.click((20, 60))
        words = re.compile("labelling the 4096 chips of this frame|accuracy")  # or it is quick
        expect(page.locator(".line", has_text=words).first).to_be_visible()
        expect(page.locator(".line", has_text="at least two classes")).to_have_count(0)
        expect(page.locator(".class .count").last).to_have_text("1 chip")
    finally:
        run.stop()
