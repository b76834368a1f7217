"""The demo, watched while it runs."""

import re
import tempfile
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.walk.own_run import tab
from tests.browser.walk.walker import Scene, Setting
from tests.support.looks import CURVE_POINTS, FIND, TRUE_POINTS, wait_data, wait_shown
from tests.support.session import demo_at

_RANGE = """() => { const m = [...window.Bokeh.documents[0]._all_models.values()]
  .filter((m) => m.type === "Figure" && m.renderers.some((r) => r.data_source?.name === "phase"))
  .at(-1); return m.x_range.end - m.x_range.start; }"""
_THEME = "theme => document.documentElement.dataset.theme === theme"
_VISIBLE = """() => [...window.Bokeh.documents[0]._all_models.values()]
  .filter((m) => m.type === "Figure").flatMap((m) => m.renderers)
  .filter((r) => r.visible && r.data_source?.name?.startsWith("phase")).length"""


def _setting(walk):
    with demo_at(Path(tempfile.mkdtemp(prefix="pychip-walk-")) / "demo") as address:
        page = walk.visits(address)
        expect(page.locator(".badge")).to_be_visible(timeout=60_000)
        yield Setting(page)


SCENE = Scene("demo", _setting)


@SCENE("S14", "S21")
def a_newcomer(walk, on):
    """Open the demo and watch."""
    page = on.page
    wait_shown(page, 3)
    said = page.locator(".alert.info", has_text="simulated")
    expect(said).to_be_visible()
    walk.see("S14", page, said.inner_text())
    page.wait_for_timeout(10_000)
    tab(page, "Health")
    page.wait_for_timeout(5000)
    tab(page, "Live")
    page.wait_for_timeout(3000)
    walk.see("S21", page, " · ".join(page.locator(".step").all_inner_texts()).replace("\n", " "))


@SCENE("M14", "M13", "B4", "S9")
def the_curve(walk, on):
    """Hover, hide a class and the intervals, zoom and come back."""
    page = on.page
    page.wait_for_function(f"() => ({CURVE_POINTS})() > 20 && ({TRUE_POINTS})() > 20")
    plot = page.locator(".bk-Figure:visible").first
    box = plot.bounding_box()
    tips = f"() => Boolean(({FIND})('.bk-tooltip-row-value') || ({FIND})('.bk-Tooltip'))"
    for share in (0.4, 0.5, 0.6):
        page.mouse.move(box["x"] + box["width"] * share, box["y"] + box["height"] / 2)
        page.wait_for_timeout(300)
    page.wait_for_function(tips)
    walk.see("M14", page, "for the eye: the intervals under the pointer")
    before = page.evaluate(_VISIBLE)
    name = page.locator(".names .item").first.inner_text()
    hide = page.get_by_role("button", name=f"show {name} in the curves")
    hide.click()
    page.wait_for_function(f"n => ({_VISIBLE})() === n - 4", arg=before)
    walk.see("M13", page, f"{name}: line, dots, band and truth are gone")
    hide.click()
    page.get_by_role("checkbox", name="intervals").click()
    page.wait_for_function(f"n => ({_VISIBLE})() < n", arg=before)
    walk.see("B4", page, f"intervals off: {page.evaluate(_VISIBLE)} of {before} parts left")
    page.get_by_role("checkbox", name="intervals").click()
    whole = page.evaluate(_RANGE)
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=8)
    page.mouse.up()
    page.wait_for_function(f"whole => ({_RANGE})() < 0.6 * whole", arg=whole)
    back = page.get_by_role("button", name="Back to live")
    expect(back).to_be_visible()
    page.screenshot(path=walk.out / "zoomed.png")
    page.get_by_role("button", name="whole run").click()
    page.wait_for_function(f"whole => ({_RANGE})() > 0.8 * whole", arg=whole)
    expect(back).to_be_hidden()
    walk.see("S9", page, "zoomed, Back to live was there, and whole run leads back")


@SCENE("W3", "W8", "W14")
def on_live(walk, on):
    """Mark a moment, leave a frame out, look how sure the chips are."""
    page = on.page
    field = page.get_by_role("textbox", name="mark", exact=True)
    field.fill("ramp 5 K/min")
    field.press("Enter")
    expect(field).to_have_value("")
    page.wait_for_timeout(2000)  # for the eye
    walk.see("W3", page, "for the eye: the mark and its text")
    page.get_by_role("button", name="Leave this frame out").click()
    caption = page.locator(".caption:visible")
    expect(caption).to_contain_text("left out by")
    walk.see("W8", page, caption.inner_text())
    page.get_by_role("button", name="Take this frame back").click()
    expect(caption).not_to_contain_text("left out")
    page.get_by_label("chips show").select_option("confidence")
    page.locator(".chipwrap canvas").hover()
    readout = page.locator(".readout")
    expect(readout).to_contain_text("% sure")
    walk.see("W14", page, readout.inner_text())
    page.get_by_label("chips show").select_option("classes")
    page.get_by_role("button", name="Back to live").click()


