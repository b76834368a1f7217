"""What every page owes its viewers: a theme for a dark room, and access for all."""

import pytest
from playwright.sync_api import expect

from tests.support.rehearsal import Rehearsal
from tests.support.run_samples import make_run
from tests.support.visits import PLAIN
from tests.support.waiting import wait_for

TABS = ("Live", "Examples", "Review", "Health", "Upload")
DARK = "() => document.documentElement.dataset.theme === 'dark'"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    one = Rehearsal(tmp_path_factory.mktemp("looks") / "e", size=512, chip=64)
    make_run(one.config.archive.folder, one.folder / "old", 3, "heating")
    one.start()
    one.frame(0.5)
    yield one
    one.stop()


def lightness(page, css="header.MuiAppBar-root"):
    """Relative luminance of the background of an element."""
    parts = page.locator(css).first.evaluate(
        "node => getComputedStyle(node).backgroundColor.match(/[\\d.]+/g).map(Number)"
    )
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
              for c in (p / 255 for p in parts[:3])]  # fmt: skip
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_dark_room_stays_dark(run, visit):
    """S18: the system's wish was ignored, the choice forgotten, the title bar bright cyan."""
    page = visit(run.address, color_scheme="dark")
    expect(page.locator(".chipwrap")).to_be_visible()
    page.wait_for_function(DARK)
    expect(page.locator("main").first).not_to_have_css("background-color", "rgb(255, 255, 255)")
    assert lightness(page) < 0.1  # white on it has more than 7 : 1
    page.get_by_role("button", name="theme").click()
    page.wait_for_function(DARK.replace("dark", "light"))
    page.reload()
    expect(page.locator(".chipwrap")).to_be_visible()
    expect(page.locator("main").first).to_have_css("background-color", "rgb(255, 255, 255)")

    bright = visit(run.address, color_scheme="light")
    expect(bright.locator(".chipwrap")).to_be_visible()
    expect(bright.locator("main").first).to_have_css("background-color", "rgb(255, 255, 255)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_rule_of_accessibility_is_broken(run, borrow, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe is missing"
    ).Axe()
    page = borrow(run.address)
    page.get_by_role("tab", name="Live").click()
    if scheme == "dark":  # all but the colours is the same
        page.get_by_role("button", name="theme").click()
    page.wait_for_function(DARK.replace("dark", scheme))
    rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
    found = {}
    for name in TABS:
        page.get_by_role("tab", name=name).click()
        card = page.locator(".card[data-name=heating]")
        if name == "Review" and not page.locator(".scrubber[data-count]").is_visible():
            card.click()
        page.wait_for_timeout(1500)
        for broken in axe.run(page, options=rules).response["violations"]:
            nodes = [node["html"][:160] for node in broken["nodes"]]
            found[name, broken["id"]] = [broken["impact"], len(nodes), nodes[:3]]
    assert found == {}
    if scheme == "dark":
        page.get_by_role("button", name="theme").click()
        page.wait_for_function(DARK.replace("dark", "light"))


BEYOND = """() => {
  const found = [];
  const walk = (root) => {
    for (const node of root.children || []) {
      const box = node.getBoundingClientRect();
      if (box.width > 0 && box.right > innerWidth + 1) found.push(node.tagName + node.className);
      walk(node);
      if (node.shadowRoot) walk(node.shadowRoot);
    }
  };
  walk(document.body);
  return found;
}"""


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_nothing_is_cut_at_the_right(run, borrow, width):
    """S23: the numbers are what was missing on a phone."""
    page = borrow(run.address)
    page.set_viewport_size({"width": width, "height": 900})
    for name in ("Examples", "Health", "Upload"):
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(1500)
        assert page.evaluate(BEYOND) == [], name
        if name == "Health" and width < 600:  # M28: the services were cut in the middle of a row
            box = page.locator(".scroll", has=page.get_by_role("table", name="Services"))
            expect(box).to_have_css("max-height", "none")


def test_the_controls_of_live_leave_the_room_to_the_curve(run, borrow):
    """Three rows with wide margins; the curve began in the middle of the page."""
    page = borrow(run.address)
    page.set_viewport_size(PLAIN)
    page.get_by_role("tab", name="Live").click()
    first = page.get_by_role("button", name="whole run")
    expect(page.locator(".bk-Figure:visible")).to_have_count(1)
    expect(page.get_by_label("mark")).to_be_visible()
    plot = page.locator(".bk-Figure:visible")
    wait_for(  # what is shown last moves what is below it
        lambda: 0 < plot.bounding_box()["y"] - first.bounding_box()["y"] < 120,
        lambda: f"{first.bounding_box()} {plot.bounding_box()}",
    )


MARK_FIELD = """async (script) => {
  const { render } = await import(script);
  const model = { sent: [], on: () => {}, send_msg: (message) => model.sent.push(message) };
  const host = document.createElement("div"), other = document.createElement("div");
  host.attachShadow({ mode: "open" }).append(render({ model }));
  other.attachShadow({ mode: "open" }).append(document.createElement("textarea"));
  document.body.replaceChildren(host, other);
  window.sent = () => model.sent.splice(0).map((one) => one.text ?? one.type);
  window.hide = (hidden) => { host.style.display = hidden ? "none" : ""; };
}"""


def test_m_opens_a_mark_where_nothing_is_typed(run, visit):
    script = run.address.rstrip("/") + "/parts/mark_field.js"
    page = visit(script)
    page.evaluate(MARK_FIELD, script)
    sent, field = lambda: page.evaluate("window.sent()"), page.get_by_label("mark")
    assert sent() == ["ready"]
    page.keyboard.press("m")
    page.keyboard.type("gas m")
    page.keyboard.press("Enter")
    assert sent() == ["opened", "gas m"]
    expect(field).to_be_empty()
    page.keyboard.press("M")
    page.keyboard.type("no")
    page.keyboard.press("Escape")
    assert sent() == ["opened"]
    expect(field).not_to_be_focused()
    page.keyboard.press("Control+m")
    page.locator("textarea").press("m")
    expect(page.locator("textarea")).to_have_value("m")
    page.locator("textarea").blur()
    page.evaluate("window.hide(true)")
    page.keyboard.press("m")
    assert sent() == []
    page.evaluate("window.hide(false)")
    page.keyboard.press("m")
    assert sent() == ["opened"]


SCRUBBER = """async (script) => {
  const { render } = await import(script);
  const model = { sent: [], on: (_kind, act) => (model.hear ||= act) };
  model.send_msg = (message) => model.sent.push(message);
  document.body.append(render({ model }));
  window.answer = (at) => model.hear({ type: "at", count: 1000, at, text: `${at}` });
  window.answer(0);
}"""


def test_space_plays_and_a_slower_pace_is_said(run, visit):
    """M16: frames that came at 1/s were played at "5/s", unsaid."""
    script = run.address.rstrip("/") + "/parts/scrubber.js"
    page = visit(script)
    page.clock.install()
    page.evaluate(SCRUBBER, script)
    scrubber, pace = page.locator(".scrubber"), page.locator(".pace")
    page.get_by_label("frame of the run").press("Space")
    expect(scrubber).to_have_attribute("data-playing", "1")
    for at in range(1, 6):
        page.clock.run_for(1000)
        page.evaluate("at => window.answer(at)", at)
    expect(pace).to_have_text("plays only 1.0/s")
    page.get_by_label("frame of the run").press("Space")
    expect(scrubber).to_have_attribute("data-playing", "0")
    expect(pace).to_be_empty()
