"""The live page: it follows, it can be looked at closely, and it says when it is not live."""

import re
import signal
import subprocess
import time

import numpy as np
import pytest
from playwright.sync_api import expect

from pychip_stream.operation.edited_rules import EditedRules
from pychip_stream.wire.messages import Alert
from tests.support.looks import (
    AGAINST,
    BELOW,
    CURVE_POINTS,
    FIND,
    TRUE_POINTS,
    Chips,
    colours,
    data,
    wait_data,
    wait_shown,
)
from tests.support.rehearsal import Rehearsal
from tests.support.run_samples import make_run
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    one = Rehearsal(tmp_path_factory.mktemp("run") / "e", size=2048, chip=64).start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    """A run from its first minutes to its end."""
    one = Rehearsal(tmp_path_factory.mktemp("short") / "e").start()
    yield one
    one.stop()


@pytest.fixture
def page(run, borrow):
    return borrow(run.address)


def show(run, page, share=0.5, **frame):
    """Have a frame taken, and wait until the page shows it or a later one."""
    before = int(data(page, "seq") or 0)
    run.frame(share, **frame)
    wait_shown(page, before + 1)


def test_frames_and_curves_follow_with_the_truth_beside_them(run, page):
    (run.root / "truth.csv").write_text(
        "frame,index,path,time_s,alpha,beta\n"
        + "".join(f"{i},0,frame_{i:05d}.tif,{i},0.5,0.5\n" for i in range(5))
    )
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


def test_the_first_minutes_lead_to_examples(short, borrow):
    """B3: a black page and a red badge for who has no support set yet."""
    one, page = short, borrow(short.address)
    expect(page.get_by_text(f"watching {one.root}: no frame is there yet")).to_be_visible()
    badge = page.locator(".badge")
    for _ in range(100):
        one.worker(support=False, detail="waiting for a support set")
        one.raw()
        one.watcher(behind=one.sent)
        if "no examples yet" in badge.inner_text():
            break
        page.wait_for_timeout(200)
    expect(badge).to_contain_text("frames arrive, no examples yet")
    for name in ("intervals", "clocks"):
        expect(page.get_by_role("checkbox", name=name)).not_to_be_visible()  # of what curve?
    expect(badge).to_have_attribute("data-light", "waiting")
    wait_shown(page, 1)
    assert colours(page) > 20
    page.get_by_role("button", name="Choose examples on this frame").click()
    expect(page.get_by_role("tab", name="Examples")).to_have_attribute("aria-selected", "true")


def test_the_names_of_the_curves_follow_the_classes_and_hide_all_of_them(short, borrow):
    """S5: they stayed blank after a class was renamed. M13: a band stayed without its line."""
    one, page = short, borrow(short.address)
    visible = """() => [...window.Bokeh.documents[0]._all_models.values()]
      .filter((m) => m.type === "Figure").flatMap((m) => m.renderers)
      .filter((r) => r.visible && r.data_source?.name === "phase").length"""
    page.get_by_role("tab", name="Live").click()
    items = page.locator(".names .item")
    for _ in range(50):  # what is sent before the page has reached the hub is lost
        one.frame()
        page.wait_for_timeout(500)
        if items.count():
            break
    expect(items).to_have_text(["alpha", "beta", "unknown"])
    expect(page.get_by_role("checkbox", name="intervals")).to_be_visible()
    one.frame(names=("gold", "beta"))
    expect(items).to_have_text(["alpha", "beta", "unknown", "gold"])
    swatches = items.locator(".swatch")  # gold has alpha's colour in its support set
    seen = swatches.evaluate_all("all => all.map(n => getComputedStyle(n).backgroundColor)")
    assert len(set(seen)) == 4, seen
    page.wait_for_function(f"() => ({visible})() === 12")
    page.get_by_role("button", name="show gold in the curves").click()
    expect(items.last).to_have_attribute("aria-pressed", "false")
    page.wait_for_function(f"() => ({visible})() === 9")
    page.get_by_role("checkbox", name="intervals").click()
    page.wait_for_function(f"() => ({visible})() === 6")


def test_what_the_worker_says_of_its_numbers_stands_on_the_page(run, page):
    """B4: only the log had it."""
    words = "the chips have moved away from the examples"
    line = page.locator(".alert.warning", has_text=words)
    for _ in range(50):
        run.worker(detail=words)
        page.wait_for_timeout(200)
        if line.count():
            break
    expect(line).to_be_visible()
    run.worker()
    expect(line).to_have_count(0)


def test_zoom_is_kept_and_shows_the_frame_as_recorded(run, page):
    show(run, page)
    canvas = page.locator(".chipwrap canvas")
    canvas.focus()
    for _ in range(4):
        page.keyboard.press("+")
    wait_data(page, "crop", "v")
    zoom = data(page, "zoom")
    show(run, page)
    assert data(page, "zoom") == zoom
    page.keyboard.press("0")
    assert data(page, "zoom") == "1.00"


