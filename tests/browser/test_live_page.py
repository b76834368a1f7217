"""The live page: it follows, it can be looked at closely, and it says when it is not live."""

import re
import time

import pytest
from playwright.sync_api import expect

from pychip_stream.wire.messages import Alert
from tests.support.looks import (
    CURVE_POINTS,
    SECOND_AXIS,
    TRUE_POINTS,
    colours,
    data,
    wait_data,
    wait_shown,
)
from tests.support.rehearsal import Rehearsal


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    one = Rehearsal(tmp_path_factory.mktemp("run") / "e", size=2048, chip=64).start()
    yield one
    one.stop()


def test_frames_and_curves_follow_with_the_truth_beside_them(run, visit):
    (run.root / "truth.csv").write_text(
        "frame,index,path,time_s,alpha,beta\n"
        + "".join(f"{i},0,frame_{i:05d}.tif,{i},0.5,0.5\n" for i in range(5))
    )
    page = visit(run.address)
    run.frame(0.25)
    wait_shown(page, 1)
    run.frame(0.5)
    run.frame(0.75)
    wait_shown(page, 2)
    page.wait_for_function(f"() => ({CURVE_POINTS})() === 3 && ({TRUE_POINTS})() === 3")
    assert colours(page) > 100
    expect(page.locator(".legend .row").first).to_contain_text("alpha")
    expect(page.locator(".legend .row").first).to_contain_text("75.0 %")
    expect(page.locator(".caption")).to_contain_text("frame_00002.tif")
    expect(page.locator(".step").last).to_contain_text("in all")
    assert data(page, "scale").endswith("nm")


def test_zoom_is_kept_and_shows_the_frame_as_recorded(run, visit):
    page = visit(run.address)
    run.frame(0.5)
    wait_shown(page, 1)
    before = int(data(page, "seq"))
    canvas = page.locator(".chipwrap canvas")
    canvas.focus()
    for _ in range(4):
        page.keyboard.press("+")
    wait_data(page, "crop", "v")
    zoom = data(page, "zoom")
    run.frame(0.5)
    wait_shown(page, before + 1)
    assert data(page, "zoom") == zoom
    page.keyboard.press("0")
    assert data(page, "zoom") == "1.00"


def test_a_class_is_hidden_and_shown_again(run, visit):
    page = visit(run.address)
    run.frame(0.5)
    wait_shown(page, 1)
    toggle = page.get_by_role("button", name="show alpha on the frame")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    shown = colours(page)
    page.locator('input[data-key="opacity"]').fill("1")
    page.wait_for_timeout(100)
    full = colours(page)
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "false")
    page.wait_for_timeout(100)
    assert full < shown
    assert colours(page) > full


def test_a_click_on_the_curve_shows_that_frame_until_back_to_live(run, visit):
    page = visit(run.address)
    run.frame(0.125, after=40)
    run.frame(0.875, after=40)
    newest = f"frame_{run.sent - 1:05d}.tif"
    expect(page.locator(".caption")).to_have_text(newest)
    box = page.locator(".bk-Figure").bounding_box()
    page.wait_for_timeout(1500)  # the plot settles its range
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    expect(page.locator(".badge")).to_contain_text("a past frame")
    expect(page.locator(".caption")).not_to_have_text(newest)
    page.get_by_role("button", name="Back to live").click()
    expect(page.locator(".badge")).not_to_contain_text("past")
    expect(page.locator(".caption")).to_have_text(newest)


def test_a_quantity_is_drawn_on_the_second_axis(run, visit):
    page = visit(run.address)
    drawn = SECOND_AXIS.replace("NAME", "phase")
    for drift in (0.25, 0.5):
        run.frame(0.5, after=1, drift=drift)
    wait_shown(page, 1)
    assert page.evaluate(drawn) is None
    page.get_by_role("combobox", name="second axis").click()
    page.locator("li", has_text="drift").click()
    page.wait_for_function(f"() => ({drawn})()?.at(-1) === 0.5")
    assert page.evaluate(drawn) == ["drift", 0.25, 0.5]
    page.get_by_role("combobox", name="second axis").click()
    page.locator("li", has_text="none").click()
    page.wait_for_function(f"() => ({drawn})() === null")


def test_alerts_stand_on_the_page_until_they_end(run, visit):
    page = visit(run.address)
    alert = {"rule": "disk", "level": "critical", "reason": "the disk is full <soon>"}
    run.channel.send(Alert(id="1", state="on", time=time.time(), **alert))
    banner = page.locator(".alert.critical")
    expect(banner).to_have_text("the disk is full <soon>")
    run.channel.send(Alert(id="2", state="off", time=time.time(), **alert))
    expect(banner).to_have_count(0)


def test_a_frame_of_another_material_is_a_banner_until_the_frames_are_usual_again(run, visit):
    page = visit(run.address)
    run.frame(5 / 32, after=1, strange=1.0)
    banner = page.locator(".alert.warning", has_text="unlike the support set")
    expect(banner).to_have_count(1)
    expect(page.locator(".number").first).to_have_text("15.6 % (10.6–20.6)")
    for _ in range(9):
        run.frame(0.5, after=1, strange=0.1)
    expect(banner).to_have_count(0)


def test_two_viewers_see_the_same_at_once(run, visit):
    pages = [visit(run.address) for _ in range(2)]
    for _ in range(2):
        run.frame(0.5, after=1)
    caption = f"frame_{run.sent - 1:05d}.tif"
    for page in pages:
        expect(page.locator(".caption")).to_contain_text(caption)
        page.wait_for_function(f"() => ({CURVE_POINTS})() >= 2")


def keep_sending(run, page, words, behind):
    """Send frames until the page says it; the machine may be slow, so one is not enough."""
    badge = page.locator(".badge")
    for _ in range(200):
        run.frame(0.5, behind=behind, after=1)
        if words in badge.inner_text():
            return
        page.wait_for_timeout(300)
    expect(badge).to_contain_text(words)


def test_the_page_says_how_far_it_is_behind_and_when_it_stalls(run, visit):
    page = visit(run.address)
    keep_sending(run, page, "● live", behind=0)
    keep_sending(run, page, "▲ 7 frames behind", behind=7)
    expect(page.locator(".badge")).to_have_text(re.compile("stalled since"))


def test_a_restarted_server_is_noticed_and_the_page_comes_back(run, visit):
    page = visit(run.address)
    run.frame(0.5, after=100)
    wait_shown(page, 1)
    run.processes["dashboard.app"].terminate()
    run.processes["dashboard.app"].wait(20)
    expect(page.get_by_text("Connection lost")).to_be_visible()
    run.start("dashboard.app")
    expect(page.locator(".chipwrap[data-seq]")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Connection lost")).to_be_hidden(timeout=60_000)
    visit.complaints[:] = [c for c in visit.complaints if "ERR_CONNECTION" not in c]
