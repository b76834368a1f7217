"""Looking back with `review`, and one image alone."""

import re
import tempfile
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.walk.own_run import tab
from tests.browser.walk.walker import Scene, Setting
from tests.conftest import SHARED
from tests.support.looks import CURVE_POINTS, Chips, wait_data
from tests.support.micrographs import LAO
from tests.support.run_samples import add_second_scoring, make_run
from tests.support.session import demo_at, review_at

_FRAMES = 40
_FIGURES = SHARED / "pychip_fig2bc"


def _setting(walk):
    folder = Path(tempfile.mkdtemp(prefix="pychip-walk-"))
    with demo_at(folder / "demo", frames=_FRAMES) as _address:
        pass
    heating = make_run(folder / "runs", folder / "frames", 12, "heating")
    add_second_scoring(heating, 12)
    with review_at(folder / "demo", folder) as address:
        page = walk.visits(address)
        expect(page.locator(".card")).to_have_count(2)
        yield Setting(page, {"folder": folder, "address": address})


SCENE = Scene("archives", _setting)


def _open(page, name):
    page.locator(f".card[data-name={name}]").click()
    page.locator(".scrubber[data-count]").wait_for()
    page.wait_for_function(f"() => ({CURVE_POINTS.replace('phase', 'review')})() > 1")


@SCENE("M16", "M27", "S22")
def a_run_is_opened(walk, on):
    """Open the demo's run, play it, look at confidence, compare it with another."""
    page = on.page
    _open(page, "demo")
    scrubber = page.locator(".scrubber[data-count]")
    page.get_by_label("frame of the run").press("Space")
    expect(scrubber).to_have_attribute("data-playing", "1")
    page.get_by_label("frame of the run").press("Space")
    height = page.locator(".bk-Figure:visible").first.bounding_box()["height"]
    walk.see("M16", page, f"Space plays and stops; the curve is {height:.0f} px high")
    page.wait_for_timeout(1500)  # for the eye
    walk.see("M27", page, "for the eye: the histogram and its words")
    page.get_by_role("button", name="Compare").click()
    page.get_by_label("compare with").click()
    page.locator("li", has_text="run heating").click()
    expect(page.locator(".names:visible .item").get_by_text("B", exact=True)).to_be_visible()
    page.wait_for_timeout(1500)  # for the eye
    walk.see("S22", page, " ".join(page.locator(".names:visible .item").all_inner_texts()))
    page.get_by_label("compare with").click()
    page.locator("li", has_text="nothing").click()


@SCENE("M23", "M29")
def exports(walk, on):
    """Export pictures of the run and of one frame."""
    page = on.page
    page.get_by_role("button", name="Export").click()
    kinds = [b.get_attribute("data-kind") for b in page.locator("button[data-kind]").all()]
    walk.see("M23", page, f"{_exported(walk, page, 'picture')}; offered: {', '.join(kinds)}")
    walk.see("M29", page, _exported(walk, page, "label_map"))


def _exported(walk, page, kind):
    """Name of the picture, which is kept beside the others."""
    with page.expect_download() as started:
        page.locator(f"button[data-kind={kind}]:visible").click()
    kept = walk.out / f"{kind}-{started.value.suggested_filename}"
    started.value.save_as(kept)
    assert kept.read_bytes().startswith(b"\x89PNG")
    return kept.name


@SCENE("M18", "S19")
def one_image(walk, on):
    """Drop a damaged file, then a micrograph; choose chips and classify."""
    page, folder = on.page, on.things["folder"]
    tab(page, "Upload")
    drop = page.get_by_label("image file")
    torn = folder / "torn.png"
    torn.write_bytes(b"no image")
    drop.set_input_files(torn)
    refused = page.get_by_text("No appropriate file was selected")
    expect(refused).to_have_count(1)
    assert "/" not in refused.inner_text()
    walk.see("M18", page, refused.inner_text())
    drop.set_input_files(_FIGURES / LAO.name)
    number = page.get_by_label("px: N or W×H")
    expect(page.get_by_text(re.compile("rows × "))).to_be_visible()
    number.fill(f"{LAO.chip[0]}x{LAO.chip[1]}")
    number.press("Enter")
    wait_data(page, "grid", "v === '22x23'")
    page.get_by_role("button", name="Use this grid size").click()
    wait_data(page, "picked", "v === '0'")
    chips = Chips(page, LAO.shape, LAO.chip)
    for key, places in enumerate(LAO.picks(_FIGURES).values(), start=1):
        page.locator(".chipwrap canvas").focus()
        page.keyboard.press(str(key))
        chips.click(*places)
    page.get_by_role("button", name="Classify").click()
    counts = page.get_by_text(re.compile(" of 506 chips")).first
    expect(counts).to_be_visible(timeout=90_000)
    expect(page.locator("img[alt]:visible").last).to_be_visible()
    walk.see("S19", page, counts.inner_text().replace("\n", "; "))