def test_a_class_is_hidden_and_shown_again(run, page):
    show(run, page)
    toggle = page.get_by_role("button", name="show alpha on the frame")
    expect(toggle).to_have_attribute("aria-pressed", "true")
    shown = colours(page)
    opacity = page.locator('input[data-key="opacity"]')
    usual = opacity.input_value()
    opacity.fill("1")
    page.wait_for_timeout(100)
    full = colours(page)
    toggle.click()
    expect(toggle).to_have_attribute("aria-pressed", "false")
    page.wait_for_timeout(100)
    assert full < shown
    assert colours(page) > full
    toggle.click()
    opacity.fill(usual)


def test_how_sure_each_chip_is_can_be_seen_and_read(run, page):
    """Point 4: the confidence map was in the archive and never drawn."""
    show(run, page, sure=np.repeat(np.arange(0, 256, 8), 32).reshape(32, 32))
    opacity, shown = page.locator('input[data-key="opacity"]'), page.get_by_label("chips show")
    usual = opacity.input_value(), shown.input_value()
    opacity.fill("1")
    wait_for(lambda: colours(page) < 50)
    few = colours(page)
    page.locator(".chipwrap canvas").hover(position=Chips(page, (2048, 2048), (64, 64)).place(2, 3))
    readout = page.locator(".readout")
    expect(readout).to_contain_text("row 2, column 3 · at 9.6, 6.4 nm · alpha · 6 % sure")
    expect(readout).to_contain_text("unknown score 0.50")
    expect(readout).to_contain_text(re.compile("≈ 9[0-9]{2}|1[0-9]{3} counts"))
    shown.select_option("confidence")
    wait_for(lambda: colours(page) > few + 20)
    opacity.fill(usual[0])
    shown.select_option(usual[1])


def test_a_click_on_the_curve_shows_that_frame_until_back_to_live(run, page):
    run.frame(0.125, after=40)
    run.frame(0.875, after=40)
    newest = f"frame_{run.sent - 1:05d}.tif"
    expect(page.locator(".caption")).to_have_text(newest)
    box = page.locator(".bk-Figure:visible").bounding_box()
    page.wait_for_timeout(1500)  # the plot settles its range
    page.mouse.click(box["x"] + box["width"] * 0.5, box["y"] + box["height"] * 0.5)
    expect(page.locator(".badge")).to_contain_text("a past frame")
    expect(page.locator(".caption")).not_to_have_text(newest)
    page.get_by_role("button", name="Back to live").click()
    expect(page.locator(".badge")).not_to_contain_text("past")
    expect(page.locator(".caption")).to_have_text(newest)


def test_a_corrected_label_is_in_the_draft_that_examples_shows(run, visit):
    page = visit(run.address)
    run.frame(0.5)
    wait_shown(page, 1)
    page.get_by_role("button", name="Correct labels").click()
    wait_data(page, "picking", "v === 'yes'")
    Chips(page, (run.size, run.size), (run.chip, run.chip)).click((3, 4))
    expect(page.get_by_text("1 chip of this frame")).to_be_visible()
    page.get_by_role("button", name="Judge and publish on Examples").click()
    wait_data(page, "picked", "v === '1'")
    expect(page.get_by_role("button", name="Correct labels")).to_be_hidden()


def test_a_quantity_is_drawn_below_the_fractions(run, page):
    drawn = BELOW.replace("NAME", "phase")
    for drift in (0.25, 0.5):
        show(run, page, after=1, drift=drift)
    assert page.evaluate(drawn) is None
    page.get_by_role("combobox", name="below").click()
    # Quantities of classes are known once there are classes: these were lost on a page that opens.
    expect(page.locator("li", has_text="alpha.domains")).to_be_visible()
    page.locator("li", has_text="drift").click()
    page.wait_for_function(f"() => ({drawn})()?.at(-1) === 0.5")
    assert page.evaluate(drawn) == ["drift", 0.25, 0.5]
    page.get_by_role("combobox", name="below").click()
    page.locator("li", has_text="none").click()
    page.wait_for_function(f"() => ({drawn})() === null")


