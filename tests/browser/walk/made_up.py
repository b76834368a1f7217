"""Runs without a worker: what is seldom, or takes long, with results that are made up."""

import re
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import expect

from tests.browser.walk.own_run import tab
from tests.browser.walk.walker import Scene, Setting
from tests.support.looks import CURVE_POINTS, Chips, data, wait_data, wait_shown
from tests.support.rehearsal import Rehearsal

_SIZE, _CHIP = 4096, 64
_SAMPLES = 40
_LONG = "20260421_insitu_holder_ETEM_Au_on_carbon_0.4Pa_O2_300kV_heating_to_850C_series_{:05d}.tif"
_BLANK = {"intensity_mean": 12.0, "intensity_p1": 10.0, "intensity_p99": 14.0, "blank": 1.0}


def _setting(walk):
    folder = Path(tempfile.mkdtemp(prefix="pychip-walk-")) / "e"
    run = Rehearsal(folder, size=_SIZE, chip=_CHIP).start()
    try:
        page = walk.visits(run.address)
        run.frame(0.5)
        yield Setting(page, {"run": run})
    finally:
        run.stop()


SCENE = Scene("made up", _setting)


@SCENE("S17", "B5")
def a_large_frame(walk, on):
    """Choose chips on a frame of 4096 × 4096 pixels."""
    page = on.page
    tab(page, "Examples")
    wait_data(page, "picked", "v !== undefined")
    chips = Chips(page, (_SIZE, _SIZE), (_CHIP, _CHIP))
    chips.click((3, 3), (9, 9))
    expect(page.locator(".class .count").first).to_have_text("2 chips", timeout=5000)
    page.keyboard.press("2")
    chips.click((20, 60))
    words = re.compile(f"labelling the {(_SIZE // _CHIP) ** 2} chips of this frame|accuracy")
    said = page.locator(".line", has_text=words).first
    expect(said).to_be_visible()
    walk.see("S17", page, said.inner_text())
    box = page.locator(".chipwrap canvas").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    for _ in range(8):
        page.mouse.wheel(0, -300)
    wait_data(page, "zoom", "Number(v) > 8")
    wait_data(page, "crop", "v !== undefined")
    page.wait_for_timeout(1500)  # for the eye
    walk.see("B5", page, f"zoom {data(page, 'zoom')}: the pixels {data(page, 'crop')} as recorded")


@SCENE("S2")
def a_steady_rate(walk, on):
    """Two frames a second without a backlog, then one that is caught up."""
    page, run = on.page, on.things["run"]
    tab(page, "Live")
    badge, lights = page.locator(".badge"), []
    for _ in range(60):  # what was asked of the page before may still take its time
        run.frame(0.5)
        page.wait_for_timeout(500)
        if badge.get_attribute("data-light") == "live":
            break
    for _ in range(_SAMPLES):
        run.frame(0.5)
        page.wait_for_timeout(500)
        lights.append(badge.get_attribute("data-light"))
    for behind in range(60, 20, -4):
        run.frame(0.5, behind=behind)
        page.wait_for_timeout(500)
    assert lights.count("live") == _SAMPLES, lights
    said = page.locator(".detail").inner_text()
    walk.see("S2", page, f"live in {_SAMPLES} of {_SAMPLES} samples; then: {said}")
    run.frame(0.5)


@SCENE("S6")
def a_pause(walk, on):
    """Frames, a pause, frames."""
    page, run = on.page, on.things["run"]
    tab(page, "Live")
    for share in (0.3, 0.4, 0.5):
        run.frame(share, after=2)
    for share in (0.5, 0.6, 0.7):
        run.frame(share, after=2 + 100 * (share == 0.5))
    wait_shown(page, 1)
    page.wait_for_function(
        """() => window.Bokeh.documents[0].get_model_by_name("phase")
             ?.get_column("v0").some((v) => Number.isNaN(v))"""
    )
    page.wait_for_timeout(1500)  # for the eye
    walk.see("S6", page, f"{page.evaluate(CURVE_POINTS)} frames, a break in the line")


@SCENE("M25")
def a_blank_frame(walk, on):
    """A frame without a beam."""
    page, run = on.page, on.things["run"]
    before = page.evaluate(CURVE_POINTS)
    unknown = np.full((_SIZE // _CHIP, _SIZE // _CHIP), 2, np.uint8)
    run.frame(labels=unknown, after=2, **_BLANK)
    said = page.locator(".misfit").first
    expect(said).to_contain_text("Blank")
    words = said.inner_text()
    run.frame(0.7, after=2)
    page.wait_for_function(f"n => ({CURVE_POINTS})() === n", arg=before + 1)
    page.wait_for_timeout(1500)  # for the eye
    walk.see("M25", page, "no point in the curve; " + words)


@SCENE("M17")
def a_long_name(walk, on):
    """A frame with a long name."""
    page, run = on.page, on.things["run"]
    run.name = _LONG
    run.frame(0.7, after=2)
    end = page.locator(".caption:visible span").last
    expect(end).to_contain_text(f"{run.sent - 1:05d}.tif")
    walk.see("M17", page, end.inner_text())
