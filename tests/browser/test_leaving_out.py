"""The button that leaves a frame out, in the browsers of an operator and of a viewer."""

import json
import re

import numpy as np
import pytest
from playwright.sync_api import expect

from pychip_stream.archive.run import open_run
from tests.support.looks import CURVE_POINTS, SPY, wait_shown
from tests.support.rehearsal import Rehearsal
from tests.support.run_samples import make_run

FRAMES = 6
OUT, BACK = "Leave this frame out", "Take this frame back"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "e"
    folder.mkdir()
    (folder / "users.json").write_text(json.dumps({"ann": "apple", "bob": "banana"}))
    one = Rehearsal(folder, users="users.json", operators=["ann"])
    archive = one.config.archive
    make_run(archive.folder, folder / "old", FRAMES, archive.name, close=False)
    make_run(archive.folder, folder / "old", FRAMES, "heating")
    one.start()
    yield one
    one.stop()


@pytest.fixture
def ann(borrow, run):
    return enter(borrow(run.address), "ann", "apple")


@pytest.fixture
def bob(borrow, run):
    return enter(borrow(run.address, "bob"), "bob", "banana")


def enter(page, name, password):
    """Log in, if that is not done, and follow the run."""
    expect(page.get_by_label("password").or_(page.get_by_role("tab", name="Live"))).to_be_visible()
    if page.get_by_label("password").count():
        page.get_by_label("name").fill(name)
        page.get_by_label("password").fill(password)
        page.get_by_role("button", name="Log in").click()
    page.get_by_role("tab", name="Live").click()
    back = page.get_by_role("button", name="Back to live")
    if back.is_visible():
        back.click()
    return page


def open_heating(page):
    """Go to Review, and open the run there, if it is not."""
    page.get_by_role("tab", name="Review").click()
    card, scrubber = page.locator(".card[data-name=heating]"), page.locator(".scrubber[data-count]")
    expect(card.or_(scrubber).first).to_be_visible()
    if card.is_visible():
        card.click()
    expect(scrubber).to_be_visible()  # before it is told how many there are it takes no number
    points(page, FRAMES, "review")


def points(page, count, name="phase"):
    page.wait_for_function(f"n => ({CURVE_POINTS.replace('phase', name)})() === n", arg=count)


def test_live(run, ann, bob):
    for _ in range(3):
        run.frame(0.5)
    run.frame(0.75)
    for page in (ann, bob):
        wait_shown(page, 1)
        expect(page.locator(".caption")).to_have_text("frame_00003.tif")
    ann.wait_for_function(f"() => ({CURVE_POINTS})() >= 4")
    count = ann.evaluate(CURVE_POINTS)
    points(bob, count)
    expect(bob.get_by_role("button", name=OUT)).to_have_count(0)
    ann.get_by_role("button", name=OUT).click()
    for page in (ann, bob):
        points(page, count - 1)
        expect(page.locator(".caption")).to_contain_text("left out by ann at")
    ann.get_by_role("button", name=BACK).click()
    for page in (ann, bob):
        points(page, count)
        expect(page.locator(".caption")).not_to_contain_text("left out")


def test_a_blank_frame_says_so_and_is_no_spike(run, bob):
    """M25: a frame without beam was a spike to 100 % unknown."""
    count = bob.evaluate(CURVE_POINTS) + 1
    run.frame(0.5)
    points(bob, count)
    run.frame(labels=np.full((8, 8), 2, np.uint8), blank=1.0)
    expect(bob.locator(".misfit")).to_contain_text("Blank: no more signal than without a beam")
    expect(bob.locator(".caption")).to_contain_text("blank, left out: ")
    expect(bob.get_by_text("1 frame, 1 of them blank")).to_be_visible()
    run.frame(0.5)
    points(bob, count + 1)
    expect(bob.locator(".misfit")).to_be_hidden()


def test_review(run, ann, bob):
    for page in (ann, bob):
        open_heating(page)
        expect(page.locator(".caption")).to_contain_text("frame_000.tif")
        page.get_by_label("frame of the run").fill("3")
        expect(page.locator(".caption")).to_contain_text("frame_003.tif")
    expect(bob.get_by_role("button", name=OUT)).to_have_count(0)
    ann.get_by_role("button", name=OUT).click()
    for page in (ann, bob):
        points(page, FRAMES - 1, "review")
        expect(page.locator(".caption")).to_have_text(re.compile("left out by ann .*frame_003"))
        expect(page.get_by_text("1 left out")).to_be_visible()
    archive = run.config.archive.folder / "heating.h5"
    assert open_run(archive).exclusions["frame"].tolist() == [3]
    ann.get_by_role("button", name=BACK).click()
    for page in (ann, bob):
        points(page, FRAMES, "review")
    assert open_run(archive).exclusions["frame"].tolist() == []


MARKS = """(name) => {
  const source = window.Bokeh?.documents?.[0]?.get_model_by_name(`${name}-marks`);
  return source ? [...source.get_column("text")] : [];
}"""


def marked(page, text, name):
    page.wait_for_function(f"([name, text]) => ({MARKS})(name).includes(text)", arg=[name, text])


def contrast(colour, under):
    """Contrast of WCAG between #rrggbb and (red, green, blue, …)."""
    both = [int(colour[at : at + 2], 16) for at in (1, 3, 5)], under[:3]
    low, high = sorted(
        sum(
            weight * (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
            for weight, c in zip((0.2126, 0.7152, 0.0722), (p / 255 for p in one), strict=True)
        )
        for one in both
    )
    return (high + 0.05) / (low + 0.05)


def test_marks_on_live(run, ann, bob):
    frame = run.frame(0.5)
    for page in (ann, bob):
        expect(page.locator(".caption")).to_have_text(frame.path)
    expect(bob.get_by_role("textbox", name="mark", exact=True)).to_have_count(0)
    field = ann.get_by_role("textbox", name="mark", exact=True)
    for page in (bob, ann):
        page.keyboard.press("m")
    expect(field).to_be_focused()
    ann.keyboard.type("<b>gas</b> on")
    ann.keyboard.press("Enter")
    for page in (ann, bob):
        marked(page, "<b>gas</b> on", "phase")
    expect(field).to_have_value("")
    ann.evaluate(SPY)
    for _ in ("light", "dark"):  # it was purple on black
        ann.evaluate("window.drawn = []")
        ann.get_by_role("button", name="theme").click()
        run.frame(0.5)
        ann.wait_for_function("() => window.drawn.some((one) => one.text === '<b>gas</b> on')")
        text = next(d for d in ann.evaluate("window.drawn") if d["text"] == "<b>gas</b> on")
        assert contrast(text["colour"], text["under"]) > 4.5, text


def test_marks_in_review(ann):
    open_heating(ann)
    ann.get_by_role("button", name="Events").click()
    field = ann.get_by_role("textbox", name="mark", exact=True)
    field.fill("hot")
    field.press("Enter")
    row = ann.get_by_role("row").filter(has_text="hot")
    expect(row).to_contain_text("ann")
    marked(ann, "hot", "review")
    ann.get_by_role("combobox", name="which").click()
    ann.locator("li", has_text=re.compile("^hot")).click()
    field.fill("hotter")
    field.press("Enter")
    expect(ann.get_by_role("row").filter(has_text="hotter")).to_have_count(1)
    ann.get_by_role("button", name="Remove mark").click()
    expect(ann.get_by_text("none yet")).to_be_visible()
    ann.get_by_role("button", name="Find changes").click()
    expect(ann.get_by_text("nothing changes beyond the noise")).to_be_visible()