@SCENE("S5")
def another_name(walk, on):
    """Name a class anew and publish that."""
    page = on.page
    tab(page, "Examples")
    wait_data(page, "labels", "Number(v || 0) > 0", timeout=120_000)
    box = page.get_by_label("name of the class").first
    box.fill("gold")
    box.press("Enter")
    expect(page.locator(".pill").first).to_contain_text("gold")
    page.get_by_role("button", name="Publish to the run").click()
    expect(page.get_by_text(re.compile("published [0-9a-f]{8}"))).to_be_visible(timeout=120_000)
    tab(page, "Live")
    expect(page.locator(".names .item", has_text="gold")).to_be_visible()
    page.wait_for_timeout(3000)  # for the eye: some frames under the new name
    walk.see("S5", page, " ".join(page.locator(".names .item").all_inner_texts()))


@SCENE("W6")
def a_rule(walk, on):
    """Make a rule on Health, and see its limit in the curve."""
    page = on.page
    tab(page, "Health")
    page.get_by_label("name", exact=True).fill("gold is there")
    page.get_by_role("combobox", name="of class").click()
    page.locator(".MuiMenuItem-root", has_text="gold").click()
    page.get_by_label("limit, such as").fill("5 %")
    page.get_by_role("combobox", name="level").click()
    page.locator(".MuiMenuItem-root", has_text="critical").click()
    page.get_by_role("button", name="Save rule").click()
    expect(page.get_by_text("✓ gold is there is in force")).to_be_visible()
    tab(page, "Live")
    banner = page.locator(".alert.critical")
    expect(banner).to_contain_text("gold is there", timeout=60_000)
    expect(page).to_have_title(re.compile("⚠ gold is there"))
    page.get_by_role("button", name="sound off").click()
    page.wait_for_function(f"() => Number(({FIND})('.statusbar').dataset.beeps) >= 2")
    page.get_by_role("button", name="acknowledge").click()
    expect(banner).to_contain_text("(acknowledged by")
    page.get_by_role("button", name="sound on").click()
    walk.see("W6", page, banner.inner_text())


@SCENE("M26", "S23", "M28", "S18")
def sizes_and_themes(walk, on):
    """Look at every page on 1280, 1920, 3840 pixels, a tablet and a phone, light and dark."""
    page = on.page
    sizes = {"1280": (1280, 800), "1920": (1920, 1080), "3840": (3840, 2160), "tablet": (820, 1180),
             "phone": (390, 844)}  # fmt: skip
    for name in ("Live", "Examples", "Review", "Health", "Upload"):
        tab(page, name)
        if name == "Review":
            page.locator(".card").first.click()
            page.locator(".scrubber[data-count]").wait_for()
        elif name == "Upload":
            expect(page.get_by_label("image file")).to_be_attached()
        elif name == "Examples":
            expect(page.get_by_label("frame of the run")).to_be_visible()
        elif name == "Health":
            expect(page.get_by_role("table", name="Services")).to_be_visible()
        for theme in ("light", "dark"):
            page.wait_for_function(_THEME, arg=theme)
            for size, (width, height) in sizes.items():
                page.set_viewport_size({"width": width, "height": height})
                page.wait_for_timeout(800)  # plots follow their room a moment later
                whole = size in ("tablet", "phone") and theme == "light"
                picture = walk.out / f"size-{name}-{size}-{theme}.png"
                page.screenshot(path=picture, full_page=whole)
            page.set_viewport_size({"width": 1280, "height": 800})
            page.get_by_role("button", name="theme").click()
    tab(page, "Live")
    page.set_viewport_size({"width": 3840, "height": 2160})
    size = page.locator(".badge").evaluate("node => parseFloat(getComputedStyle(node).fontSize)")
    assert size >= 28
    walk.see("M26", page, f"badge of {size:.0f} px; all pages as size-*-3840-*.png")
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(1000)
    box = page.locator(".state").first.bounding_box()
    assert box["y"] + box["height"] < 100
    walk.see("S23", page, "the state of the run is in the title bar; size-*-phone-*.png")
    tab(page, "Health")
    table = page.locator(".scroll", has=page.get_by_role("table", name="Services"))
    expect(table).to_have_css("max-height", "none")
    walk.see("M28", page, "the table of services is as long as it is")
    page.set_viewport_size({"width": 1280, "height": 800})
    dark = walk.visits(page.url, color_scheme="dark")
    expect(dark.locator(".badge")).to_be_visible()
    dark.wait_for_function(_THEME, arg="dark")
    dark.wait_for_timeout(2000)  # for the eye
    walk.see("S18", dark, "dark as the system asks")
