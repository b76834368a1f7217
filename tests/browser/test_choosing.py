"""Choosing examples by hand: what one sees of a chip, how one moves, which class gets it."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image
from playwright.sync_api import expect

from pychip_stream.archive.support_sets import SupportFolder, support_to_bytes
from tests.support.archive_samples import support
from tests.support.looks import FIND, Chips, data, wait_data
from tests.support.rehearsal import Rehearsal
from tests.support.run_samples import make_run

SIZE, CHIP = 2048, 64


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    one = Rehearsal(tmp_path_factory.mktemp("choosing") / "e", size=SIZE, chip=CHIP).start()
    one.frame(0.5)
    yield one
    one.stop()


@pytest.fixture
def page(borrow, run):
    page = borrow(run.address)
    page.get_by_role("tab", name="Examples").click()
    wait_data(page, "picked", "v !== undefined")
    yield page
    page.locator(".chipwrap canvas").focus()
    page.keyboard.press("0")  # the whole frame
    wait_data(page, "zoom", "v === '1.00'")
    while page.locator(".class").count() > 2:
        count = page.locator(".class").count()
        page.locator(".class").last.get_by_role("button", name="remove").click()
        expect(page.locator(".class")).to_have_count(count - 1)


def middle(page):
    box = page.locator(".chipwrap canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def zoom_in(page, times=4):
    page.mouse.move(*middle(page))
    for _ in range(times):
        page.mouse.wheel(0, -300)
    wait_data(page, "zoom", "Number(v) > 3")


def view(page):
    """The chip in the middle of what is seen, as the readout tells it."""
    x, y = middle(page)
    page.mouse.move(x - 1, y)
    page.mouse.move(x, y)
    return page.locator(".readout").inner_text().split(" · ")[0]


def test_chips_are_seen_as_recorded_where_they_are_chosen(page):
    """B5: 4096² averaged to 1024 px shows a chip as 8 × 8 blocks."""
    zoom_in(page)
    wait_data(page, "crop", "v !== undefined")
    page.get_by_label("zoom in").click()
    wait_data(
        page, "crop", "Math.abs(v.split(',')[2] - v.split(',')[0] - arg) <= 2",
        page.evaluate(
            f"""() => {{
              const stage = ({FIND})('.chipwrap .stage');
              const zoom = Number(({FIND})('.chipwrap').dataset.zoom);
              const fit = Math.min(stage.clientWidth, stage.clientHeight) / {SIZE};
              return stage.clientWidth / fit / zoom;
            }}"""
        ),
    )  # fmt: skip


def test_a_zoomed_frame_is_moved_by_the_usual_gestures_and_the_page_says_which(page):
    """S20: dragging picked, and Shift was written nowhere."""
    expect(page.locator(".hands")).to_contain_text("right button")
    zoom_in(page)
    before, picked = view(page), data(page, "picked")
    x, y = middle(page)
    for button, key in (("right", None), ("middle", None), ("left", "Shift"), ("left", "move")):
        if key == "move":
            page.get_by_role("button", name="move", exact=True).click()
        elif key:
            page.keyboard.down(key)
        page.mouse.move(x, y)
        page.mouse.down(button=button)
        page.mouse.move(x - 120, y - 90, steps=4)
        page.mouse.up(button=button)
        if key == "Shift":
            page.keyboard.up(key)
        after = view(page)
        assert after != before, (button, key)
        before = after
    assert data(page, "picked") == picked
    page.locator(".chipwrap canvas").focus()
    for _ in range(4):
        page.keyboard.press("Shift+ArrowLeft")
    assert view(page) != before
    page.get_by_role("button", name="move", exact=True).click()
    page.locator(".chipwrap canvas").focus()
    for _ in range(40):  # the chip that the keys point at stays in sight
        page.keyboard.press("ArrowRight")
    last = f"column {SIZE // CHIP - 1}"
    expect(page.locator(".readout")).to_contain_text(last)
    box = page.locator(".chipwrap canvas").bounding_box()
    found = set()
    for x in range(int(box["x"]) + 5, int(box["x"] + box["width"]) - 5, 15):
        page.mouse.move(x, y)
        found.add(page.locator(".readout").inner_text().split(" · ")[0].partition(", ")[2])
    assert last in found


def test_two_fingers_zoom_and_choose_nothing(visit, run):
    page = visit(run.address, has_touch=True)
    page.get_by_role("tab", name="Examples").click()
    wait_data(page, "picked", "v !== undefined")
    picked = data(page, "picked")
    x, y = middle(page)
    session = page.context.new_cdp_session(page)

    def touch(kind, *places):
        points = [{"x": x + dx, "y": y, "id": n} for n, dx in enumerate(places)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", -30)
    touch("touchStart", -30, 30)
    for apart in (60, 90, 120):
        touch("touchMove", -apart, apart)
    touch("touchEnd")
    wait_data(page, "zoom", "Math.abs(Number(v) - 4) < 0.2")
    assert data(page, "picked") == picked


def test_the_active_class_stays_the_one_that_was_chosen(page):
    """S1, S13: a class that was named or added lost its turn, and the first got the chips."""
    chips = Chips(page, (SIZE, SIZE), (CHIP, CHIP))
    page.keyboard.press("Escape")
    page.locator(".chipwrap canvas").focus()
    page.keyboard.press("2")
    name = page.get_by_label("name of the class").nth(1)
    name.fill("carbn")
    name.press("Enter")
    name = page.get_by_label("name of the class").nth(1)
    name.fill("carbon")  # a slip is mended right after
    name.press("Enter")
    expect(page.locator(".pill").nth(1)).to_contain_text("carbon")
    name.press("Tab")
    wait_data(page, "staged", "v === 'carbon'")
    chips.click((3, 3))
    expect(page.locator(".class").nth(1).locator(".thumb img")).to_have_count(1)

    page.get_by_role("button", name="+ add a class").click()
    wait_data(page, "staged", "v === 'feature 3'")
    expect(page.get_by_label("name of the class").nth(2)).to_be_focused()
    page.keyboard.type("void")  # its name is ready to be written
    page.keyboard.press("Enter")
    expect(page.locator(".pill").nth(2)).to_contain_text("void")
    chips.click((5, 5))
    expect(page.locator(".class").nth(2).locator(".thumb img")).to_have_count(1)
    expect(page.locator(".class").nth(1).locator(".thumb")).to_have_count(1)

    page.get_by_label("merge void into another class").select_option("feature 1")
    wait_data(page, "staged", "v === 'feature 1'")
    for number in range(2):
        page.locator(".class").nth(number).locator(".thumb").click()
    expect(page.locator(".thumb")).to_have_count(0)


def contrast(page, css):
    """Contrast of an element's text against what lies behind it, by WCAG's formula."""
    picture = page.locator(css).first.screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"), float) / 255
    linear = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4)
    light = linear @ [0.2126, 0.7152, 0.0722]
    inner = light[2:-2, 8:-2]
    return (inner.max() + 0.05) / (inner.min() + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_refusal_can_be_read_and_takes_no_picture_away(page, scheme):
    """S12, M2: white on pink, and every thumbnail broken until the field was left."""
    if scheme == "dark":
        page.get_by_role("button", name="theme").click()
    page.wait_for_function(f"() => document.documentElement.dataset.theme === '{scheme}'")
    chips = Chips(page, (SIZE, SIZE), (CHIP, CHIP))
    chips.click((2, 2))
    expect(page.locator(".class .thumb img")).to_have_count(1)
    first = page.get_by_label("name of the class").first
    for name in ("unknown", ""):
        first.fill(name)
        first.press("Enter")
        expect(page.locator(".line[data-level=error]")).to_be_visible()
        assert contrast(page, ".line[data-level=error]") > 4.5
        whole = "nodes => nodes.every(n => n.complete && n.naturalWidth > 0)"
        assert page.locator(".class .thumb img").evaluate_all(whole)
    first.press("Tab")
    expect(page.get_by_label("name of the class").first).not_to_have_value("")
    page.locator(".thumb").click()
    expect(page.locator(".thumb")).to_have_count(0)
    if scheme == "dark":
        page.get_by_role("button", name="theme").click()


def test_colours_stay_apart(page):
    """M5: two classes of one colour cannot be told apart."""
    other = page.locator(".colour").nth(1).input_value()
    page.locator(".colour").first.evaluate(
        "(node, value) => { node.value = value; node.dispatchEvent(new Event('change')); }", other
    )
    expect(page.locator(".line[data-level=error]")).to_contain_text("has that colour already")


SHADES = f"""() => {{
  const canvas = ({FIND})('.chipwrap canvas'), seen = new Set();
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  for (let i = 0; i < data.length; i += 40) if (data[i] === data[i + 1]) seen.add(data[i]);
  return seen.size;
}}"""


def test_a_frame_of_another_bit_depth_is_seen_and_says_why(visit, tmp_path):
    """S3: pure white on every page, and the reason in a log."""
    run = Rehearsal(tmp_path / "e", size=256, chip=32)
    made = support(high=255.0)
    SupportFolder(run.config.support.folder).add(made.version, support_to_bytes(made))
    run.version = made.version
    make_run(run.config.archive.folder, run.folder / "old", 2, "old")
    for path in (run.folder / "old").iterdir():
        tifffile.imwrite(path, tifffile.imread(path).astype(np.uint16) + 50_000)
    run.start()
    try:
        run.frame(0.5)
        page = visit(run.address)
        said = "another exposure or bit depth"
        expect(page.locator(".misfit")).to_contain_text(said)
        page.locator('input[data-key="opacity"]').fill("0")
        page.wait_for_function(f"() => ({SHADES})() > 30")
        page.get_by_role("button", name="contrast").click()
        page.get_by_label("contrast", exact=True).select_option("as analysed")
        page.wait_for_function(f"() => ({SHADES})() < 30")
        page.get_by_label("contrast", exact=True).select_option("minimum to maximum")
        page.wait_for_function(f"() => ({SHADES})() > 30")
        page.get_by_role("tab", name="Examples").click()
        expect(page.locator(".misfit").last).to_contain_text(said)
        page.get_by_role("tab", name="Review").click()
        page.locator(".card[data-name=old]").click()
        expect(page.locator(".misfit").last).to_contain_text(said)
    finally:
        run.stop()