def test_the_fractions_are_drawn_against_a_quantity(run, page):
    for drift in (0.125, 0.25, 0.5, 0.75, 0.25):
        show(run, page, drift, after=1, drift=drift)
    page.get_by_role("combobox", name="along x").click()
    page.locator("li", has_text="drift").click()
    drawn = AGAINST.replace("NAME", "phase")
    page.wait_for_function(f"() => ({drawn})()?.[1].at(-2) === 0.75")
    label, x, fractions, branches = page.evaluate(drawn)
    assert (label, x[-5:]) == ("drift", [0.125, 0.25, 0.5, 0.75, 0.25])
    assert fractions[-5:] == x[-5:] and set(branches) <= {"rising", "falling", "held"}
    plot = page.locator(".bk-Figure:visible")
    expect(plot).to_have_count(1)
    plot.click()
    expect(page.locator(".badge")).to_contain_text("a past frame")
    page.get_by_role("button", name="Back to live").click()
    page.get_by_role("combobox", name="along x").click()
    page.locator("li", has_text=re.compile("^time$")).click()
    page.wait_for_function(f"() => ({drawn})() === null")


def test_alerts_stand_on_the_page_until_they_end(run, page):
    alert = {"rule": "disk", "level": "critical", "reason": "the disk is full <soon>"}
    run.channel.send(Alert(id="1", state="on", time=time.time(), **alert))
    banner = page.locator(".alert.critical")
    expect(banner).to_have_text("disk: the disk is full <soon>")
    page.get_by_role("tab", name="Examples").click()
    bar = page.locator(".alarm")
    expect(bar).to_contain_text("disk: the disk is full <soon>")
    expect(bar).to_have_attribute("data-level", "critical")
    expect(page).to_have_title(re.compile("⚠ disk"))
    page.get_by_role("button", name="sound off").click()
    page.wait_for_function(f"() => Number(({FIND})('.statusbar').dataset.beeps) >= 2")
    page.get_by_role("button", name="acknowledge").click()
    expect(page).not_to_have_title(re.compile("⚠ disk"))
    beeps = page.locator(".statusbar").get_attribute("data-beeps")
    page.wait_for_timeout(2500)
    assert page.locator(".statusbar").get_attribute("data-beeps") == beeps
    page.get_by_role("button", name="sound on").click()
    page.get_by_role("tab", name="Live").click()
    expect(banner).to_contain_text("(acknowledged by operator)")
    run.channel.send(Alert(id="2", state="off", time=time.time(), **alert))
    expect(banner).to_have_count(0)
    run.channel.send(Alert(id="3", state="on", time=time.time(), **alert))
    expect(page).to_have_title(re.compile("⚠ disk"))  # it calls anew
    run.channel.send(Alert(id="4", state="off", time=time.time(), **alert))
    expect(banner).to_have_count(0)


LIMITS = """() => {
  const models = [...window.Bokeh.documents[0]._all_models.values()];
  const lines = models.filter((m) => m.type === "Span" && m.name?.startsWith("rule "));
  const shown = models.filter((m) => m.type === "Figure").flatMap((m) => m.center);
  return lines.filter((m) => shown.includes(m)).map((m) => `${m.name} ${m.location}`).join();
}"""


LINE = """() => {
  const models = [...window.Bokeh.documents[0]._all_models.values()];
  const line = models.findLast((m) => m.type === "Span" && m.name === "rule beta appears");
  const plot = models.find((m) => m.type === "Figure" && m.center.includes(line));
  const view = window.Bokeh.index.find_one(plot);
  const box = view.canvas_view.el.getBoundingClientRect(), { bbox } = view.frame;
  const scale = view.frame.y_scale;
  return [box.left + bbox.left + bbox.width / 2, box.top + scale.compute(line.location),
    scale.compute(0) - scale.compute(1)];
}"""
"""Middle of the line on the screen, and how high the whole of the fractions is."""


def test_an_alert_rule_is_made_on_the_page_and_its_limit_drawn_in_the_curve(run, page):
    """S10: rules were in YAML only."""
    show(run, page, after=1)
    page.get_by_role("tab", name="Health").click()
    page.get_by_label("name", exact=True).fill("beta appears")
    page.get_by_role("combobox", name="of class").click()
    page.locator(".MuiMenuItem-root", has_text="beta").click()
    page.get_by_label("limit, such as").fill("30 %")
    page.get_by_role("button", name="Save rule").click()
    expect(page.get_by_text("✓ beta appears is in force")).to_be_visible()
    rules = EditedRules(run.config)
    assert [(r.class_, r.above) for r in rules.current().rules] == [("beta", 0.3)]
    page.get_by_role("tab", name="Live").click()
    page.wait_for_function(f"() => ({LIMITS})() === 'rule beta appears 0.3'")
    limit = page.get_by_role("slider", name="limit of beta appears")
    expect(limit).to_have_text("beta appears: above 30.0 %")
    for _ in range(2):
        limit.press("ArrowUp")
    page.wait_for_function(f"() => ({LIMITS})() === 'rule beta appears 0.32'")
    wait_for(lambda: rules.current().rules[0].above == 0.32)
    x, y, per = page.evaluate(LINE)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y - 0.2 * per, steps=6)
    page.mouse.up()
    wait_for(lambda: abs(rules.current().rules[0].above - 0.52) < 0.02)
    above = rules.current().rules[0].above
    expect(limit).to_have_text(f"beta appears: above {above:.1%}".replace("%", " %"))
    page.get_by_role("tab", name="Health").click()
    expect(page.get_by_label("limit, such as")).to_have_value(f"{above:g}")
    page.get_by_role("tab", name="Live").click()
    rules.remove("beta appears")
    page.wait_for_function(f"() => ({LIMITS})() === ''")


def test_a_fraction_is_written_as_finely_as_its_interval(run, page):
    run.frame(5 / 32, after=1)
    expect(page.locator(".number").first).to_have_text("15.6 % (10.6–20.6)")


def test_two_viewers_see_the_same_at_once(run, page, visit):
    pages = [page, visit(run.address)]
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


def test_the_page_says_how_far_it_is_behind_and_when_it_stalls(run, page):
    keep_sending(run, page, "● live", behind=0)
    keep_sending(run, page, "▲ 7 frames behind", behind=7)
    expect(page.locator(".badge")).to_have_text(re.compile("stalled since"))


def test_a_run_that_ends_says_so(short, borrow, lent):
    """S7: it looked like a crash."""
    one, page = short, borrow(short.address)
    show(one, page)
    for number in range(5):
        one.service(f"worker-{number}", state="failed", detail="broken")
    lines = page.locator(".alert")
    expect(lines).to_have_count(4)  # more would leave no room for the curve
    more = re.compile("and [2-9] more; Health has them all")  # some of them are not heard of either
    expect(lines.last).to_have_text(more)
    one.processes["dashboard.app"].send_signal(signal.SIGINT)
    one.processes["dashboard.app"].wait(20)
    expect(page.get_by_text("The run has ended. Everything is in")).to_be_visible()
    make_run(one.config.archive.folder, one.root, 3)
    (*words, config) = one.command("dashboard.review")
    review = [*words, str(one.config.archive.folder), "--config", config]
    one.processes["dashboard.review"] = subprocess.Popen(review, stderr=subprocess.DEVNULL)
    expect(page.get_by_role("tab")).to_have_text(["Review", "Upload"])  # by itself
    expect(page.locator(".statusbar .state")).to_have_text("○ the run has ended")
    expect(page.locator(".scrubber .where").first).to_contain_text("1 of 3")
    forgive_lost_connections(lent)


def forgive_lost_connections(visit):
    words = ("ERR_CONNECTION", "network error", "Failed to fetch", "WebSocket", "not connected")
    visit.complaints[:] = [c for c in visit.complaints if not any(w in c for w in words)]


RANGE = """() => { const m = [...window.Bokeh.documents[0]._all_models.values()]
  .filter((m) => m.type === "Figure" && m.renderers.some((r) => r.data_source?.name === "phase"))
  .at(-1); return m.x_range.end - m.x_range.start; }"""


def test_a_zoomed_curve_leads_back(run, page):
    """S9: it stayed frozen under "live", and the buttons did nothing."""
    for _ in range(3):
        show(run, page, after=20)
    page.wait_for_function(f"() => ({CURVE_POINTS})() >= 3")
    page.wait_for_timeout(1000)
    whole = page.evaluate(RANGE)
    for press in ("whole run", "Back to live", "10 min"):
        box = page.locator(".bk-Figure:visible").bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.4)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6, steps=8)
        page.mouse.up()
        page.wait_for_function(f"whole => ({RANGE})() < 0.6 * whole", arg=whole)
        page.get_by_role("button", name=press).click()
        page.wait_for_function(f"whole => ({RANGE})() > 0.8 * whole", arg=min(whole, 500_000))
        expect(page.get_by_role("button", name="Back to live")).to_be_hidden()
    page.get_by_role("button", name="whole run").click()


def test_no_line_leads_over_a_pause(run, page):
    """S6: 18 minutes without a run were drawn as a linear evolution."""
    for _ in range(4):
        run.frame(after=1)
    show(run, page, after=3600)
    page.wait_for_function(
        """() => window.Bokeh.documents[0].get_model_by_name("phase")
             ?.get_column("v0").some((v) => Number.isNaN(v))"""
    )


def test_a_restarted_server_is_noticed_and_the_page_comes_back(run, page, lent):
    show(run, page, after=100)
    run.processes["dashboard.app"].kill()
    run.processes["dashboard.app"].wait(20)
    expect(page.get_by_text("Connection lost")).to_be_visible()
    run.start("dashboard.app")
    expect(page.locator(".chipwrap[data-seq]")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Connection lost")).to_be_hidden(timeout=60_000)
    forgive_lost_connections(lent)
